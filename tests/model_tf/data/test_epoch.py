import collections
import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf

from beam_pipeline.records.shards import frame
from beam_pipeline.records.shares import host_shares
from model_tf.data import epoch as epoch_module
from model_tf.data.epoch import examples_in_order, one_year_a_cell, shuffled_cells
from model_tf.data.info import load_info


def small_example(cell_id: int, year: int) -> bytes:
    """An example of its ids alone: nothing else may be looked at before pixels are decoded."""
    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for name, value in (("cell_id", cell_id), ("year", year))
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def ids(payload: bytes) -> tuple[int, int]:
    feature = tf.train.Example.FromString(payload).features.feature
    return feature["cell_id"].int64_list.value[0], feature["year"].int64_list.value[0]


def read(dataset: tf.data.Dataset) -> list[tuple[int, int]]:
    return [
        ids(element[0] if isinstance(element, tuple) else element) for element in dataset.as_numpy_iterator()
    ]


@pytest.fixture
def shards(tmp_path):
    """60 shards of 10 cells in up to 3 years, in the order of cell and year; two are empty."""
    paths = []
    for index in range(60):
        records = [
            small_example(index * 10 + cell, 2019 + year)
            for cell in range(10)
            for year in range(1 + (index + cell) % 3)
            if index not in (0, 17)
        ]
        paths.append(str(tmp_path / f"shard-{index:02}"))
        (tmp_path / f"shard-{index:02}").write_bytes(b"".join(map(frame, records)))
    return paths


def test_years_are_drawn_evenly_and_independently():
    years = {cell: range(2017, 2017 + 1 + cell % 4) for cell in range(1200)}
    payloads = [small_example(cell, year) for cell, its_years in years.items() for year in its_years]
    records = tf.data.Dataset.from_tensor_slices(payloads)
    drawn = {key: read(one_year_a_cell(records, *key)) for key in [(0, 0), (0, 1), (3, 0)]}
    for chosen in drawn.values():
        assert [cell for cell, _ in chosen] == list(years)
        assert all(year in years[cell] for cell, year in chosen)
        counts = collections.Counter(year for cell, year in chosen if cell % 4 == 3)
        assert all(
            abs(count - 75) < 30 for count in counts.values()
        )  # 300 cells, 4 years; 4 standard deviations
        assert len(counts) == 4
    assert read(one_year_a_cell(records, 0, 0)) == drawn[0, 0]
    for other in [(0, 1), (3, 0)]:
        pairs = zip(drawn[0, 0], drawn[other], strict=True)
        same = np.mean([mine == theirs for mine, theirs in pairs if mine[0] % 4 == 3])
        assert abs(same - 0.25) < 0.1  # 4 standard deviations


@pytest.mark.parametrize("records", [[], [(5, 2020)], [(5, 2020), (5, 2021)], [(5, 2020), (0, 2020)]])
def test_years_at_the_edges(records):
    dataset = tf.data.Dataset.from_tensor_slices(np.array([small_example(*it) for it in records], object))
    if not records:
        dataset = tf.data.Dataset.from_tensors(b"").take(0)
    chosen = read(one_year_a_cell(dataset, 0, 0))
    assert [cell for cell, _ in chosen] == list(dict.fromkeys(cell for cell, _ in records))
    assert set(chosen) <= set(records)


def test_every_cell_once_and_well_mixed(shards):
    orders = [read(shuffled_cells(shards, seed=0, epoch=epoch)) for epoch in (0, 1)]
    for order in orders:
        assert sorted(cell for cell, _ in order) == [c for c in range(600) if c // 10 not in (0, 17)]
        cells = np.array([cell for cell, _ in order])
        # Neighbours are of one shard in 9 of 579 cases by chance.
        assert np.mean(cells[1:] // 10 == cells[:-1] // 10) < 0.06
    shared = set(orders[0]) & set(orders[1])
    assert len(shared) < 0.8 * len(
        orders[0]
    )  # 11/18 by chance: a third of the cells has 1, 2 and 3 years each
    places = [np.argsort([cell for cell, _ in order]) for order in orders]
    assert abs(np.corrcoef(*places)[0, 1]) < 0.2


def test_order_is_mixed_beyond_the_buffer(shards, monkeypatch):
    monkeypatch.setattr(epoch_module, "SHUFFLE_EXAMPLES", 32)
    monkeypatch.setattr(epoch_module, "SHARDS_AT_ONCE", 8)
    order = np.array([cell // 10 for cell, _ in read(shuffled_cells(shards, seed=0, epoch=0))])
    assert len(order) == 580
    different = [len(set(batch)) for batch in order[:576].reshape(-1, 16)]
    assert np.mean(different) > 8  # shards in a batch of 16


def test_order_does_not_depend_on_the_global_seed(shards):
    tf.random.set_seed(1)
    first = read(shuffled_cells(shards[:9], seed=0, epoch=0))
    tf.random.set_seed(2)
    assert read(shuffled_cells(shards[:9], seed=0, epoch=0)) == first
    assert read(shuffled_cells(shards[:9], seed=1, epoch=0)) != first


def test_order_does_not_depend_on_the_folder(shards, tmp_path):
    moved = shutil.copytree(tmp_path, tmp_path / "moved")
    there = [str(moved / path.rpartition("/")[2]) for path in shards[:9]]
    assert read(shuffled_cells(there, seed=0, epoch=0)) == read(shuffled_cells(shards[:9], seed=0, epoch=0))


def test_in_order_is_in_the_order_of_the_shards(shards):
    elements = list(examples_in_order(shards[:3]).as_numpy_iterator())
    assert [ids(payload) for payload, _ in elements] == sorted(ids(payload) for payload, _ in elements)
    assert {path.decode() for _, path in elements} == set(shards[1:3])


@pytest.mark.parametrize("hosts", [1, 2, 3, 7])
@pytest.mark.parametrize("epoch", [None, 4])
def test_shares_cover_the_split(dataset_folder, hosts, epoch):
    info = load_info(dataset_folder)
    shares = host_shares(info, "training", epoch, hosts)
    assert len(shares) == hosts
    paths = [path for share in shares for path in share.paths]
    assert sorted(paths) == [
        path for path in info.shards["training"] if "00001-of" not in path
    ]  # that is empty
    counts = {
        path: cells if epoch is not None else examples
        for path, cells, examples in zip(
            info.shards["training"],
            info.shard_cells["training"],
            info.shard_examples["training"],
            strict=True,
        )
    }
    for share in shares:
        assert share.count == sum(counts[path] for path in share.paths)
    if hosts == 2:
        assert shares[0].count == shares[1].count  # 3 against 2 + 1


def test_shares_are_even(dataset_folder):
    info = load_info(dataset_folder)
    counts = tuple(np.random.default_rng(0).integers(1, 257, 400).tolist())
    paths = tuple(f"shard-{index}" for index in range(400))
    info = dataclasses.replace(info, shards={"training": paths}, shard_examples={"training": counts})
    sizes = [share.count for share in host_shares(info, "training", None, 8)]
    assert sum(sizes) == sum(counts)
    assert max(sizes) - min(sizes) <= 2
