import json
from pathlib import Path

import pytest

from beam_pipeline.dataset.extract_records import (
    format_dropped,
    parse_dropped,
    record_extract,
    recorded_extract,
)
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.feature import MOST_NAMED, Dropped
from beam_pipeline.runtime.parsing import MalformedError

DROPPED = Dropped(
    {"broken_relation": 1, "incomplete_way": 33},
    {"broken_relation": ("relation/5",), "incomplete_way": ("way/-4", "way/7")},
)


def test_a_record_says_again_what_it_was_given(tmp_path: Path) -> None:
    folder = DatasetFolder(BeamFiles(), str(tmp_path))
    for dropped in (DROPPED, Dropped()):
        record_extract(folder, "far/away/a.osm.pbf", dropped)
        assert recorded_extract(folder, "other/a.osm.pbf") == dropped
        text = (tmp_path / "extracts" / "a.osm.pbf.json").read_text()
        assert format_dropped(parse_dropped(text.encode())) == text
    assert recorded_extract(folder, "b.osm.pbf") is None


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
