"""Pairs for PyTorch, beside `model_tf`: every value is the same. Skipped where PyTorch is absent."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install -r tests/requirements-torch.txt")

import torch
from torch.utils.data import DataLoader

from beam_pipeline.readers import targets
from beam_pipeline.readers.epochs import PADDING, Shown
from beam_pipeline.readers.torch_dataset import EpochSampler, ImagePairs, ImagePairStream, targets_of_label
from beam_pipeline.records.shares import host_shares
from beam_pipeline.records.statistics import INPUT_BANDS, BandStatistics
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data.info import load_info
from tests.model_tf.conftest import SINGLE
from tests.model_tf.made_dataset import made_cell_years, write_dataset
from tests.model_tf.network.test_targets import CATEGORIES, random_label
from tests.readers.shown import assert_same, images_of_model_tf, images_of_pairs

ROOT = Path(__file__).resolve().parents[2]
WAYS = ["pairs", "stream"]


@pytest.fixture(scope="module")
def pairs(dataset_folder):
    return ImagePairs(dataset_folder, "training")


def epoch_of(way, folder, split="training", batch_size=None, workers=0, context=None, **given):
    """Runs through an epoch in one of the two ways."""
    loading = {"batch_size": batch_size, "num_workers": workers, "multiprocessing_context": context}
    if way == "stream":
        return list(DataLoader(ImagePairStream(folder, split, **given), **loading))
    pairs = ImagePairs(folder, split)
    return list(DataLoader(pairs, sampler=EpochSampler(pairs, **given), **loading))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "given", [{"epoch": 0, "augment": True}, {"epoch": 2, "seed": 9}, {"epoch": None}], ids=str
)
def test_an_epoch_is_that_of_model_tf(dataset_folder, way, given):
    found = images_of_pairs(epoch_of(way, dataset_folder, **given))
    theirs = images_of_model_tf(load_info(dataset_folder), "training", **given)
    assert_same(found, theirs)
    if given["epoch"] is None:
        assert list(found) == list(theirs)


@pytest.mark.slow
def test_an_epoch_of_the_sample_is_that_of_model_tf(sample):
    theirs = images_of_model_tf(load_info(sample), "training", epoch=1, augment=True)
    assert len(theirs) == 60
    for way in WAYS:
        assert_same(images_of_pairs(epoch_of(way, sample, epoch=1, augment=True)), theirs)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("ranks", "epoch"), [(2, 1), (4, 1), (3, None)])
def test_ranks_show_what_hosts_of_model_tf_show(dataset_folder, way, ranks, epoch):
    info = load_info(dataset_folder)
    most = max(share.count for share in host_shares(info, "training", epoch, ranks))
    for rank in range(ranks):
        given = {"epoch": epoch, "augment": epoch is not None}
        mine = epoch_of(way, dataset_folder, rank=rank, world_size=ranks, **given)
        theirs = images_of_model_tf(info, "training", hosts=ranks, host=rank, **given)
        assert len(mine) == most
        if theirs:
            assert_same(images_of_pairs(mine), theirs)
        else:
            assert images_of_pairs(mine) == {}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_show_every_pair_once_and_the_next_epoch_too(dataset_folder, way, context):
    if way == "stream":
        shown = follower = ImagePairStream(dataset_folder, "training", augment=True)
        sampler = None
    else:
        shown = ImagePairs(dataset_folder, "training")
        sampler = follower = EpochSampler(shown, augment=True)
    loader = DataLoader(
        shown, 2, sampler=sampler, num_workers=2, multiprocessing_context=context, persistent_workers=True
    )
    for epoch in (0, 1):
        follower.set_epoch(epoch)
        batches = list(loader)
        assert all(batch["gsd_10"].shape[1:] == (2, 4, 192, 192) for batch in batches)
        found = images_of_pairs(
            {name: value[row] for name, value in batch.items()}
            for batch in batches
            for row in range(len(batch["slot"]))
        )
        alone = images_of_pairs(epoch_of(way, dataset_folder, epoch=epoch, augment=True))
        assert_same(found, alone)


def test_batches_flatten_to_those_of_model_tf(pairs):
    (batch,) = DataLoader(pairs, len(pairs))
    assert {name: (tuple(it.shape[1:]), it.dtype) for name, it in batch.items()} == {
        "gsd_10": ((2, 4, 192, 192), torch.float32),
        "gsd_20": ((2, 6, 96, 96), torch.float32),
        "label": ((2, 3, 192, 192), torch.uint8),
        "cell_id": ((2,), torch.int64),
        "year": ((2,), torch.int64),
        "slot": ((2,), torch.int64),
    }
    slots = batch["slot"].flatten(0, 1)
    single = pairs.index.cell_ids.tolist().index(SINGLE[0]) + 1  # the cell's second year
    assert slots.tolist() == [-1 if row == 2 * single + 1 else row % 2 for row in range(2 * len(pairs))]


def test_targets_are_those_of_numpy():
    label = random_label(1)
    found = targets_of_label(torch.from_numpy(np.moveaxis(label, -1, 1).copy()), CATEGORIES)
    for one, other in zip(found, targets.targets_of_label(label, CATEGORIES), strict=True):
        assert one.dtype == torch.bool
        np.testing.assert_array_equal(np.moveaxis(one.numpy(), 1, -1), other)


def test_order_is_keyed(pairs):
    orders = {key: list(EpochSampler(pairs, seed=key[0], epoch=key[1])) for key in [(0, 0), (0, 1), (1, 0)]}
    torch.manual_seed(5)
    assert list(EpochSampler(pairs, seed=0, epoch=1)) == orders[0, 1]
    assert len({tuple(order) for order in orders.values()}) == 3
    sampler = EpochSampler(pairs)
    sampler.set_epoch(1)
    assert list(sampler) == orders[0, 1]
    assert len(sampler) == 6


def test_statistics_of_a_run_are_taken(dataset_folder, pairs):
    bands = pairs.statistics.mean
    other = BandStatistics(dict.fromkeys(bands, 0.0), dict.fromkeys(bands, 1e-08))  # the DN with their offset
    values = ImagePairs(dataset_folder, "training", other)[0]["gsd_10"]
    assert (values.round() - values).abs().max() < 0.01
    assert values.max() > 900


def test_a_pair_by_its_index(pairs):
    assert int(pairs[-1]["cell_id"][0]) == int(pairs[11]["cell_id"][0]) == 6
    assert images_of_pairs([pairs[Shown(PADDING)]]) == {}
    for index in (12, -13):
        with pytest.raises(IndexError, match=f"There are 12 examples. Received: {index}"):
            pairs[index]
    again = pickle.loads(pickle.dumps(pairs))
    assert_same(images_of_pairs([again[3]]), images_of_pairs([pairs[3]]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epoch": None, "augment": True}, "augment needs an epoch"),
        ({"rank": 2, "world_size": 2}, "rank must be from 0 to world_size - 1.*rank=2, world_size=2"),
        ({"rank": 0}, "both be given or neither.*rank=0, world_size=None"),
        ({"split": "train"}, "split must be one of .*Received: 'train'"),
    ],
)
def test_bad_arguments(dataset_folder, way, given, said):
    with pytest.raises(InvalidInputError, match=said):
        epoch_of(way, dataset_folder, **{"split": "training"} | given)


@pytest.mark.parametrize("way", WAYS)
def test_every_year_has_no_epochs(dataset_folder, pairs, way):
    shown = (
        EpochSampler(pairs, epoch=None)
        if way == "pairs"
        else ImagePairStream(dataset_folder, "training", epoch=None)
    )
    with pytest.raises(InvalidInputError, match=r"set_epoch needs an epoch to begin with.*Received: 3"):
        shown.set_epoch(3)


@pytest.mark.parametrize("way", WAYS)
def test_several_processes_that_do_not_say_which_are_refused(dataset_folder, way, monkeypatch):
    """Each would show all pairs."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        InvalidInputError, match=r"each would show all pairs: call torch.* WORLD_SIZE=2 in the"
    ):
        epoch_of(way, dataset_folder)
    assert len(epoch_of(way, dataset_folder, rank=0, world_size=2)) == 3


RANK = """
import sys
import torch
from beam_pipeline.readers.torch_dataset import EpochSampler, ImagePairs, ImagePairStream

folder, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[3]}", rank=rank, world_size=2)
pairs = ImagePairs(folder, "training")
by_sampler = {int(pairs.index.cell_ids[one.example]) for one in EpochSampler(pairs)}
by_stream = {int(pair["cell_id"][0]) for pair in ImagePairStream(folder, "training")}
assert by_sampler == by_stream
cells = torch.tensor(sorted(by_sampler))
every = [torch.zeros_like(cells) for _ in range(2)]
torch.distributed.all_gather(every, cells)
if rank == 0:
    print(sorted(torch.cat(every).tolist()))
torch.distributed.destroy_process_group()
"""


def test_ranks_are_those_of_torch_distributed(dataset_folder, tmp_path):
    environment = {**os.environ, "WORLD_SIZE": "2", "PYTHONPATH": str(ROOT)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, dataset_folder, str(rank), str(tmp_path / "meeting")],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert said[0].strip().endswith("[1, 2, 3, 4, 5, 6]")


def broken(dataset_folder, tmp_path, change):
    folder = shutil.copytree(dataset_folder, tmp_path / "set")
    content = json.loads((folder / "dataset.json").read_text())
    change(folder, content)
    (folder / "dataset.json").write_text(json.dumps(content))
    return str(folder)


FIRST = "opensentinelmap-training.tfrecord-00000-of-00004"


def cut_off(folder, content):
    shard = folder / FIRST
    shard.write_bytes(shard.read_bytes()[:-1000])


def cut_off_and_said_so(folder, content):
    cut_off(folder, content)
    (entry,) = [it for it in content["shards"] if it["name"] == FIRST]
    entry["num_bytes"] = (folder / FIRST).stat().st_size


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda folder, content: content.update(schema_version="2.0.0"),
            r"set/dataset\.json: schema_version must",
        ),
        (lambda folder, content: content.update(shards=[]), r"set/dataset\.json: shards must list the"),
        (
            lambda folder, content: content.update(shards=content["shards"] * 2),
            f"list each shard once.*{FIRST}",
        ),
        (lambda folder, content: (folder / FIRST).unlink(), f"set/{FIRST} must be there .*no such file"),
        (cut_off, f"set/{FIRST} must be there with"),
        (cut_off_and_said_so, f"set/{FIRST}: record 5, at byte .*, is cut off"),
    ],
)
def test_a_damaged_dataset_is_named(dataset_folder, tmp_path, way, change, said):
    with pytest.raises(InvalidInputError, match=said):
        epoch_of(way, broken(dataset_folder, tmp_path, change))


@pytest.mark.parametrize("way", WAYS)
def test_a_folder_that_is_no_dataset_and_a_split_without_examples(tmp_path, way):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InvalidInputError, match=rf"no {folder}/dataset\.json"):
            epoch_of(way, str(folder))
    folder = write_dataset(tmp_path / "set", {"training": [made_cell_years([1], [2020])], "testing": [[]]})
    with pytest.raises(
        InvalidInputError, match=r"set/dataset\.json: splits\.testing\.examples must be above 0"
    ):
        epoch_of(way, folder, "testing")
    assert len(epoch_of(way, folder)) == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_names_a_damaged_shard(tmp_path, dataset_folder, way):
    def flip(folder, content):
        data = bytearray((folder / FIRST).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / FIRST).write_bytes(data)

    folder = broken(dataset_folder, tmp_path, flip)
    with pytest.raises(InvalidInputError, match=rf"Received: {folder}/{FIRST}: record [23], .* wrong CRC"):
        epoch_of(way, folder, workers=1, epoch=None)


def test_the_first_version_is_read():
    folder = ROOT / "tests" / "dataset" / "old_folder" / "set"
    bands = [band for of_grid in INPUT_BANDS.values() for band in of_grid]
    statistics = BandStatistics(*(dict.fromkeys(bands, 0.1) for _ in range(2)))
    pairs = ImagePairs(str(folder), "testing", statistics)
    assert len(pairs) == 2
    assert len(images_of_pairs(pairs[which] for which in range(2))) == 4
