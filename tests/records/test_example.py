import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipeline.cells.cell import SPLITS, Cell, ChipWindow
from beam_pipeline.imagery.image import Image
from beam_pipeline.records.example import CellYear, decode, encode
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.schema import FEATURES, features_since
from beam_pipeline.runtime.faults import PermanentFault
from tests.records.builders import make_cell, make_cell_year, make_image

int64 = st.integers(-(2**63), 2**63 - 1)
degrees = st.floats(-180, 180)


@st.composite
def pixels(draw, shape, dtype):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    high = draw(st.sampled_from([1, 2, 256])) if dtype == np.uint8 else draw(st.integers(1, 65536))
    return rng.integers(0, high, shape, dtype)


images = st.builds(
    Image,
    item_id=st.text(),
    datetime=st.text(),
    platform=st.text(),
    baseline=st.text(),
    boa_add_offset=int64,
    boa_decision=st.text(),
    bad_percent=st.integers(0, 9216).map(lambda bad: bad / 9216),
    gsd_10=pixels((192, 192, 4), np.uint16),
    gsd_20=pixels((96, 96, 6), np.uint16),
    gsd_60=pixels((32, 32, 2), np.uint16),
    scl=pixels((96, 96), np.uint8),
)
cells = st.builds(
    Cell,
    cell_id=int64,
    tile=st.text(),
    split=st.sampled_from(SPLITS),
    chip=st.builds(
        ChipWindow, epsg=int64, left=st.integers(-(10**7), 10**7), bottom=st.integers(-(10**7), 2 * 10**7)
    ),
    min_lon=degrees,
    max_lon=degrees,
    min_lat=degrees,
    max_lat=degrees,
)
cell_years = st.builds(
    CellYear,
    cell=cells,
    year=int64,
    images=st.lists(images, min_size=1, max_size=2).map(tuple),
    label=pixels((192, 192, 3), np.uint8),
)


@given(cell_years)
@settings(max_examples=25, deadline=None)
def test_encode_and_decode_are_exact_inverses(cell_year):
    payload = encode(cell_year)
    decoded = decode(payload)
    assert decoded == cell_year
    assert encode(decoded) == payload
    # == takes -0.0 for 0.0
    assert repr(decoded.cell) == repr(cell_year.cell)


def test_tensorflow_reads_what_the_table_says():
    import tensorflow as tf

    cell_year = make_cell_year()
    example = tf.train.Example.FromString(encode(cell_year))
    assert set(example.features.feature) == set(FEATURES)
    kinds = {"png": "bytes_list", "text": "bytes_list", "int64": "int64_list", "float32": "float_list"}
    for name, spec in FEATURES.items():
        feature = example.features.feature[name]
        assert feature.WhichOneof("kind") == kinds[spec.kind], name
        if spec.kind == "png":
            image = tf.io.decode_png(feature.bytes_list.value[0], dtype=spec.dtype)
            assert tuple(image.shape) == spec.png_shape, name
            tf.reshape(image, spec.shape)

    feature = example.features.feature
    assert feature["cell_id"].int64_list.value == [82543044]
    assert feature["tile"].bytes_list.value == [b"56HLH"]
    assert float(feature["min_lon"].bytes_list.value[0]) == cell_year.cell.min_lon
    assert tf.strings.to_number(feature["min_lon"].bytes_list.value[0], tf.float64) == cell_year.cell.min_lon
    chip = [feature[f"chip_{side}"].int64_list.value[0] for side in ("left", "bottom", "right", "top")]
    assert chip == [334080, 6250600, 336000, 6252520]
    second = cell_year.images[1]
    assert feature["image_1/bad_percent"].float_list.value == [np.float32(second.bad_percent)]
    for name in ("gsd_10", "gsd_20", "gsd_60"):
        image = tf.io.decode_png(feature[f"image_1/{name}"].bytes_list.value[0], dtype=tf.uint16)
        np.testing.assert_array_equal(
            tf.reshape(image, FEATURES[f"image_1/{name}"].shape), getattr(second, name)
        )


def test_tensorflow_writes_what_decode_reads():
    import tensorflow as tf

    cell_year = make_cell_year()
    example = tf.train.Example.FromString(encode(cell_year))
    assert decode(example.SerializeToString()) == cell_year


def test_keys_are_sorted_in_the_bytes():
    payload = encode(make_cell_year())
    positions = [payload.index(b"\n" + bytes([len(name)]) + name.encode()) for name in sorted(FEATURES)]
    assert positions == sorted(positions)


def test_a_missing_image_is_an_empty_slot_that_decodes():
    single = make_cell_year(num_images=1)
    payload = encode(single)
    assert decode(payload) == single
    features = Example.FromString(payload).features.feature
    assert features["num_images"].int64_list.value == [1]
    assert features["image_1/item_id"].bytes_list.value == [b""]

    import tensorflow as tf

    for name in ("gsd_10", "gsd_20", "gsd_60", "scl"):
        spec = FEATURES[f"image_1/{name}"]
        image = tf.io.decode_png(features[f"image_1/{name}"].bytes_list.value[0], dtype=spec.dtype).numpy()
        assert image.shape == spec.png_shape
        assert not image.any()
    slot = sum(len(features[name].bytes_list.value[0]) for name in FEATURES if name.startswith("image_1/gsd"))
    assert slot < 2000


@pytest.mark.parametrize("num_images", [1, 2])
@pytest.mark.parametrize("value", [0.5, float("nan")])
def test_bad_percent_must_be_that_of_bad_pixels(num_images, value):
    message = Example.FromString(encode(make_cell_year(num_images=num_images)))
    message.features.feature["image_1/bad_percent"].float_list.value[0] = value
    with pytest.raises(PermanentFault, match=r"corrupt_example.*image_1/bad_percent"):
        decode(message.SerializeToString())


def test_the_slot_of_a_missing_image_must_be_empty():
    single, pair = (Example.FromString(encode(make_cell_year(num_images=number))) for number in (1, 2))
    for name in FEATURES:
        if not name.startswith("image_1/") or name.endswith(("bad_pixels", "bad_percent")):
            continue
        message = Example.FromString(single.SerializeToString())
        message.features.feature[name].CopyFrom(pair.features.feature[name])
        with pytest.raises(PermanentFault, match=rf"corrupt_example.*{name} is not empty"):
            decode(message.SerializeToString())


@pytest.mark.parametrize("num_images", [0, 3])
def test_refuses_other_numbers_of_images(num_images):
    with pytest.raises(ValueError, match=f"1 to 2 images. Received: {num_images}"):
        encode(make_cell_year(num_images=num_images))


@pytest.mark.parametrize(
    "change",
    [
        {"gsd_10": np.zeros((192, 192, 3), np.uint16)},
        {"gsd_10": np.zeros((192, 192, 4), np.float32)},
        {"gsd_20": np.zeros((96, 96, 7), np.uint16)},
        {"gsd_60": np.zeros((64, 64, 2), np.uint16)},
        {"scl": np.zeros((192, 192), np.uint8)},
        {"bad_percent": 0.1},
        {"bad_percent": 25.0},
        {"bad_percent": -1 / 9216},
    ],
)
def test_refuses_images_that_the_schema_does_not_hold(change):
    good = make_cell_year()
    (name,) = change
    image = make_image(np.random.default_rng(0), **change)
    with pytest.raises(ValueError, match=rf"{name}.*Received"):
        encode(dataclasses.replace(good, images=(image,)))


@pytest.mark.parametrize("bound", ["min_lon", "max_lon", "min_lat", "max_lat"])
def test_refuses_bounds_that_are_no_numbers(bound):
    cell_year = dataclasses.replace(make_cell_year(), cell=make_cell(**{bound: float("nan")}))
    with pytest.raises(ValueError, match=f"{bound} must be finite"):
        encode(cell_year)


def test_a_damaged_example_is_a_fault():
    payload = encode(make_cell_year())
    with pytest.raises(PermanentFault, match="corrupt_example"):
        decode(payload[:1000])
    with pytest.raises(PermanentFault, match=r"corrupt_example.*features missing"):
        decode(b"")


def test_features_of_another_schema_are_named():
    example = Example.FromString(encode(make_cell_year()))
    features = example.features.feature
    del features["tile"]
    features["tiles"].bytes_list.value.append(b"56HLH")
    with pytest.raises(PermanentFault, match=r"features missing or unknown: \['tile', 'tiles'\]$"):
        decode(example.SerializeToString(), set(FEATURES))
    with pytest.raises(PermanentFault, match=r"features missing or unknown: \['tile'\]$"):
        decode(example.SerializeToString())
    del features["tiles"]
    features["tile"].bytes_list.value.extend([b"56HLH", b"56HLJ"])
    with pytest.raises(PermanentFault, match=r"tile holds 2 values of kind text$"):
        decode(example.SerializeToString())


def test_an_example_of_the_first_version_has_exact_bounds():
    inexact = dataclasses.replace(make_cell_year(), bounds_exact=False)
    payload = encode(inexact)
    assert decode(payload, set(FEATURES)) == inexact != make_cell_year()
    message = Example.FromString(payload)
    del message.features.feature["bounds_exact"]
    older = message.SerializeToString()
    assert set(features_since(0)) == set(message.features.feature)
    assert decode(older) == decode(older, set(features_since(0))) == make_cell_year()
    for stored, features in ((older, FEATURES), (payload, features_since(0))):
        with pytest.raises(PermanentFault, match=r"features missing or unknown: \['bounds_exact'\]$"):
            decode(stored, set(features))


def test_what_a_later_version_adds_to_an_example_is_passed_over():
    message = Example.FromString(encode(make_cell_year()))
    message.features.feature["image_0/haze"].float_list.value.append(0.5)
    assert decode(message.SerializeToString()) == make_cell_year()


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("chip_top", "int64_list", 1),
        ("num_images", "int64_list", 3),
        ("num_images", "int64_list", 0),
        ("bounds_exact", "int64_list", 2),
        ("bounds_exact", "bytes_list", b"1"),
        ("split", "bytes_list", b"train"),
        ("min_lat", "bytes_list", b"north"),
        ("year", "float_list", 2020.0),
        ("tile", "bytes_list", b"\xff"),
    ],
)
def test_a_contradictory_example_is_a_fault(name, kind, value):
    example = Example.FromString(encode(make_cell_year()))
    example.features.feature[name].Clear()
    getattr(example.features.feature[name], kind).value.append(value)
    with pytest.raises(PermanentFault, match="corrupt_example"):
        decode(example.SerializeToString())


def run(*lines):
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


OURS = "from beam_pipeline.records.example_proto import Example; import sys"


def test_records_need_no_tensorflow():
    """After ours, theirs is imported by test_tensorflow_reads_what_the_table_says."""
    run(OURS, "assert 'tensorflow' not in sys.modules; Example().SerializeToString()")


def test_tensorflow_can_be_imported_before():
    run("import tensorflow as tf", OURS, "tf.train.Example.FromString(Example().SerializeToString())")
