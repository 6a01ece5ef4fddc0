"""Reads the npz of a published image: nothing is unpickled, and nothing grows beyond what an image has.

A zip says of each file in it how large it is, and so does the header of an npy. Both are looked at before anything is
inflated, and no more than that is.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_pipeline.imagery.image import MAX_NODATA_DN, REFLECTANCE_SCALE, Image, over_bands
from beam_pipeline.imagery.radiometry import BOA_ADD_OFFSET
from beam_pipeline.records.schema import SCL_PIXELS
from beam_pipeline.runtime.faults import PermanentFault

MOST_NPZ_BYTES = 2 << 20
"""Of a file; one that is not compressed has 0.83 MB."""

DECISION = "published"
"""Stands in `boa_decision`: the offset is that of the floats, whatever it was before."""

_GRIDS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"gsd_10": (192, 192, 4), "gsd_20": (96, 96, 6), "gsd_60": (32, 32, 2)}
)
_SCL_SHAPE = (96, 96)
_NAMES = (*_GRIDS, "scl", "bad_percent")
_MOST_HEADER = 1024  # of an npy; it is told on 118 bytes
_MOST_DN = np.iinfo(np.uint16).max

_Arrays = dict[str, npt.NDArray[Any]]


def read_published_image(content: bytes, item_id: str, date: str, platform: str) -> Image:
    """Reads an image.

    Args:
        content: The npz file.
        item_id: As in `Image`, like platform.
        date: The sensing day, "YYYY-MM-DD". The files say no time: it becomes midnight.
        platform: E.g. "sentinel-2a".

    Returns:
        The image. Its DN are the floats times 10,000, `boa_add_offset` is 0; where a float is negative they are 1000
        more, and `boa_add_offset` is -1000. `bad_percent` is what the file says.

    Raises:
        PermanentFault: "corrupt_npz": it is no zip, cut short or damaged; "other_arrays": it holds others, or of
            another shape or type; "inexact_reflectance": a float is no whole number of 1/10,000; "out_of_range":
            below -0.1 or above what 16 bits hold; "odd_bad_percent": it is no number of pixels of 9,216.
    """
    arrays = _read_arrays(content)
    values = {name: _whole_numbers(arrays[name], name) for name in _GRIDS}
    scl = arrays["scl"]
    offset = BOA_ADD_OFFSET if min(float(it.min()) for it in values.values()) < 0 else 0
    dn = {name: _to_dn(of_grid, offset, name) for name, of_grid in values.items()}
    if offset:
        _clear_nodata(dn, values, scl)
    return Image(
        item_id=item_id,
        datetime=f"{date}T00:00:00Z",
        platform=platform,
        baseline="",
        boa_add_offset=offset,
        boa_decision=DECISION,
        bad_percent=_bad_fraction(arrays["bad_percent"]),
        scl=scl,
        **dn,
    )


def _read_arrays(content: bytes) -> _Arrays:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {member.filename: member for member in archive.infolist()}
            expected = [f"{name}.npy" for name in _NAMES]
            if sorted(members) != sorted(expected) or len(archive.infolist()) != len(expected):
                held = ", ".join(name.removesuffix(".npy") for name in sorted(members)[:8])
                raise PermanentFault(
                    "other_arrays", f"an image has {', '.join(_NAMES)}. Received: {held or 'none'}"
                )
            return {name: _read_array(archive, members[f"{name}.npy"], name) for name in _NAMES}
    except (
        *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
        *(ValueError, NotImplementedError, RuntimeError, MemoryError),  # RuntimeError: it is encrypted
    ) as error:
        raise PermanentFault(
            "corrupt_npz", f"{len(content)} bytes are no npz: {type(error).__name__}: {error}"
        ) from error


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> npt.NDArray[Any]:
    shape = {**_GRIDS, "scl": _SCL_SHAPE}.get(name, ())
    most = int(np.prod(shape)) * 8 + _MOST_HEADER
    if member.file_size > most or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PermanentFault(
            "other_arrays",
            f"{name} has {member.file_size:,} bytes, and may have {most:,}, stored or deflated",
        )
    with archive.open(member) as file:
        data = file.read(member.file_size)  # not read(), which inflates first and looks at the size then
    header = io.BytesIO(data)
    version = np.lib.format.read_magic(header)
    reads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in reads:
        raise ValueError(f"{name} is an npy of version {version}")
    found, is_fortran, dtype = reads[version](header)
    wanted = {"scl": ("<u1", "|u1"), "bad_percent": ("<f8", "<f4")}.get(name, ("<f4",))
    if found != shape or dtype.str not in wanted:
        raise PermanentFault(
            "other_arrays", f"{name} must be {shape} {np.dtype(wanted[0])}. Received: {found} {dtype}"
        )
    body = data[header.tell() :]
    if len(body) != int(np.prod(shape)) * dtype.itemsize:
        raise ValueError(f"{name} has {len(body)} bytes of {shape} {dtype}")
    pixels = np.frombuffer(body, dtype)
    return pixels.reshape(shape[::-1]).T if is_fortran else pixels.reshape(shape)


def _whole_numbers(floats: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
    """Returns floats times 10,000, proved to be whole numbers: divided again, they are the same floats."""
    with np.errstate(over="ignore"):  # what becomes infinite is not the same
        values: npt.NDArray[np.float32] = np.rint(floats * np.float32(REFLECTANCE_SCALE))
    same = values / np.float32(REFLECTANCE_SCALE) == floats
    if not same.all():
        wrong = np.flatnonzero(~same)
        raise PermanentFault(
            "inexact_reflectance",
            f"{len(wrong)} of {name} are no whole numbers of 1/{REFLECTANCE_SCALE}, e.g. {floats.flat[wrong[0]]!r}",
        )
    return values


def _to_dn(values: npt.NDArray[np.float32], offset: int, name: str) -> npt.NDArray[np.uint16]:
    dn = values - np.float32(offset)
    low, high = float(dn.min()), float(dn.max())
    if low < 0 or high > _MOST_DN:
        least, most = offset / REFLECTANCE_SCALE, (_MOST_DN + offset) / REFLECTANCE_SCALE
        received = f"{(low + offset) / REFLECTANCE_SCALE} to {(high + offset) / REFLECTANCE_SCALE}"
        raise PermanentFault(
            "out_of_range", f"{name} must lie in {least} to {most} to be held. Received: {received}"
        )
    return np.ascontiguousarray(dn, np.uint16)


def _clear_nodata(
    dn: dict[str, npt.NDArray[np.uint16]],
    values: Mapping[str, npt.NDArray[np.float32]],
    scl: npt.NDArray[np.uint8],
) -> None:
    """Writes 0 where the scene classification says no data and the floats are 0: it would become 1000."""
    empty = scl == 0
    if not empty.any():
        return
    of_grid = {
        "gsd_10": empty.repeat(2, axis=0).repeat(2, axis=1),
        "gsd_20": empty,
        "gsd_60": empty.reshape(32, 3, 32, 3).any(axis=(1, 3)),
    }
    for name, masked in of_grid.items():
        dn[name][masked & (over_bands(np.maximum, np.abs(values[name])) < MAX_NODATA_DN)] = 0


def _bad_fraction(stored: npt.NDArray[Any]) -> float:
    value = float(stored[()])
    if 0 <= value <= 1:  # not of NaN
        fraction = round(value * SCL_PIXELS) / SCL_PIXELS
        if stored.dtype.type(fraction) == stored[()]:
            return fraction
    raise PermanentFault(
        "odd_bad_percent", f"bad_percent must be a number of pixels / {SCL_PIXELS}. Received: {value!r}"
    )
