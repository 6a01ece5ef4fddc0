"""The step of docs/osm.md that takes a history extract as of a date, where osmium-tool is installed."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import osmium
import pytest
from osmium.osm.mutable import Node, Way

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.extract import check_extract, features_of_cells
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.runtime.faults import InvalidInputError

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
CHIP = ChipWindow(32632, 539_460, 5_220_060)
LON, LAT = 9.5327, 47.1413
DOCS = Path(__file__).parents[2] / "docs" / "osm.md"


def write_history(path: Path) -> None:
    """A field that became a wood in 2018 and houses in 2021, and a road that is gone since 2020."""
    header = osmium.io.Header()
    header.has_multiple_object_versions = True
    corners = [(LON, LAT), (LON + 0.003, LAT), (LON + 0.003, LAT + 0.003), (LON, LAT + 0.003)]
    with osmium.SimpleWriter(str(path), header=header) as writer:
        for number, place in enumerate(corners, 1):
            writer.add_node(Node(id=number, version=1, timestamp="2017-01-01T00:00:00Z", location=place))
        ring = {"id": 1, "nodes": [1, 2, 3, 4, 1]}
        for version, (date, tags) in enumerate(
            (
                ("2017-01-01T00:00:00Z", {"landuse": "farmland"}),
                ("2018-05-01T00:00:00Z", {"landuse": "forest"}),
                ("2021-05-01T00:00:00Z", {"landuse": "residential"}),
            ),
            1,
        ):
            writer.add_way(Way(**ring, version=version, timestamp=date, tags=tags))
        road = {"id": 2, "tags": {"highway": "track"}}
        writer.add_way(Way(**road, nodes=[1, 3], version=1, timestamp="2017-01-01T00:00:00Z"))
        writer.add_way(Way(id=2, nodes=[], version=2, visible=False, timestamp="2020-01-01T00:00:00Z"))


@pytest.mark.skipif(shutil.which("osmium") is None, reason="needs osmium-tool")
def test_a_history_extract_is_taken_as_of_a_date(tmp_path: Path) -> None:
    (command,) = re.findall(r"^osmium time-filter .*$", DOCS.read_text(), re.MULTILINE)
    words = shlex.split(command)
    assert (words[3], words[4]) == ("map.osm.pbf", "history.osh.pbf")
    write_history(tmp_path / "history.osh.pbf")
    with pytest.raises(InvalidInputError, match="osmium time-filter"):
        check_extract(tmp_path / "history.osh.pbf")
    found = {}
    for date in ("2018-01-01T00:00:00Z", words[5], "2022-01-01T00:00:00Z"):
        subprocess.run([*words[:5], date, "--overwrite"], cwd=tmp_path, check=True)
        check_extract(tmp_path / "map.osm.pbf")
        parts = features_of_cells(tmp_path / "map.osm.pbf", {0: CHIP}, ONTOLOGY)
        found[date] = [feature.tags for part in parts for _, feature in part.features]
    assert words[5] == "2019-07-01T00:00:00Z"
    assert list(found.values()) == [
        [(("landuse", "farmland"),), (("highway", "track"),)],
        [(("landuse", "forest"),), (("highway", "track"),)],
        [(("landuse", "residential"),)],
    ]
