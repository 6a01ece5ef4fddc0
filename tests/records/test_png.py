import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from beam_pipeline.records.png import decode_png, encode_png
from beam_pipeline.runtime.faults import PermanentFault

pixels = st.one_of(
    hnp.arrays(dtype, hnp.array_shapes(min_dims=3, max_dims=3, max_side=4)) for dtype in (np.uint8, np.uint16)
)


@given(pixels)
@settings(deadline=None)
def test_decode_undoes_encode(image):
    decoded = decode_png(encode_png(image))
    assert decoded.dtype == image.dtype
    np.testing.assert_array_equal(decoded, image)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gdal_and_tensorflow_decode_the_same(dtype, channels):
    # Slow to import, so only where they are used.
    import rasterio
    import tensorflow as tf

    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (13, 7, channels), dtype, endpoint=True)
    data = encode_png(image)
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.io.MemoryFile(data) as file,
        file.open() as dataset,
    ):
        np.testing.assert_array_equal(np.moveaxis(dataset.read(), 0, -1), image)
    np.testing.assert_array_equal(tf.io.decode_png(data, dtype=dtype).numpy(), image)


def test_pillow_decodes_labels():
    image = np.random.default_rng(0).integers(0, 256, (192, 192, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(io.BytesIO(encode_png(image)))), image)


def test_pillow_decodes_measurements():
    image = np.random.default_rng(0).integers(0, 65536, (32, 64, 1), np.uint16)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(io.BytesIO(encode_png(image)))), image[..., 0])


def test_non_contiguous_pixels():
    image = np.random.default_rng(0).integers(0, 60000, (96, 96, 6), np.uint16)
    np.testing.assert_array_equal(decode_png(encode_png(image[..., 3:])), image[..., 3:])
    assert encode_png(image[..., 3:]) == encode_png(image[..., 3:].copy())


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint16),
        np.zeros((4, 4, 5), np.uint16),
        np.zeros((0, 4, 1), np.uint16),
        np.zeros((4, 4, 1), np.int16),
        np.zeros((4, 4, 1), np.float32),
        np.zeros((4, 4, 1), ">u2"),
    ],
)
def test_refuses_what_png_cannot_hold(image):
    with pytest.raises(ValueError, match="Received"):
        encode_png(image)


def test_damage_is_found_at_every_byte():
    data = encode_png(np.random.default_rng(0).integers(0, 60000, (5, 6, 3), np.uint16))
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(PermanentFault, match="corrupt_png"):
            decode_png(bytes(damaged))
    for length in range(len(data)):
        with pytest.raises(PermanentFault, match="corrupt_png"):
            decode_png(data[:length])


def test_a_png_of_another_writer_is_refused_not_misread():
    buffer = io.BytesIO()
    ramp = np.arange(192, dtype=np.uint8)[:, None, None] + np.arange(192, dtype=np.uint8)[None, :, None]
    PIL.Image.fromarray(ramp.repeat(3, axis=2)).save(buffer, "png")
    with pytest.raises(PermanentFault, match="row filters"):
        decode_png(buffer.getvalue())
