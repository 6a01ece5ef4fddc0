r"""Chooses cells over areas of human activity: night lights + land cover -> spatial_cell_info.csv.

    python -m beam_pipeline.select_cells --night_lights 'vnl_*.tif.gz' --land_cover ESACCI-LC-2020.nc \
        --num_cells 137045 --output out/cells --plot
    python -m beam_pipeline.build_dataset --cells out/cells/spatial_cell_info.csv ...

A cell is kept when it touches a pixel that is lit in any of the composites, and a land-cover pixel that is not
water. Of those a uniform sample is drawn, and split by Sentinel-2 tile. Exit codes: 0, the list is written; 1, the
job failed, e.g. at a block that cannot be decoded; 2, the input cannot be used, or too few cells are left. With 1 and
2 no list is written.
"""

import logging
import sys
from collections.abc import Sequence

from rasterio.errors import RasterioError

from beam_pipeline.cells.table import CELLS_FILE
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.jobs.select.cell_list import selection_table
from beam_pipeline.jobs.select.graph import run_selection
from beam_pipeline.jobs.select.launch import prepare_selection
from beam_pipeline.jobs.select.options import parse_selection_flags, selection_parser
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit code.
    """
    argv = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(argv):
        print(selection_parser(__doc__ or "").format_help())
        return 0
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    try:
        given, options = parse_selection_flags(argv)
        pipeline = make_pipeline(options)
        described = run_selection(pipeline, prepare_selection(given, options))
    except InvalidInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RasterioError as error:
        print(f"error: the job failed, and no list was written: {error}", file=sys.stderr)
        return 1
    if described is None:
        return 0
    print(selection_table(described))
    print(join(given.output, CELLS_FILE))
    if given.plot:
        from beam_pipeline.jobs.select.plot import plot_selection  # matplotlib takes a second to import

        print(plot_selection(given.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
