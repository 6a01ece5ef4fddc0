"""A label image is read as Pillow reads it, and what is none is refused with its reason."""

import struct
import zlib
from typing import Any

import numpy as np
import PIL.Image
import pytest

from beam_pipeline.exchange.published_label import read_published_label
from beam_pipeline.runtime.faults import PermanentFault
from tests.exchange.published_files import label_pixels, png

ALLOWED = (
    frozenset({*range(12), 254, 255}),
    frozenset({12, 13, 254, 255}),
    frozenset({14, 254, 255}),
)


def refused(content: bytes) -> tuple[str, str]:
    with pytest.raises(PermanentFault) as caught:
        read_published_label(content, ALLOWED)
    return caught.value.reason, caught.value.detail


def noise(channels: int = 3, side: int = 192, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(1).integers(0, 250, (side, side, channels)).astype(dtype)


@pytest.mark.parametrize("level", [0, 6, 9])
def test_a_label_is_its_pixels(level: int) -> None:
    for seed in range(3):
        pixels = label_pixels(seed)
        read = read_published_label(png(pixels, compress_level=level), ALLOWED)
        assert np.array_equal(read, pixels)
        assert read.dtype == np.uint8


def test_all_filters_of_rows_are_undone() -> None:
    pixels = noise().cumsum(axis=0).astype(np.uint8)  # for which Pillow takes several
    any_value = (frozenset(range(256)),) * 3
    assert np.array_equal(read_published_label(png(pixels), any_value), pixels)


GOOD = png(label_pixels(1))


def with_chunk(content: bytes, kind: bytes, inner: bytes) -> bytes:
    """Puts another content into a chunk, with its CRC."""
    at = content.index(kind) - 4
    (length,) = struct.unpack_from(">I", content, at)
    chunk = struct.pack(">I", len(inner)) + kind + inner + struct.pack(">I", zlib.crc32(kind + inner))
    return content[:at] + chunk + content[at + 12 + length :]


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (b"", "corrupt_label", "signature"),
        (b"GIF89a" + GOOD, "corrupt_label", "signature"),
        (GOOD[:-20], "corrupt_label", "no PNG"),
        (GOOD[: len(GOOD) // 2], "corrupt_label", "no PNG"),
        (GOOD[:300] + bytes([GOOD[300] ^ 1]) + GOOD[301:], "corrupt_label", "CRC"),
        (with_chunk(GOOD, b"IDAT", zlib.compress(bytes(9))), "corrupt_label", "9 bytes"),
        (with_chunk(GOOD, b"IDAT", zlib.compress(bytes(10**8))), "corrupt_label", "are no PNG"),
        (png(noise(side=191)), "other_label_image", "191 x 191 RGB of 8 bits"),
        (png(noise(4)), "other_label_image", "RGBA"),
        (png(noise()[..., 0]), "other_label_image", "gray of 8 bits"),
        (png(noise(1, dtype=np.uint16)[..., 0]), "other_label_image", "of 16 bits"),
        (png(np.full((192, 192, 3), 20, np.uint8)), "unknown_label", "channel 0 holds [20]"),
        (png(np.full((192, 192, 3), 253, np.uint8)), "unknown_label", "[253]"),
        (png(label_pixels(1)[..., ::-1].copy()), "unknown_label", "channel 0 holds [14]"),
    ],
)
def test_what_is_no_label_image_is_refused(content: bytes, reason: str, says: str) -> None:
    found, detail = refused(content)
    assert found == reason
    assert says in detail


def test_a_palette_is_no_label_image(tmp_path: Any) -> None:
    path = tmp_path / "label.png"
    PIL.Image.fromarray(label_pixels(1)).convert("P").save(path)
    assert refused(path.read_bytes())[0] == "other_label_image"
