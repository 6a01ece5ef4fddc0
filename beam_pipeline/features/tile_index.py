"""Finds the tiles of whose cells map objects come near."""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import shapely

from beam_pipeline.features.coordinates import Coordinates
from beam_pipeline.features.identity import StoreRequest
from beam_pipeline.labels.antimeridian import make_continuous
from beam_pipeline.labels.cell_index import CellIndex, tangled_of
from beam_pipeline.labels.geometries import Geometries, Indices
from beam_pipeline.labels.repair import repair
from beam_pipeline.labels.tangles import FEWEST_TANGLED

_SMALL_DEG = 0.02
"""Width and height up to which an object is found by its envelope: it lies within 2 km of what it meets."""


@dataclasses.dataclass(frozen=True)
class Touched:
    """The pairs of objects and tiles that meet.

    Attributes:
        rows: (P,) indices of objects, ascending.
        tiles: (P,) indices into `TileIndex.tiles`; ascending for each object.
        tangled: Indices of objects near a cell of which no area, or no line, can be drawn in bearable time.
    """

    rows: Indices
    tiles: Indices
    tangled: Indices


class TileIndex:
    """Finds the tiles of objects.

    Args:
        request: The cells, and how far around them is looked.

    Attributes:
        tiles: The tiles, sorted.
    """

    def __init__(self, request: StoreRequest) -> None:
        self.tiles = sorted(tile for tile, chips in request.cells.items() if chips)
        chips = {cell_id: chip for tile in self.tiles for cell_id, chip in request.cells[tile].items()}
        owner = {cell_id: i for i, tile in enumerate(self.tiles) for cell_id in request.cells[tile]}
        self._tile_of_cell = np.array([owner[cell_id] for cell_id in sorted(chips)], np.int64)
        self._cells = CellIndex(chips, request.padding_m)

    def touched(self, coordinates: Coordinates, decode: Callable[[Indices], Geometries]) -> Touched:
        """Finds the tiles of objects.

        Args:
            coordinates: Of N geometries in degrees, valid or not.
            decode: Returns the geometries of some of the N, or None for what is none.

        Returns:
            All pairs that meet, and maybe some that only come near.
        """
        bounds = coordinates.bounds
        with np.errstate(invalid="ignore"):  # of no numbers nothing is true
            sizes = bounds[:, 2:] - bounds[:, :2]
            small = np.flatnonzero((sizes <= _SMALL_DEG).all(1))
            large = np.flatnonzero((sizes > _SMALL_DEG).any(1))
        rows, cells = self._cells.near_pairs(bounds[small])
        rows = small[rows]
        geometries = decode(large)
        near_large = self._cells.near(geometries)
        large, continuous = large[near_large], make_continuous(geometries[near_large])
        are_valid = shapely.is_valid(continuous)
        more_rows, more_cells = self._by_geometry(continuous, are_valid)
        rows = np.concatenate([rows, large[more_rows]])
        cells = np.concatenate([cells, more_cells])
        pairs = _each_once(rows * len(self.tiles) + self._tile_of_cell[cells])
        # To decode all that are near would take longer than all the rest, to look twice whether they are valid a part.
        may_be_tangled = np.zeros(len(bounds), np.bool_)
        may_be_tangled[rows] = may_be_tangled[large] = True
        may_be_tangled &= coordinates.counts >= FEWEST_TANGLED
        may_be_tangled[large[are_valid & (shapely.get_dimensions(continuous) == 2)]] = False
        near = np.flatnonzero(may_be_tangled)
        tangled = near[tangled_of(decode(near))]
        return Touched(pairs // max(1, len(self.tiles)), pairs % max(1, len(self.tiles)), tangled)

    def _by_geometry(
        self, continuous: Geometries, are_valid: npt.NDArray[np.bool_]
    ) -> tuple[Indices, Indices]:
        """Returns the pairs of geometries and cells that meet."""
        mended = continuous.copy()
        mended[~are_valid], _ = repair(continuous[~are_valid])
        rows, cells = self._cells.touched(mended)
        # What becomes nothing as an area, or another one, is still a line.
        changed = np.flatnonzero((shapely.get_dimensions(continuous) == 2) & (mended != continuous))
        more_rows, more_cells = self._cells.touched(shapely.boundary(continuous[changed]))
        return np.concatenate([rows, changed[more_rows]]), np.concatenate([cells, more_cells])


def _each_once(numbers: Indices) -> Indices:
    """Returns numbers in order, each once; `np.unique` hashes, which takes longer where most are in order."""
    ordered = np.sort(numbers)
    is_first = np.ones(len(ordered), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]
