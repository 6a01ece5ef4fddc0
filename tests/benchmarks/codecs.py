"""Sizes of chips by lossless codecs, and the pace of decoding them, beside the published format.

    pip install imagecodecs
    python tests/benchmarks/codecs.py

The images are the real chips of `records.py`, or those of a built sample where these are absent. A codec stores the
three grids and the SCL of an image as DN, `np.load` the published float32 reflectance. A codec is of use where it needs
at most 0.53 of the published bytes and is decoded as fast as `np.load`, on one thread. Every way is checked to give
back what it was given.
"""

import argparse
import gzip
import io
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import imagecodecs
import numpy as np

from beam_pipeline.exchange.webdataset import array_file
from beam_pipeline.imagery.image import Image
from beam_pipeline.records.png import decode_png, encode_png
from beam_pipeline.records.schema import FEATURES, slot_prefix
from tests.benchmarks.records import load_npz, published, read_chips, read_sample
from tests.shared_data import SHARED

MOST_SIZE, LEAST_RATE = 0.53, 1.0
"""As shares of the published bytes and of the rate of `np.load`."""

_ROUNDS = 5
_GRIDS = ("gsd_10", "gsd_20", "gsd_60", "scl")


class Codec(NamedTuple):
    """A way to store one array.

    Attributes:
        encode: (H, W, bands) -> bytes.
        decode: bytes, shape, dtype -> the array.
    """

    encode: Callable[[np.ndarray], Any]
    decode: Callable[[Any, tuple[int, ...], np.dtype], np.ndarray]


def _png(pixels: np.ndarray) -> bytes:
    (spec,) = (
        it for it in FEATURES.values() if it.name.startswith(slot_prefix(0)) and it.shape == pixels.shape
    )
    return encode_png(pixels.reshape(spec.png_shape))


def _bands(codec: str, decode_options: dict[str, Any] | None = None, **options: Any) -> Codec:
    """Encodes each band as an image of its own, which is what these codecs are made for."""
    encode, decode = getattr(imagecodecs, f"{codec}_encode"), getattr(imagecodecs, f"{codec}_decode")
    return Codec(
        lambda pixels: [
            bytes(encode(np.ascontiguousarray(band), **options))
            for band in np.moveaxis(np.atleast_3d(pixels), -1, 0)
        ],
        lambda parts, shape, dtype: np.stack(
            [decode(part, **(decode_options or {})) for part in parts], -1
        ).reshape(shape),
    )


def _stream(codec: str, *, delta: bool = False, planes: bool = False, **options: Any) -> Codec:
    """Encodes bands one after the other as a stream of numbers.

    Args:
        codec: Its name in imagecodecs.
        delta: Whether to take differences along rows before.
        planes: Whether to put low and high bytes apart before.
        options: Of the encoder.
    """
    encode, decode = getattr(imagecodecs, f"{codec}_encode"), getattr(imagecodecs, f"{codec}_decode")

    def forward(pixels: np.ndarray) -> Any:
        values = np.ascontiguousarray(np.moveaxis(np.atleast_3d(pixels), -1, 0))
        if delta:
            values = imagecodecs.delta_encode(values, axis=-1)
        if planes:
            values = np.ascontiguousarray(values.view(np.uint8).reshape(-1, values.itemsize).T)
        return encode(values, **options)

    def back(data: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        rows, cols, bands = (*shape, 1)[:3]
        given = {"shape": (bands, rows, cols), "dtype": dtype} if codec == "pcodec" else {}
        values = np.frombuffer(decode(data, **given), np.uint8)
        if planes:
            values = np.ascontiguousarray(values.reshape(dtype.itemsize, -1).T)
        values = values.view(dtype).reshape(bands, rows, cols)
        if delta:
            values = imagecodecs.delta_decode(values, axis=-1)
        return np.moveaxis(values, 0, -1).reshape(shape)

    return Codec(forward, back)


def _npy(unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes]) -> Codec:
    return Codec(
        lambda pixels: pack(array_file(np.atleast_3d(pixels))),
        lambda data, shape, dtype: np.moveaxis(np.load(io.BytesIO(unpack(data))), 0, -1).reshape(shape),
    )


CODECS = {
    "PNG, as stored": Codec(_png, lambda data, shape, dtype: decode_png(data).reshape(shape)),
    "npy": _npy(lambda it: it, lambda it: it),
    "npy.gz, level 1": _npy(gzip.decompress, lambda it: gzip.compress(it, 1, mtime=0)),
    "npy.gz, level 6": _npy(gzip.decompress, lambda it: gzip.compress(it, 6, mtime=0)),
    "zstd 9, delta, planes": _stream("zstd", delta=True, planes=True, level=9),
    "blosc2 zstd, delta": _stream("blosc2", delta=True, compressor="zstd", level=5, shuffle="bitshuffle"),
    "pcodec": _stream("pcodec", level=8),
    "JPEG XL, effort 1": _bands("jpegxl", {"numthreads": 1}, lossless=True, effort=1, numthreads=1),
    "JPEG XL, effort 3": _bands("jpegxl", {"numthreads": 1}, lossless=True, effort=3, numthreads=1),
    "JPEG 2000": _bands("jpeg2k", {"numthreads": 1}, reversible=True, numthreads=1),
    "HTJ2K": _bands("htj2k"),
    "JPEG-LS": _bands("jpegls"),
    "LERC": _bands("lerc"),
}


def size(stored: Any) -> int:
    """Returns the bytes of what a codec gave."""
    return sum(map(len, stored)) if isinstance(stored, list) else len(stored)


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", default="out/sample", help="a built dataset, used without the real chips")
    given = parser.parse_args()
    if SHARED.exists():
        images = read_chips(["manila/date_a", "manila/date_b"]) + read_chips(["virginia_l1c"])
    else:
        images = read_sample(given.sample)
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{index}.npz" for index in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            Path(path).write_bytes(published(image))
        bytes_published = sum(Path(path).stat().st_size for path in paths)
        print(f"{'':24} {'size / npz':>10} {'images a CPU second':>20} {'/ np.load':>10} {'of use':>7}")
        _report("np.load of the npz", 1.0, [1.0], [_rate(lambda: load_npz(paths))])
        for name, codec in CODECS.items():
            report(name, codec, images, bytes_published, lambda: load_npz(paths))
    return 0


def report(
    name: str, codec: Codec, images: Sequence[Image], bytes_published: int, base: Callable[[], int]
) -> None:
    """Prints the row of a codec; its decoding and that of the published format take turns."""
    arrays = [getattr(image, grid) for image, grid in itertools.product(images, _GRIDS)]
    stored = [codec.encode(array) for array in arrays]

    def decode_all() -> int:
        for data, array in zip(stored, arrays, strict=True):
            codec.decode(data, array.shape, array.dtype)
        return len(images)

    for data, array in zip(stored, arrays, strict=True):
        if not np.array_equal(codec.decode(data, array.shape, array.dtype), array):
            raise ValueError(f"{name} does not give back what it was given")
    measured = [(_rate(decode_all), _rate(base)) for _ in range(_ROUNDS)]
    ratios = [own / other for own, other in measured]
    _report(name, sum(map(size, stored)) / bytes_published, ratios, [own for own, _ in measured])


def _report(name: str, share: float, ratios: Sequence[float], rates: Sequence[float]) -> None:
    ratio = statistics.median(ratios)
    of_use = "yes" if share <= MOST_SIZE and ratio >= LEAST_RATE else "no"
    print(f"{name:24} {share:10.2f} {statistics.median(rates):20.0f} {ratio:10.2f} {of_use:>7}", flush=True)


def _rate(way: Callable[[], int]) -> float:
    """Returns images a CPU second."""
    started = time.process_time()
    count = way()
    return count / (time.process_time() - started)


if __name__ == "__main__":
    sys.exit(main())
