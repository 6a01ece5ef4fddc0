"""Where extracts lie and the cells, and what headers do not say."""

import logging
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import osmium
import pyproj
import pytest
from osmium.osm.mutable import Node

from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.grid import lonlat_to_id
from beam_pipeline.cells.region import cells_from_ids
from beam_pipeline.jobs.coverage import check_coverage, warn_of_headers
from beam_pipeline.jobs.extract import sources
from beam_pipeline.jobs.extract.sources import expand_extracts, inspect_extracts
from beam_pipeline.labels.chip_boxes import Bounds
from beam_pipeline.labels.extract import ExtractInfo
from beam_pipeline.runtime.faults import InvalidInputError
from tests.jobs.test_storage import ObjectStore
from tests.labels.raw_pbf import write_raw_pbf

RING = [(10.0, 46.0), (10.1, 46.0), (10.0, 46.1), (10.0, 46.0)]
TIME = "2020-07-01T00:00:00Z"


def info(name: str, bounds: Bounds | None, timestamp: str = TIME, size: int = 7) -> ExtractInfo:
    return ExtractInfo(name, size, timestamp, bounds)


def cells_at(points: Sequence[tuple[float, float]]) -> Sequence[Cell]:
    lon, lat = zip(*points, strict=True)
    return cells_from_ids(lonlat_to_id(lon, lat), 0).cells


def degrees_of(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes of many points of a chip's edge, each wherever pyproj says it is."""
    along = np.linspace(0, 1920, 65)
    near, far = np.zeros(65), np.full(65, 1920.0)
    x = cell.chip.left + np.concatenate([along, along, near, far])
    y = cell.chip.bottom + np.concatenate([near, far, along, along])
    lon, lat = pyproj.Transformer.from_crs(cell.chip.epsg, 4326, always_xy=True).transform(x, y)
    return np.asarray(lon), np.asarray(lat)


def lies_in(edge: tuple[np.ndarray, np.ndarray], bounds: Bounds) -> bool:
    """Tells it by the angle from one west edge to the other, and not by turning a box."""
    west, south, east, north = bounds
    lon, lat = edge
    first = lon[0]
    from_first = (lon - first + 180) % 360 - 180
    chip_west, width = first + from_first.min(), np.ptp(from_first)
    ahead, behind = (chip_west - west) % 360, (west - chip_west) % 360
    return bool((ahead <= east - west or behind <= width) and lat.min() <= north and south <= lat.max())


def test_the_cells_beyond_are_those_that_lie_in_no_extract(caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(1)
    everywhere = np.column_stack([random.uniform(-180, 180, 150), random.uniform(-55, 70, 150)])
    # So near to the antimeridian that chips lie on both of its sides.
    near = np.column_stack(
        [random.choice([-1, 1], 60) * random.uniform(179.9, 180, 60), random.uniform(-20, 0, 60)]
    )
    cells = cells_at([(float(lon), float(lat)) for lon, lat in np.concatenate([everywhere, near])])
    edges = [degrees_of(cell) for cell in cells]
    for turn in range(12):
        extracts = []
        for number in range(5):
            west, south = random.uniform(-180, 180), random.uniform(-60, 60)
            if turn % 3 == 0:  # one that ends at the antimeridian, or crosses it
                west, south = (170.0, -15.0) if number % 2 else (180.0 - 20.0, -8.0)
            east = min(west + random.uniform(1, 60), 180.0) if turn % 2 else west + random.uniform(1, 60)
            extracts.append(info(f"{number}.osm.pbf", (west, south, east, south + random.uniform(1, 30))))
        inside = sum(any(lies_in(edge, one.bounds or (0, 0, 0, 0)) for one in extracts) for edge in edges)
        if inside:
            assert check_coverage(cells, extracts) == len(cells) - inside, turn
    assert caplog.messages[0].endswith(
        "cells lie outside the bounds of all extracts: nothing will be labelled there"
    )


def test_extracts_that_hold_all_cells_and_none_at_all(caplog: pytest.LogCaptureFixture) -> None:
    cells = cells_at([(9.5, 47.1), (9.6, 47.2), (30.0, -3.0)])
    whole = [info("alps.osm.pbf", (9, 47, 10, 48)), info("congo.osm.pbf", (29, -4, 31, -2))]
    assert check_coverage(cells, whole) == 0
    assert check_coverage(cells, []) is None
    assert not caplog.messages
    assert check_coverage(cells, whole[:1]) == 1
    assert caplog.messages == [
        "1 of 3 cells lie outside the bounds of all extracts: nothing will be labelled there"
    ]
    with pytest.raises(InvalidInputError) as refused:
        check_coverage(cells, [info("fiji.osm.pbf", (174.0, -20.0, 182.0, -10.0))])
    assert str(refused.value) == (
        "None of the 3 cells lies within the bounds of the extracts. "
        "Received: fiji.osm.pbf (174.0, -20.0, 182.0, -10.0)"
    )


def test_extracts_of_unknown_bounds_are_taken_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    cells = cells_at([(9.5, 47.1), (30.0, -3.0)])
    silent = [info(f"{name}.osm.pbf", None) for name in "abcde"]
    assert check_coverage(cells, silent[:1]) is None
    assert check_coverage(cells, [info("alps.osm.pbf", (9, 47, 10, 48)), *silent]) is None
    # That none of the others holds a cell is no reason to refuse.
    assert check_coverage(cells, [info("fiji.osm.pbf", (174, -20, 182, -10)), *silent]) is None
    head = "do not say in their headers where they lie"
    tail = "Cells that no extract holds cannot be found before they are labelled with nothing"
    assert caplog.messages == [
        f"1 of 1 extracts {head}: a.osm.pbf. {tail}",
        f"5 of 6 extracts {head}: a.osm.pbf, b.osm.pbf, c.osm.pbf and 2 more. {tail}; "
        "1 of 2 cells lie outside the bounds of the others",
        f"5 of 6 extracts {head}: a.osm.pbf, b.osm.pbf, c.osm.pbf and 2 more. {tail}; "
        "2 of 2 cells lie outside the bounds of the others",
    ]


def test_extracts_without_a_time_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    extracts = [info("a.osm.pbf", None, ""), info("b.osm.pbf", None), info("c.osm.pbf", (1, 2, 3, 4), "")]
    warn_of_headers([one.name for one in extracts], extracts)
    assert caplog.messages == [
        "2 of 3 extracts do not say in their headers of when their data is: a.osm.pbf, c.osm.pbf. The dataset will "
        "know them by name and size alone"
    ]


def written(path: Path, lon: float, *, silent: bool = False) -> Path:
    header = osmium.io.Header()
    if not silent:
        header.add_box(osmium.osm.Box(lon, 46.0, lon + 1, 47.0))
        header.set("osmosis_replication_timestamp", TIME)
    path.parent.mkdir(exist_ok=True)
    with osmium.SimpleWriter(str(path), header=header) as writer:
        writer.add_node(Node(id=1, location=(lon, 46.5), tags={"man_made": "water_tower"}))
    return path


def test_one_extract_under_two_names_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, other = written(tmp_path / "a.osm.pbf", 10.0), written(tmp_path / "b.osm.pbf", 12.0)
    copy = Path(shutil.copy(first, tmp_path / "c.osm.pbf"))
    # Those that say nothing may be as long as each other: only a link gives them away.
    mute, another = (
        written(tmp_path / "d.osm.pbf", 10.0, silent=True),
        written(tmp_path / "e.osm.pbf", 12.0, silent=True),
    )
    link = tmp_path / "f.osm.pbf"
    link.symlink_to(mute)
    assert mute.stat().st_size == another.stat().st_size
    paths = expand_extracts([str(path) for path in (first, other, copy, mute, another, link)])
    with caplog.at_level(logging.WARNING):
        warn_of_headers(paths, inspect_extracts(paths))
    alike = [message for message in caplog.messages if "one size" in message]
    assert [message.split(": ")[1].split(". ")[0] for message in alike] == [
        "a.osm.pbf, c.osm.pbf",
        "d.osm.pbf, f.osm.pbf",
    ]


def test_an_extract_given_twice_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "osm" / "a.osm.pbf", 10.0)
    (tmp_path / "link").symlink_to(path.parent)
    monkeypatch.chdir(tmp_path)
    given = ["osm/a.osm.pbf", "./osm/a.osm.pbf", str(path), "link/*.osm.pbf"]
    assert expand_extracts(given) == ("osm/a.osm.pbf",)
    (tmp_path / "other").mkdir()
    shutil.copy(path, tmp_path / "other")
    with pytest.raises(
        InvalidInputError, match=r"one file name, .* Received: osm/a\.osm\.pbf, other/a\.osm\.pbf"
    ):
        expand_extracts([*given, "other/a.osm.pbf"])


def test_headers_in_a_bucket_are_read_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {
        f"objects://bucket/{number:02d}.osm.pbf": written(
            tmp_path / f"{number:02d}.osm.pbf", number
        ).read_bytes()
        for number in range(40)
    }
    monkeypatch.setattr(ObjectStore, "objects", contents)
    copy, lock, at_once, most = sources.header_copy, threading.Lock(), 0, 0

    @contextmanager
    def slow(path: str) -> Iterator[str]:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.01)
        with copy(path) as local:
            yield local
        with lock:
            at_once -= 1

    monkeypatch.setattr(sources, "header_copy", slow)
    found = inspect_extracts(sorted(contents))
    assert [one.bounds for one in found] == [(n, 46.0, n + 1, 47.0) for n in range(40)]
    assert [one.name for one in found] == [f"{n:02d}.osm.pbf" for n in range(40)]
    assert 4 <= most <= 16
    # Of several that cannot be read the first is named.
    for number in (5, 9):
        contents[f"objects://bucket/{number:02d}.osm.pbf"] = b"no extract"
    with pytest.raises(InvalidInputError, match=r"Received: \S*05\.osm\.pbf"):
        inspect_extracts(sorted(contents))


def test_bounds_that_cross_the_antimeridian_hold_the_cells_on_both_sides(tmp_path: Path) -> None:
    fiji = tmp_path / "fiji.osm.pbf"
    write_raw_pbf(fiji, RING, {"building": "yes"}, (174.0, -20.0, -178.0, -10.0))
    found = inspect_extracts([str(fiji)])
    # Suva, Taveuni and the islands east of it; not Tonga, nor Africa.
    assert check_coverage(cells_at([(178.4, -18.1), (-179.9, -16.8), (-178.8, -17.2)]), found) == 0
    assert check_coverage(cells_at([(178.4, -18.1), (-175.2, -15.1), (30.0, -15.0)]), found) == 2
