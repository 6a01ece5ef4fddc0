"""The numpy functions give what the operations of TensorFlow give, value by value."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from beam_pipeline.readers.pairs import (
    LabelCheck,
    Standardiser,
    decode_pair,
    ids_of_images,
    label_of_images,
    padding_pair,
    turn_pair,
)
from beam_pipeline.records.example import encode
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.png import encode_png
from beam_pipeline.records.statistics import INPUT_BANDS
from beam_pipeline.runtime.faults import PermanentFault
from model_tf.data import decoding
from tests.model_tf.data.test_decoding import STATISTICS
from tests.model_tf.made_dataset import ONTOLOGY, made_cell_years, table_of
from tests.records.builders import make_cell_year


def theirs(payload: bytes) -> dict[str, tf.Tensor]:
    return decoding.decode_pair(decoding.parse_example(tf.constant(payload)))


def made(num_images: int, holes: bool = True):
    """A cell-year with pixels of no data, of no data in some bands, and of the greatest and least DN."""
    cell_year = make_cell_year(seed=num_images, num_images=num_images)
    images = [
        dataclasses.replace(image, boa_add_offset=offset)
        for image, offset in zip(cell_year.images, (-1000, 0), strict=False)
    ]
    if holes:
        images[0].gsd_10[0, :4] = [[0, 0, 0, 0], [0, 1, 0, 0], [65535] * 4, [1, 1, 1, 1]]
        images[-1].gsd_20[5:9, 7] = 0
    return dataclasses.replace(cell_year, images=tuple(images))


@pytest.mark.parametrize("num_images", [1, 2])
@pytest.mark.parametrize("holes", [True, False])
def test_arrays_are_those_of_model_tf(num_images, holes):
    payload = encode(made(num_images, holes))
    pair, expected = decode_pair(payload), theirs(payload)
    assert (pair.cell_id, pair.year, pair.num_images) == tuple(
        int(expected[name]) for name in ("cell_id", "year", "num_images")
    )
    standardise = Standardiser(STATISTICS)
    for grid in INPUT_BANDS:
        np.testing.assert_array_equal(pair.dn[grid], expected[grid])
        values = standardise(pair.dn[grid], pair.boa_add_offset, grid)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(
            values, decoding.standardise(expected[grid], expected["boa_add_offset"], STATISTICS, grid)
        )
    np.testing.assert_array_equal(pair.label, expected["label"])
    np.testing.assert_array_equal(
        label_of_images(pair.label, pair.dn["gsd_10"]),
        decoding.label_of_images(expected["label"], expected["gsd_10"]),
    )
    for name, value in decoding.ids_of_images(expected).items():
        np.testing.assert_array_equal(ids_of_images(pair)[name], value)


def test_padding_is_that_of_model_tf():
    pair, expected = padding_pair(), theirs(decoding.padding_payload())
    standardise = Standardiser(STATISTICS)
    for grid in INPUT_BANDS:
        assert not standardise(pair.dn[grid], pair.boa_add_offset, grid).any()
        assert pair.dn[grid].shape == expected[grid].shape
    assert (label_of_images(pair.label, pair.dn["gsd_10"]) == 255).all()
    for name, value in decoding.ids_of_images(expected).items():
        np.testing.assert_array_equal(ids_of_images(pair)[name], value)


def test_a_pair_is_turned_as_one():
    pair = decode_pair(encode(made(2)))
    for symmetry in (1, 6):
        turned = turn_pair(pair, symmetry)
        for mine, its in zip(
            (*turned.dn.values(), turned.label), (*pair.dn.values(), pair.label), strict=True
        ):
            k, axes = symmetry % 4, (-3, -2)
            expected = np.rot90(its, k, axes)
            np.testing.assert_array_equal(mine, expected[..., ::-1, :] if symmetry == 6 else expected)


def test_labels_outside_the_ontology():
    check = LabelCheck(table_of(ONTOLOGY))
    (cell_year,) = made_cell_years([8], [2020])
    check(cell_year.label)
    for channel, value in [(0, 12), (1, 0), (2, 13), (2, 253), (1, 77)]:
        wrong = cell_year.label.copy()
        wrong[191, 17, channel] = value
        with pytest.raises(PermanentFault, match=f"holds {value} in channel {channel}"):
            check(wrong)


def changed(change) -> bytes:
    message = Example.FromString(encode(make_cell_year()))
    change(message.features.feature)
    return message.SerializeToString()


def png(name: str, content: bytes):
    def change(feature):
        feature[name].bytes_list.value[0] = content

    return change


def test_an_example_of_another_version_is_read_alike():
    older = changed(lambda feature: feature.pop("bounds_exact"))
    later = changed(lambda feature: feature["image_0/haze"].float_list.value.append(0.5))
    for payload in (older, later):
        np.testing.assert_array_equal(decode_pair(payload).label, make_cell_year().label)


def test_damage_to_what_is_not_used_is_no_matter():
    decode_pair(changed(png("image_0/gsd_60", b"no png")))
    decode_pair(changed(png("image_1/scl", b"")))


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"no example", "corrupt_example: 10 bytes are no example"),
        (b"", "num_images must be one whole number, and 0 are there"),
        (changed(lambda feature: feature.pop("image_1/gsd_20")), "image_1/gsd_20 must be one PNG, and 0 are"),
        (changed(png("image_0/gsd_10", b"no png")), "corrupt_png: image_0/gsd_10: 6 bytes are no PNG"),
        (changed(png("label", encode_png(np.zeros((9, 9, 3), np.uint8)))), r"label is \(9, 9, 3\) uint8"),
        (
            changed(png("image_0/gsd_10", encode_png(np.zeros((192, 192, 4), np.uint8)))),
            r"image_0/gsd_10 is \(192, 192, 4\) uint8",
        ),
        (changed(lambda feature: feature["num_images"].int64_list.value.append(1)), "and 2 are there"),
        (
            changed(lambda feature: feature["num_images"].int64_list.value.__setitem__(0, 3)),
            "num_images is 3",
        ),
    ],
)
def test_what_is_wrong_is_named(payload, said):
    with pytest.raises(PermanentFault, match=said):
        decode_pair(payload)
