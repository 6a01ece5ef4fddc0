"""Reads a published label image: 192 x 192, RGB of 8 bits, its channels those of the ontology."""

import struct
import warnings
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.label_image import CHANNELS, SIZE
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.gdal_drivers import gdal_options, rasterio

# A label image says nowhere where it lies.
warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)

MOST_PNG_BYTES = 1 << 20
"""Of a file; its pixels are 110,592 bytes."""

CORRUPT, OTHER_IMAGE, UNKNOWN_LABEL = "corrupt_label", "other_label_image", "unknown_label"
"""Reasons of faults."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">I4s")
_IHDR = struct.Struct(">IIBBBBB")
_KINDS = {0: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGBA"}
_RGB = 2
_RAW_BYTES = SIZE * (1 + SIZE * CHANNELS)  # a row begins with its filter


def read_published_label(content: bytes, allowed: Sequence[frozenset[int]]) -> npt.NDArray[np.uint8]:
    """Reads a label image.

    Args:
        content: The PNG file.
        allowed: Per channel, the values that a label may have.

    Returns:
        (192, 192, 3) uint8.

    Raises:
        PermanentFault: "corrupt_label": it is no PNG, cut short or damaged; "other_label_image": of another size, depth
            or mode; "unknown_label": a pixel has a value that the ontology does not have.
    """
    _check_chunks(content)
    try:
        with gdal_options(), rasterio.MemoryFile(content) as memory, memory.open(driver="PNG") as png:
            label: npt.NDArray[np.uint8] = np.ascontiguousarray(png.read().transpose(1, 2, 0))
    except rasterio.errors.RasterioError as error:
        raise PermanentFault(CORRUPT, f"the PNG cannot be read: {error}") from error
    for channel, values in enumerate(allowed):
        held = np.flatnonzero(np.bincount(label[..., channel].ravel())).tolist()
        if unknown := sorted({*held} - values):
            raise PermanentFault(UNKNOWN_LABEL, f"channel {channel} holds {unknown}, which no label has")
    return label


def _check_chunks(content: bytes) -> None:
    """Checks size, mode and length of the pixels before a decoder sees them: GDAL takes what is cut short for black."""
    try:
        header, body = _read_chunks(content)
        width, height, bits, kind, _, _, interlaced = _IHDR.unpack(header)
        if (width, height, bits, kind) != (SIZE, SIZE, 8, _RGB):
            raise PermanentFault(
                OTHER_IMAGE,
                f"a label image is {SIZE} x {SIZE} RGB of 8 bits. Received: {width} x {height} "
                f"{_KINDS.get(kind, kind)} of {bits} bits",
            )
        inflater = zlib.decompressobj()
        raw = inflater.decompress(body, 2 * _RAW_BYTES)  # interlaced it has more rows, each with its filter
        if not inflater.eof or (len(raw) != _RAW_BYTES and not interlaced):
            raise ValueError(f"its pixels are {len(raw)} bytes, not {_RAW_BYTES}")
    except (struct.error, ValueError, zlib.error) as error:
        raise PermanentFault(CORRUPT, f"{len(content)} bytes are no PNG: {error}") from error


def _read_chunks(content: bytes) -> tuple[bytes, bytes]:
    """Returns the content of IHDR and of all IDAT chunks, each with its CRC checked."""
    if not content.startswith(_SIGNATURE):
        raise ValueError("the signature is missing")
    header, body, kind, at = b"", [], b"", len(_SIGNATURE)
    while kind != b"IEND":
        length, kind = _HEAD.unpack_from(content, at)
        inner = content[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", content, at + 8 + length)
        if crc != zlib.crc32(kind + inner):
            raise ValueError(f"the CRC of chunk {kind!r} differs")
        if kind == b"IHDR":
            header = inner
        elif kind == b"IDAT":
            body.append(inner)
        at += 12 + length
    return header, b"".join(body)
