"""The words on the catalogue's scenes when a build is done."""

from collections.abc import Mapping
from pathlib import Path

from beam_pipeline.dataset.folder import DATASET_FILE, DatasetFolder, description_json
from beam_pipeline.dataset.run_record import RunRecord, write_run
from beam_pipeline.jobs.closing_table import closing_table
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


def unmapped(path: Path, unlabeled: int, coastal: int | None, sea: object) -> list[str]:
    """The lines of the table that are about what no map says."""
    described = describe()
    counts = described["splits"]["training"]
    counts["cells_unlabeled"] = unlabeled
    counts.pop("cells_coastal", None)
    if coastal is not None:
        counts["cells_coastal"] = coastal
    described["fingerprint"] = {**described["fingerprint"], **({"water_polygons": sea} if sea else {})}
    folder = DatasetFolder(BeamFiles(), str(path))
    folder.write_text(DATASET_FILE, description_json(described))
    write_run(folder, RunRecord(started="2026-01-01T00:00:00+00:00", finished="2026-01-01T00:00:00+00:00"))
    return [line for line in closing_table(folder)[0].splitlines() if line.startswith("CELLS")]


def test_what_the_map_lacks_is_said_with_what_mends_it(tmp_path: Path) -> None:
    sea = {"name": "sea.gpkg", "bytes": 1, "sha256": "00"}
    at_a_coast = "CELLS AT A COAST WITH THE SEA UNLABELLED: 5. --water_polygons says where it is"
    nothing = "CELLS IN WHICH NOTHING IS MAPPED: 3. Do the extracts hold them"
    assert unmapped(tmp_path, 3, 5, None) == [
        at_a_coast,
        f"{nothing}, or is it sea, which --water_polygons says?",
    ]
    assert unmapped(tmp_path, 0, 5, None) == [at_a_coast]
    assert unmapped(tmp_path, 3, 5, sea) == [f"{nothing}?"]
    assert unmapped(tmp_path, 0, 5, sea) == []
    # A dataset of a version that counted no coasts.
    assert unmapped(tmp_path, 0, None, None) == []


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
