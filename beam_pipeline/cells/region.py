"""Cells of a region: a bounding box or a GeoJSON polygon."""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from beam_pipeline.cells import grid
from beam_pipeline.cells.cell import Cell, Split
from beam_pipeline.cells.mgrs_tiles import NO_TILE, choose_chips
from beam_pipeline.cells.splits import split_of_tile
from beam_pipeline.faults import InvalidInputError
from beam_pipeline.keyed_hash import keyed_hash

MOST_CELLS = 5_000_000
"""Cells that one region may hold, with or without a `max_cells`: 18 million km2, more than any country."""

_NUMBER = r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*"
_BBOX = re.compile(rf"{_NUMBER}(?:,{_NUMBER})*\Z")


@dataclasses.dataclass(frozen=True)
class CellsFound:
    """Cells, and how many more there would be if a tile held them.

    Attributes:
        cells: Sorted by id.
        without_tile: Number of cells whose chip no Sentinel-2 tile holds.
    """

    cells: tuple[Cell, ...]
    without_tile: int


def is_bbox(text: str) -> bool:
    """Tells whether a text is meant as a bounding box: numbers and commas."""
    return _BBOX.match(text) is not None


def cells_from_ids(ids: npt.ArrayLike, seed: int) -> CellsFound:
    """Gives cells their tile, chip and split.

    Args:
        ids: Cell ids of the grid.
        seed: Draws the splits.

    Returns:
        The cells that have a tile, sorted by id, each once.
    """
    unique = np.unique(np.asarray(ids, np.int64))
    chosen = choose_chips(*grid.id_to_center(unique))
    rows = np.flatnonzero(chosen.tiles != NO_TILE)
    bounds = np.stack(grid.id_to_bounds(unique), axis=1)  # (N, 4)
    splits: dict[str, Split] = {}
    cells = []
    for row in rows.tolist():
        tile = chosen.tile_name(row)
        if tile not in splits:
            splits[tile] = split_of_tile(seed, tile)
        cells.append(Cell(int(unique[row]), tile, splits[tile], chosen.chip(row), *bounds[row].tolist()))
    return CellsFound(tuple(cells), len(unique) - len(rows))


def cells_in_region(region: str, max_cells: int | None, seed: int) -> CellsFound:
    """Returns the cells whose centre lies in a region.

    Args:
        region: "min_lon,min_lat,max_lon,max_lat" in degrees, min_lon > max_lon across the antimeridian; or the
            text of a GeoJSON Polygon, MultiPolygon, Feature or FeatureCollection.
        max_cells: If given, only those with the smallest keyed hashes of (seed, cell id): a larger number only
            adds cells.
        seed: Draws the cells to keep, and the splits.

    Returns:
        Cells that have a tile, sorted by id. With `max_cells`, `without_tile` counts those met on the way.

    Raises:
        InvalidInputError: The region is malformed or holds more than `MOST_CELLS`.
    """
    if max_cells is not None and max_cells < 1:
        raise InvalidInputError(f"--max_cells must be at least 1. Received: {max_cells}")
    polygons = _bbox_polygons(region) if is_bbox(region) else _geojson_polygons(region)
    about = sum(
        grid.count_in_band(band, polygon.bounds[0], polygon.bounds[2])
        for polygon in polygons
        for band in grid.bands_between(polygon.bounds[1], polygon.bounds[3])
    )
    if about > MOST_CELLS:
        raise InvalidInputError(
            f"The region's bounds hold about {about:,} cells; the most is {MOST_CELLS:,}. Give smaller regions, "
            "or a --cells file"
        )
    ids = np.unique(np.concatenate([np.zeros(0, np.int64), *_ids_within(polygons)]))
    if max_cells is None or len(ids) == 0:
        return cells_from_ids(ids, seed)
    hashes = np.array([keyed_hash(seed, "cell", cell_id) for cell_id in ids.tolist()], np.uint64)
    by_hash = ids[np.argsort(hashes, kind="stable")]
    cells: list[Cell] = []
    without_tile = 0
    for start in range(0, len(by_hash), max_cells):
        drawn = by_hash[start : start + max_cells]
        found = cells_from_ids(drawn, seed)
        with_tile = {cell.cell_id: cell for cell in found.cells}
        in_turn = [with_tile[cell_id] for cell_id in drawn.tolist() if cell_id in with_tile]
        cells += in_turn[: max_cells - len(cells)]
        without_tile += found.without_tile
        if len(cells) == max_cells:
            break
    return CellsFound(tuple(sorted(cells, key=lambda cell: cell.cell_id)), without_tile)


def _ids_within(polygons: Sequence[BaseGeometry]) -> Iterator[npt.NDArray[np.int64]]:
    """Yields the ids of cells whose centre lies in a polygon, band by band."""
    for polygon in polygons:
        shapely.prepare(polygon)
        west, south, east, north = polygon.bounds
        for band in grid.bands_between(south, north):
            ids = grid.ids_in_band(band, west, east)
            yield ids[shapely.intersects_xy(polygon, *grid.id_to_center(ids))]


def _bbox_polygons(text: str) -> list[BaseGeometry]:
    values = [float(part) for part in text.split(",")]
    if len(values) != 4:
        raise InvalidInputError(
            f"A bounding box is min_lon,min_lat,max_lon,max_lat. Received {len(values)} numbers: {text}"
        )
    west, south, east, north = values
    if not (-180 <= west <= 180 and -180 <= east <= 180):
        raise InvalidInputError(f"min_lon and max_lon of a bounding box lie in -180 to 180. Received: {text}")
    if not -90 <= south < north <= 90:
        raise InvalidInputError(
            f"min_lat of a bounding box is below max_lat, and both lie in -90 to 90. Received: {text}"
        )
    if west == east:
        raise InvalidInputError(f"min_lon and max_lon of a bounding box are the same. Received: {text}")
    if west < east:
        return [shapely.box(west, south, east, north)]
    # At +180 itself nothing begins, so an empty half is left out.
    halves = [(west, 180.0), (-180.0, east)]
    return [shapely.box(left, south, right, north) for left, right in halves if left < right]


def _geojson_polygons(text: str) -> list[BaseGeometry]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"The region is no JSON: {error}. Received: {text[:80]!r}") from error
    polygons: list[BaseGeometry] = []
    for path, geometry in _geometries(content, "$"):
        polygons += shapely.get_parts(_polygon(path, geometry)).tolist()
    if not polygons:
        raise InvalidInputError("The GeoJSON of the region holds no polygon")
    return polygons


def _geometries(content: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields the (JSON path, geometry) pairs of a GeoJSON object."""
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "FeatureCollection" and isinstance(content.get("features"), list):
        for index, feature in enumerate(content["features"]):
            yield from _geometries(feature, f"{path}.features[{index}]")
    elif kind == "Feature":
        yield from _geometries(content.get("geometry"), f"{path}.geometry")
    elif kind in ("Polygon", "MultiPolygon"):
        yield path, content
    else:
        raise InvalidInputError(
            f"The region's GeoJSON must be a Polygon, a MultiPolygon, or a Feature or FeatureCollection of them. "
            f"Received at {path}: {kind!r}"
        )


def _polygon(path: str, geometry: Any) -> BaseGeometry:
    try:
        polygon = shapely.force_2d(shape(geometry))
    except Exception as error:  # shapely raises whatever its parts raise
        raise InvalidInputError(f"The region's GeoJSON at {path} is no polygon: {error}") from error
    if polygon.is_empty:
        raise InvalidInputError(f"The region's GeoJSON at {path} is empty")
    if not polygon.is_valid:
        raise InvalidInputError(
            f"The region's GeoJSON at {path} is not valid: {shapely.is_valid_reason(polygon)}"
        )
    west, south, east, north = polygon.bounds
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise InvalidInputError(
            f"The region's GeoJSON at {path} must lie in -180 to 180 and -90 to 90 degrees; cut it at the "
            f"antimeridian (RFC 7946, 3.1.9). Its bounds are {west:g},{south:g},{east:g},{north:g}"
        )
    return polygon
