import collections
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from beam_pipeline.records.example import CellYear
from beam_pipeline.records.shards import frame, read_shard
from beam_pipeline.records.statistics import INPUT_BANDS
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data.batches import make_dataset, steps_per_epoch
from model_tf.data.faults import explain_data_faults
from model_tf.data.info import load_info
from tests.model_tf.conftest import SINGLE, YEARS
from tests.model_tf.data.test_augment import turned
from tests.model_tf.made_dataset import LocalFiles, made_cell, made_cell_years, made_image, write_dataset


@pytest.fixture(scope="module")
def info(dataset_folder):
    return load_info(dataset_folder)


def batches(info, split="training", **given):
    dataset = make_dataset(info, split, statistics=info.statistics, with_ids=True, **given)
    return list(dataset.as_numpy_iterator())


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, other)


def images_of(batches):
    """(cell_id, year, slot) -> (gsd_10, gsd_20, label) of the images that there are, in order."""
    found = {}
    for x, y, ids in batches:
        for row, key in enumerate(
            zip(*(ids[name].tolist() for name in ("cell_id", "year", "slot")), strict=True)
        ):
            if key == (-1, -1, -1):
                assert not x["gsd_10"][row].any()
                assert not x["gsd_20"][row].any()
                assert (y[row] == 255).all()
            else:
                assert key not in found
                found[key] = x["gsd_10"][row], x["gsd_20"][row], y[row]
    return found


def stored(cell_years, split):
    return {
        (it.cell.cell_id, it.year, slot): (image, it.label)
        for shard in cell_years[split]
        for it in shard
        for slot, image in enumerate(it.images)
    }


def standardised(image, grid, statistics):
    mean = np.array([statistics.mean[band] for band in INPUT_BANDS[grid]])
    deviation = np.sqrt([statistics.variance[band] for band in INPUT_BANDS[grid]])
    return ((getattr(image, grid) + np.float64(image.boa_add_offset)) / 10_000 - mean) / deviation


@pytest.fixture(scope="module")
def in_order(info):
    """All images of the training split, in the order of the shards."""
    return images_of(batches(info, pairs_per_batch=5))


def test_all_cell_years_in_order(in_order, info, cell_years):
    found = in_order
    expected = stored(cell_years, "training")
    assert list(found) == sorted(expected)
    for key, (gsd_10, gsd_20, label) in found.items():
        image, its_label = expected[key]
        np.testing.assert_allclose(gsd_10, standardised(image, "gsd_10", info.statistics), atol=2e-5)
        np.testing.assert_allclose(gsd_20, standardised(image, "gsd_20", info.statistics), atol=2e-5)
        np.testing.assert_array_equal(label, its_label)


def test_training_images_have_mean_0_and_variance_1(in_order):
    for index, bands in ((0, 4), (1, 6)):
        values = np.stack([parts[index] for parts in in_order.values()])
        values = values.reshape(-1, bands).astype(np.float64)
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(values.var(axis=0), 1, atol=1e-5)


def test_shapes_are_static(info):
    dataset = make_dataset(
        info, "training", pairs_per_batch=4, statistics=info.statistics, epoch=0, augment=True
    )
    assert dataset.element_spec == (
        {
            "gsd_10": tf.TensorSpec((8, 192, 192, 4), tf.float32),
            "gsd_20": tf.TensorSpec((8, 96, 96, 6), tf.float32),
        },
        tf.TensorSpec((8, 192, 192, 3), tf.uint8),
    )
    assert int(dataset.cardinality()) == steps_per_epoch(info, "training", 4, 0) == 2
    options = dataset.options()
    assert options.experimental_distribute.auto_shard_policy == tf.data.experimental.AutoShardPolicy.OFF
    assert options.deterministic is True
    assert [part.shape for part in next(iter(dataset))[0].values()] == [(8, 192, 192, 4), (8, 96, 96, 6)]


def test_an_epoch_shows_every_cell_once(info, cell_years):
    expected = stored(cell_years, "training")
    years = collections.defaultdict(set)
    orders = set()
    for epoch in range(3):
        found = images_of(batches(info, pairs_per_batch=4, epoch=epoch))
        chosen = {(cell, year) for cell, year, _ in found}
        assert sorted(cell for cell, _ in chosen) == [1, 2, 3, 4, 5, 6]
        assert len(found) == 12 - (SINGLE in chosen)
        for key, (gsd_10, _, label) in found.items():
            image, its_label = expected[key]
            np.testing.assert_allclose(gsd_10, standardised(image, "gsd_10", info.statistics), atol=2e-5)
            np.testing.assert_array_equal(label, its_label)
        orders.add(tuple(dict.fromkeys(cell for cell, _, _ in found)))
        for cell, year in chosen:
            years[cell].add(year)
    assert len(orders) == 3  # of 720
    assert sum(its_years == set(YEARS) for its_years in years.values()) >= 3  # of 6; each with chance 3/4


def test_same_arguments_same_batches(info):
    given = {"pairs_per_batch": 4, "seed": 3, "epoch": 2, "augment": True}
    tf.random.set_seed(1)
    first = batches(info, **given)
    tf.random.set_seed(2)
    assert_same(batches(info, **given), first)
    other = batches(info, **given | {"seed": 4})
    assert any(not np.array_equal(a[1], b[1]) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("epoch", [None, 1])
def test_goes_on_within_an_epoch(info, epoch):
    given = {"pairs_per_batch": 2, "epoch": epoch, "augment": epoch is not None}
    whole = batches(info, **given)
    assert len(whole) == (6 if epoch is None else 3)
    for start in (2, len(whole)):
        assert_same(batches(info, start_step=start, **given), whole[start:])


@pytest.mark.parametrize(("hosts", "epoch"), [(2, None), (4, 1)])
def test_hosts_together_show_everything_once(info, hosts, epoch):
    steps = steps_per_epoch(info, "training", hosts, epoch, hosts)
    parts = [
        batches(info, pairs_per_batch=hosts, epoch=epoch, hosts=hosts, host=host) for host in range(hosts)
    ]
    assert {len(part) for part in parts} == {steps}
    found = [images_of(part) for part in parts]
    together = [key for part in found for key in part]
    alone = images_of(batches(info, pairs_per_batch=1, epoch=epoch))
    assert sorted(together) == sorted(alone)
    held = [{cell for cell, _, _ in part} for part in found]
    # Each shard is one host's.
    for shard in [(1, 2, 3), (4, 5), (6,)]:
        assert sum(bool(cells & set(shard)) for cells in held) == 1


def test_pixels_of_grids_images_and_label_stay_together(tmp_path):
    """Every pixel holds its place: row and column in the images; row, half and diagonal in the label."""
    row, column = np.indices((192, 192))
    land_use, half, diagonal = row // 16, 12 + (column >= 96), np.where(row > column, 14, 254)
    label = np.stack([land_use, half, diagonal], axis=-1).astype(np.uint8)
    places = np.stack([row + 1, column + 1, row + 301, column + 301, row + 601, column + 601], axis=-1)
    images = [
        made_image(
            label,
            np.random.default_rng(0),
            f"item_{slot}",
            gsd_10=(places[..., :4] + 1000 * slot).astype(np.uint16),
            gsd_20=(places[::2, ::2] + 1000 * slot).astype(np.uint16),
            boa_add_offset=0,
        )
        for slot in range(2)
    ]
    made = [CellYear(made_cell(cell), 2020, tuple(images), label) for cell in range(40)]
    info = load_info(write_dataset(tmp_path / "set", {"training": [made]}))
    given = {"pairs_per_batch": 8, "epoch": 0}
    plain, augmented = (images_of(batches(info, augment=augment, **given)) for augment in (False, True))
    drawn = collections.Counter()
    for cell in range(40):
        keys = [(cell, 2020, slot) for slot in range(2)]
        pixels = [(plain[key][part], augmented[key][part]) for key in keys for part in range(3)]
        (symmetry,) = [k for k in range(8) if all(np.array_equal(turned(a, k), b) for a, b in pixels)]
        drawn[symmetry] += 1
    assert set(drawn) == set(range(8))  # by chance, 40 draws would miss one of 8 in 4 of 100 cases


def test_augmentation_changes_with_the_epoch(info):
    # The labels of a cell are the same in all years.
    labels = [
        {cell: parts[2] for (cell, _, _), parts in images_of(batches(info, augment=True, **given)).items()}
        for given in ({"pairs_per_batch": 6, "epoch": epoch} for epoch in (0, 1))
    ]
    same = [np.array_equal(labels[0][cell], labels[1][cell]) for cell in range(1, 7)]
    assert sum(same) <= 3


def test_reads_through_gfile(cell_years):
    """ram:// is a file system that only TensorFlow knows, as gs:// is."""

    class RamFiles(LocalFiles):
        def write_bytes(self, path, chunks):
            tf.io.gfile.makedirs(path.rpartition("/")[0])
            with tf.io.gfile.GFile(path, "wb") as file:
                file.write(b"".join(chunks))

        def rename(self, source, target):
            tf.io.gfile.rename(source, target)

    info = load_info(write_dataset("ram://bucket/set", cell_years, RamFiles()))
    assert len(images_of(batches(info, pairs_per_batch=4))) == 23
    assert len(batches(info, pairs_per_batch=4, epoch=0, hosts=2, host=1)) == 2


@pytest.mark.parametrize(("epoch", "augment"), [(None, False), (0, True)])
def test_deterministic_operations_leave_it_parallel(info, epoch, augment):
    """`enable_op_determinism` makes a pipeline serial, without prefetch, for one stateful operation in its functions.

    But for these. Source: tensorflow/core/grappler/optimizers/data/make_deterministic.cc.
    """
    harmless = {
        "TFRecordDatasetV2",
        "TFRecordDataset",
        "TensorSliceDataset",
        "Assert",
        "If",
        "StatefulPartitionedCall",
    }
    dataset = make_dataset(
        info, "training", pairs_per_batch=4, statistics=info.statistics, epoch=epoch, augment=augment
    )
    graph = tf.compat.v1.GraphDef.FromString(dataset._as_serialized_graph().numpy())
    operations = {node.op for function in graph.library.function for node in function.node_def}
    functions = {function.signature.name for function in graph.library.function}
    assert {"DecodePng", "TFRecordDatasetV2"} & operations
    stateful = {name for name in operations - functions if op_def_registry.get(name).is_stateful}
    assert stateful <= harmless


def test_one_cell_is_enough(tmp_path):
    info = load_info(write_dataset(tmp_path / "set", {"training": [made_cell_years([4], [2020])]}))
    for epoch in (None, 0):
        ((x, y, ids),) = batches(info, pairs_per_batch=16, epoch=epoch)
        assert x["gsd_10"].shape == (32, 192, 192, 4)
        assert ids["slot"].tolist() == [0, 1] + [-1] * 30
        assert (y[2:] == 255).all()


def test_single_images_are_one_of_every_pair(info):
    """As the pairs show them, in the same order of cells; half as many steps, and both slots are drawn."""
    slots = collections.Counter()
    for epoch in range(4):
        pairs = images_of(batches(info, pairs_per_batch=2, epoch=epoch, augment=True))
        singles = images_of(batches(info, pairs_per_batch=2, epoch=epoch, augment=True, single_images=True))
        assert [key[:2] for key in singles] == list(dict.fromkeys(key[:2] for key in pairs))
        for key, parts in singles.items():
            tf.nest.map_structure(np.testing.assert_array_equal, parts, pairs[key])
            slots[key[2]] += 1
    assert min(slots[0], slots[1]) > 0.25 * slots.total()
    assert steps_per_epoch(info, "training", 2, 0, single_images=True) == -(-info.cells["training"] // 4)


def test_single_images_go_on_and_are_dealt(info):
    def of(**given):
        return batches(info, pairs_per_batch=2, epoch=1, single_images=True, **given)

    whole = of()
    assert whole[0][1].shape == (4, 192, 192, 3)
    assert_same(whole[1:], of(start_step=1))
    by_host = [images_of(of(hosts=2, host=host)) for host in range(2)]
    assert sorted([*by_host[0], *by_host[1]]) == sorted(images_of(whole))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"split": "train"}, "split must be one of .*Received: 'train'"),
        ({"pairs_per_batch": 0}, "pairs_per_batch=0"),
        (
            {"pairs_per_batch": 5, "hosts": 2},
            "pairs_per_batch must be a multiple of hosts.*pairs_per_batch=5, hosts=2",
        ),
        ({"hosts": 2, "host": 2}, "host must be from 0 to hosts - 1. Received: host=2"),
        ({"start_step": 4}, "start_step must be from 0 to 3.*Received: 4"),
        ({"augment": True}, "augment and single_images need an epoch"),
        ({"single_images": True}, "augment and single_images need an epoch"),
    ],
)
def test_bad_arguments(info, given, said):
    with pytest.raises(InvalidInputError, match=said):
        batches(info, **{"split": "training", "pairs_per_batch": 4} | given)


@pytest.fixture
def rewritten(tmp_path):
    """Gives a dataset of 3 cells and 2 years, of whose shard the examples have been changed."""

    def rewrite(change):
        folder = write_dataset(tmp_path / "set", {"training": [made_cell_years([1, 2, 3], YEARS)]})
        (shard,) = Path(folder).glob("opensentinelmap-*")
        reader = LocalFiles()
        reader.read_bytes = lambda path: Path(path).read_bytes()
        examples = [tf.train.Example.FromString(payload) for payload in read_shard(reader, str(shard))]
        records = [frame(it.SerializeToString()) for it in change(examples)]
        shard.write_bytes(b"".join(records))
        return pretend_size(folder, shard)

    return rewrite


def pretend_size(folder, shard):
    """Makes dataset.json say the shard's size, so that only reading finds what is wrong."""
    content = json.loads(Path(folder, "dataset.json").read_text())
    content["shards"][0]["num_bytes"] = shard.stat().st_size
    Path(folder, "dataset.json").write_text(json.dumps(content))
    return load_info(folder)


def set_bytes(example, name, value):
    example.features.feature[name].bytes_list.value[0] = value


def read_all(info, **given):
    with explain_data_faults(info):
        batches(info, pairs_per_batch=1, **given)


def test_a_label_outside_the_ontology_is_named(tmp_path):
    made = made_cell_years([1, 2], YEARS)
    made[2].label[5, 5, 2] = 12
    info = load_info(write_dataset(tmp_path / "set", {"training": [made]}))
    with pytest.raises(
        InvalidInputError,
        match=r"^\S+/set/opensentinelmap-training.tfrecord-00000-of-00001: label of cell 2, year 2019, must hold .*"
        "Received: 12 in channel 2. .*copy the dataset again.$",
    ):
        read_all(info)


def test_a_feature_of_another_schema_is_named(rewritten):
    def change(examples):
        for example in examples:
            del example.features.feature["image_1/gsd_20"]
        return examples

    with pytest.raises(
        InvalidInputError, match=r"set/dataset.json says. Received: Feature: image_1/gsd_20 .*sha256"
    ):
        read_all(rewritten(change))


@pytest.mark.parametrize("png", [b"no png", None])
def test_a_damaged_png_is_found_but_not_when_it_is_left_out(rewritten, png):
    def change(examples):
        feature = examples[1].features.feature
        set_bytes(examples[1], "image_0/gsd_10", png or feature["image_0/gsd_20"].bytes_list.value[0])
        return examples

    info = rewritten(change)
    with pytest.raises(
        InvalidInputError, match=r"a shard must hold what .*Received: (Shape|Unknown).*copy again"
    ):
        read_all(info)
    read_all(info, start_step=2)  # the second of six is read, not decoded


def test_damage_to_what_is_not_used_is_no_matter(rewritten):
    def change(examples):
        for example, name in itertools.product(examples, ("image_0/gsd_60", "image_1/gsd_60", "image_0/scl")):
            set_bytes(example, name, b"no png")
        return examples

    whole = batches(rewritten(lambda examples: examples), pairs_per_batch=1)
    assert whole
    assert_same(batches(rewritten(change), pairs_per_batch=1), whole)


def test_missing_examples_are_found(rewritten):
    info = rewritten(lambda examples: examples[:-2])
    for epoch, count in ((None, "6 elements but contained only 4"), (0, "3 elements but contained only 2")):
        with pytest.raises(InvalidInputError, match=f"expected to contain {count} elements. Compare"):
            read_all(info, epoch=epoch)


@pytest.mark.parametrize("epoch", [None, 0])
def test_a_damaged_shard_is_found(dataset_folder, tmp_path, epoch):
    folder = shutil.copytree(dataset_folder, tmp_path / "set")
    shard = folder / "opensentinelmap-training.tfrecord-00000-of-00004"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(
        InvalidInputError, match=r"a shard must hold what .*Received: corrupted record at \d+\. Comp"
    ):
        read_all(load_info(str(folder)), epoch=epoch)
    shard.write_bytes(data[: len(data) // 3])
    with pytest.raises(InvalidInputError, match=r"Received: truncated record at \d+\. Comp"):
        read_all(pretend_size(folder, shard), epoch=epoch)


def test_errors_of_other_origin_pass(info):
    with pytest.raises(tf.errors.InvalidArgumentError), explain_data_faults(info):
        tf.debugging.assert_equal(1, 2)
    with pytest.raises(ZeroDivisionError), explain_data_faults(info):
        _ = 1 / 0
