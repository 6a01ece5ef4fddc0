"""Flags of `select_cells` -> frozen settings."""

import argparse
import dataclasses

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cells.grid import NUM_CELLS
from beam_pipeline.jobs.command import flags_of
from beam_pipeline.jobs.runners import (
    SEEDS,
    SEVERAL_FILES,
    add_area_flag,
    check_ranges,
    job_parser,
)
from beam_pipeline.maps.rasters import RasterFile
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name, path_name, path_names

PROG = "python -m beam_pipeline.select_cells"

_MOST_ROWS = 4096


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Which of the cells that are left are taken.

    Attributes:
        num_cells: So many, exactly; None for `fraction`.
        fraction: Each with this probability; 1 takes all.
        max_tiles: Only of so many tiles; None for all tiles.
        seed: Draws cells, tiles and splits.
    """

    num_cells: int | None = None
    fraction: float = 1.0
    max_tiles: int | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class SelectionSettings:
    """The settings of a selection, checked; small and picklable, so that every DoFn can hold it.

    Attributes:
        output: The folder of the cell list.
        night_lights: The composites, all of one window.
        land_cover: The land-cover map.
        region: "min_lon,min_lat,max_lon,max_lat" or the text of a GeoJSON; None for the Earth.
        sampling: Which cells are taken.
        rows_per_task: About how many rows of a raster a worker reads at a time.
    """

    output: str
    night_lights: tuple[RasterFile, ...]
    land_cover: RasterFile
    region: str | None
    sampling: Sampling
    rows_per_task: int


def selection_parser(prog: str = PROG, description: str = "") -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    parser = job_parser(prog, description)
    inputs = parser.add_argument_group("inputs")
    inputs.add_argument(
        "--night_lights",
        type=path_names,
        metavar="TIF[,TIF...]",
        help=f"VIIRS annual composites (EOG VNL, average_masked), .tif or .tif.gz, local or gs://, {SEVERAL_FILES}",
    )
    inputs.add_argument(
        "--land_cover",
        type=path_name,
        metavar="TIF|NC",
        help="the CCI land-cover map, one GeoTIFF or the original NetCDF",
    )
    inputs.add_argument(
        "--expanded_dir",
        type=folder_name,
        metavar="DIR",
        help="keep expanded .tif.gz here, 11.6 GB each (default: a cache; on a cluster a folder all workers see)",
    )
    which = parser.add_argument_group("which cells")
    add_area_flag(which, "only cells with their centre in")
    which.add_argument("--num_cells", type=int, help="draw so many (the paper: 137045)")
    which.add_argument("--fraction", type=float, help="draw each with this probability instead")
    which.add_argument(
        "--max_tiles", type=int, help="draw so many Sentinel-2 tiles first, then cells in them"
    )
    which.add_argument("--seed", type=int, default=0, help="of cells, tiles and splits (0)")
    out = parser.add_argument_group("output")
    out.add_argument(
        "--output",
        type=folder_name,
        metavar="DIR",
        help="folder of spatial_cell_info.csv and .json, local or gs://",
    )
    out.add_argument(
        "--plot", action="store_true", help="draw a map of the cells by split beside them (.png)"
    )
    out.add_argument(
        "--rows_per_task", type=int, default=1024, help="rows of a raster that one task has (1024)"
    )
    return parser


def _check(given: argparse.Namespace, _: PipelineOptions) -> None:
    for name, example in (
        ("night_lights", "'vnl_*.tif'"),
        ("land_cover", "ESACCI-LC-2020.tif"),
        ("output", "out/cells"),
    ):
        if not getattr(given, name):
            raise InvalidInputError(f"--{name} is missing, e.g. --{name} {example}. See --help")
    if given.num_cells is not None and given.fraction is not None:
        raise InvalidInputError("Give one of --num_cells and --fraction, or none to take all cells")
    check_ranges(
        given,
        num_cells=(1, NUM_CELLS),
        max_tiles=(1, NUM_CELLS),
        rows_per_task=(1, _MOST_ROWS),
        seed=SEEDS,
    )
    if given.fraction is not None and not 0 < given.fraction <= 1:
        raise InvalidInputError(f"--fraction must be above 0 and at most 1. Received: {given.fraction}")


parse_selection_flags = flags_of(selection_parser, _check)
