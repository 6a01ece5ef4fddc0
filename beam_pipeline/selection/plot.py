"""The map of cells by split, as figure 2 of the paper."""

import io

import matplotlib
import numpy as np
import numpy.typing as npt

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.cells.continents import coastlines
from beam_pipeline.cells.table import CELLS_FILE
from beam_pipeline.records.files import join
from beam_pipeline.selection.cell_list import PLOT_FILE
from beam_pipeline.storage import BeamFiles, open_bytes

COLORS = {"training": "#3b6fb6", "validation": "#e08a1e", "testing": "#c23b4b"}

_WIDTH_IN, _DPI = 12.0, 160
_PIXELS = 2000  # of the longer side of the map, about: cells of one pixel are drawn once
_MARGIN = 0.06  # of the extent of the cells
_LEAST_DEGREES = 0.3

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


def draw_map(points: dict[str, Floats]) -> bytes:
    """Draws cells on the world, or on the part of it where they are.

    Args:
        points: (N, 2) longitude and latitude of the cells' centres in degrees by split.

    Returns:
        The PNG.
    """
    matplotlib.use("Agg")
    from matplotlib import pyplot

    west, south, east, north = _extent(np.concatenate(list(points.values())))
    middle = np.cos(np.radians((south + north) / 2))
    shape = (north - south) / ((east - west) * middle)
    figure, axes = pyplot.subplots(
        figsize=(_WIDTH_IN, float(np.clip(_WIDTH_IN * shape + 0.8, 4.0, 12.0))), dpi=_DPI
    )
    for line in coastlines():
        axes.plot(*line.T, color="#9a9a9a", linewidth=0.5, zorder=1)
    step = max(east - west, north - south) / _PIXELS
    total = sum(map(len, points.values()))
    # Fewer cells are drawn larger, so that they are seen.
    size = float(np.clip(40_000 / max(total, 1), 0.3, 20.0))
    for order, split in enumerate(SPLITS):
        drawn = np.unique(np.floor(points[split] / step), axis=0) * step + step / 2
        axes.scatter(
            drawn[:, 0],
            drawn[:, 1],
            s=size,
            color=COLORS[split],
            linewidths=0,
            zorder=2 + order,
            label=f"{split}: {len(points[split]):,} cells",
        )
    axes.set(xlim=(west, east), ylim=(south, north), aspect=1 / middle)
    axes.set_xlabel("longitude, degrees")
    axes.set_ylabel("latitude, degrees")
    axes.set_title(f"{total:,} cells by split")
    axes.legend(loc="lower left", markerscale=float(np.sqrt(40 / size)), framealpha=0.9)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    pyplot.close(figure)
    return buffer.getvalue()


def _extent(points: Floats) -> tuple[float, float, float, float]:
    """Returns (west, south, east, north) of the map: what the cells take up, and some margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.maximum(_MARGIN * (high - low), _LEAST_DEGREES)
    west, south = np.maximum(low - margin, [-180, -90]).tolist()
    east, north = np.minimum(high + margin, [180, 90]).tolist()
    return west, south, east, north


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
