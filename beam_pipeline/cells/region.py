"""Cells of a region: a bounding box or a GeoJSON polygon."""

import dataclasses
import heapq
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic
import pyproj
import shapely
from pyproj.exceptions import CRSError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from beam_pipeline.cells import grid
from beam_pipeline.cells.cell import Cell, Split
from beam_pipeline.cells.chips import choose_chips
from beam_pipeline.cells.mgrs_tiles import NO_TILE
from beam_pipeline.cells.sampling import cell_hashes
from beam_pipeline.cells.splits import split_of_tile
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json

Ids = npt.NDArray[np.int64]

MOST_CELLS = 1_000_000
"""Cells that one call gives: 3.7 million km2, seven times the paper's cells, about 1 GB of memory."""

MOST_CELLS_DRAWN = 50_000_000
"""Cells from which `max_cells` are drawn: 184 million km2, more than all land."""

_BATCH = 100_000
_ROUNDING_DEGREES = 1e-9  # a tenth of a millimetre
_ANY_JSON: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(Any)

# Not \s and \d, which match more than `float` takes.
_NUMBER = r"[ \t\r\n]*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?[ \t\r\n]*"
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
        max_cells: If given, of the cells that have a tile only those with the smallest keyed hashes of (seed,
            cell id): a larger number only adds cells.
        seed: Draws the cells to keep, and the splits.

    Returns:
        Cells that have a tile, sorted by id. With `max_cells`, `without_tile` counts those that were passed
        over: their hashes are below the greatest that was kept.

    Raises:
        InvalidInputError: The region is malformed, or holds more cells than `MOST_CELLS`, with `max_cells`
            `MOST_CELLS_DRAWN`.
    """
    if max_cells is not None and not 1 <= max_cells <= MOST_CELLS:
        raise InvalidInputError(f"--max_cells must be 1 to {MOST_CELLS:,}. Received: {max_cells}")
    polygons = region_polygons(region)
    most = MOST_CELLS if max_cells is None else MOST_CELLS_DRAWN
    batches = _counted(_ids_within(polygons), most, max_cells is None)
    if max_cells is not None:
        return _drawn(batches, max_cells, seed)
    return cells_from_ids(np.concatenate([np.zeros(0, np.int64), *batches]), seed)


def region_polygons(region: str) -> list[BaseGeometry]:
    """Returns the polygons of a region, prepared.

    Args:
        region: As `cells_in_region` takes it.

    Returns:
        Polygons in degrees, none across the antimeridian.

    Raises:
        InvalidInputError: The region is malformed.
    """
    polygons = _bbox_polygons(region) if is_bbox(region) else _geojson_polygons(region)
    for polygon in polygons:
        shapely.prepare(polygon)
    return polygons


def within_any(ids: Ids, polygons: Sequence[BaseGeometry]) -> npt.NDArray[np.bool_]:
    """Tells which cells have their centre in one of some polygons, edges included."""
    centres = grid.id_to_center(ids)
    inside = np.zeros(len(ids), bool)
    for polygon in polygons:
        inside |= shapely.intersects_xy(polygon, *centres)
    return inside


def _counted(batches: Iterable[Ids], most: int, all_kept: bool) -> Iterator[Ids]:
    """Passes ids on until they are too many."""
    count = 0
    for ids in batches:
        count += len(ids)
        if count > most:
            advice = "Draw some of them with --max_cells, or give" if all_kept else "Give"
            raise InvalidInputError(f"The region holds more than {most:,} cells. {advice} a smaller region")
        yield ids


def _drawn(batches: Iterable[Ids], max_cells: int, seed: int) -> CellsFound:
    """Keeps the cells of the smallest hashes among those that have a tile, in memory of `max_cells` order."""
    kept: list[tuple[int, int]] = []  # a heap of (-hash, -id): the greatest hash is on top
    passed: list[int] = []  # hashes of cells without tile
    for ids in batches:
        hashes = cell_hashes(seed, ids)
        if len(kept) == max_cells:
            below = hashes <= np.uint64(-kept[0][0])
            ids, hashes = ids[below], hashes[below]
        has_tile = choose_chips(*grid.id_to_center(ids)).tiles != NO_TILE
        for cell_id, drawn, held in zip(ids.tolist(), hashes.tolist(), has_tile.tolist(), strict=True):
            if not held:
                passed.append(drawn)
            elif len(kept) < max_cells:
                heapq.heappush(kept, (-drawn, -cell_id))
            else:
                heapq.heappushpop(kept, (-drawn, -cell_id))
    found = cells_from_ids([-cell_id for _, cell_id in kept], seed)
    greatest = -kept[0][0] if len(kept) == max_cells else math.inf
    return CellsFound(found.cells, sum(drawn < greatest for drawn in passed))


def bands_of(polygons: Sequence[BaseGeometry]) -> range:
    """Returns the bands that polygons may have cells in."""
    bounds = np.array([polygon.bounds for polygon in polygons]).reshape(-1, 4)
    if not len(bounds):
        return range(0)
    return grid.bands_between(bounds[:, 1].min(), bounds[:, 3].max())


def ids_in_band(band: int, polygons: Sequence[BaseGeometry]) -> Ids:
    """Returns the ids of the cells of a band whose centre lies in a polygon, each once, ascending."""
    south, north = grid.band_edges(band)
    inside = [np.zeros(0, np.int64)]
    bounds = shapely.bounds(polygons).reshape(-1, 4)  # at once: a region may have thousands of islands
    for index in np.flatnonzero((bounds[:, 1] <= north) & (bounds[:, 3] >= south)).tolist():
        ids = grid.ids_in_band(band, bounds[index, 0], bounds[index, 2])
        inside.append(ids[shapely.intersects_xy(polygons[index], *grid.id_to_center(ids))])
    return np.unique(np.concatenate(inside))


def _ids_within(polygons: Sequence[BaseGeometry]) -> Iterator[Ids]:
    """Yields the ids of cells whose centre lies in a polygon, each once, ascending, some bands at a time."""
    waiting: list[Ids] = []
    for band in bands_of(polygons):
        waiting.append(ids_in_band(band, polygons))
        if sum(map(len, waiting)) >= _BATCH:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _bbox_polygons(text: str) -> list[BaseGeometry]:
    values = [float(part) for part in text.split(",")]
    if len(values) != 4:
        raise InvalidInputError(
            f"A bounding box is min_lon,min_lat,max_lon,max_lat. Received {len(values)} numbers: {text}"
        )
    west, south, east, north = _on_the_map(np.array(values).reshape(2, 2)).ravel().tolist()
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
        content = parse_json(_ANY_JSON, text)
    except MalformedError as error:
        raise InvalidInputError(f"The region is no JSON: {error}. Received: {text[:80]!r}") from error
    polygons: list[BaseGeometry] = []
    for path, geometry in _geometries(content, "$"):
        polygons += shapely.get_parts(_polygon(path, geometry)).tolist()
    if not polygons:
        raise InvalidInputError("The GeoJSON of the region holds no polygon")
    return polygons


def _geometries(content: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields the (JSON path, geometry) pairs of a GeoJSON object."""
    if not isinstance(content, dict):
        raise InvalidInputError(
            f"The region's GeoJSON must be an object. Received at {path}: {json.dumps(content)[:80]}"
        )
    _check_crs(path, content)
    kind = content.get("type")
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


def _check_crs(path: str, content: dict[str, Any]) -> None:
    """Refuses the `crs` member of GeoJSON 2008 where it names another CRS than RFC 7946 has."""
    crs = content.get("crs")
    if crs is None:
        return
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    try:
        # Of all names of WGS 84, whatever they say of the order of axes: GeoJSON has longitude first.
        if pyproj.CRS(name).equals(pyproj.CRS("OGC:CRS84"), ignore_axis_order=True):
            return
    except (CRSError, UnicodeError):
        pass  # a link to a file, or a name that PROJ does not know
    raise InvalidInputError(
        "The region's GeoJSON must be in longitude and latitude of WGS 84 (RFC 7946). Convert it: ogr2ogr "
        f"-t_srs EPSG:4326 -lco RFC7946=YES OUT.geojson IN.geojson. Received at {path}.crs: {json.dumps(crs)[:80]}"
    )


def _polygon(path: str, geometry: Any) -> BaseGeometry:
    try:
        polygon = shapely.force_2d(shape(geometry))
    except Exception as error:  # shapely raises whatever its parts raise
        raise InvalidInputError(f"The region's GeoJSON at {path} is no polygon: {error}") from error
    if polygon.is_empty:
        raise InvalidInputError(f"The region's GeoJSON at {path} is empty")
    polygon = shapely.transform(polygon, _on_the_map)
    _require_short_edges(path, polygon)
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


def _on_the_map(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Moves what rounding put a hair beyond the edge of the map back onto it."""
    edges = np.clip(points, [-180, -90], [180, 90])
    return np.where(np.abs(points - edges) <= _ROUNDING_DEGREES, edges, points)


def _require_short_edges(path: str, polygon: BaseGeometry) -> None:
    """Refuses edges of which one cannot tell whether they go across the antimeridian or round the other way.

    Those from one end of the map to the other follow its rim, as Antarctica's do.
    """
    for part in shapely.get_parts(polygon).tolist():
        for ring in (part.exterior, *part.interiors):
            points = shapely.get_coordinates(ring)
            spans = np.abs(np.diff(points[:, 0]))
            long = np.flatnonzero((spans > 180) & (spans < 360))
            if len(long):
                (west, south), (east, north) = points[long[0]], points[long[0] + 1]
                raise InvalidInputError(
                    f"The region's GeoJSON at {path} has an edge of more than 180 degrees, from {west:g},{south:g} to "
                    f"{east:g},{north:g}. If it is meant to cross the antimeridian, cut the polygon there into a "
                    "MultiPolygon (RFC 7946, 3.1.9), or give a box whose min_lon is greater than its max_lon, "
                    "e.g. --area=177,-20,-178,-16. If it is meant to go the other way, put a point on it"
                )
