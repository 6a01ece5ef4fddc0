r"""Chooses cells over areas of human activity: night lights + land cover -> spatial_cell_info.csv.

    python -m beam_pipeline.select_cells --night_lights 'vnl_*.tif.gz' --land_cover ESACCI-LC-2020.nc \
        --num_cells 137045 --output out/cells --plot
    python -m beam_pipeline.build_dataset --cells out/cells/spatial_cell_info.csv ...

A cell is kept when it touches a pixel that is lit in any of the composites, and a land-cover pixel that is not
water. Of those a uniform sample is drawn, and split by Sentinel-2 tile. Exit codes: 0, the list is written; 1, the
job failed, e.g. at a block that cannot be decoded; 2, the input cannot be used, or too few cells are left. 130,
stopped by Ctrl-C. With all but 0 no list is written.
"""

import logging
import sys
from collections.abc import Sequence

from beam_pipeline.jobs.select.options import PROG, parse_selection_flags
from beam_pipeline.jobs.select.run import select_cells
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import ending_at_interrupt


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as `--help` shows it.

    Returns:
        The exit code.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    with ending_at_interrupt("no list was written"):
        try:
            return select_cells(*parse_selection_flags(argv, prog, __doc__ or ""))
        except InvalidInputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
