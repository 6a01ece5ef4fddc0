"""The files of copies that benchmarks read: each copy is the first, elsewhere and with other ids."""

import osmium
import pytest

from beam_pipeline.labels.extract import check_extract
from beam_pipeline.labels.pbf_checks import check_blocks
from tests.benchmarks.osm_copies import PLANET_IDS, shift_of, write_copies
from tests.labels.osm_file import OsmFile, square

COPIES = 3


def read(path):
    """All objects by kind: (id, tags, place or references)."""
    found = {"n": [], "w": [], "r": []}
    for it in osmium.FileProcessor(str(path)):
        content = (
            (it.location.x, it.location.y)
            if it.is_node()
            else [node.ref for node in it.nodes]
            if it.is_way()
            else [(member.type, member.ref, member.role) for member in it.members]
        )
        found[it.type_str()].append((it.id, dict(it.tags), content))
    return found


@pytest.fixture
def files(tmp_path):
    first, second = OsmFile(), OsmFile()
    first.way(17, square(9.5, 47.1, 0.01), building="yes")
    first.way(18, [(9.5, 47.1), (9.6, 47.2)], highway="path", name="Weg ü")
    first.node((9.5, 47.1), {"natural": "tree"})
    first.relation(5, [(17, "outer"), (18, ""), (99, "inner")], type="multipolygon")
    second.way(3, square(-70.5, 43.7, 0.01), building="hut")
    return [first.write(tmp_path / "a.osm.pbf"), second.write(tmp_path / "b.osm.pbf")]


@pytest.mark.parametrize("highest", [PLANET_IDS, {"n": 0, "w": 0, "r": 0}])
def test_each_copy_is_the_first_elsewhere(tmp_path, files, highest):
    path = tmp_path / "copies.osm.pbf"
    nodes = write_copies(files, COPIES, path, (9.0, 47.0, 10.0, 48.0), highest)
    assert check_extract(path).bounds == (9.0, 47.0, 10.0, 48.0)
    check_blocks(path)  # ids ascend, and none comes twice
    copies, originals = read(path), [read(file) for file in files]
    assert [len(copies[kind]) for kind in "nwr"] == [nodes, 3 * COPIES, COPIES]
    assert max(osm_id for osm_id, _, _ in copies["n"]) > 0.6 * highest["n"]
    for copy in range(COPIES):
        of_copy = {
            kind: one[copy * len(one) // COPIES :][: len(one) // COPIES] for kind, one in copies.items()
        }
        lon, lat = (round(degrees * 1e7) for degrees in shift_of(copy))
        expected = [(tags, (x + lon, y + lat)) for file in originals for _, tags, (x, y) in file["n"]]
        assert [(tags, place) for _, tags, place in of_copy["n"]] == expected
        # What each way refers to lies where that of the original does, in turn.
        places = {osm_id: (x - lon, y - lat) for osm_id, _, (x, y) in of_copy["n"]}
        ways = [(tags, [places[ref] for ref in refs]) for _, tags, refs in of_copy["w"]]
        assert ways == [
            (tags, [{it: place for it, _, place in file["n"]}[ref] for ref in refs])
            for file in originals
            for _, tags, refs in file["w"]
        ]
        ((_, tags, members),) = of_copy["r"]
        assert tags == {"type": "multipolygon"}
        assert [role for *_, role in members] == ["outer", "", "inner"]
        assert [ref for _, ref, _ in members[:2]] == [osm_id for osm_id, *_ in of_copy["w"][:2]]
        assert members[2][1] not in {osm_id for osm_id, *_ in copies["w"]}
