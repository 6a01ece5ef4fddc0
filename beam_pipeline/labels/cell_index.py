"""Finds the cells that OpenStreetMap features touch, and clips the features to their chips."""

from collections.abc import Mapping, Sequence

import numpy as np
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.antimeridian import make_continuous
from beam_pipeline.labels.box_grid import BoxGrid
from beam_pipeline.labels.chip_boxes import Boxes, lonlat_boxes, utm_boxes
from beam_pipeline.labels.clipping import ROUGH_MARGIN_M, clip_to_boxes, mend
from beam_pipeline.labels.feature import DroppedTally, Feature, Found
from beam_pipeline.labels.geometries import Geometries, Indices, decode, shift
from beam_pipeline.labels.tangles import are_tangled, may_be_tangled


class CellIndex:
    """Finds the cells that features touch.

    Args:
        chips: Cell id -> chip.
        margin_m: How far outside a chip a feature still touches its cell, in metres.
    """

    def __init__(self, chips: Mapping[int, ChipWindow], margin_m: float) -> None:
        self._cell_ids = np.array(sorted(chips), dtype=np.int64)  # (C,), the order of all that is by cell
        ordered = [chips[int(cell_id)] for cell_id in self._cell_ids]
        self._epsgs = np.array([chip.epsg for chip in ordered], dtype=np.int64)
        self._kept = utm_boxes(ordered, margin_m)
        self._rough = lonlat_boxes(ordered, margin_m + ROUGH_MARGIN_M)
        boxes = lonlat_boxes(ordered, margin_m)
        # A chip at the antimeridian is sought on both of its sides.
        west, east = np.flatnonzero(boxes[:, 0] < -180.0), np.flatnonzero(boxes[:, 2] > 180.0)
        turn = np.array([360.0, 0.0, 360.0, 0.0])
        boxes = np.concatenate([boxes, boxes[west] + turn, boxes[east] - turn])
        self._cell_of_box = np.concatenate([np.arange(len(ordered)), west, east])
        self._grid = BoxGrid(boxes)
        self._tree = shapely.STRtree([shapely.box(*box) for box in boxes.tolist()])

    def cells_of(self, feature: Feature) -> list[int]:
        """Returns the cells that a feature touches.

        Args:
            feature: Its geometry is WKB in degrees.

        Returns:
            Ids of cells, ascending. Cells are taken as their envelopes in degrees, so that one that the
            feature only comes near may be among them.
        """
        _, cells = self.touched(mend(decode([feature])))
        return [int(cell_id) for cell_id in self._cell_ids[cells]]

    def clip(self, features: Sequence[Feature]) -> Found[tuple[int, Feature]]:
        """Clips features to all the chips that they touch.

        Args:
            features: Features in degrees. Most may touch no cell: those cost little.

        Returns:
            (cell id, the part of the feature as `clip_to_chip` gives it), in order of feature and cell. Dropped are
            the "tangled" of the features, near a cell or not: to repair or cut them could take minutes.
        """
        geometries = decode(features)
        tangled = tangled_of(geometries)
        geometries[tangled] = None
        near = self.near(geometries)
        geometries[near] = mend(geometries[near])
        rows, cells = self.touched(geometries[near])
        rows = near[rows]
        parts = clip_to_boxes(geometries, rows, self._rough[cells], self._kept[cells], self._epsgs[cells])
        clipped = [
            (int(self._cell_ids[cell]), features[row].with_geometry(part))
            for row, cell, part in zip(rows.tolist(), cells.tolist(), parts, strict=True)
            if part is not None
        ]
        tally = DroppedTally()
        for osm_type, osm_id in dict.fromkeys((features[i].osm_type, features[i].osm_id) for i in tangled):
            tally.add("tangled", osm_type, osm_id)
        return Found(clipped, tally.dropped())

    def near_pairs(self, bounds: Boxes) -> tuple[Indices, Indices]:
        """Returns the pairs of envelopes and cells that meet: quick, for what is small.

        Args:
            bounds: (N, 4) west, south, east and north in degrees, of what does not cross the antimeridian; finite.

        Returns:
            (P,) indices of envelopes, and (P,) of cells in order of their ids; in no order, some maybe twice.
        """
        rows, boxes = self._grid.query(bounds)
        return rows, self._cell_of_box[boxes]

    def near(self, geometries: Geometries) -> Indices:
        """Returns the indices of geometries whose envelope meets a cell's, or that may cross the antimeridian.

        Args:
            geometries: (N,) geometries in degrees, valid or not, or None.
        """
        bounds = shapely.bounds(geometries)
        with np.errstate(invalid="ignore"):  # infinite coordinates are dealt with by `mend`
            wide = np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180.0)
        rows, _ = self._tree.query(geometries)
        return np.union1d(rows, wide)

    def touched(self, geometries: Geometries) -> tuple[Indices, Indices]:
        """Returns the pairs of geometries and cells that meet, cells taken as their envelopes in degrees.

        Args:
            geometries: (N,) mended geometries, or None.

        Returns:
            (P,) indices of geometries, and (P,) of cells in order of their ids; sorted.
        """
        rows, boxes = self._tree.query(geometries, predicate="intersects")
        unwrapped = np.flatnonzero(shapely.bounds(geometries)[:, 2] > 180.0)
        if len(unwrapped):
            others, more = self._tree.query(shift(geometries[unwrapped], -360.0), predicate="intersects")
            rows, boxes = np.concatenate([rows, unwrapped[others]]), np.concatenate([boxes, more])
        pairs = np.unique(np.stack([rows, self._cell_of_box[boxes]], axis=1), axis=0)
        return pairs[:, 0], pairs[:, 1]


def tangled_of(geometries: Geometries) -> Indices:
    """Returns indices of geometries in degrees that are left out, as to repair or cut them could take minutes."""
    rows = np.flatnonzero(may_be_tangled(geometries))
    continuous = make_continuous(geometries[rows])
    are_areas = shapely.get_dimensions(continuous) == 2
    crossed = np.zeros(len(rows), np.bool_)
    crossed[are_areas] = ~shapely.is_valid(continuous[are_areas])
    crossed[~are_areas] = ~shapely.is_simple(continuous[~are_areas])
    crossed &= ~shapely.is_missing(continuous)
    return np.asarray(rows[crossed][are_tangled(continuous[crossed])])
