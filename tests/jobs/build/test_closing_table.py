"""What is said when a build is done of the scenes that the catalogue has."""

from collections.abc import Mapping
from pathlib import Path

from beam_pipeline.dataset.folder import DATASET_FILE, DatasetFolder, description_json
from beam_pipeline.dataset.run_record import RunRecord, write_run
from beam_pipeline.jobs.build.closing_table import closing_table
from beam_pipeline.jobs.storage import BeamFiles
from tests.dataset.test_manifest import describe


def lines_of(path: Path, scenes_per_tile: Mapping[str, Mapping[str, int]] | None) -> list[str]:
    """The lines of the table that are about tiles and years."""
    described = describe()
    described.pop("scenes_per_tile", None)
    if scenes_per_tile is not None:
        described["scenes_per_tile"] = scenes_per_tile
    folder = DatasetFolder(BeamFiles(), str(path))
    folder.write_text(DATASET_FILE, description_json(described))
    write_run(folder, RunRecord(started="2026-01-01T00:00:00+00:00", finished="2026-01-01T00:00:00+00:00"))
    said = closing_table(folder)[0].splitlines()
    (rejected,) = (number for number, line in enumerate(said) if line.startswith("rejected"))
    return said[1 + len(described["splits"]) + 1 : rejected]


def test_a_year_that_is_not_whole_is_seen(tmp_path: Path) -> None:
    full = {f"{zone}TWN": {"2019": 140, "2020": 60 + zone} for zone in range(30, 39)}
    gaps = {"29RKH": {"2019": 141, "2020": 21}, "28PDC": {"2019": 46}}
    assert lines_of(tmp_path, {**full, **gaps}) == [
        "usable scenes of 2019: 46 to 141, median 140, in 11 tiles",
        "usable scenes of 2020: 21 to 98, median 93.5, in 10 tiles",
        "TILE-YEARS OF LESS THAN A THIRD OF THE YEAR'S MEDIAN: 2",
        "  28PDC 2019: 46",
        "  29RKH 2020: 21",
    ]


def test_the_lines_are_few_however_large_the_dataset(tmp_path: Path) -> None:
    tiles = {f"tile {number}": {"2020": 1 if number % 3 == 0 else 80} for number in range(300)}
    said = lines_of(tmp_path, tiles)
    assert len(said) == 13
    assert said[-1] == "  and 90 more"


def test_nothing_is_said_of_what_was_not_counted(tmp_path: Path) -> None:
    assert lines_of(tmp_path, None) == []
    assert lines_of(tmp_path, {}) == []
    assert lines_of(tmp_path, {"33TWN": {"2020": 0}}) == [
        "usable scenes of 2020: 0 to 0, median 0, in 1 tiles"
    ]
