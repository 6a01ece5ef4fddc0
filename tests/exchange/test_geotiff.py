"""GeoTIFFs of an export: what others read of them is what the dataset holds, where it lies."""

import dataclasses
import json
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.exchange.cell_row import CellRow
from beam_pipeline.exchange.geotiff import image_tiff
from beam_pipeline.exchange.geotiff_format import INEXACT, GeoTiff
from beam_pipeline.exchange.geotiff_whole import write_whole_files
from beam_pipeline.exchange.label_classes import label_channels
from beam_pipeline.exchange.output import WholeOutput
from beam_pipeline.exchange.source import open_source
from beam_pipeline.exchange.stac import item_json
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.example import CellYear
from beam_pipeline.records.schema import GRID_BANDS
from beam_pipeline.report.colours import COLOURS
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from tests.exchange.conftest import export
from tests.exchange.georeferenced import cell_years
from tests.model_tf.made_dataset import ONTOLOGY, write_dataset

STEMS = ("label_OSM_land_use", "label_OSM_water_and_roads", "label_buildings")


def examples() -> Iterator[CellYear]:
    for shards in cell_years().values():
        for shard in shards:
            yield from shard


def folder_of(georeferenced: Path, it: CellYear) -> Path:
    return georeferenced / "tiles" / it.cell.tile / str(it.cell.cell_id)


def test_every_pixel_is_where_the_dataset_has_it(georeferenced: Path) -> None:
    files = 0
    for it in examples():
        folder, chip = folder_of(georeferenced, it), it.cell.chip
        expected = {f"{stem}.tif": (it.label[..., i : i + 1], 10, 255) for i, stem in enumerate(STEMS)}
        for slot, image in enumerate(it.images):
            for gsd in (10, 20, 60):
                name = f"{it.year}_image_{slot}_gsd_{gsd}.tif"
                expected[name] = (getattr(image, f"gsd_{gsd}"), gsd, 0)
            expected[f"{it.year}_image_{slot}_scl.tif"] = (image.scl[..., np.newaxis], 20, 0)
        for name, (pixels, gsd, nodata) in expected.items():
            files += 1
            with rasterio.open(folder / name) as tiff:
                assert np.array_equal(np.moveaxis(tiff.read(), 0, -1), pixels)
                assert tiff.dtypes == (str(pixels.dtype),) * pixels.shape[-1]
                assert tiff.transform == from_origin(chip.left, chip.top, gsd, gsd)
                assert tiff.crs.to_epsg() == chip.epsg
                assert tiff.bounds == chip.bounds
                assert tiff.nodata == nodata
    assert files == 10 * 3 + 18 * 4  # of cell-years and images
    assert len(list(georeferenced.glob("tiles/*/*/*.tif"))) == 5 * 3 + 18 * 4


def test_bands_say_what_they_are(georeferenced: Path) -> None:
    offsets = set()
    for it in examples():
        for slot, image in enumerate(it.images):
            for grid, bands in GRID_BANDS.items():
                with rasterio.open(
                    folder_of(georeferenced, it) / f"{it.year}_image_{slot}_{grid}.tif"
                ) as tiff:
                    assert tiff.descriptions == bands
                    assert set(tiff.scales) == {0.0001}
                    assert set(tiff.offsets) == {image.boa_add_offset / 10_000}
                    offsets |= set(tiff.offsets)
                    tags = tiff.tags()
                    assert tags["datetime"] == image.datetime
                    assert tags["TIFFTAG_DATETIME"] == f"{it.year}:0{slot + 3}:19 11:34:25"
                    assert (tags["item_id"], tags["split"]) == (image.item_id, it.cell.split)
                    assert "Copernicus Sentinel data" in tags["TIFFTAG_COPYRIGHT"]
                    if grid == "gsd_10":
                        assert [tiff.tags(number)["common_name"] for number in tiff.indexes] == [
                            *("blue", "green", "red", "nir")
                        ]
                        assert [each.name for each in tiff.colorinterp[:3]] == ["blue", "green", "red"]
    assert offsets == {0, -0.1}


def test_labels_have_colours_and_names(georeferenced: Path) -> None:
    folder = folder_of(georeferenced, next(examples()))
    for channel, stem in zip(ONTOLOGY["channels"], STEMS, strict=True):
        with rasterio.open(folder / f"{stem}.tif") as tiff:
            assert tiff.descriptions == (channel["name"],)
            assert tiff.colorinterp[0].name == "palette"
            colours = tiff.colormap(1)
            assert "OpenStreetMap contributors" in tiff.tags()["TIFFTAG_COPYRIGHT"]
        names = [it.text for it in ET.parse(folder / f"{stem}.tif.aux.xml").iter("Category")]
        assert len(names) == 256
        for name, value in {**channel["labels"], "none": 254, "unlabeled": 255}.items():
            assert names[value] == name
            if value < 254:
                assert colours[value][:3] == COLOURS[name]
        rows = [[it.text for it in row] for row in ET.parse(folder / f"{stem}.tif.aux.xml").iter("Row")]
        assert [(row[0], row[1]) for row in rows] == [(str(i), name) for i, name in enumerate(names) if name]


def test_files_are_laid_out_as_cloud_optimised(georeferenced: Path) -> None:
    for path in georeferenced.glob("tiles/*/*/*.tif"):
        directories, blocks = layout(path.read_bytes())
        assert directories == [8]  # the first is behind the header, and there are no others
        assert len(blocks) == 1  # one block, behind its directory
        assert blocks[0] > 8
        with rasterio.open(path) as tiff:
            assert tiff.block_shapes == [tiff.shape] * tiff.count
            assert tiff.compression.name == "deflate"


def layout(content: bytes) -> tuple[list[int], list[int]]:
    """Offsets of the directories and of the blocks of a little-endian classic TIFF."""
    assert content[:4] == b"II*\0"
    directories, blocks = [], []
    (at,) = struct.unpack_from("<I", content, 4)
    while at:
        directories.append(at)
        (count,) = struct.unpack_from("<H", content, at)
        for number in range(count):
            tag, kind, length, value = struct.unpack_from("<HHII", content, at + 2 + 12 * number)
            assert tag not in (273, 279), "strips"
            if tag == 324:  # offsets of tiles
                assert (kind, length) in ((4, 1), (16, 1))
                blocks.append(value if kind == 4 else struct.unpack_from("<Q", content, value)[0])
        (at,) = struct.unpack_from("<I", content, at + 2 + 12 * count)
    return directories, blocks


def test_mosaics_show_every_chip_in_its_place(georeferenced: Path, tmp_path: Path) -> None:
    by_name: dict[str, list[CellYear]] = {}
    for it in examples():
        names = [*STEMS] if it.year == 2020 else []
        names += [f"{it.year}_image_{slot}_gsd_10" for slot in range(len(it.images))]
        for name in names:
            by_name.setdefault(name, []).append(it)
    read = read_elsewhere(georeferenced, tmp_path)
    for name, of_name in by_name.items():
        for epsg in {it.cell.chip.epsg for it in of_name}:
            here = [it for it in of_name if it.cell.chip.epsg == epsg]
            tile = here[0].cell.tile
            paths = (f"zones/{epsg}/{name}.vrt", f"tiles/{tile}/{name}.vrt")
            for path in paths:  # a zone has one tile here, and both show the same
                shown, (left, top, its_epsg, nodata) = read.pop(path)
                assert its_epsg == epsg
                expected = np.full(shown.shape, nodata, shown.dtype)
                for it in here:  # the later above
                    row, column = round(top - it.cell.chip.top) // 10, round(it.cell.chip.left - left) // 10
                    below = expected[:, row : row + 192, column : column + 192]
                    pixels = pixels_of(it, name)
                    kept = np.isnan(pixels) if pixels.dtype.kind == "f" else pixels == 255
                    below[:] = np.where(kept, below, pixels)
                assert np.allclose(shown, expected, rtol=0, atol=1e-6)
    assert not read


READ_MOSAICS = """
import sys
from pathlib import Path
import numpy as np
import rasterio
arrays = {}
for path in Path(sys.argv[1]).rglob("*.vrt"):
    with rasterio.open(path) as mosaic:
        name = str(path.relative_to(sys.argv[1]))
        arrays[name] = mosaic.read()
        left, top = mosaic.transform * (0, 0)
        arrays[f"{name} facts"] = [left, top, mosaic.crs.to_epsg(), mosaic.nodata]
np.savez(sys.argv[2], **arrays)
"""


def read_elsewhere(georeferenced: Path, tmp_path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Reads all mosaics in a process that has GDAL's driver of them: in ours it is taken away."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        READ_MOSAICS,
        str(georeferenced),
        str(tmp_path / "read.npz"),
    ]
    subprocess.run(command, check=True)
    with np.load(tmp_path / "read.npz") as arrays:
        return {
            name: (arrays[name], arrays[f"{name} facts"]) for name in arrays if not name.endswith(" facts")
        }


def pixels_of(it: CellYear, name: str) -> np.ndarray:
    if name in STEMS:
        return it.label[..., STEMS.index(name)][np.newaxis]
    image = it.images[int(name.split("_")[2])]
    dn = np.moveaxis(image.gsd_10, -1, 0).astype(np.float64)
    return np.where(dn == 0, np.nan, (dn + image.boa_add_offset) / 10_000)


def test_equal_datasets_give_equal_bytes(georeferenced: Path, tmp_path: Path) -> None:
    shards = {"training": [cell_years()["training"][1]]}
    dataset = Path(write_dataset(tmp_path / "set", shards))
    for name in ("one", "other"):
        export(dataset, tmp_path / name, GeoTiff())
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


def test_inexact_chips_are_left_out_and_counted(tmp_path: Path) -> None:
    exact, other = cell_years()["training"][0][:2], cell_years()["training"][1]
    inexact = [dataclasses.replace(it, bounds_exact=False) for it in other]
    dataset = Path(write_dataset(tmp_path / "set", {"training": [exact, inexact]}))
    summary = export(dataset, tmp_path / "out", GeoTiff())
    assert summary.left_out == {INEXACT: 1}
    assert summary.splits["training"]["cells"] == 1
    there = {it.parent.name for it in (tmp_path / "out").glob("tiles/*/*/*.tif")}
    assert there == {str(exact[0].cell.cell_id)}


def test_a_dataset_of_inexact_chips_alone_is_refused(tmp_path: Path) -> None:
    inexact = [dataclasses.replace(it, bounds_exact=False) for it in cell_years()["training"][1]]
    dataset = write_dataset(tmp_path / "set", {"training": [inexact]})
    source = open_source(DatasetFolder(Disk(), dataset), SPLITS)
    with pytest.raises(InvalidInputError, match="lie where their bounds say"):
        GeoTiff().check(source)


def test_labels_that_differ_between_years_are_a_dead_letter(tmp_path: Path) -> None:
    first, second = cell_years()["training"][1]
    changed = dataclasses.replace(second, label=np.roll(second.label, 1, axis=0))
    dataset = Path(write_dataset(tmp_path / "set", {"training": [[first, changed]]}))
    summary = export(dataset, tmp_path / "out", GeoTiff())
    assert summary.dead_letters == {"cell_differs": 1}
    assert not summary.complete
    assert not list((tmp_path / "out").glob("**/*.tif"))


@pytest.mark.parametrize("odd", ["2020-13-45Tx", "0001-01-01T00:00:00+14:00", "2020-02-30T00:00:00Z"])
def test_what_is_no_time_is_kept_as_text(odd: str) -> None:
    it = next(examples())
    images = tuple(
        dataclasses.replace(image, datetime=odd, item_id="a\0b\x01<&>\n\u2028") for image in it.images
    )
    it = dataclasses.replace(it, images=images)
    with rasterio.MemoryFile(image_tiff(it, 0, "gsd_10")) as memory, memory.open() as tiff:
        assert tiff.tags()["datetime"] == odd
        assert "TIFFTAG_DATETIME" not in tiff.tags()
        assert np.array_equal(np.moveaxis(tiff.read(), 0, -1), it.images[0].gsd_10)
    hrefs = {
        f"image_{slot}_{what}": "./x" for slot in (0, 1) for what in ("gsd_10", "gsd_20", "gsd_60", "scl")
    }
    properties = json.loads(item_json(it, (), hrefs))["properties"]
    assert properties["datetime"] is None
    assert properties["start_datetime"] == "2020-01-01T00:00:00Z"
    assert properties["end_datetime"] == "2020-12-31T23:59:59Z"


def test_cells_of_a_tile_that_lie_here_and_there_are_told(tmp_path: Path) -> None:
    (training, alone), _ = cell_years().values()
    channels = label_channels(CategoryTable((), (), (), ("a", "b", "c")))
    first, second, third = (CellRow.of([it], channels) for it in (training[0], alone[0], training[2]))
    with pytest.raises(PermanentFault, match="33TWN"):
        write_whole_files(
            lambda: iter([first, second, third]), channels, [2020], WholeOutput(Disk(), str(tmp_path))
        )


def test_odd_names_make_plain_files() -> None:
    table = CategoryTable(
        names=("a/b", "..", "Ω"), channels=(0, 1, 2), values=(0, 1, 2), channel_names=("../x", "X", "x ")
    )
    channels = label_channels(table)
    assert [it.stem for it in channels] == ["label_0", "label_1", "label_2"]  # two would be label_x
    assert [it.classes[0].key for it in channels] == ["a_b", "class_1", "class_2"]
    assert [it.name for it in channels] == ["../x", "X", "x "]


@pytest.mark.engines
def test_gdals_own_tools_agree(georeferenced: Path) -> None:
    """Needs Debian's gdal-bin and python3-gdal."""
    if shutil.which("gdalinfo") is None:
        pytest.skip("gdalinfo is absent: apt-get install gdal-bin python3-gdal")
    validate = ["/usr/bin/python3", "-m", "osgeo_utils.samples.validate_cloud_optimized_geotiff"]
    paths = sorted(georeferenced.glob("tiles/33TWN/1/*.tif"))
    for path in paths:
        ran = subprocess.run([*validate, str(path)], capture_output=True, text=True, check=False)
        assert "is a valid cloud optimized GeoTIFF" in ran.stdout, ran.stdout + ran.stderr
    label = next(path for path in paths if path.stem == STEMS[0])
    told = subprocess.run(["gdalinfo", "-json", str(label)], capture_output=True, check=True).stdout
    band = json.loads(told)["bands"][0]
    assert band["description"] == "OSM_land_use"
    assert band["colorTable"]["entries"][1][:3] == [*COLOURS["agricultural"]]
    text = subprocess.run(["gdalinfo", str(label)], capture_output=True, check=True, text=True).stdout
    assert "  Categories:\n      0: wooded\n      1: agricultural\n" in text
    assert "GDALRasterAttributeTable" in text
