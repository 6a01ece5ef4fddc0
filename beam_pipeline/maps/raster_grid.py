"""Which cells touch which pixels of a global raster in degrees, in whole numbers, so that edges are exact.

The rasters' pixel edges are whole multiples of half a pixel, a cell's meridians are fractions of 360 degrees, and
the bands' parallels have 8 decimals. All comparisons are made between integers. Cells and pixels are taken with their
edges: sharing an edge or a corner is touching, and 180 W is 180 E.
"""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from beam_pipeline.cells import grid

Ints = npt.NDArray[np.int64]

_EDGE_UNITS = 10**grid.EDGE_DECIMALS  # of a parallel, in a degree


@dataclasses.dataclass(frozen=True)
class Lattice:
    """The pixels of a global raster in degrees of longitude and latitude, row 0 in the north.

    Attributes:
        name: For messages.
        pixels_per_degree: In both directions.
        left: West edge of column 0, in half pixels east of 180 W.
        top: North edge of row 0, in half pixels north of the equator.
        columns: Width of the whole raster in pixels.
        rows: Height of the whole raster in pixels.
    """

    name: str
    pixels_per_degree: int
    left: int
    top: int
    columns: int
    rows: int

    @property
    def half_pixels(self) -> int:
        """Half pixels in a degree."""
        return 2 * self.pixels_per_degree

    @property
    def circle(self) -> int:
        """Half pixels around the Earth."""
        return 360 * self.half_pixels


NIGHT_LIGHTS = Lattice(
    "EOG VNL, 15 arc seconds, pixel centres on whole multiples", 240, -1, 36001, 86401, 33601
)
"""75 N to 65 S. The first and the last column are the same ground, half of it on each side of the antimeridian.
Source: https://eogdata.mines.edu/products/vnl/ (86401 x 33601 px, origin -180.00208333, 75.00208333)."""

LAND_COVER = Lattice("ESA CCI land cover, 10 arc seconds, edge-aligned", 360, 0, 64800, 129600, 64800)
"""The whole Earth at about 300 m. Source: ESA Land Cover CCI Product User Guide v2.0, section 3."""


@dataclasses.dataclass(frozen=True)
class RasterWindow:
    """The part of a lattice that a file holds; in what follows rows and columns are those of the file.

    Attributes:
        lattice: The lattice.
        column: The lattice's column of the file's column 0.
        row: The lattice's row of the file's row 0.
        columns: The file's width in pixels.
        rows: The file's height in pixels.
    """

    lattice: Lattice
    column: int
    row: int
    columns: int
    rows: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) in degrees; of a whole raster they may reach beyond 180."""
        lattice = self.lattice
        west = (2 * self.column + lattice.left) / lattice.half_pixels - 180
        north = (lattice.top - 2 * self.row) / lattice.half_pixels
        step = 1 / lattice.pixels_per_degree
        return west, north - self.rows * step, west + self.columns * step, north

    def bands_of_rows(self, rows: Ints) -> tuple[Ints, Ints]:
        """Returns the first and the last band that touch each row."""
        edges = _parallels() * self.lattice.half_pixels
        top = (self.lattice.top - 2 * (rows + self.row)) * _EDGE_UNITS
        first = np.searchsorted(edges, top - 2 * _EDGE_UNITS, side="left") - 1
        last = np.searchsorted(edges, top, side="right") - 1
        return np.maximum(first, 0), np.minimum(last, grid.NUM_BANDS - 1)

    def rows_of_bands(self, bands: Ints) -> tuple[Ints, Ints]:
        """Returns the first and the last row that touch each band; first > last where none does."""
        south, north = (_parallels()[bands + side] * self.lattice.half_pixels for side in (0, 1))
        top = self.lattice.top * _EDGE_UNITS
        first = _ceil_div(top - 2 * _EDGE_UNITS - north, 2 * _EDGE_UNITS) - self.row
        last = (top - south) // (2 * _EDGE_UNITS) - self.row
        return np.maximum(first, 0), np.minimum(last, self.rows - 1)

    def cells_of_columns(self, columns: Ints, cells: int) -> tuple[Ints, Ints]:
        """Returns the first and the last cell of a band that touch each column.

        Args:
            columns: (N,) columns.
            cells: How many cells the band has.

        Returns:
            Numbers within the band; below 0 and from `cells` on they go on around the Earth.
        """
        left = 2 * (columns + self.column) + self.lattice.left
        first = _ceil_div(left * cells, self.lattice.circle) - 1
        return first, (left + 2) * cells // self.lattice.circle

    def columns_of_cells(self, numbers: Ints, cells: int) -> list[tuple[Ints, Ints]]:
        """Returns which columns touch each cell of a band.

        Args:
            numbers: (N,) numbers of the cells within their band.
            cells: How many cells the band has.

        Returns:
            Three times the first and the last column, (N,) each: as the cell lies, and going around the Earth to
            either side. First > last where there is none.
        """
        lattice = self.lattice
        first = _ceil_div(numbers * lattice.circle - (lattice.left + 2) * cells, 2 * cells) - self.column
        last = ((numbers + 1) * lattice.circle - lattice.left * cells) // (2 * cells) - self.column
        around = lattice.circle // 2
        return [
            (np.maximum(first + turn, 0), np.minimum(last + turn, self.columns - 1))
            for turn in (0, -around, around)
        ]


@functools.cache
def _parallels() -> Ints:
    """Returns the bands' edges in whole 1e-8 degrees."""
    edges: Ints = np.rint(grid.band_table().edges * _EDGE_UNITS).astype(np.int64)
    return edges


def _ceil_div(dividend: Ints, divisor: Ints | int) -> Ints:
    quotient: Ints = -(-dividend // divisor)
    return quotient
