r"""Chooses cells over areas of human activity: night lights + land cover -> spatial_cell_info.csv.

    python -m beam_pipeline.select_cells --night_lights 'vnl_*.tif.gz' --land_cover ESACCI-LC-2020.nc \
        --num_cells 137045 --output out/cells --plot
    python -m beam_pipeline.build_dataset --cells out/cells/spatial_cell_info.csv ...

A cell is kept when it touches a pixel that is lit in any of the composites, and a land-cover pixel that is not
water. Of those a uniform sample is drawn, and split by Sentinel-2 tile. Exit codes: 0, the list is written; 1, the
job failed, e.g. at a block that cannot be decoded or a full disk; 2, the input cannot be used, or too few cells are
left; 130, stopped by Ctrl-C. With all but 0 no list is written, or no map of it.
"""

import sys
from collections.abc import Sequence

from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress


def main(argv: Sequence[str] | None = None, prog: str = "python -m beam_pipeline.select_cells") -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as `--help` shows it.

    Returns:
        The exit code.
    """

    def work() -> int:
        with Progress(None, "starting"):  # Beam takes seconds, on a busy machine many
            from beam_pipeline.jobs.command import Command
            from beam_pipeline.jobs.plan.dry_run import plan_selection
            from beam_pipeline.jobs.select.options import parse_selection_flags
            from beam_pipeline.jobs.select.run import select_cells

        return Command(parse_selection_flags, select_cells, plan_selection)(argv, prog, __doc__ or "")

    return run_program(work, interrupted="no list was written")


if __name__ == "__main__":
    sys.exit(main())
