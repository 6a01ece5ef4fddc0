import json
from pathlib import Path

import pytest

from beam_pipeline.dataset.extract_records import dropped_by_extract, format_dropped, parse_dropped
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.identity import ExtractIdentity
from beam_pipeline.features.piece import LeftOut
from beam_pipeline.features.store_json import Store, StoreExtract
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.feature import MOST_NAMED, Dropped
from beam_pipeline.runtime.parsing import MalformedError

DROPPED = Dropped(
    {"broken_relation": 1, "incomplete_way": 33},
    {"broken_relation": ("relation/5",), "incomplete_way": ("way/-4", "way/7")},
)


EXTRACT = ExtractIdentity("a.osm.pbf", 7, "")
STORE = Store(
    source="extracts",
    extracts=(
        StoreExtract(extract=EXTRACT, bounds=None, outcome="read", left_out=LeftOut.of(DROPPED)),
        StoreExtract(extract=ExtractIdentity("b.osm.pbf", 8, ""), bounds=None, outcome="beyond"),
    ),
    keys=("building",),
    padding_m=600.0,
    cells=1,
    cells_sha256="0",
    tiles={},
)


def test_records_of_older_datasets_say_what_was_left_out(tmp_path: Path) -> None:
    folder = DatasetFolder(BeamFiles(), str(tmp_path))
    assert dropped_by_extract(folder, ["a.osm.pbf", "b.osm.pbf"]) is None
    for dropped in (DROPPED, Dropped()):
        folder.write_text("extracts/a.osm.pbf.json", format_dropped(dropped))
        assert dropped_by_extract(folder, ["a.osm.pbf", "b.osm.pbf"]) == {"a.osm.pbf": dropped}
        text = (tmp_path / "extracts" / "a.osm.pbf.json").read_text()
        assert format_dropped(parse_dropped(text.encode())) == text
    folder.write_text("extracts/a.osm.pbf.json", "[]")
    assert dropped_by_extract(folder, ["a.osm.pbf"]) is None


@pytest.mark.parametrize("name", ["plan/store.json", "features/store.json"])
def test_the_store_says_what_was_left_out(tmp_path: Path, name: str) -> None:
    folder = DatasetFolder(BeamFiles(), str(tmp_path))
    folder.write_text("extracts/a.osm.pbf.json", format_dropped(Dropped({"tangled": 9})))
    folder.write_text(name, STORE.to_json())
    assert dropped_by_extract(folder, ["a.osm.pbf", "b.osm.pbf"]) == {"a.osm.pbf": DROPPED}


@pytest.mark.parametrize("counts", [{}, {"incomplete_way": 3, "tangled": 1}])
def test_records_of_older_versions_hold_counts_alone(counts: dict[str, int]) -> None:
    text = json.dumps(counts, indent=2, sort_keys=True) + "\n"
    assert parse_dropped(text.encode()) == Dropped(counts)
    assert format_dropped(Dropped(counts)) == text


@pytest.mark.parametrize(
    "record",
    [
        [],
        {"incomplete_way": -1},
        {"incomplete_way": "3"},
        {"counts": {"tangled": 1}},
        {"counts": {"tangled": 1.5}, "named": {}},
        {"counts": {"tangled": 1}, "named": {"tangled": "way/1"}},
        {"counts": {"tangled": 99}, "named": {"tangled": ["way/1"] * (MOST_NAMED + 1)}},
        {"counts": {}, "named": {}, "more": 1},
    ],
)
def test_what_is_no_record_is_refused(record: object) -> None:
    with pytest.raises(MalformedError):
        parse_dropped(json.dumps(record).encode())
