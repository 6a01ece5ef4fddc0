"""Where the locations of nodes are kept: by what a file holds and what the machine has."""

import os
import subprocess
import sys
from pathlib import Path

import osmium
import pytest

from beam_pipeline.labels import node_index
from beam_pipeline.labels.extract import read_features
from beam_pipeline.labels.node_index import create_node_index, plan_node_index
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.pbf_blocks import check_blocks
from beam_pipeline.labels.pbf_order import Counts
from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.runtime.own_modules import environment_of_modules
from tests.failing_disk import small_disk
from tests.labels.osm_file import OsmFile, square

GB = 10**9
ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
COUNTRY = Counts(113_000_000, 12_000_000, 300_000, 13 * GB)
EUROPE = Counts(3_400_000_000, 400_000_000, 7_000_000, 13 * GB)
PLANET = Counts(9_700_000_000, 1_100_000_000, 13_000_000, 13 * GB)
TINY = Counts(3, 1, 0, 3)


@pytest.mark.parametrize(
    ("counts", "memory", "storage", "disk"),
    [
        (COUNTRY, 16 * GB, "flex_mem", 0),
        (COUNTRY, 8 * GB, "sparse_file_array", 1.81 * GB),
        (EUROPE, 64 * GB, "sparse_file_array", 54.4 * GB),
        (EUROPE, 1000 * GB, "flex_mem", 0),
        (PLANET, 64 * GB, "dense_file_array", 104 * GB),
        (TINY, GB, "flex_mem", 0),
        (TINY, 0, "dense_file_array", 0),
        (Counts(3, 1, 0, 13 * GB), 0, "sparse_file_array", 0),
        (Counts(0, 0, 0, 0), 0, "flex_mem", 0),
    ],
)
def test_the_index_is_chosen_by_nodes_ids_and_memory(counts, memory, storage, disk):
    plan = plan_node_index(counts, memory)
    assert plan.storage == storage
    assert plan.disk_bytes == pytest.approx(disk, abs=0.1 * GB)
    assert plan.memory_bytes <= memory / 2


@pytest.mark.parametrize("name", ["plain", "with, comma", "ein Ordner ü"])
def test_an_index_on_disk_lies_in_the_folder_without_a_name(tmp_path, monkeypatch, name):
    monkeypatch.setattr(node_index, "free_memory", lambda: 0)
    folder = tmp_path / name
    folder.mkdir()
    for counts in (TINY, Counts(3, 1, 0, 1 << 40)):
        index = create_node_index(counts, str(folder))
        index.set(3, osmium.osm.Location(1.5, 2.5))
        index.set(4, osmium.osm.Location(1.5, 3.5))
        maps = Path("/proc/self/maps").read_text().splitlines()
        assert any(str(folder) in line and "(deleted)" in line for line in maps)
        assert os.listdir(folder) == []


def test_features_are_the_same_whatever_the_index(tmp_path, monkeypatch):
    file = OsmFile()
    for number in range(1, 40):
        file.way(number, square(7 + number / 100, 47, 0.001), building="yes")
    path = file.write(tmp_path / "a.osm.pbf")
    in_memory = list(read_features(path, ONTOLOGY))
    assert len(in_memory[0].features) == 39
    monkeypatch.setattr(node_index, "free_memory", lambda: 0)
    dense = check_blocks(path)
    for counts in (dense, Counts(dense.nodes, 0, 0, 1 << 40)):
        with monkeypatch.context() as patch:
            patch.setattr("beam_pipeline.labels.extract.check_blocks", lambda _, counts=counts: counts)
            assert list(read_features(path, ONTOLOGY, index_folder=str(tmp_path))) == in_memory


def test_blocks_are_counted(tmp_path):
    file = OsmFile()
    file.way(5, [(7, 47), (7.1, 47), (7.2, 47)], highway="path")
    file.way(9, [(7, 47), (7.1, 47.3)], highway="path")
    file.relation(3, [(5, "outer"), (9, "outer")], type="multipolygon")
    assert check_blocks(file.write(tmp_path / "a.osm.pbf")) == Counts(4, 2, 1, 4)


def test_too_little_disk_is_said_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(node_index, "free_memory", lambda: 0)
    monkeypatch.setattr(node_index, "free_disk", lambda _: 3 * GB)
    with pytest.raises(
        TransientFault, match=r"no_disk.*about 104\.1 GB, and 3\.0 GB.*--osm_index_dir"
    ) as caught:
        create_node_index(PLANET, str(tmp_path))
    assert caught.value.reason == "no_disk"
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_is_no_corrupt_extract(tmp_path, monkeypatch):
    """It is libosmium that looks for room when its file grows."""
    monkeypatch.setattr(node_index, "free_memory", lambda: 0)
    monkeypatch.setattr(node_index, "require_disk", lambda *_: None)
    file = OsmFile()
    file.way(1, square(7, 47, 0.001), building="yes")
    path = file.write(tmp_path / "a.osm.pbf")
    with small_disk(tmp_path / "disk", "64k") as disk, pytest.raises(TransientFault) as caught:
        list(read_features(path, ONTOLOGY, index_folder=str(disk.folder)))
    assert caught.value.reason == "no_disk"


def test_nothing_is_left_of_a_reader_that_is_killed(tmp_path):
    code = (
        "import os, signal, osmium; from beam_pipeline.labels import node_index as it; it.free_memory = lambda: 0;"
        f"from {__name__} import TINY; index = it.create_node_index(TINY, {str(tmp_path)!r});"
        "index.set(2, osmium.osm.Location(1, 2)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment_of_modules(), check=False)
    assert done.returncode == -9
    assert os.listdir(tmp_path) == []
