"""Chips as boxes: in degrees, to find what lies near them, and in metres, to cut it."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyproj

from beam_pipeline.cells.cell import ChipWindow

Bounds = tuple[float, float, float, float]
"""(west, south, east, north) in degrees; east is never below west: it exceeds 180 where they cross the antimeridian."""

Boxes = npt.NDArray[np.float64]
"""(N, 4): left, bottom, right, top of each."""

_LONGLAT = "EPSG:4326"
_POINTS_A_SIDE = 9  # a chip's edge is no parallel and no meridian: between 9 points it strays by under 1 cm


def lonlat_boxes(chips: Sequence[ChipWindow], margin_m: float) -> Boxes:
    """Returns the envelopes of chips in degrees.

    Args:
        chips: N chips of any zones.
        margin_m: How far the envelopes reach outside the chips, in metres.

    Returns:
        (N, 4) float64: west, south, east, north. Where a chip crosses the antimeridian, east exceeds 180 or
        west is below -180: a box is never wrapped.
    """
    boxes = np.empty((len(chips), 4))
    epsgs = np.array([chip.epsg for chip in chips], dtype=np.int64)
    along = np.linspace(-1.0, 1.0, _POINTS_A_SIDE)
    ones = np.ones_like(along)
    for epsg in np.unique(epsgs):
        rows = np.flatnonzero(epsgs == epsg)
        corners = np.array([chips[int(row)].bounds for row in rows], dtype=np.float64)  # (n, 4)
        centre_x, centre_y = (corners[:, 0] + corners[:, 2]) / 2, (corners[:, 1] + corners[:, 3]) / 2
        half = (corners[:, 2] - corners[:, 0]) / 2 + margin_m
        ring_x = np.concatenate([along, along, -ones, ones])  # (36,), the four sides in units of `half`
        ring_y = np.concatenate([-ones, ones, along, along])
        x = centre_x[:, None] + half[:, None] * ring_x  # (n, 36)
        y = centre_y[:, None] + half[:, None] * ring_y
        lon, lat = utm_transformer(int(epsg)).transform(x, y, direction="INVERSE")
        lon = lon - 360.0 * np.round((lon - lon[:, :1]) / 360.0)
        boxes[rows] = np.stack([lon.min(1), lat.min(1), lon.max(1), lat.max(1)], axis=1)
    return boxes


def utm_boxes(chips: Sequence[ChipWindow], margin_m: float) -> Boxes:
    """Returns (N, 4) float64: N chips and a margin around them, in metres of their UTM zones."""
    bounds = np.array([chip.bounds for chip in chips], dtype=np.float64).reshape(-1, 4)
    return bounds + margin_m * np.array([-1.0, -1.0, 1.0, 1.0])


def cells_meeting(chips: Mapping[int, ChipWindow], bounds: Bounds | None) -> list[int]:
    """Returns the cells whose chip meets bounds.

    Args:
        chips: Cell id -> chip.
        bounds: (west, south, east, north) in degrees; None for the whole world.

    Returns:
        Ids of cells, ascending.
    """
    cell_ids = sorted(chips)
    if bounds is None or not cell_ids:
        return cell_ids
    meets = boxes_meeting(lonlat_boxes([chips[cell_id] for cell_id in cell_ids], 0.0), bounds)
    return [cell_id for cell_id, met in zip(cell_ids, meets.tolist(), strict=True) if met]


def boxes_meeting(boxes: Boxes, bounds: Bounds) -> npt.NDArray[np.bool_]:
    """Tells which boxes meet bounds, edges included.

    Args:
        boxes: (N, 4) degrees, as `lonlat_boxes` returns them.
        bounds: Their east may exceed 180, where they cross the antimeridian.

    Returns:
        (N,) bool.
    """
    west, south, east, north = bounds
    meets = np.zeros(len(boxes), np.bool_)
    for turn in (-360.0, 0.0, 360.0):  # a chip at the antimeridian lies on both of its sides
        meets |= (boxes[:, 0] + turn <= east) & (west <= boxes[:, 2] + turn)
    return meets & (boxes[:, 1] <= north) & (south <= boxes[:, 3])


@functools.lru_cache(maxsize=120)  # there are 120 UTM zones
def utm_transformer(epsg: int) -> pyproj.Transformer:
    """Returns what projects longitude and latitude to a UTM zone, made once."""
    return pyproj.Transformer.from_crs(_LONGLAT, f"EPSG:{epsg}", always_xy=True)
