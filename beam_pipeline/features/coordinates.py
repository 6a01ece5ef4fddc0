"""Coordinates as a store holds them: they take half the room, and OpenStreetMap's own come back to the last bit.

OpenStreetMap has degrees in whole multiples of 1e-7. As doubles nearly all of these are unending fractions, whose bits
no compression shortens. So each is written as the multiple of 2^-24 that lies nearest: at most 3e-8 degrees away, 3.3
mm, and the last third of its bits is zero. Rounded to seven decimals it is OpenStreetMap's own again, as the multiples
of 2^-24 lie closer to each other than those of 1e-7. What is not of that grid, as where a lake was cut, stays as it is.
"""

import functools
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_pipeline.labels.chip_boxes import Boxes

Degrees = npt.NDArray[np.float64]

_A_DEGREE = 1e7
"""Steps of OpenStreetMap's grid. Source: https://wiki.openstreetmap.org/wiki/Node#Structure"""

_BINARY = 2.0**24

OFF_BY = 2.0**-25
"""Degrees by which a coordinate in a store is off at most."""

_POINT, _LINE, _POLYGON = 1, 2, 3  # types of well-known binary; 4 to 6 are these in several parts
_HEAD = 5  # bytes of byte order and type
_COUNT = struct.Struct("<I")
_PART = struct.Struct("<BI")
_PLACE = 16  # bytes of a pair of doubles


class Coordinates:
    """The coordinates of N geometries in well-known binary (2D, little-endian).

    Args:
        data: (B,) uint8, the geometries one behind the other.
        offsets: (N + 1,) where each begins, and the end.

    Attributes:
        counts: (N,) coordinates of each geometry.

    Raises:
        ValueError: One is no such geometry.
    """

    def __init__(self, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> None:
        self._data = data
        self._places, self.counts = _places(data, offsets)
        kinds = data[offsets[:-1] + 1]
        self._are_short = self.counts < np.choose(kinds.clip(0, _POLYGON), (0, 1, 2, 4))
        numbers = _anywhere(data, "<f8")
        # (2, C): longitudes, latitudes
        self._degrees: Degrees = np.stack([numbers[self._places], numbers[self._places + _PLACE // 2]])

    @functools.cached_property
    def bounds(self) -> Boxes:
        """(N, 4) west, south, east and north of each; not-a-number for what is no geometry, as a ring of two points."""
        bounds: Boxes = np.full((len(self.counts), 4), np.nan)
        all_rows = np.flatnonzero(self.counts)
        starts = (np.cumsum(self.counts) - self.counts)[all_rows]
        for axis in (0, 1) if len(all_rows) else ():
            bounds[all_rows, axis] = np.fmin.reduceat(self._degrees[axis], starts)
            bounds[all_rows, axis + 2] = np.fmax.reduceat(self._degrees[axis], starts)
        bounds[self._are_short] = np.nan
        return bounds

    def compacted(self) -> npt.NDArray[np.uint8]:
        """Returns (B,) the geometries with coordinates as a store holds them."""
        return self._changed(_compacted)

    def restored(self) -> npt.NDArray[np.uint8]:
        """Is the inverse of `compacted`."""
        return self._changed(_restored)

    def _changed(self, change: Callable[[Degrees], Degrees]) -> npt.NDArray[np.uint8]:
        data = self._data.copy()
        with np.errstate(over="ignore", invalid="ignore"):  # damaged ones are of no grid, and stay
            changed = change(self._degrees)
        numbers = _anywhere(data, "<f8")
        numbers[self._places], numbers[self._places + _PLACE // 2] = changed
        return data


def compact(wkb: pa.BinaryArray) -> pa.BinaryArray:
    """Returns well-known binary (2D, little-endian) with coordinates as a store holds them.

    Raises:
        ValueError: One is no such geometry.
    """
    return _with_coordinates(wkb, Coordinates.compacted)


def restore(wkb: pa.BinaryArray) -> pa.BinaryArray:
    """Is the inverse of `compact`; raises as it."""
    return _with_coordinates(wkb, Coordinates.restored)


def _compacted(degrees: Degrees) -> Degrees:
    of_grid = np.rint(degrees * _A_DEGREE) / _A_DEGREE == degrees
    binary = np.rint(degrees * _BINARY) / _BINARY
    if of_grid.all():
        return binary
    # What is binary by chance and not of the grid moves by its last bit, or it would be taken for one of the grid.
    others = np.where(binary == degrees, np.nextafter(degrees, np.inf), degrees)
    return np.where(of_grid, binary, others)


def _restored(degrees: Degrees) -> Degrees:
    is_binary = np.rint(degrees * _BINARY) / _BINARY == degrees
    return np.where(is_binary, np.rint(degrees * _A_DEGREE) / _A_DEGREE, degrees)


def coordinates_of_array(wkb: pa.BinaryArray) -> tuple[Coordinates, npt.NDArray[np.int64]]:
    """Returns the coordinates of at least one geometry of an array, and (N + 1,) where each begins.

    Raises:
        ValueError: One is missing or no such geometry.
    """
    if wkb.null_count:
        raise ValueError("a geometry is missing")
    _, offsets_buffer, data_buffer = wkb.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[wkb.offset : wkb.offset + len(wkb) + 1].astype(np.int64)
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    offsets -= offsets[0]
    return Coordinates(data, offsets), offsets


def _with_coordinates(
    wkb: pa.BinaryArray, change: Callable[[Coordinates], npt.NDArray[np.uint8]]
) -> pa.BinaryArray:
    """Returns geometries whose coordinates are changed."""
    if not len(wkb):
        return wkb
    coordinates, offsets = coordinates_of_array(wkb)
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(change(coordinates))]
    return pa.BinaryArray.from_buffers(pa.binary(), len(wkb), buffers)


def _places(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Finds the coordinates.

    Args:
        data: (B,) well-known binary of N geometries.
        offsets: (N + 1,) where each begins, and the end.

    Returns:
        (C,) where each pair begins, in order, and (N,) how many each geometry has.
    """
    begins, ends = offsets[:-1], offsets[1:]
    if (ends - begins < _HEAD + _COUNT.size).any():
        raise ValueError("a geometry is cut off")
    kinds = _uint32_at(data, begins + 1)
    if (data[begins] != 1).any() or (kinds < _POINT).any() or (kinds > 2 * _POLYGON).any():
        raise ValueError("a geometry is no 2D little-endian well-known binary")
    counts = _uint32_at(data, begins + _HEAD)
    # The first coordinate of a point follows its head, of a line one count, of a polygon of one ring two.
    starts = np.where(
        kinds == _POINT, begins + _HEAD, begins + _HEAD + _COUNT.size * kinds.clip(2, 3) - _COUNT.size
    )
    places = np.where(kinds == _POINT, 1, counts)
    is_ring = (kinds == _POLYGON) & (counts == 1) & (ends - begins >= _HEAD + 2 * _COUNT.size)
    places[is_ring] = _uint32_at(data, begins[is_ring] + _HEAD + _COUNT.size)
    is_simple = (kinds <= _LINE) | is_ring
    if (starts + _PLACE * places != ends)[is_simple].any():
        raise ValueError("a geometry has another number of coordinates than it says")
    runs = [np.stack([starts, ends], axis=1)[is_simple & (places > 0)]]
    whole = data.data
    for row in np.flatnonzero(~is_simple).tolist():
        found = np.array(list(_runs(whole, int(begins[row]), int(ends[row]))), np.int64).reshape(-1, 2)
        places[row] = (found[:, 1] - found[:, 0]).sum() // _PLACE
        runs.append(found)
    both = np.concatenate(runs)
    if len(runs) > 1:
        both = both[np.argsort(both[:, 0])]
    sizes = (both[:, 1] - both[:, 0]) // _PLACE
    firsts = both[:, 0] - _PLACE * (np.cumsum(sizes) - sizes)
    return np.repeat(firsts, sizes) + _PLACE * np.arange(sizes.sum()), places


def _uint32_at(data: npt.NDArray[np.uint8], positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = _anywhere(data, "<u4")[positions].astype(np.int64)
    return found


def _anywhere(data: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[Any]:
    """Returns the numbers that begin at each byte; they overlap."""
    size = np.dtype(kind).itemsize
    return np.ndarray((max(0, len(data) - size + 1),), kind, buffer=data, strides=(1,))


def _runs(data: memoryview, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields where the coordinates of each line and ring of a geometry begin and end."""
    position = begin
    parts_left = 1
    try:
        while parts_left:
            parts_left -= 1
            order, kind = _PART.unpack_from(data, position)
            if order != 1 or not _POINT <= kind <= 2 * _POLYGON:
                raise ValueError("a geometry is no 2D little-endian well-known binary")
            position += _HEAD
            if kind == _POINT:
                yield position, position + _PLACE
                position += _PLACE
                continue
            (count,) = _COUNT.unpack_from(data, position)
            position += _COUNT.size
            if kind > _POLYGON:
                parts_left += count
                count = 0
            elif kind == _LINE:
                position -= _COUNT.size
                count = 1
            for _ in range(count):
                (places,) = _COUNT.unpack_from(data, position)
                start = position + _COUNT.size
                position = start + _PLACE * places
                if position > end:
                    raise ValueError("a geometry is cut off")
                if places:
                    yield start, position
    except struct.error as error:
        raise ValueError("a geometry is cut off") from error
    if position != end:
        raise ValueError("a geometry has another number of coordinates than it says")
