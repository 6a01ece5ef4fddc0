"""The map of cells by split, as figure 2 of the paper."""

import io

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.figure import Figure

from beam_pipeline.cells.cell import CHIP_SIZE_M, SPLITS
from beam_pipeline.cells.table import CELLS_FILE
from beam_pipeline.jobs.select.cell_list import PLOT_FILE
from beam_pipeline.jobs.storage import BeamFiles, open_bytes
from beam_pipeline.maps.continents import coastlines
from beam_pipeline.runtime.files import join

COLORS = {"training": "#3b6fb6", "validation": "#e08a1e", "testing": "#c23b4b"}

_WIDTH_IN, _DPI = 12.0, 160
_PIXELS = 2000  # of the longer side of the map, about: cells of one pixel are drawn once
_MARGIN = 0.06  # of the extent of the cells
_LEAST_DEGREES = 0.05
_CELL_DEGREES = CHIP_SIZE_M / 111_195  # of latitude, near enough
_LEAST_POINTS2, _MOST_POINTS2 = (
    0.3,
    20.0,
)  # a mark's area: seen on a map of the world; seen, when there are few
_MARKS_POINTS2 = 40_000  # the area of all marks together

Floats = npt.NDArray[np.float64]


def plot_selection(output: str) -> str:
    """Draws the map beside a cell list.

    Args:
        output: The selection's folder.

    Returns:
        The picture's path.
    """
    points = _read_points(join(output, CELLS_FILE))
    picture = draw_map(points)
    path = join(output, PLOT_FILE)
    BeamFiles().write_bytes(path, [picture])
    return path


@style.context("default")  # whatever a matplotlibrc says
def draw_map(points: dict[str, Floats]) -> bytes:
    """Draws cells on the world, or on the part of it where they are.

    Args:
        points: (N, 2) longitude and latitude of the cells' centres in degrees by split.

    Returns:
        The PNG.
    """
    west, south, east, north = map_extent(np.concatenate(list(points.values())))
    middle = np.cos(np.radians((south + north) / 2))
    shape = (north - south) / ((east - west) * middle)
    size = (_WIDTH_IN, float(np.clip(_WIDTH_IN * shape + 1.1, 4.0, 12.0)))
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    for line in coastlines():
        # Where a country is cut at the antimeridian there is no coast.
        at_cut = np.abs(line[:, 0]) >= 180
        shown = np.insert(line, np.flatnonzero(at_cut[1:] & at_cut[:-1]) + 1, np.nan, axis=0)
        for turn in (0, 360) if east > 180 else (0,):
            axes.plot(shown[:, 0] + turn, shown[:, 1], color="#9a9a9a", linewidth=0.5, zorder=1)
    step = max(east - west, north - south) / _PIXELS
    total = sum(map(len, points.values()))
    # Fewer cells are drawn larger, so that they are seen; none smaller than it is, but for a gap.
    cell = _CELL_DEGREES / max((east - west) * middle, north - south) * 72 * 0.65 * _WIDTH_IN
    mark = max(float(np.clip(_MARKS_POINTS2 / max(total, 1), _LEAST_POINTS2, _MOST_POINTS2)), cell**2)
    for order, split in enumerate(SPLITS):
        drawn = np.unique(np.floor(points[split] / step), axis=0) * step + step / 2
        axes.scatter(
            np.where(drawn[:, 0] < west, drawn[:, 0] + 360, drawn[:, 0]),
            drawn[:, 1],
            s=mark,
            marker="s",
            color=COLORS[split],
            linewidths=0,
            zorder=2 + order,
            label=f"{split}: {len(points[split]):,} cells",
        )
    axes.set(xlim=(west, east), ylim=(south, north), aspect=1 / middle)
    axes.xaxis.set_major_formatter(_longitude)
    axes.set_xlabel("longitude, degrees")
    axes.set_ylabel("latitude, degrees")
    axes.set_title(f"{total:,} cells by split")
    # Below the map, where it hides no cell.
    figure.legend(
        loc="outside lower center", ncols=len(SPLITS), markerscale=float(np.sqrt(40 / mark)), frameon=False
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


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


def _read_points(path: str) -> dict[str, Floats]:
    """Returns the centres of the cells of a list by split, read line by line."""
    points: dict[str, list[tuple[float, float]]] = {split: [] for split in SPLITS}
    with open_bytes(path) as file:
        lines = iter(file)
        next(lines)
        for line in lines:
            _, _, west, east, south, north, split, *_ = line.decode().split(",")
            points[split].append(((float(west) + float(east)) / 2, (float(south) + float(north)) / 2))
    return {split: np.array(found, np.float64).reshape(-1, 2) for split, found in points.items()}
