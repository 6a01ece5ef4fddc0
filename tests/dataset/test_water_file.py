"""The kept sea of a dataset's cells."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import shapely

from beam_pipeline.dataset.folder import FINGERPRINT_FILE, WATER_FILE, DatasetFolder
from beam_pipeline.dataset.water_file import describe_water, kept_water, parse_water, water_text
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.parsing import MalformedError
from tests.dataset.test_fingerprint import text as fingerprint_text

SEA = {7: shapely.to_wkb(shapely.box(0, 0, 1, 1)), 3: shapely.to_wkb(shapely.Point(0, 0).buffer(3))}


def test_what_was_written_is_read() -> None:
    text = water_text(SEA)
    assert dict(parse_water(text)) == SEA
    assert [cell_id for cell_id, _ in parse_water(text)] == [3, 7]
    assert text == water_text(dict(reversed(SEA.items())))
    assert list(parse_water(water_text({}))) == []


@pytest.mark.parametrize(
    "line",
    ["", "[]", '{"cell_id": 1}', '{"cell_id": -1, "sea": "AA=="}', '{"cell_id": "1", "sea": "AA=="}', "{"],
)
def test_what_is_no_line_of_it_is_refused(line: str) -> None:
    with pytest.raises(MalformedError):
        list(parse_water(f"{line}\n"))


def test_the_text_is_what_counts() -> None:
    text = water_text(SEA)
    found = describe_water("sea.shp", 9, text)
    assert found.model_dump() == {
        **{"name": "sea.shp", "bytes": 9},
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, True),
        ({"name": "other.shp"}, False),
        ({"size": 8}, False),
        ({"cells_sha256": "of others"}, False),
        ({"ontology_sha256": "with another reach"}, False),
    ],
)
def test_an_earlier_launch_is_followed_where_all_is_the_same(
    tmp_path: Path, changes: dict[str, Any], kept: bool
) -> None:
    folder = DatasetFolder(BeamFiles(), str(tmp_path))
    given: dict[str, Any] = {"name": "sea.shp", "size": 9, "cells_sha256": "ab", "ontology_sha256": "cd"}
    assert kept_water(folder, **given) is None
    for text in (water_text(SEA), water_text({})):  # cells without sea are told from no file
        water = describe_water("sea.shp", 9, text).model_dump()
        folder.write_text(FINGERPRINT_FILE, fingerprint_text(water_polygons=water))
        folder.write_text(WATER_FILE, text)
        assert kept_water(folder, **{**given, **changes}) == (text if kept else None)


@pytest.mark.parametrize("name", [FINGERPRINT_FILE, WATER_FILE])
def test_what_is_damaged_is_not_followed(tmp_path: Path, name: str) -> None:
    folder = DatasetFolder(BeamFiles(), str(tmp_path))
    text = water_text(SEA)
    water = describe_water("sea.shp", 9, text).model_dump()
    folder.write_text(FINGERPRINT_FILE, fingerprint_text(water_polygons=water))
    folder.write_text(WATER_FILE, text)
    whole = (tmp_path / name).read_bytes()
    for damaged in (whole[:-5], whole.replace(b"s", b"\xff", 1), b""):
        (tmp_path / name).write_bytes(damaged)
        assert kept_water(folder, "sea.shp", 9, "ab", "cd") is None
    # One that was begun without a sea.
    (tmp_path / FINGERPRINT_FILE).write_text(fingerprint_text())
    assert json.loads((tmp_path / FINGERPRINT_FILE).read_text()).get("water_polygons") is None
    assert kept_water(folder, "sea.shp", 9, "ab", "cd") is None
