"""The cells that a person gives to a job: a list, or an area. Their flags, and the finding of the cells."""

import argparse
from typing import Any

from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.cells.table import parse_cells_csv
from beam_pipeline.jobs.areas import read_area
from beam_pipeline.jobs.given_files import read_given_text, require_openable
from beam_pipeline.jobs.runners import add_area_flag
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.names import path_name

_WAYS = ("--cells CSV", "--area BBOX|GEOJSON")


def add_cells_flags(group: argparse._ActionsContainer) -> None:
    """Adds the flags.

    Args:
        group: A parser or a group of its flags.
    """
    group.add_argument(
        "--cells", type=path_name, metavar="CSV", help="a spatial_cell_info.csv: ours or the published one"
    )
    add_area_flag(group, "make cells in")
    group.add_argument(
        "--max_cells", type=int, help="keep at most this many cells of --area, drawn by the seed"
    )


def check_cells_flags(given: Any, *others: str) -> None:
    """Refuses flags that give no cells, or give them twice.

    Args:
        given: The flags.
        others: Names of switches that give cells too.

    Raises:
        InvalidInputError: They do not go together.
    """
    ways = [given.cells is not None, given.area is not None, *(getattr(given, name) for name in others)]
    if ways.count(True) != 1:
        *first, last = (*_WAYS, *(f"--{name}" for name in others))
        raise InvalidInputError(f"Give the cells by one of {', '.join(first)} and {last}")
    if given.cells is not None and given.max_cells is not None:
        raise InvalidInputError("--max_cells goes with --area: a --cells file is taken whole")


def check_cells_file(given: Any) -> None:
    """Looks for what the flags name, and reads no more of it than an area: a list may be long.

    Args:
        given: The flags.

    Raises:
        InvalidInputError: A file cannot be read, or the area is none.
    """
    if given.cells is not None:
        require_openable(given.cells, "--cells")
    if given.area is not None:
        read_area(given.area)


def find_cells(given: Any, seed: int) -> list[Cell]:
    """Returns the cells of --cells or --area.

    Args:
        given: The flags, of which `check_cells_flags` has found one.
        seed: Draws splits and --max_cells.

    Returns:
        At least one cell.

    Raises:
        InvalidInputError: What was given is malformed or holds no cell.
    """
    if given.cells is not None:
        return parse_cells_csv(read_given_text(given.cells, "--cells"), given.cells)
    found = cells_in_region(read_area(given.area), given.max_cells, seed)
    if not found.cells:
        raise InvalidInputError(
            f"--area holds the centre of no cell that a Sentinel-2 tile covers "
            f"({found.without_tile} without tile). Received: {given.area}"
        )
    return list(found.cells)
