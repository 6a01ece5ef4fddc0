"""The files of a tiny world: the same bytes each time, in the formats of the real ones."""

import csv
import gzip
import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import osmium
import pystac
import pytest
import rasterio

from beam_pipeline.cells.table import read_cells_csv
from beam_pipeline.maps.rasters import inspect_land_cover, inspect_night_lights
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.sample_world import SampleWorld, default_directory, make_sample_world, world
from beam_pipeline.sample_world.__main__ import main
from beam_pipeline.sample_world.scenes import GSD
from beam_pipeline.sample_world.stac import ASSET_KEYS
from beam_pipeline.sample_world.weather import PASSES
from tests.failing_disk import no_file_above
from tests.shared_data import shared

CELLS = 4


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SampleWorld:
    return make_sample_world(tmp_path_factory.mktemp("sample") / "world", cells=CELLS)


@pytest.fixture(scope="module")
def items(tiny: SampleWorld) -> list[pystac.Item]:
    return list(pystac.Catalog.from_file(str(tiny.stac_catalog)).get_items(recursive=True))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def of_date(items: list[pystac.Item], date: str) -> list[pystac.Item]:
    found = [item for item in items if item.datetime is not None and item.datetime.date().isoformat() == date]
    assert found
    return found


def read(item: pystac.Item, key: str) -> np.ndarray:
    href = item.assets[key].get_absolute_href()
    with rasterio.open(href) as file:
        return file.read(1)


def test_the_same_parameters_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (
        digests(make_sample_world(tmp_path / name, cells=1).cells_csv.parent) for name in ("one", "other")
    )
    assert first == second
    assert len(first) > 13 * len(PASSES)


def test_a_made_world_is_found_and_left_alone(tiny: SampleWorld) -> None:
    def written_at() -> dict[Path, tuple[int, int]]:
        there = {path: path.stat() for path in tiny.cells_csv.parent.rglob("*")}
        return {path: (it.st_ino, it.st_mtime_ns) for path, it in there.items()}

    before = written_at()
    assert make_sample_world(tiny.cells_csv.parent, cells=CELLS) == tiny
    assert written_at() == before


def test_another_world_in_the_folder_is_refused(tiny: SampleWorld, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds something else"):
        make_sample_world(tiny.cells_csv.parent, cells=CELLS, seed=1)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInputError, match="no sample world"):
        make_sample_world(tmp_path, cells=CELLS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world, "write_extract", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_sample_world(tmp_path / "world", cells=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cells", [0, -5, 10**6])
def test_a_wrong_size_is_refused(cells: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=f"Received: {cells}"):
        make_sample_world(tmp_path / "world", cells=cells)


def test_the_cache_is_keyed_by_parameters_and_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    named = {default_directory(*key) for key in itertools.product((50, 600), (0, 1), (False, True))}
    assert len(named) == 8
    assert all(path.parent == tmp_path / "opensentinelmap" for path in named)
    monkeypatch.setattr(world, "VERSION", world.VERSION + 1)
    assert default_directory() not in named


def test_cells_are_in_our_format(tiny: SampleWorld) -> None:
    cells = read_cells_csv(tiny.cells_csv)
    with tiny.cells_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert 1 <= len(cells) <= 2 * CELLS
    assert [int(row["cell_id"]) for row in rows] == sorted(cell.cell_id for cell in cells)
    west, south, east, north = map(float, tiny.region.split(","))
    for row in rows:
        assert west - 0.03 < float(row["min_lon"]) < float(row["max_lon"]) < east + 0.03
        assert south - 0.03 < float(row["min_lat"]) < float(row["max_lat"]) < north + 0.03


def test_every_chip_lies_whole_in_the_rasters_of_its_tile(
    tiny: SampleWorld, items: list[pystac.Item]
) -> None:
    for cell in read_cells_csv(tiny.cells_csv):
        code = f"MGRS-{cell.tile.lstrip('0')}"
        for item in (item for item in items if item.properties["grid:code"] == code):
            assert item.properties["proj:code"] == f"EPSG:{cell.chip.epsg}"
            gsd, _, left, _, _, top = item.assets["blue"].extra_fields["proj:transform"]
            height, width = item.assets["blue"].extra_fields["proj:shape"]
            assert left <= cell.chip.left
            assert cell.chip.right <= left + gsd * width
            assert top - gsd * height <= cell.chip.bottom
            assert cell.chip.top <= top


def test_assets_are_cogs(items: list[pystac.Item]) -> None:
    for item, (band, key) in itertools.product(items[:3], ASSET_KEYS.items()):
        asset = item.assets[key]
        href = asset.get_absolute_href()
        with rasterio.open(href) as file:
            structure = file.tags(ns="IMAGE_STRUCTURE")
            assert structure["LAYOUT"] == "COG"
            assert structure["COMPRESSION"] == "DEFLATE"
            assert structure["PREDICTOR"] == "2"
            assert file.dtypes == ("uint8" if band == "SCL" else "uint16",)
            assert file.nodata == 0
            assert file.block_shapes[0][0] == file.block_shapes[0][1]
            assert bool(file.overviews(1)) == (max(file.shape) > file.block_shapes[0][0])
            assert list(file.transform)[:6] == asset.extra_fields["proj:transform"]
            assert list(file.shape) == asset.extra_fields["proj:shape"]
            assert file.crs.to_string() == item.properties["proj:code"]
            assert file.res == (GSD[band], GSD[band])
            assert file.transform.c % 60 == 0
            assert file.transform.f % 60 == 0


def test_items_look_like_those_of_earth_search(items: list[pystac.Item]) -> None:
    real = json.loads(shared("stac", "S2B_33TWN_20220226_0_L2A.json").read_text())
    for item in items:
        # As written: pystac modernises what it reads.
        ours = json.loads(Path(item.get_self_href() or "").read_text())
        assert set(ours) <= set(real)
        assert set(ours["properties"]) <= set(real["properties"])
        for key, value in ours["properties"].items():
            assert isinstance(value, int | float) == isinstance(real["properties"][key], int | float), key
        for key, asset in ours["assets"].items():
            twin = real["assets"][key]
            assert set(asset) <= set(twin)
            assert set(asset["raster:bands"][0]) <= set(twin["raster:bands"][0])
            assert asset["type"] == twin["type"]
            assert asset["href"].endswith(twin["href"].rsplit("/", 1)[1])
            assert not asset["href"].startswith("/")


def test_the_catalogue_is_whole(tiny: SampleWorld, items: list[pystac.Item]) -> None:
    tiles = {item.properties["grid:code"] for item in items}
    assert len(items) == len(tiles) * len(PASSES)
    assert len({item.id for item in items}) == len(items)
    assert {item.datetime.year for item in items if item.datetime} == set(tiny.years)
    raw = json.loads(Path(items[0].get_self_href() or "").read_text())
    assert {asset["href"] for asset in raw["assets"].values()} == {f"./{band}.tif" for band in ASSET_KEYS}


def test_a_date_comes_twice_reprocessed(items: list[pystac.Item]) -> None:
    by_tile: dict[str, list[pystac.Item]] = {}
    for item in of_date(items, "2021-07-20"):
        by_tile.setdefault(item.properties["grid:code"], []).append(item)
    for old, new in by_tile.values():
        assert old.datetime == new.datetime
        assert old.properties["platform"] == new.properties["platform"]
        assert old.properties["s2:processing_baseline"] < new.properties["s2:processing_baseline"]
        assert old.properties["s2:generation_time"] < new.properties["s2:generation_time"]
        assert not np.array_equal(read(old, "blue"), read(new, "blue"))


def test_the_offset_is_where_the_items_say_but_for_one(items: list[pystac.Item]) -> None:
    dark = {
        date: np.percentile(np.concatenate([read(item, "blue").ravel() for item in of_date(items, date)]), 5)
        for date in ("2022-05-11", "2022-08-14", "2022-11-07")
    }
    flags = {
        date: {item.properties["earthsearch:boa_offset_applied"] for item in of_date(items, date)}
        for date in dark
    }
    assert flags == {"2022-05-11": {False}, "2022-08-14": {True}, "2022-11-07": {False}}
    assert dark["2022-05-11"] > 1000
    assert dark["2022-08-14"] < 1000
    assert dark["2022-11-07"] < 1000  # the contradicted one


def test_every_filter_has_something_to_refuse(items: list[pystac.Item]) -> None:
    def classes(date: str) -> dict[int, float]:
        scl = np.concatenate([read(item, "scl").ravel() for item in of_date(items, date)])
        values, counts = np.unique(scl, return_counts=True)
        return dict(zip(values.tolist(), (counts / len(scl)).tolist(), strict=True))

    assert classes("2021-06-20")[0] > 0.2  # beyond the swath
    assert classes("2021-12-02")[1] > 0.25  # saturated
    cloudy = classes("2022-04-16")
    assert cloudy[8] + cloudy[9] > 0.25
    assert {3, 10} < set(cloudy) | set(classes("2021-03-07"))
    assert classes("2021-01-16")[11] > 0.02  # snow
    assert set(classes("2021-09-18")) <= {5, 6}  # a cloud that the classification missed
    for item in of_date(items, "2021-09-18"):
        assert min(read(item, key).min() for key in ("blue", "green", "red")) > 2000
    clear = classes("2021-07-20")
    assert clear[4] > 0.4
    for item in of_date(items, "2021-06-20"):
        outside = read(item, "scl") == 0
        assert not read(item, "nir08")[outside].any()
        assert not read(item, "blue")[outside.repeat(2, axis=0).repeat(2, axis=1)].any()


def test_the_extract_is_sorted_and_dated(tiny: SampleWorld) -> None:
    order = [(entity.type_str(), entity.id) for entity in osmium.FileProcessor(str(tiny.osm_extract))]
    assert order == sorted(order, key=lambda pair: ("nwr".index(pair[0]), pair[1]))
    assert {kind for kind, _ in order} == {"n", "w", "r"}
    header = osmium.io.Reader(str(tiny.osm_extract)).header()
    assert header.get("osmosis_replication_timestamp") == "2023-01-01T00:00:00Z"


def test_the_extracts_multipolygons_assemble(tiny: SampleWorld) -> None:
    relations, areas, holes = 0, 0, 0
    for entity in osmium.FileProcessor(str(tiny.osm_extract)).with_areas():
        if isinstance(entity, osmium.osm.Relation):
            relations += 1
        elif isinstance(entity, osmium.osm.Area) and not entity.from_way():
            areas += 1
            holes += entity.num_rings()[1]
    assert relations == areas > 0
    assert holes > 0


def test_the_command_makes_a_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output", str(tmp_path / "world"), "--cells", "1"]) == 0
    assert str(tmp_path / "world" / "catalog.json") in capsys.readouterr().out
    assert main(["--output", str(tmp_path / "world"), "--cells", "0"]) == 2
    assert "Received: 0" in capsys.readouterr().err
    with pytest.raises(SystemExit) as leaving:
        main(["--help"])
    assert leaving.value.code == 0
    assert "--full_tiles" in capsys.readouterr().out


@pytest.mark.slow
def test_full_tiles_have_the_true_size(tmp_path: Path) -> None:
    made = make_sample_world(tmp_path / "world", cells=1, full_tiles=True)
    small = make_sample_world(tmp_path / "small", cells=1)
    cell = read_cells_csv(made.cells_csv)[0]
    for item in pystac.Catalog.from_file(str(made.stac_catalog)).get_items(recursive=True):
        twin = small.stac_catalog.parent / "sentinel-2-l2a" / item.id
        for band, key in ASSET_KEYS.items():
            with rasterio.open(item.assets[key].get_absolute_href()) as file:
                assert file.shape == (109800 // GSD[band],) * 2
                assert file.block_shapes[0] == (1024, 1024)
                window = rasterio.windows.from_bounds(*cell.chip.bounds, file.transform)
                with rasterio.open(twin / f"{band}.tif") as other:
                    there = rasterio.windows.from_bounds(*cell.chip.bounds, other.transform)
                    assert np.array_equal(file.read(1, window=window), other.read(1, window=there))


def test_surveys_are_windows_of_the_real_products(tiny: SampleWorld, tmp_path: Path) -> None:
    years = []
    for year, packed in zip(tiny.years, tiny.night_lights, strict=True):
        assert str(year) in packed.name
        path = tmp_path / f"{year}.tif"
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        file = inspect_night_lights(str(path))
        with rasterio.open(path) as dataset:
            values = dataset.read(1)
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert 0 < (values > 0).mean() < 0.5
        years.append((file.window, values > 0))
    assert years[0][0] == years[1][0]
    assert (years[0][1] != years[1][1]).any()
    file = inspect_land_cover(str(tiny.land_cover))
    with rasterio.open(tiny.land_cover) as dataset:
        classes = dataset.read(1)
    assert {10, 190, 210} <= set(np.unique(classes).tolist())
    # Around the place there is sea, and dark.
    for edge in (classes[0], classes[-1], classes[:, 0], classes[:, -1]):
        assert (edge == 210).all()
    cells = read_cells_csv(tiny.cells_csv)
    west, south, east, north = file.window.bounds
    assert west < min(c.min_lon for c in cells) - 0.02
    assert east > max(c.max_lon for c in cells) + 0.02
    assert south < min(c.min_lat for c in cells) - 0.02
    assert north > max(c.max_lat for c in cells) + 0.02


def test_a_disk_that_is_full_gets_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with no_file_above(40_000):  # as some rasters are, and the extract is not
        assert main(["--cells=1", f"--output={tmp_path}/world"]) == 1
    assert "error: the storage cannot be used any more: [Errno 27] File too large" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
