"""The embedded sample: makes its world, points the flags to it and chooses its cells."""

import argparse
import dataclasses
import tempfile
from pathlib import Path

from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.table import CELLS_FILE, read_cells_csv
from beam_pipeline.jobs.areas import read_area
from beam_pipeline.jobs.build.access import ACCESS_FLAGS
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.jobs.select.cell_list import SELECTION_FILE
from beam_pipeline.jobs.select.graph import run_selection
from beam_pipeline.jobs.select.launch import prepare_selection
from beam_pipeline.jobs.select.options import parse_selection_flags
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.sample_world import SampleWorld, default_directory, make_sample_world

_LEAST_SAMPLE_CELLS = 4
_INPUT_FLAGS = (
    *("cells", "area", "max_cells", "stac_url", "collection", "osm", "osm_date", "water_polygons"),
    *ACCESS_FLAGS,
)


@dataclasses.dataclass(frozen=True)
class SampleCells:
    """The cells that were chosen of the sample world, and the JSON that goes with their list."""

    cells: list[Cell]
    described: str


def require_sample(given: argparse.Namespace, local: bool) -> None:
    """Checks that the flags go with the sample.

    Args:
        given: Our flags, from `parse_build_flags`.
        local: Whether the workers are on this machine.

    Raises:
        InvalidInputError: One does not.
    """
    if not local:
        raise InvalidInputError(
            "--sample works where the workers are on this machine and no containers: its files lie here. Leave "
            "--runner out, or give an engine on this machine --environment_type=LOOPBACK"
        )
    clashing = [f"--{name}" for name in _INPUT_FLAGS if getattr(given, name) is not None]
    if clashing:
        raise InvalidInputError(f"--sample brings its own inputs. Leave out {', '.join(clashing)}")
    if given.sample_cells < _LEAST_SAMPLE_CELLS:
        raise InvalidInputError(
            f"--sample_cells must be at least {_LEAST_SAMPLE_CELLS}: fewer lie in the dark. "
            f"Received: {given.sample_cells}"
        )


def use_sample(given: argparse.Namespace, local: bool) -> tuple[argparse.Namespace, SampleCells]:
    """Makes the sample world and chooses its cells.

    Args:
        given: Our flags, from `parse_build_flags`.
        local: Whether the workers are on this machine.

    Returns:
        The flags with the world's files as inputs, and the cells.

    Raises:
        InvalidInputError: A flag does not go with the sample, or the world cannot be written.
    """
    require_sample(given, local)
    directory = given.sample_dir or default_directory(given.sample_cells)
    try:
        world = make_sample_world(directory, given.sample_cells)
    except OSError as error:
        raise InvalidInputError(
            f"--sample_dir cannot be written: {error}. Give a folder that can be. Received: {directory}"
        ) from error
    inputs = {
        "stac_url": str(world.stac_catalog),
        "osm": (str(world.osm_extract),),
        "years": given.years or ",".join(map(str, world.years)),
    }
    return argparse.Namespace(**{**vars(given), **inputs}), _select_sample(world, given.seed)


def _select_sample(world: SampleWorld, seed: int) -> SampleCells:
    """Chooses the cells as `select_cells` does, on this machine, whatever runner builds the dataset."""
    with tempfile.TemporaryDirectory() as folder:
        flags, options = parse_selection_flags(
            [
                *("--night_lights", ",".join(map(str, world.night_lights))),
                *("--land_cover", str(world.land_cover)),
                f"--area={world.region}",
                f"--seed={seed}",
                *("--expanded_dir", folder),
                *("--output", folder),
            ]
        )
        run_selection(make_pipeline(options), prepare_selection(flags, options, read_area(world.region)))
        described = Path(folder, SELECTION_FILE).read_text("utf-8")
        return SampleCells(read_cells_csv(Path(folder, CELLS_FILE)), described)
