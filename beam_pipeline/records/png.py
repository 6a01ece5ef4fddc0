"""PNG, as far as it is written here: 8 or 16 bits, 1 to 4 channels, rows filtered by Up or not at all.

GDAL writes 16-bit PNG of 2 to 4 channels too, but tries every filter on every row and lets zlib search
noise for repeats. Sentinel-2 texture has none, so entropy coding of the vertical differences is as small in a
tenth of the time, and Up is the filter that decoders undo fastest (`python tests/benchmarks/records.py` shows
both). Any PNG reader decodes the result.
"""

import itertools
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.faults import PermanentFault

_MOST_BYTES = 1 << 24
"""Samples of the largest image that is read; ours have 300 kB. A small file may unpack to any size."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: gray, gray + alpha, RGB, RGBA
_NO_FILTER, _UP = 0, 2
_IHDR = struct.Struct(">IIBBBBB")
_CHUNK_HEAD = struct.Struct(">I4s")
_CRC = struct.Struct(">I")

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def encode_png(pixels: Pixels) -> bytes:
    """Encodes pixels without loss; the same pixels give the same bytes with the same zlib.

    Args:
        pixels: (H, W, C) uint16 measurements or uint8 classes, C from 1 to 4.

    Returns:
        A PNG file of the same depth, H, W and C.

    Raises:
        ValueError: Shape or dtype is none that a PNG can hold.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOR_TYPES or 0 in pixels.shape:
        raise ValueError(f"A PNG holds (H, W, 1 to 4) pixels. Received: shape {pixels.shape}")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"A PNG holds uint8 or uint16. Received: {pixels.dtype}")
    height, width, channels = pixels.shape
    big_endian = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder(">"))
    raw = big_endian.view(np.uint8).reshape(height, -1)
    rows = np.empty((height, 1 + raw.shape[1]), np.uint8)
    if pixels.dtype == np.uint16:
        rows[:, 0] = _UP
        rows[0, 1:] = raw[0]
        np.subtract(raw[1:], raw[:-1], out=rows[1:, 1:])
        # Runs and Huffman codes only: a search for longer matches finds next to nothing in 16-bit noise.
        compressor = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    else:
        # Classes: differences would only break up the repeats that the search finds. Level 9 takes nine times as long,
        # for a label that is a tenth smaller, of which an example has one beside half a MB of images.
        rows[:, 0] = _NO_FILTER
        rows[:, 1:] = raw
        compressor = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9)
    data = compressor.compress(rows.tobytes()) + compressor.flush()
    header = _IHDR.pack(width, height, 8 * pixels.dtype.itemsize, _COLOR_TYPES[channels], 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def decode_png(data: bytes) -> Pixels:
    """Decodes what `encode_png` wrote.

    Args:
        data: A PNG file.

    Returns:
        (H, W, C) uint8 or uint16, C from 1 to 4, in the machine's byte order.

    Raises:
        PermanentFault: "corrupt_png": damaged, or a PNG of another writer.
    """
    try:
        header, body = _read_chunks(data)
        width, height, bits, color_type, _, _, interlaced = _IHDR.unpack(header)
        channels = {color: count for count, color in _COLOR_TYPES.items()}[color_type]
        dtype: np.dtype[Any] = np.dtype({8: np.uint8, 16: np.uint16}[bits])
        if interlaced:
            raise ValueError("interlaced")
        row_bytes = 1 + width * channels * dtype.itemsize
        if not 0 < height * row_bytes <= _MOST_BYTES:
            raise ValueError(f"{height} x {width} pixels")
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(body, height * row_bytes)
        if len(unpacked) != height * row_bytes or unpacker.decompress(unpacker.unconsumed_tail, 1):
            raise ValueError(f"the samples are not {height} rows of {row_bytes} bytes")
        if not unpacker.eof:
            raise ValueError("the samples are cut off")
        rows = np.frombuffer(unpacked, np.uint8).reshape(height, row_bytes)
        filters = set(rows[:, 0].tolist())
        if filters == {_UP}:
            raw = rows[:, 1:].copy()
            for above, row in itertools.pairwise(raw):  # a quarter of the time of `np.add.accumulate`
                row += above
        elif filters == {_NO_FILTER}:
            raw = np.ascontiguousarray(rows[:, 1:])
        else:
            raise ValueError(f"row filters {sorted(filters)}, which are not written here")
    except (KeyError, ValueError, struct.error, zlib.error) as error:
        raise PermanentFault("corrupt_png", f"{len(data)} bytes are no PNG of ours: {error!r}") from error
    pixels = raw.view(dtype.newbyteorder(">")).reshape(height, width, channels)
    return pixels.astype(dtype)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return _CHUNK_HEAD.pack(len(content), kind) + content + _CRC.pack(zlib.crc32(kind + content))


def _read_chunks(data: bytes) -> tuple[bytes, bytes]:
    """Returns the content of IHDR and of all IDAT chunks."""
    if not data.startswith(_SIGNATURE):
        raise ValueError("the signature is missing")
    header, body, kind = b"", b"", b""
    position = len(_SIGNATURE)
    while kind != b"IEND":
        length, kind = _CHUNK_HEAD.unpack_from(data, position)
        content = data[position + 8 : position + 8 + length]
        (crc,) = _CRC.unpack_from(data, position + 8 + length)
        if crc != zlib.crc32(kind + content):
            raise ValueError(f"CRC of chunk {kind!r}")
        if kind == b"IHDR":
            header = content
        elif kind == b"IDAT":
            body += content
        position += 12 + length
    return header, body
