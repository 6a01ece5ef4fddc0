import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from beam_pipeline.records.example import encode
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.statistics import INPUT_BANDS, BandStatistics
from model_tf.data.decoding import (
    check_label,
    decode_pair,
    ids_of_images,
    label_of_images,
    padding_payload,
    parse_example,
    standardise,
)
from tests.model_tf.made_dataset import ONTOLOGY, made_cell_years, table_of
from tests.records.builders import make_cell_year

RNG = np.random.default_rng(5)
BANDS = [band for bands in INPUT_BANDS.values() for band in bands]
STATISTICS = BandStatistics(
    mean={band: float(RNG.uniform(0.03, 0.4)) for band in BANDS},
    variance={band: float(RNG.uniform(1e-3, 2e-2)) for band in BANDS},
)


def decode(payload):
    return decode_pair(parse_example(tf.convert_to_tensor(payload)))


def expected(image, grid):
    """Standardised reflectance in float64."""
    bands = INPUT_BANDS[grid]
    dn = getattr(image, grid).astype(np.float64)
    values = (dn + image.boa_add_offset) / 10_000
    mean = np.array([STATISTICS.mean[band] for band in bands])
    values = (values - mean) / np.sqrt([STATISTICS.variance[band] for band in bands])
    values[~dn.any(axis=-1)] = 0
    return values


@pytest.mark.parametrize("num_images", [1, 2])
def test_decodes_what_the_records_hold(num_images):
    made = make_cell_year(seed=num_images, num_images=num_images)  # DN and labels at random
    pair = {name: value.numpy() for name, value in decode(encode(made)).items()}
    for slot, image in enumerate(made.images):
        np.testing.assert_array_equal(pair["gsd_10"][slot], image.gsd_10)
        np.testing.assert_array_equal(pair["gsd_20"][slot], image.gsd_20)
        assert pair["boa_add_offset"][slot] == image.boa_add_offset
    np.testing.assert_array_equal(pair["label"], made.label)
    assert (pair["cell_id"], pair["year"], pair["num_images"]) == (made.cell.cell_id, made.year, num_images)
    if num_images == 1:
        assert not pair["gsd_10"][1].any()
        assert not pair["gsd_20"][1].any()


def test_an_example_of_another_version_is_decoded_alike():
    """The first version had no bounds_exact; a later one may have more."""
    payload = encode(make_cell_year())
    older, later = Example.FromString(payload), Example.FromString(payload)
    del older.features.feature["bounds_exact"]
    later.features.feature["image_0/haze"].float_list.value.append(0.5)
    of_now = decode(payload)
    for message in (older, later):
        pair = decode(message.SerializeToString())
        assert pair.keys() == of_now.keys()
        assert all(np.array_equal(pair[name], of_now[name]) for name in pair)


def test_gsd_60_and_scl_are_not_decoded():
    concrete = tf.function(decode).get_concrete_function(tf.TensorSpec([], tf.string))
    operations = [it.type for it in concrete.graph.get_operations()]
    assert operations.count("DecodePng") == 5  # two grids of two images, and the label


@pytest.mark.parametrize("offsets", [(0, -1000), (-1000, -1000)])
def test_standardises_as_in_float64(offsets):
    made = make_cell_year()
    images = [dataclasses.replace(it, boa_add_offset=o) for it, o in zip(made.images, offsets, strict=True)]
    images[0].gsd_10[0, :4] = [[0, 0, 0, 0], [0, 1, 0, 0], [65535] * 4, [1, 1, 1, 1]]
    images[1].gsd_20[5, 7] = 0
    for grid in INPUT_BANDS:
        dn = np.stack([getattr(image, grid) for image in images])
        values = standardise(tf.constant(dn), tf.constant(offsets, tf.int64), STATISTICS, grid)
        assert values.dtype == tf.float32
        for value, image in zip(values.numpy(), images, strict=True):
            # DN reach 200 standard deviations here; a float32 has 24 bits.
            np.testing.assert_allclose(value, expected(image, grid), rtol=1e-6, atol=1e-5)
    assert (
        not standardise(tf.constant(dn), tf.constant(offsets, tf.int64), STATISTICS, grid)[1, 5, 7]
        .numpy()
        .any()
    )


def test_dark_water_is_no_missing_data():
    dn = np.full((2, 192, 192, 4), 500, np.uint16)
    dn[0, 0, 0] = [0, 12, 0, 0]
    dn[1, 0, 1] = 0
    values = standardise(tf.constant(dn), tf.zeros(2, tf.int64), STATISTICS, "gsd_10").numpy()
    assert values[0, 0, 0].all()
    assert not values[1, 0, 1].any()
    label = RNG.integers(0, 11, (192, 192, 3), np.uint8)
    labels = label_of_images(tf.constant(label), tf.constant(dn)).numpy()
    np.testing.assert_array_equal(labels[0], label)
    assert (labels[1, 0, 1] == 255).all()
    labels[1, 0, 1] = label[0, 1]
    np.testing.assert_array_equal(labels[1], label)


def test_a_missing_image_has_no_label_and_no_id():
    made = make_cell_year(num_images=1)
    pair = decode(encode(made))
    labels = label_of_images(pair["label"], pair["gsd_10"]).numpy()
    np.testing.assert_array_equal(labels[0], made.label)
    assert (labels[1] == 255).all()
    assert not standardise(pair["gsd_10"], pair["boa_add_offset"], STATISTICS, "gsd_10")[1].numpy().any()
    ids = {name: value.numpy().tolist() for name, value in ids_of_images(pair).items()}
    assert ids == {"cell_id": [made.cell.cell_id, -1], "year": [made.year, -1], "slot": [0, -1]}


def test_padding_is_nothing_at_all():
    pair = decode(padding_payload())
    assert (label_of_images(pair["label"], pair["gsd_10"]).numpy() == 255).all()
    for grid in INPUT_BANDS:
        assert not standardise(pair[grid], pair["boa_add_offset"], STATISTICS, grid).numpy().any()
    for value in ids_of_images(pair).values():
        assert value.numpy().tolist() == [-1, -1]


def test_labels_outside_the_ontology():
    categories = table_of(ONTOLOGY)
    check = tf.function(lambda pair: check_label(pair, tf.constant("the/shard"), categories))
    (made,) = made_cell_years([8], [2020])
    pair = decode(encode(made))
    check(pair)  # all values of all channels are there
    for channel, value in [(0, 12), (1, 0), (2, 13), (2, 253), (1, 77)]:
        wrong = made.label.copy()
        wrong[191, 17, channel] = value
        said = f"the/shard: label of cell 8, year 2020, .*Received: {value} in channel {channel}"
        with pytest.raises(tf.errors.InvalidArgumentError, match=said):
            check(pair | {"label": tf.constant(wrong)})
