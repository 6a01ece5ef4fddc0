"""Where the locations of nodes are kept: by what a file holds and what the machine has."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import osmium
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_pipeline.labels import extract, node_index
from beam_pipeline.labels.extract import read_features
from beam_pipeline.labels.node_index import NOWHERE, Counts, NodeIndex, plan_node_index
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.pbf_survey import count_nodes
from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.runtime.own_modules import environment_of_modules
from tests.failing_disk import small_disk
from tests.labels.osm_file import OsmFile, square

GB = 10**9
ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
COUNTRY = Counts(113_000_000, 13 * GB)
EUROPE = Counts(3_400_000_000, 13 * GB)
PLANET = Counts(9_700_000_000, 13 * GB)
TINY = Counts(3, 3)


@pytest.mark.parametrize(
    ("counts", "memory", "storage", "disk"),
    [
        (COUNTRY, 16 * GB, "memory", 0),
        (COUNTRY, 6 * GB, "list", 1.81 * GB),
        (EUROPE, 64 * GB, "list", 54.4 * GB),
        (EUROPE, 1000 * GB, "memory", 0),
        (PLANET, 64 * GB, "table", 104 * GB),
        (TINY, GB, "memory", 0),
        (TINY, 0, "table", 0),
        (Counts(3, 13 * GB), 0, "list", 0),
        (Counts(0, 0), 0, "memory", 0),
    ],
)
def test_the_index_is_chosen_by_nodes_ids_and_memory(counts, memory, storage, disk):
    plan = plan_node_index(counts, memory)
    assert plan.storage == storage
    assert plan.disk_bytes == pytest.approx(disk, abs=0.1 * GB)
    assert plan.memory_bytes <= memory / 2


@pytest.mark.parametrize("name", ["plain", "with, comma", "ein Ordner ü"])
@pytest.mark.parametrize("counts", [TINY, Counts(3, 1 << 40)])
def test_an_index_on_disk_lies_in_the_folder_without_a_name(tmp_path, name, counts):
    folder = tmp_path / name
    folder.mkdir()
    index = NodeIndex(plan_node_index(counts, 0), str(folder))
    index.add(np.array([3, 4]), np.array([[1, 2], [1, 3]], np.int32))
    assert index.find(np.array([4, 3])).tolist() == [[1, 3], [1, 2]]
    maps = Path("/proc/self/maps").read_text().splitlines()
    assert any(str(folder) in line and "(deleted)" in line for line in maps)
    assert os.listdir(folder) == []


PLACES = st.tuples(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 31), (1 << 31) - 1))


@pytest.mark.parametrize(
    ("memory", "counts"), [(GB, TINY), (0, TINY), (0, Counts(3, 1 << 40))], ids=["memory", "table", "list"]
)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.integers(-5, 300) | st.integers(0, 100_000), PLACES, max_size=30),
    st.lists(st.integers(-400, 400) | st.integers(-(1 << 62), 1 << 62), max_size=40),
    st.integers(0, 30),
)
def test_what_is_found_is_what_was_added(memory, counts, nodes, more, parted):
    index = NodeIndex(plan_node_index(counts, memory))
    ids = sorted(nodes, key=lambda osm_id: (osm_id > 0, abs(osm_id)))
    for part in (ids[:parted], ids[parted:]):
        if part:
            index.add(np.array(part), np.array([nodes[osm_id] for osm_id in part], np.int32))
    sought = [*ids, *more]
    expected = [
        nodes.get(osm_id, (NOWHERE, NOWHERE)) if osm_id >= 0 else (NOWHERE, NOWHERE) for osm_id in sought
    ]
    assert index.find(np.array(sought, np.int64)).tolist() == [list(place) for place in expected]


def test_features_are_the_same_whatever_the_index(tmp_path, monkeypatch):
    file = OsmFile()
    for number in range(1, 40):
        file.way(number, square(7 + number / 100, 47, 0.001), building="yes")
    path = file.write(tmp_path / "a.osm.pbf")
    in_memory = list(read_features(path, ONTOLOGY))
    assert len(in_memory[0].features) == 39
    monkeypatch.setattr(extract, "free_memory", lambda: 0)
    for counts in (count_nodes(path), Counts(156, 1 << 40)):
        with monkeypatch.context() as patch:
            patch.setattr(extract, "count_nodes", lambda _, counts=counts: counts)
            assert list(read_features(path, ONTOLOGY, index_folder=str(tmp_path))) == in_memory


def test_memory_that_is_taken_meanwhile_makes_no_table_for_ids_that_nobody_looked_at(tmp_path, monkeypatch):
    file = OsmFile()
    file.way(1, square(7, 47, 0.001), building="yes")
    path = file.write(tmp_path / "a.osm.pbf")
    answers = iter([GB])
    for module in (extract, node_index):  # whichever looks
        monkeypatch.setattr(module, "free_memory", lambda: next(answers, 0), raising=False)
    tables = []
    monkeypatch.setattr(node_index, "_Table", lambda folder: tables.append(folder))
    read = [*read_features(path, ONTOLOGY, index_folder=str(tmp_path))]
    assert sum(len(it.features) for it in read) == 1
    assert tables == []


@pytest.mark.parametrize("ways", [0, 1, 20_000])
def test_nodes_are_counted(tmp_path, ways):
    path = tmp_path / "a.osm.pbf"
    with osmium.SimpleWriter(str(path)) as writer:
        for osm_id in range(1, 30_000):
            writer.add_node(osmium.osm.mutable.Node(id=2 * osm_id, location=(7, 47)))
        for osm_id in range(ways):
            writer.add_way(osmium.osm.mutable.Way(id=osm_id + 1, nodes=[2, 4], tags={"highway": "path"}))
    counts = count_nodes(path)
    assert counts.nodes == pytest.approx(30_000, abs=8_100)  # one block's
    assert counts.highest_id == 2 * 29_999


def test_a_file_without_nodes_is_counted_too(tmp_path):
    assert count_nodes(OsmFile().write(tmp_path / "a.osm.pbf")) == Counts(0, 0)


def test_too_little_disk_is_said_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(node_index, "free_disk", lambda _: 3 * GB)
    with pytest.raises(
        TransientFault, match=r"no_disk.*about 104\.1 GB, and 3\.0 GB.*--osm_index_dir"
    ) as caught:
        NodeIndex(plan_node_index(PLANET, 0), str(tmp_path))
    assert caught.value.reason == "no_disk"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("counts", [TINY, Counts(3, 1 << 40)])
def test_a_disk_that_fills_up_is_no_corrupt_extract(tmp_path, monkeypatch, counts):
    monkeypatch.setattr(extract, "free_memory", lambda: 0)
    monkeypatch.setattr(node_index, "require_disk", lambda *_: None)
    monkeypatch.setattr(extract, "count_nodes", lambda _: counts)
    path = tmp_path / "a.osm.pbf"
    with osmium.SimpleWriter(str(path)) as writer:
        for osm_id in range(1, 20_000):
            writer.add_node(osmium.osm.mutable.Node(id=osm_id, location=(7, 47)))
        writer.add_way(osmium.osm.mutable.Way(id=1, nodes=[1, 2], tags={"highway": "path"}))
    with small_disk(tmp_path / "disk", "64k") as disk, pytest.raises(TransientFault) as caught:
        list(read_features(path, ONTOLOGY, index_folder=str(disk.folder)))
    assert caught.value.reason == "no_disk"


def test_nothing_is_left_of_a_reader_that_is_killed(tmp_path):
    code = (
        "import os, signal, numpy; from beam_pipeline.labels import node_index as it;"
        f"from {__name__} import TINY; index = it.NodeIndex(it.plan_node_index(TINY, 0), {str(tmp_path)!r});"
        "index.add(numpy.array([2]), numpy.array([[1, 2]], numpy.int32)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment_of_modules(), check=False)
    assert done.returncode == -9
    assert os.listdir(tmp_path) == []
