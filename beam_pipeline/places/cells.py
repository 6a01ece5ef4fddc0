"""Puts a chip around each place: as that of a cell, with the place in its middle."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyproj

from beam_pipeline.cells.cell import Cell, ChipWindow, Place
from beam_pipeline.cells.chips import choose_chips
from beam_pipeline.cells.mgrs_tiles import NO_TILE
from beam_pipeline.cells.splits import split_of_tile
from beam_pipeline.places.place_list import GivenPlace, PlaceList
from beam_pipeline.runtime.faults import InvalidInputError

NO_TILE_REASON = "no_tile"
"""Beyond Sentinel-2, or where no tile holds the chip."""

DOUBLED = "doubled"
"""At the very point of another place of its class, which stays."""

CONTRADICTED = "two_classes"
"""At the very point of a place of another class; none of these stays."""

_SAME_DEGREES = 1e-7
"""Points nearer than this, about 1 cm, are the same."""


@dataclasses.dataclass(frozen=True)
class PlannedPlaces:
    """The places of a list as cells.

    Attributes:
        cells: Numbered from 0 by their names.
        left_out: Places that are not among them, in the list's order, by reason.
        counts: Their number, and what the list itself left out, by reason.
    """

    cells: tuple[Cell, ...]
    left_out: Mapping[str, tuple[GivenPlace, ...]]
    counts: Mapping[str, int]


def plan_places(given: PlaceList, seed: int, *, with_dates: bool) -> PlannedPlaces:
    """Chooses the tile and the chip of each place.

    Args:
        given: The list.
        seed: Draws the splits of tiles, of places of which the list says none.
        with_dates: Whether the places' dates count.

    Raises:
        InvalidInputError: Two places have one name, or none can be used.
    """
    _require_names(given.places)
    left_out: dict[str, list[GivenPlace]] = {NO_TILE_REASON: [], DOUBLED: [], CONTRADICTED: []}
    places = sorted(_without_doubled(given.places, left_out), key=lambda place: place.name)
    chosen = choose_chips([it.longitude for it in places], [it.latitude for it in places])
    with_tile = [row for row in range(len(places)) if chosen.tiles[row] != NO_TILE]
    left_out[NO_TILE_REASON] = [place for row, place in enumerate(places) if chosen.tiles[row] == NO_TILE]
    chips = [chosen.chip(row) for row in with_tile]
    bounds = _bounds(chips)
    cells = []
    for number, (row, chip) in enumerate(zip(with_tile, chips, strict=True)):
        place, tile = places[row], chosen.tile_name(row)
        min_lon, max_lon, min_lat, max_lat = bounds[number].tolist()
        split = place.split or split_of_tile(seed, tile)
        date = place.date if with_dates else ""
        labelled = Place(place.name, place.class_name, place.longitude, place.latitude, date)
        cells.append(Cell(number, tile, split, chip, min_lon, max_lon, min_lat, max_lat, labelled))
    found = {reason: tuple(of_reason) for reason, of_reason in sorted(left_out.items()) if of_reason}
    counts = {**given.left_out, **{reason: len(of_reason) for reason, of_reason in found.items()}}
    if not cells:
        what = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items())) or "it is empty"
        raise InvalidInputError(f"The list holds no place that can be used. Received: {what}")
    return PlannedPlaces(tuple(cells), found, dict(sorted(counts.items())))


def _require_names(places: Iterable[GivenPlace]) -> None:
    first: dict[str, GivenPlace] = {}
    for place in places:
        other = first.setdefault(place.name, place)
        if (*_point(other), other.class_name) != (*_point(place), place.class_name):
            raise InvalidInputError(
                f"{place.where}: name must be that of one place. Received: {place.name!r}, which {other.where} has too"
            )


def _without_doubled(
    places: Sequence[GivenPlace], left_out: Mapping[str, list[GivenPlace]]
) -> list[GivenPlace]:
    """Leaves one of the places at a point, or none where they are of several classes."""
    at_point: dict[tuple[int, int], list[GivenPlace]] = {}
    for place in places:
        at_point.setdefault(_point(place), []).append(place)
    kept = []
    for there in at_point.values():
        if len({place.class_name for place in there}) > 1:
            left_out[CONTRADICTED].extend(there)
            continue
        first, *others = there
        kept.append(first)
        left_out[DOUBLED].extend(others)
    return kept


def _point(place: GivenPlace) -> tuple[int, int]:
    longitude = -180.0 if place.longitude == 180.0 else place.longitude
    return round(longitude / _SAME_DEGREES), round(place.latitude / _SAME_DEGREES)


def _bounds(chips: Sequence[ChipWindow]) -> npt.NDArray[np.float64]:
    """Returns (N, 4) min_lon, max_lon, min_lat and max_lat of the corners of chips, in degrees.

    Across the antimeridian the west edge is east of the other, as of any cell.
    """
    bounds = np.empty((len(chips), 4), np.float64)
    epsgs = np.array([chip.epsg for chip in chips], np.int64)
    for epsg in np.unique(epsgs).tolist():
        rows = np.flatnonzero(epsgs == epsg)
        edges = np.array([chips[row].bounds for row in rows.tolist()], np.float64)
        x, y = edges[:, (0, 2, 0, 2)], edges[:, (1, 1, 3, 3)]
        longitude, latitude = (
            np.reshape(it, x.shape) for it in _to_degrees(epsg).transform(x.ravel(), y.ravel())
        )
        bounds[rows] = np.stack(
            [longitude.min(1), longitude.max(1), latitude.min(1), latitude.max(1)], axis=1
        )
        across = np.ptp(longitude, axis=1) > 180
        east_of_0 = np.where(longitude > 0, longitude, np.inf).min(1)
        west_of_0 = np.where(longitude < 0, longitude, -np.inf).max(1)
        bounds[rows[across], :2] = np.stack([east_of_0, west_of_0], axis=1)[across]
    return bounds


@functools.lru_cache(120)
def _to_degrees(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
