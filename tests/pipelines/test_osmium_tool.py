"""The advice of docs/osm.md and of messages about osmium-tool, with osmium-tool. Opt in with -m engines."""

import dataclasses
import datetime
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import osmium
import pytest

from beam_pipeline.records.example import decode
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.pipelines.conftest import Built, build

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(shutil.which("osmium") is None, reason="osmium-tool is not installed"),
]

MAPPED = datetime.datetime(2018, 1, 1, tzinfo=datetime.UTC)
GONE = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
DOCS = Path(__file__).parents[2] / "docs" / "osm.md"


@pytest.fixture
def few(world: SampleWorld, tmp_path: Path) -> SampleWorld:
    """The world of which two cells are built."""
    cells = tmp_path / "few.csv"
    cells.write_text("".join(world.cells_csv.read_text().splitlines(keepends=True)[:3]))
    return dataclasses.replace(world, cells_csv=cells)


def labels_of(built: Built) -> dict[int, bytes]:
    return {example.cell.cell_id: example.label.tobytes() for example in map(decode, built.payloads())}


def write_history(extract: Path, path: Path) -> Path:
    """Writes an extract as one whose objects were mapped in 2018 and whose ways with tags were deleted in 2021."""
    with osmium.io.Reader(str(extract)) as reader:
        header = reader.header()
    header.has_multiple_object_versions = True
    with osmium.SimpleWriter(osmium.io.File(str(path), "osh.pbf"), header=header) as writer:
        for one in osmium.FileProcessor(str(extract)):
            writer.add(one.replace(version=1, timestamp=MAPPED, visible=True))
            if one.is_way() and len(one.tags):
                gone = one.replace(version=2, timestamp=GONE, visible=False, tags={}, nodes=[])
                writer.add(gone)
    return path


def osmium_tool(*words: str | Path) -> None:
    subprocess.run(["osmium", *map(str, words)], check=True, capture_output=True)


def test_one_moment_of_a_history_is_built_from(
    few: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = build(few, tmp_path / "whole")
    assert whole.code == 0
    history = write_history(few.osm_extract, tmp_path / "map.osh.pbf")
    assert build(few, tmp_path / "history", "--osm", str(history)).code == 2
    (command,) = re.findall(r"osmium time-filter .*", capsys.readouterr().err)
    assert not (tmp_path / "history").exists()

    (shown,) = re.findall(r"osmium time-filter history(?:.|\\\n)*?[^\\]$", DOCS.read_text(), re.MULTILINE)
    documented = shown.replace("\\\n", "").replace("history.osh.pbf", str(history))
    for name, advice in (("advised", command), ("documented", documented)):
        words = shlex.split(advice)
        moment = tmp_path / "moment.osm.pbf"
        words[words.index("-o") + 1] = str(moment)
        osmium_tool(*words[1:], "--overwrite")
        at_the_time = build(few, tmp_path / name, "--osm", str(moment))
        assert at_the_time.code == 0
        assert labels_of(at_the_time) == labels_of(whole)
        assert verify([str(at_the_time.folder)]) == 0
        (extract,) = at_the_time.dataset["fingerprint"]["osm"]
        assert extract["timestamp"] == "2020-07-01T00:00:00Z"

    osmium_tool("time-filter", history, "2022-01-01T00:00:00Z", "-o", tmp_path / "late.osm.pbf")
    later = build(few, tmp_path / "late", "--osm", str(tmp_path / "late.osm.pbf"))
    assert labels_of(later).keys() == labels_of(whole).keys()
    assert labels_of(later) != labels_of(whole)


def test_extracts_of_two_dates_merged_are_refused_and_the_advice_holds(
    few: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = write_history(few.osm_extract, tmp_path / "map.osh.pbf")
    early, late = tmp_path / "A.osm.pbf", tmp_path / "B.osm.pbf"
    osmium_tool("time-filter", history, "2019-01-01T00:00:00Z", "-o", early)
    # The same map, of which every object was touched.
    with osmium.SimpleWriter(str(late)) as writer:
        for one in osmium.FileProcessor(str(early)):
            writer.add(one.replace(version=2, timestamp=GONE))
    capsys.readouterr()
    for number, way in enumerate(("merge", "sort")):
        osmium_tool(way, early, late, "-o", tmp_path / f"{number}.osm.pbf")
        refused = build(few, tmp_path / f"refused {number}", "--osm", str(tmp_path / f"{number}.osm.pbf"))
        assert refused.code == 1
        assert {letter["reason"] for letter in refused.dead_letters} == {"doubled_extract"}
        (detail,) = {letter["detail"] for letter in refused.dead_letters}
        assert re.search(r"node \d+ is in it more than once", detail)
        assert "doubled_extract: mend the extract as its dead letter says" in capsys.readouterr().out
        assert verify([str(refused.folder)]) == 0

    whole = build(few, tmp_path / "whole")
    (command,) = re.findall(r"\((osmium merge [^)]*)\)", detail)
    shutil.copyfile(early, late)  # of one date: what is in both is equal
    subprocess.run(shlex.split(command), check=True, cwd=tmp_path)
    merged = build(few, tmp_path / "merged", "--osm", str(tmp_path / "AB.osm.pbf"))
    apart = build(few, tmp_path / "apart", "--osm", f"{early},{late}")
    for built in (merged, apart):
        assert built.code == 0
        assert labels_of(built) == labels_of(whole)
