"""Bounds of headers: those of libosmium where it reads them as they stand, and what it makes others of."""

from pathlib import Path

import numpy as np
import osmium
import pytest

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.extract import check_extract, features_of_cells
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.pbf_header import header_bounds
from tests.labels.raw_pbf import held, number, raw_blob, signed, write_raw_pbf
from tests.shared_data import shared

RING = [(10.0, 46.0), (10.1, 46.0), (10.0, 46.1), (10.0, 46.0)]


def of_libosmium(path: Path) -> tuple[float, ...]:
    box = osmium.io.Reader(str(path)).header().box()
    return box.bottom_left.lon, box.bottom_left.lat, box.top_right.lon, box.top_right.lat


def written(path: Path, bounds: tuple[float, float, float, float]) -> Path:
    write_raw_pbf(path, RING, {"building": "yes"}, bounds)
    return path


def test_ordinary_bounds_are_those_that_libosmium_reads(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    for _ in range(50):
        west, east = sorted(random.uniform(-180, 180, 2).round(7).tolist())
        south, north = sorted(random.uniform(-90, 90, 2).round(7).tolist())
        path = written(tmp_path / "a.osm.pbf", (west, south, east, north))
        assert header_bounds(path) == of_libosmium(path) == (west, south, east, north)


@pytest.mark.parametrize("name", ["monaco-2023.osm.pbf", "liechtenstein-2022.osm.pbf"])
def test_bounds_of_real_extracts(name: str) -> None:
    path = shared("osm", name)
    assert header_bounds(path) == of_libosmium(path)


@pytest.mark.parametrize(
    ("stated", "taken"),
    [
        ((-180.0, -90.0, 180.0, 90.0), (-180.0, -90.0, 180.0, 90.0)),
        ((174.0, -20.0, -178.0, -10.0), (174.0, -20.0, 182.0, -10.0)),
        ((174.0, -20.0, 182.0, -10.0), (174.0, -20.0, 182.0, -10.0)),
        ((-186.0, -20.0, -178.0, -10.0), (-186.0, -20.0, -178.0, -10.0)),
        ((0.0, 0.0, 0.0, 0.0), None),
        ((10.0, 20.0, 10.0, 21.0), None),
        ((10.0, 20.0, 11.0, 20.0), None),
        ((10.0, 21.0, 11.0, 20.0), None),
        ((10.0, -91.0, 11.0, 20.0), None),
        ((10.0, 20.0, 11.0, 90.1), None),
        ((-400.0, 20.0, -390.0, 21.0), None),
        ((500.0, 20.0, 100.0, 21.0), None),
        ((9e9, 20.0, 9.1e9, 21.0), None),
    ],
)
def test_bounds_that_no_map_has_are_unknown(
    tmp_path: Path,
    stated: tuple[float, float, float, float],
    taken: tuple[float, float, float, float] | None,
) -> None:
    assert check_extract(written(tmp_path / "a.osm.pbf", stated)).bounds == taken


def test_a_header_without_bounds_or_with_a_part_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.osm.pbf"
    osmium.SimpleWriter(str(path)).close()
    assert header_bounds(path) is None
    assert check_extract(path).timestamp == ""
    three = b"".join(number(edge, signed(edge * 10**9)) for edge in (1, 2, 3))
    path.write_bytes(raw_blob(b"OSMHeader", held(1, three) + held(4, b"OsmSchema-V0.6")))
    assert header_bounds(path) is None


def test_bounds_that_lie_take_no_feature_away(tmp_path: Path) -> None:
    ontology = Ontology.load(DEFAULT_ONTOLOGY.read_text())
    chips = {1: ChipWindow(32632, 577_200, 5_094_600)}  # around the first corner of the ring

    def features(bounds: tuple[float, float, float, float]) -> list[object]:
        path = written(tmp_path / "a.osm.pbf", bounds)
        return [one for found in features_of_cells(path, chips, ontology) for one in found.features]

    honest = features((9.0, 45.0, 11.0, 47.0))
    assert len(honest) == 1
    assert features((100.0, 10.0, 101.0, 11.0)) == features((0.0, 0.0, 0.0, 0.0)) == honest
