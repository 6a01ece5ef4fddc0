"""The map of cells by split, as figure 2 of the paper."""

import io

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.figure import Figure

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.cells.table import CELLS_FILE
from beam_pipeline.jobs.select.cell_list import PLOT_FILE
from beam_pipeline.jobs.storage import BeamFiles, open_bytes
from beam_pipeline.report.world_map import MapFrame
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.storage_faults import with_retries

COLORS = {"training": "#3b6fb6", "validation": "#e08a1e", "testing": "#c23b4b"}

_WIDTH_IN, _DPI = 12.0, 160
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
    with_retries(lambda: BeamFiles().write_bytes(path, [picture]))
    return path


@style.context("default")  # whatever a matplotlibrc says
def draw_map(points: dict[str, Floats]) -> bytes:
    """Draws cells on the world, or on the part of it where they are.

    Args:
        points: (N, 2) longitude and latitude of the cells' centres in degrees by split.

    Returns:
        The PNG.
    """
    frame = MapFrame.of_points(np.concatenate(list(points.values())), _WIDTH_IN)
    size = (_WIDTH_IN, float(np.clip(_WIDTH_IN * frame.shape + 1.1, 4.0, 12.0)))
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    frame.draw_on(axes, "#9a9a9a")
    for order, split in enumerate(SPLITS):
        drawn = np.unique(np.floor(points[split] / frame.step), axis=0) * frame.step + frame.step / 2
        axes.scatter(
            frame.unrolled(drawn[:, 0]),
            drawn[:, 1],
            s=frame.mark,
            marker="s",
            color=COLORS[split],
            linewidths=0,
            zorder=2 + order,
            label=f"{split}: {len(points[split]):,} cells",
        )
    axes.set_title(f"{frame.cells:,} cells by split")
    # Below the map, where it hides no cell.
    figure.legend(
        loc="outside lower center",
        ncols=len(SPLITS),
        markerscale=float(np.sqrt(40 / frame.mark)),
        frameon=False,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


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
