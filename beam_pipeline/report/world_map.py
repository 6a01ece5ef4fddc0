"""Common parts of all maps of cells: how much of the Earth is shown, the coast, and how large a cell is drawn."""

import dataclasses

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from beam_pipeline.cells.cell import CHIP_SIZE_M
from beam_pipeline.maps.continents import coastlines

Floats = npt.NDArray[np.float64]

_PIECES = 2000  # of the longer side of the map, about as many as its pixels
_MARGIN = 0.06  # of the extent of the cells
_LEAST_DEGREES = 0.05
_CELL_DEGREES = CHIP_SIZE_M / 111_195  # of latitude, near enough
_LEAST_POINTS2, _MOST_POINTS2 = (
    0.3,
    20.0,
)  # a mark's area: seen on a map of the world; seen, when there are few
_MARKS_POINTS2 = 40_000  # the area of all marks together


@dataclasses.dataclass(frozen=True)
class MapFrame:
    """The part of the Earth that a map shows.

    Attributes:
        west: In degrees.
        south: In degrees.
        east: In degrees, above 180 where the map crosses the antimeridian.
        north: In degrees.
        cells: Number of cells that are drawn.
        width_in: Width of the figure in inches.
        pieces: Into how many the longer side is cut; the cells of one piece are drawn once.
    """

    west: float
    south: float
    east: float
    north: float
    cells: int
    width_in: float
    pieces: int = _PIECES

    @classmethod
    def of_points(cls, points: Floats, width_in: float, pieces: int = _PIECES) -> "MapFrame":
        """Returns the frame around cells.

        Args:
            points: (N, 2) longitude and latitude in degrees, at least one.
            width_in: Width of the figure in inches.
            pieces: As the attribute.
        """
        return cls(*map_extent(points), len(points), width_in, pieces)

    @property
    def middle(self) -> float:
        """Length of a degree of longitude in the middle of the map, by one of latitude."""
        return float(np.cos(np.radians((self.south + self.north) / 2)))

    @property
    def shape(self) -> float:
        """Height by width."""
        return (self.north - self.south) / ((self.east - self.west) * self.middle)

    @property
    def step(self) -> float:
        """Degrees within which cells are drawn as one."""
        return max(self.east - self.west, self.north - self.south) / self.pieces

    @property
    def mark(self) -> float:
        """Area of a mark in square points: few cells are drawn larger, none smaller than it is, but for a gap."""
        longer = max((self.east - self.west) * self.middle, self.north - self.south)
        points = 72 * self.width_in / longer  # of a degree, were there nothing beside the map
        least = max(0.65 * points * _CELL_DEGREES, 0.85 * points * self.step * self.middle) ** 2
        return max(float(np.clip(_MARKS_POINTS2 / max(self.cells, 1), _LEAST_POINTS2, _MOST_POINTS2)), least)

    def unrolled(self, lon: Floats) -> Floats:
        """Returns longitudes as the map counts them, on beyond 180 where it crosses the antimeridian."""
        return np.where(lon < self.west, lon + 360, lon)

    def draw_on(self, axes: Axes, coast: str) -> None:
        """Draws the coast, and sets what the axes show.

        Args:
            axes: Of the map.
            coast: Colour of the coast.
        """
        for line in coastlines():
            # Where a country is cut at the antimeridian there is no coast.
            at_cut = np.abs(line[:, 0]) >= 180
            shown = np.insert(line, np.flatnonzero(at_cut[1:] & at_cut[:-1]) + 1, np.nan, axis=0)
            for turn in (0, 360) if self.east > 180 else (0,):
                if self._shows(line, turn):
                    axes.plot(shown[:, 0] + turn, shown[:, 1], color=coast, linewidth=0.5, zorder=1)
        axes.set(xlim=(self.west, self.east), ylim=(self.south, self.north), aspect=1 / self.middle)
        axes.xaxis.set_major_formatter(_longitude)
        axes.set_xlabel("longitude, degrees")
        axes.set_ylabel("latitude, degrees")

    def _shows(self, line: npt.NDArray[np.float32], turn: int) -> bool:
        low, high = line.min(axis=0), line.max(axis=0)
        return bool(
            low[0] + turn <= self.east
            and high[0] + turn >= self.west
            and low[1] <= self.north
            and high[1] >= self.south
        )


def _longitude(lon: float, _: float) -> str:
    """Writes a tick, which goes on beyond 180 where the map crosses the antimeridian."""
    return f"{round(lon if lon <= 180 else lon - 360, 6):g}".replace("-", "\u2212")  # as matplotlib's own


def map_extent(points: Floats) -> tuple[float, float, float, float]:
    """Returns what a map of cells shows: what they take up, and some margin.

    Args:
        points: (N, 2) longitude and latitude in degrees, at least one.

    Returns:
        (west, south, east, north) in degrees; east is above 180 where the map crosses the antimeridian.
    """
    lon = np.sort(points[:, 0])
    gaps = np.diff(lon)
    widest = int(gaps.argmax()) if len(gaps) else 0
    # What lies on both sides of the antimeridian is one place, if more than half the Earth is empty between.
    crosses = len(gaps) > 0 and gaps[widest] > 180
    low = np.array([lon[widest + 1] if crosses else lon[0], points[:, 1].min()])
    high = np.array([lon[widest] + 360 if crosses else lon[-1], points[:, 1].max()])
    margin = np.maximum(_MARGIN * (high - low), _LEAST_DEGREES)
    west, south = np.maximum(low - margin, [-180, -90]).tolist()
    east, north = (high + margin).tolist()
    return west, south, east if crosses else min(east, 180.0), min(north, 90.0)
