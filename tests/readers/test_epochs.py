"""Epochs without TensorFlow show what those of `model_tf` show."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_pipeline.readers.epochs import PADDING, Shown, one_year_a_cell, shards_in_order, shown, shuffled
from beam_pipeline.readers.pair_reader import PairReader, open_split
from beam_pipeline.readers.shard_index import ShardIndex, index_split
from beam_pipeline.readers.stream import (
    Part,
    _in_turn,
    _shuffled,
    examples_in_order,
    share_of,
    shuffled_cells,
)
from beam_pipeline.records.example import encode
from beam_pipeline.records.shards import frame
from beam_pipeline.records.shares import host_shares
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from model_tf.data import epoch as model_tf_epoch
from model_tf.data.info import load_info
from tests.model_tf.conftest import SINGLE
from tests.model_tf.made_dataset import made_cell_years, write_dataset
from tests.readers.shown import assert_same, images_of_model_tf, images_of_pairs


@pytest.fixture(scope="module")
def info(dataset_folder):
    return open_split(dataset_folder, "training")


@pytest.fixture(scope="module")
def index(info):
    return index_split(info, "training", range(4))


def made_index(cells: int, most_years: int) -> ShardIndex:
    """Cells of 1 to `most_years` years, of which no shard is read."""
    rows = np.array([(cell, 2015 + year) for cell in range(cells) for year in range(1 + cell % most_years)])
    zeros = np.zeros(len(rows), np.int32)
    return ShardIndex(("x",), zeros, zeros, zeros.astype(np.int64), rows[:, 0], rows[:, 1])


def test_the_index_is_what_the_shards_hold(index, cell_years):
    expected = [(it.cell.cell_id, it.year) for shard in cell_years["training"] for it in shard]
    assert list(zip(index.cell_ids.tolist(), index.years.tolist(), strict=True)) == expected
    assert index.shards.tolist() == [0] * 6 + [2] * 4 + [3] * 2
    for example in (0, 7, 11):
        (cell_year,) = [
            it
            for it in itertools.chain(*cell_years["training"])
            if (it.cell.cell_id, it.year) == expected[example]
        ]
        assert index.payload(example) == encode(cell_year)


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (0, 1), (12345, 224)])
def test_years_are_those_of_model_tf(seed, epoch):
    index = made_index(400, 4)
    drawn = one_year_a_cell(index, seed, epoch)
    from tests.model_tf.data.test_epoch import read, small_example

    payloads = [small_example(*one) for one in zip(index.cell_ids, index.years, strict=True)]
    records = tf.data.Dataset.from_tensor_slices(payloads)
    expected = read(model_tf_epoch.one_year_a_cell(records, seed, epoch))
    assert list(zip(index.cell_ids[drawn].tolist(), index.years[drawn].tolist(), strict=True)) == expected


def test_a_shuffle_is_of_all_and_keyed():
    index = made_index(2000, 1)
    examples = np.arange(2000)
    orders = {key: shuffled(index, examples, *key) for key in [(0, 0), (0, 1), (1, 0)]}
    for order in orders.values():
        np.testing.assert_array_equal(np.sort(order), examples)
        assert abs(np.corrcoef(order, examples)[0, 1]) < 0.1  # 4 standard deviations
    np.testing.assert_array_equal(shuffled(index, examples, 0, 0), orders[0, 0])
    assert abs(np.corrcoef(np.argsort(orders[0, 0]), np.argsort(orders[0, 1]))[0, 1]) < 0.1
    # What a cell's place is does not depend on who else is there.
    np.testing.assert_array_equal(
        shuffled(index, examples[::3], 0, 0), [one for one in orders[0, 0] if one % 3 == 0]
    )


@pytest.mark.parametrize(("epoch", "augment"), [(0, True), (3, True), (3, False)])
def test_an_epoch_is_that_of_model_tf(info, index, epoch, augment, dataset_folder):
    reader = PairReader(info, info.statistics)
    which = shown(index, one_year_a_cell(index, 5, epoch), 5, epoch, augment)
    found = images_of_pairs(reader.read(index, one) for one in which)
    theirs = images_of_model_tf(load_info(dataset_folder), "training", seed=5, epoch=epoch, augment=augment)
    assert_same(found, theirs)


def test_every_year_is_that_of_model_tf(info, dataset_folder):
    reader = PairReader(info, info.statistics)
    found = images_of_pairs(reader.read(*it) for it in examples_in_order(info, "training", range(4)))
    theirs = images_of_model_tf(load_info(dataset_folder), "training")
    assert_same(found, theirs)
    assert list(found) == list(theirs)
    assert (*SINGLE, 0) in found
    assert (*SINGLE, 1) not in found


def test_padding_has_no_image(info, index):
    pair = PairReader(info, info.statistics).read(index, Shown(PADDING))
    assert images_of_pairs([pair]) == {}
    assert pair["gsd_10"].shape == (2, 4, 192, 192)
    assert pair["gsd_20"].shape == (2, 6, 96, 96)
    assert all(array.flags.c_contiguous for array in pair.values())


@pytest.mark.parametrize(("ranks", "workers"), [(1, 1), (1, 3), (2, 1), (2, 2), (3, 5)])
def test_parts_together_show_every_cell_once(info, index, ranks, workers):
    counts = info.shard_cells["training"]
    alone = {
        (index.cell_ids[one.example], one)
        for index, one in shuffled_cells(
            info, "training", range(4), seed=2, epoch=1, augment=True, part=Part()
        )
    }
    cells, lengths = [], np.zeros((ranks, workers), int)
    for rank, worker in itertools.product(range(ranks), range(workers)):
        part = Part(rank, ranks, worker, workers)
        share = share_of(counts, part)
        mine = list(shuffled_cells(info, "training", share.shards, seed=2, epoch=1, augment=True, part=part))
        cells += [(index.cell_ids[one.example], one) for index, one in mine]
        lengths[rank, worker] = len(mine) + share.padding
    assert len(cells) == 6
    assert {*cells} == alone
    assert (lengths == lengths[0]).all()  # each worker has as many as its like of every rank
    assert ranks > 1 or lengths.sum() == 6


@pytest.mark.parametrize("ranks", [2, 3, 7])
@pytest.mark.parametrize("epoch", [None, 4])
def test_ranks_have_the_shards_of_the_hosts_of_model_tf(info, ranks, epoch):
    counts = info.shard_examples["training"] if epoch is None else info.shard_cells["training"]
    for rank, share in enumerate(host_shares(info, "training", epoch, ranks)):
        mine = share_of(counts, Part(rank, ranks))
        assert tuple(info.shards["training"][shard] for shard in mine.shards) == share.paths
        assert (
            mine.padding == max(it.count for it in host_shares(info, "training", epoch, ranks)) - share.count
        )


def test_shards_are_read_in_the_order_of_model_tf(tmp_path, monkeypatch):
    from tests.model_tf.data.test_epoch import read, small_example

    paths = [str(tmp_path / f"shard-{index:02}") for index in range(20)]
    for index, path in enumerate(paths):
        Path(path).write_bytes(frame(small_example(index, 2020)))
    monkeypatch.setattr(model_tf_epoch, "SHUFFLE_EXAMPLES", 1)
    theirs = [cell for cell, _ in read(model_tf_epoch.shuffled_cells(paths, 3, 4))]
    assert shards_in_order(paths, 3, 4) == theirs


def test_sources_are_read_in_turn():
    sources = [iter("abc"), iter("d"), iter(""), iter("ef"), iter("g")]
    assert "".join(_in_turn(sources, 2)) == "adbcegf"
    assert "".join(_in_turn([iter("abc"), iter("de")], 9)) == "adbec"
    assert list(_in_turn([], 2)) == []


@pytest.mark.parametrize("size", [1, 5, 100, 1000])
def test_a_buffer_shuffles_and_loses_nothing(size):
    rng = np.random.default_rng(size)
    order = list(_shuffled(iter(range(300)), size, lambda most: int(rng.integers(most))))
    assert sorted(order) == list(range(300))
    assert (order == list(range(300))) == (size == 1)
    assert max(place for place in range(300) if order[place] == 299) >= 299 - size
    assert all(one <= place + size for place, one in enumerate(order))


def test_cells_twice_or_out_of_order_are_named(tmp_path):
    one, two, three = (encode(it) for it in made_cell_years([4, 5], [2020, 2021])[:3])
    shard, other = tmp_path / "one", tmp_path / "other"
    for records in ([one, one], [two, one], [three, one]):
        shard.write_bytes(b"".join(map(frame, records)))
        with pytest.raises(PermanentFault, match=f"{shard}: examples must be sorted.* record 1 is of cell 4"):
            ShardIndex.of_shards([str(shard)])
    shard.write_bytes(frame(one))
    other.write_bytes(frame(two))
    with pytest.raises(PermanentFault, match=f"cell 4 is in {shard} and in {other}"):
        ShardIndex.of_shards([str(shard), str(other)])
    assert len(ShardIndex.of_shards([str(shard)])) == 1


def test_a_shard_with_too_few_examples_is_named(tmp_path, dataset_folder):
    folder = shutil.copytree(dataset_folder, tmp_path / "set")
    info = open_split(str(folder), "training")
    shard = Path(info.shards["training"][2])
    shard.write_bytes(Path(info.shards["training"][3]).read_bytes())
    with pytest.raises(InvalidInputError, match=f"Received: {shard} has 2 examples instead of 4. Compare"):
        index_split(info, "training", [0, 2])
    shard.unlink()
    with pytest.raises(InvalidInputError, match=rf"Received: .*{shard}"):
        index_split(info, "training", [2])


def test_damage_is_named_when_it_is_read(tmp_path, dataset_folder):
    folder = shutil.copytree(dataset_folder, tmp_path / "set")
    info = open_split(str(folder), "training")
    reader, index = PairReader(info, info.statistics), index_split(info, "training", range(4))
    shard = Path(info.shards["training"][2])
    data = bytearray(shard.read_bytes())
    data[index.starts[7] + 100_000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(
        InvalidInputError, match=f"set: a shard must hold .*Received: {shard}: record 1, at byte .* wrong CRC"
    ):
        reader.read(index, Shown(7))
    reader.read(index, Shown(6))
    shard.write_bytes(data[: index.starts[7]])
    with pytest.raises(InvalidInputError, match=f"Received: {shard} ends before byte"):
        reader.read(index, Shown(7))


def test_a_label_outside_the_ontology_is_named(tmp_path):
    made = made_cell_years([1, 2], [2019, 2020])
    made[2].label[5, 5, 2] = 12
    info = open_split(write_dataset(tmp_path / "set", {"training": [made]}), "training")
    index = index_split(info, "training", [0])
    with pytest.raises(
        InvalidInputError,
        match=r"opensentinelmap-training.tfrecord-00000-of-00001: cell 2, year 2019: label must hold .* holds 12 in "
        "channel 2. Compare",
    ):
        PairReader(info, info.statistics).read(index, Shown(2))


def test_a_folder_in_a_bucket_is_refused():
    with pytest.raises(InvalidInputError, match=r"must be on a disk: .*Received: gs://bucket/set"):
        open_split("gs://bucket/set", "training")
