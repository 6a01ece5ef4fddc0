"""A dataset at a coast: the sea of water polygons beside what is mapped, from extracts and from Overpass."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely

from beam_pipeline.build_dataset import main
from beam_pipeline.jobs import water
from beam_pipeline.labels.dilation import dilate
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY
from beam_pipeline.records.schema import NONE
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.labels.osm_file import OsmFile, square
from tests.labels.overpass_server import OverpassServer
from tests.labels.sea_file import write_sea
from tests.pipelines.conftest import Built, flags

WOODED, WATER = 0, 12
YEAR = 2021


@pytest.fixture(scope="module")
def coast(world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two cells: an island with a wood and its coastline in one, nothing but sea in the other. And the sea."""
    folder = tmp_path_factory.mktemp("coast")
    header, *rows = world.cells_csv.read_text().splitlines(keepends=True)
    (folder / "cells.csv").write_text("".join([header, *rows[:2]]))
    first = next(csv.DictReader((folder / "cells.csv").open()))
    lon, lat = ((float(first[f"min_{it}"]) + float(first[f"max_{it}"])) / 2 for it in ("lon", "lat"))
    file = OsmFile()
    file.way(1, square(lon, lat, 0.004), natural="coastline")
    file.way(2, square(lon, lat, 0.002), landuse="forest")
    file.write(folder / "map.osm.pbf")
    land = shapely.Polygon(square(lon, lat, 0.004))
    halves = [shapely.box(lon - 1, lat - 1, lon + 1e-4, lat + 1), shapely.box(lon, lat - 1, lon + 1, lat + 1)]
    sea = [half.difference(land) for half in halves]
    write_sea(folder / "sea.gpkg", sea)
    return folder, shapely.union_all(sea)


def arguments(world: SampleWorld, folder: Path, output: Path, *more: str) -> list[str]:
    own = ["--cells", str(folder / "cells.csv"), "--osm", str(folder / "map.osm.pbf"), "--years", str(YEAR)]
    return [*flags(world, output), *own, *more]


def check_sea(built: Built, sea: Any) -> None:
    """Looks up each pixel's centre in the sea, in degrees."""
    examples = built.examples()
    assert len(examples) == 2
    shares = []
    for example in examples:
        chip = example.cell.chip
        x, y = chip.left + 10 * (np.arange(192) + 0.5), chip.top - 10 * (np.arange(192) + 0.5)
        to_degrees = pyproj.Transformer.from_crs(chip.epsg, 4326, always_xy=True)
        lon, lat = to_degrees.transform(*np.meshgrid(x, y))
        expected = shapely.contains_xy(sea, lon, lat)
        sure = shapely.distance(shapely.points(lon, lat), shapely.boundary(sea)) > 1e-6
        lit = example.label[..., 1] == WATER
        np.testing.assert_array_equal(lit[sure], expected[sure])
        shares.append(lit.mean())
    assert min(shares) < 0.9
    assert max(shares) == 1.0


def test_the_sea_is_drawn_kept_and_gone_on_with(
    world: SampleWorld,
    coast: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, sea = coast
    output = tmp_path / "set"
    given = arguments(world, folder, output, "--water_polygons", str(folder / "sea.gpkg"))
    built = Built(output, main(given))
    assert built.code == 0
    said = capsys.readouterr().out
    assert "AT A COAST" not in said
    assert "NOTHING IS MAPPED" not in said
    check_sea(built, sea)
    (island,) = (example.label for example in built.examples() if WOODED in example.label[..., 0])
    # Where the sea is known, land at the coast is known to be no water.
    shore = dilate(island[..., 1] == WATER, 50) & (island[..., 1] != WATER)
    assert shore.sum() > 300
    assert (island[..., 1][shore] == NONE).all()
    kept = output / "plan" / "water_polygons.jsonl"
    assert built.dataset["fingerprint"]["water_polygons"] == {
        "name": "sea.gpkg",
        "bytes": (folder / "sea.gpkg").stat().st_size,
        "sha256": hashlib.sha256(kept.read_bytes()).hexdigest(),
    }
    assert "OpenStreetMap" in built.dataset["licences"]["labels"]
    assert verify([str(output)]) == 0

    # What was kept is gone on with: the file is not read once more.
    shards, before = built.shards, kept.read_bytes()
    (output / next(iter(shards))).unlink()
    cuts: list[int] = []
    cut = water.sea_of_cells

    def counted(*of: Any) -> Any:
        cuts.append(1)
        return cut(*of)

    monkeypatch.setattr(water, "sea_of_cells", counted)
    assert main(given) == 0
    assert (Built(output, 0).shards, cuts) == (shards, [])

    # Where it is damaged `verify` says so, and it is cut anew.
    kept.write_bytes(before[:-20])
    capsys.readouterr()
    assert verify([str(output)]) == 1
    assert "plan/water_polygons.jsonl: is not the sea of the fingerprint" in capsys.readouterr().out
    assert main(given) == 0
    assert (kept.read_bytes(), cuts) == (before, [1])

    # Another sea, and none, is another dataset.
    capsys.readouterr()
    other = write_sea(tmp_path / "other.gpkg", [shapely.box(*sea.bounds)])
    for more, named in (
        (["--water_polygons", str(other)], "water_polygons.name: 'sea.gpkg' there, 'other.gpkg' now"),
        ([], "water_polygons.name: 'sea.gpkg' there, None now"),
    ):
        assert main(arguments(world, folder, output, *more)) == 2
        assert named in capsys.readouterr().err


def test_without_the_sea_the_table_says_what_is_missing(
    world: SampleWorld, coast: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = coast
    built = Built(tmp_path / "set", main(arguments(world, folder, tmp_path / "set")))
    assert built.code == 0
    assert not any(WATER in example.label for example in built.examples())
    # The sea may be anywhere but where something is mapped that rules it out.
    (island,) = (example.label for example in built.examples() if WOODED in example.label[..., 0])
    assert not ((island[..., 1] == NONE) & (island[..., 0] != WOODED)).any()
    said = capsys.readouterr().out
    assert "CELLS AT A COAST WITH THE SEA UNLABELLED: 1. --water_polygons says where it is" in said
    assert (
        "CELLS IN WHICH NOTHING IS MAPPED: 1. Do the extracts hold them, or is it sea, which --water_polygons says?"
        in said
    )
    assert "water_polygons" not in built.dataset["fingerprint"]


def test_overpass_of_a_date_gets_the_same_sea(
    world: SampleWorld, coast: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, sea = coast
    output = tmp_path / "set"
    sea_flags = ["--water_polygons", str(folder / "sea.gpkg")]
    with OverpassServer(folder / "map.osm.pbf") as server:
        asked = [
            "--osm",
            "overpass",
            "--overpass_url",
            server.url,
            "--overpass_cache",
            str(tmp_path / "cache"),
        ]
        given = arguments(world, folder, output, *sea_flags, *asked, "--osm_date")
        built = Built(output, main([*given, "2019-07-01"]))
    assert built.code == 0
    check_sea(built, sea)
    assert len(server.queries) == 2
    assert all('[date:"2019-07-01T00:00:00Z"]' in query.partition(";")[0] for query in server.queries)
    assert built.dataset["fingerprint"]["osm_date"] == "2019-07-01T00:00:00Z"
    # The same time otherwise said is the same map, which is kept: the server is gone.
    (output / next(iter(built.shards))).unlink()
    assert main([*given, "2019-07-01T00:00:00Z"]) == 0
    assert Built(output, 0).shards == built.shards
    capsys.readouterr()
    assert main([*given, "2019-07-02"]) == 2
    assert "osm_date: '2019-07-01T00:00:00Z' there, '2019-07-02T00:00:00Z' now" in capsys.readouterr().err


def test_a_sea_that_no_label_draws_is_refused(
    world: SampleWorld, coast: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = coast
    ontology = json.loads(DEFAULT_ONTOLOGY.read_text())
    for channel in ontology["channels"]:
        for label in channel["labels"].values():
            label.pop("water_polygons", None)
    (tmp_path / "mine.json").write_text(json.dumps(ontology))
    more = ["--water_polygons", str(folder / "sea.gpkg"), "--ontology", str(tmp_path / "mine.json")]
    assert main(arguments(world, folder, tmp_path / "set", *more)) == 2
    assert '"water_polygons": ["sea"]' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("none.shp", "--water_polygons cannot be read"),
        ("map.osm.pbf", "its name ends in none of"),
        ("cells.gpkg", "not recognized"),
    ],
)
def test_a_file_that_is_no_sea_ends_the_launch(
    world: SampleWorld, coast: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, said: str
) -> None:
    folder, _ = coast
    (folder / "cells.gpkg").write_bytes((folder / "cells.csv").read_bytes())
    assert main(arguments(world, folder, tmp_path / "set", "--water_polygons", str(folder / file))) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
