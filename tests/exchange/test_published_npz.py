"""An image is its floats to the last bit, and a file that is none is refused before anything of it grows."""

import io
import pickle
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from beam_pipeline.exchange.published_npz import MOST_NPZ_BYTES, read_published_image
from beam_pipeline.imagery.image import Image
from beam_pipeline.runtime.faults import PermanentFault
from tests.exchange.published_files import Arrays, image_arrays, npz

GRIDS = ("gsd_10", "gsd_20", "gsd_60")


def read(content: bytes) -> Image:
    return read_published_image(content, "S2A_43QEU_20201018_0_L2A", "2020-10-18", "sentinel-2a")


def reflectance(image: Image, grid: str) -> Any:
    return (getattr(image, grid).astype(np.float64) + image.boa_add_offset) / 10_000


def refused(content: bytes) -> tuple[str, str]:
    with pytest.raises(PermanentFault) as caught:
        read(content)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize(
    ("least", "most", "offset"), [(0, 65_535, 0), (1, 12_000, 0), (-1, 300, -1000), (-1000, 64_535, -1000)]
)
def test_an_image_is_its_floats(least: int, most: int, offset: int) -> None:
    arrays = image_arrays(7, least, most)
    arrays["gsd_60"].flat[:2] = least / 10_000, most / 10_000
    image = read(npz(arrays))
    assert image.boa_add_offset == offset
    for grid in GRIDS:
        assert np.array_equal(reflectance(image, grid).astype(np.float32), arrays[grid])
    assert np.array_equal(image.scl, arrays["scl"])
    assert image.scl.dtype == np.uint8
    assert image.bad_percent == float(arrays["bad_percent"])
    assert (image.item_id, image.platform, image.baseline) == ("S2A_43QEU_20201018_0_L2A", "sentinel-2a", "")
    assert (image.datetime, image.boa_decision) == ("2020-10-18T00:00:00Z", "published")


def test_each_whole_number_is_found_again() -> None:
    """All that 16 bits hold, below 0 too: float32 has no two of them alike."""
    for least in (0, -1000):
        every = np.arange(least, least + 65_536)
        grid = np.resize(every, (192, 192, 4))
        arrays = {**image_arrays(1, max(least, 0), 10), "gsd_10": (grid / 10_000).astype(np.float32)}
        image = read(npz(arrays))
        assert np.array_equal(image.gsd_10.astype(np.int64) + image.boa_add_offset, grid)


def test_no_data_stays_no_data_where_floats_are_negative() -> None:
    arrays = image_arrays(3)
    arrays["gsd_10"][100, 100] = -0.05
    arrays["scl"][:3, :3] = 0
    for grid, side in (("gsd_10", 6), ("gsd_20", 3), ("gsd_60", 1)):
        arrays[grid][:side, :side] = 0
    arrays["gsd_10"][50, 50] = 0  # of data: reflectance 0 in all bands of a clear pixel
    image = read(npz(arrays))
    assert image.boa_add_offset == -1000
    assert not image.gsd_10[:6, :6].any()
    assert not image.gsd_20[:3, :3].any()
    assert not image.gsd_60[0, 0].any()
    assert image.gsd_10[50, 50].tolist() == [1000] * 4


def test_arrays_in_other_orders_and_files_that_are_not_packed_are_read() -> None:
    arrays = image_arrays(5)
    arrays |= {name: np.asfortranarray(arrays[name]) for name in ("gsd_10", "scl")}
    arrays["bad_percent"] = np.array(np.float32(1598 / 9216))
    buffer = io.BytesIO()
    np.savez(buffer, **{name: arrays[name] for name in reversed(arrays)})  # type: ignore[arg-type]
    image = read(buffer.getvalue())
    assert np.array_equal(reflectance(image, "gsd_10").astype(np.float32), arrays["gsd_10"])
    assert np.array_equal(image.scl, arrays["scl"])
    assert image.bad_percent == 1598 / 9216


def changed(**arrays: Any) -> bytes:
    return npz({**image_arrays(1), **arrays})


def without(name: str) -> bytes:
    return npz({key: value for key, value in image_arrays(1).items() if key != name})


def set_in(grid: str, value: float) -> Arrays:
    pixels = image_arrays(1)[grid]
    pixels[3, 4, 1] = value
    return {grid: pixels}


class Exploding:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return _explode, ("unpickled",)


def _explode(_: str) -> None:
    raise SystemExit("a stranger's code ran")


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (b"", "corrupt_npz", "0 bytes are no npz"),
        (b"PK\x03\x04", "corrupt_npz", "BadZipFile"),
        (npz(image_arrays(1))[:-2000], "corrupt_npz", "BadZipFile"),
        (pickle.dumps(Exploding()), "corrupt_npz", "BadZipFile"),
        (changed(scl=np.array(Exploding())), "other_arrays", r"scl must be \(96, 96\) uint8"),
        (changed(bad_percent=np.array(Exploding())), "other_arrays", "Received: () object"),
        (without("gsd_60"), "other_arrays", "Received: bad_percent, gsd_10, gsd_20, scl"),
        (changed(more=np.zeros(3)), "other_arrays", "gsd_60, more, scl"),
        (changed(gsd_10=np.zeros((192, 192, 3), np.float32)), "other_arrays", "(192, 192, 3) float32"),
        (changed(gsd_20=np.zeros((96, 96, 6))), "other_arrays", "Received: (96, 96, 6) float64"),
        (changed(gsd_20=np.zeros((96, 96, 6), ">f4")), "other_arrays", "Received: (96, 96, 6) >f4"),
        (changed(scl=np.zeros((96, 96), np.int16)), "other_arrays", "int16"),
        (changed(bad_percent=np.array([0.5])), "other_arrays", "(1,) float64"),
        (changed(gsd_10=np.zeros((9, 1 << 20), np.float32)), "other_arrays", "and may have"),
        (changed(**set_in("gsd_10", 0.12345)), "inexact_reflectance", "1 of gsd_10 are no whole numbers"),
        (changed(**set_in("gsd_20", np.nan)), "inexact_reflectance", "nan"),
        (changed(**set_in("gsd_20", 3e38)), "inexact_reflectance", "3e+38"),
        (changed(**set_in("gsd_60", np.inf)), "out_of_range", "inf"),
        (changed(**set_in("gsd_20", -0.1001)), "out_of_range", "Received: -0.1001"),
        (changed(**set_in("gsd_20", 6.5536)), "out_of_range", "6.5536"),
        (changed(**set_in("gsd_20", -0.0001), **set_in("gsd_10", 6.4536)), "out_of_range", "6.4536"),
        (changed(bad_percent=np.array(17.3)), "odd_bad_percent", "Received: 17.3"),
        (changed(bad_percent=np.array(0.1)), "odd_bad_percent", "pixels / 9216"),
        (changed(bad_percent=np.array(np.nan)), "odd_bad_percent", "nan"),
    ],
)
def test_a_file_that_is_no_image_is_refused(content: bytes, reason: str, says: str) -> None:
    found, detail = refused(content)
    assert found == reason
    assert says.replace("\\", "") in detail


def test_a_flipped_bit_is_found() -> None:
    content = bytearray(npz(image_arrays(1)))
    content[len(content) // 2] ^= 4
    assert refused(bytes(content))[0] == "corrupt_npz"


def lying_zip(size: int) -> bytes:
    """A zip whose gsd_10 inflates to much more than its headers say."""
    arrays = image_arrays(1)
    stored = io.BytesIO()
    np.lib.format.write_array(stored, arrays["gsd_10"])
    honest = stored.getvalue()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gsd_10.npy", honest + bytes(size))
        for name in ("gsd_20", "gsd_60", "scl", "bad_percent"):
            stored = io.BytesIO()
            np.lib.format.write_array(stored, arrays[name])
            archive.writestr(f"{name}.npy", stored.getvalue())
    content = buffer.getvalue().replace(struct.pack("<I", len(honest) + size), struct.pack("<I", len(honest)))
    return content.replace(
        struct.pack("<I", zlib.crc32(honest + bytes(size))), struct.pack("<I", zlib.crc32(honest))
    )


def test_a_zip_that_lies_about_its_size_is_inflated_no_further() -> None:
    content = lying_zip(150_000_000)
    assert len(content) < MOST_NPZ_BYTES
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with_image = read(content)  # what its headers say is a whole image
    assert np.array_equal(reflectance(with_image, "gsd_10").astype(np.float32), image_arrays(1)["gsd_10"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
