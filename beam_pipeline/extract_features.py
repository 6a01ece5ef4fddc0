r"""Makes a store of OpenStreetMap features: what lies near the cells, a GeoParquet file for each Sentinel-2 tile.

    python -m beam_pipeline.extract_features --cells out/cells/spatial_cell_info.csv --osm 'osm/*.osm.pbf' \
        --output out/features
    python -m beam_pipeline.build_dataset --cells out/cells/spatial_cell_info.csv --osm out/features ...

Each extract is read once, whatever is built of the store. The same command given again goes on with a run that was
stopped; of a longer list of extracts it reads the new ones. Exit codes: 0, every tile has its file; 1, an extract could
not be read, or the job or the storage failed; 2, the input cannot be used: nothing was launched; 130, stopped by
Ctrl-C.
"""

import sys
from collections.abc import Sequence

from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress


def main(argv: Sequence[str] | None = None, prog: str = "python -m beam_pipeline.extract_features") -> int:
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
            from beam_pipeline.jobs.extract.options import parse_extract_flags
            from beam_pipeline.jobs.extract.run import extract_features
            from beam_pipeline.jobs.plan.dry_run import plan_extraction

        return Command(parse_extract_flags, extract_features, plan_extraction)(argv, prog, __doc__ or "")

    return run_program(work, interrupted="given again, the same command goes on where this one was")


if __name__ == "__main__":
    sys.exit(main())
