"""The plain data classes of a place: a cell and its chip."""

import dataclasses
from typing import Literal, get_args

CHIP_SIZE_M = 1920
"""Side of a chip in metres: 192 px at 10 m, 96 px at 20 m, 32 px at 60 m. Source: the paper, section 3."""

LATTICE_M = 60
"""Step of the lattice that all Sentinel-2 bands share, in metres."""

FALSE_NORTHING_M = 10_000_000
"""The false northing of EPSG:327zz: added to the northing from the equator, in metres."""

Split = Literal["training", "validation", "testing"]
SPLITS: tuple[Split, ...] = get_args(Split)
"""The splits in their published names and order."""


@dataclasses.dataclass(frozen=True, order=True)
class ChipWindow:
    """A chip's exact square on the ground, `CHIP_SIZE_M` on a side, on the 60 m lattice of its UTM zone.

    Attributes:
        epsg: 326zz or 327zz, the UTM zone of the Sentinel-2 tile.
        left: Easting of the west edge in metres, a multiple of 60.
        bottom: Northing of the south edge in metres; in the south (327zz) it is 10,000,000 m more than a
            multiple of 60.
    """

    epsg: int
    left: int
    bottom: int

    @property
    def right(self) -> int:
        """Easting of the east edge in metres."""
        return self.left + CHIP_SIZE_M

    @property
    def top(self) -> int:
        """Northing of the north edge in metres."""
        return self.bottom + CHIP_SIZE_M

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """(left, bottom, right, top) in metres of the UTM zone."""
        return self.left, self.bottom, self.right, self.top


@dataclasses.dataclass(frozen=True)
class Place:
    """A labelled place, of which a chip is the context.

    Attributes:
        name: Unlike all others of its dataset.
        class_name: Its class.
        longitude: Of its centre, in degrees east.
        latitude: Of its centre, in degrees north.
        date: "YYYY-MM-DD", near which its image was asked for; "" where any date would do.
    """

    name: str
    class_name: str
    longitude: float
    latitude: float
    date: str = ""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of the grid with the tile, split and chip it belongs to; or a chip around a labelled place.

    Attributes:
        cell_id: The cell's number, unique within its grid.
        tile: MGRS tile name, five characters, zero-padded, e.g. "05QKB".
        split: The tile's split.
        chip: The chip's exact square.
        min_lon: West edge in degrees.
        max_lon: East edge in degrees.
        min_lat: South edge in degrees.
        max_lat: North edge in degrees.
        place: The place in the middle of the chip; None of a cell of the grid.
    """

    cell_id: int
    tile: str
    split: Split
    chip: ChipWindow
    min_lon: float
    max_lon: float
    min_lat: float
    max_lat: float
    place: Place | None = None


def false_northing(epsg: int) -> int:
    """Returns what a UTM CRS adds to the northing from the equator, in metres."""
    return FALSE_NORTHING_M if epsg // 100 == 327 else 0
