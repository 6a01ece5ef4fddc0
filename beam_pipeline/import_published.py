r"""Makes a dataset of the files of the published OpenSentinelMap: their images, labels, cells, tiles and splits.

    python -m beam_pipeline.import_published --published downloads/osm --output out/imported

The folder holds spatial_cell_info.csv, osm_label_images_v10/TILE/CELL.png, osm_sentinel_imagery/TILE/CELL/*.npz and
osm_categories.json, local or on a bucket. Nothing in a file is unpickled. What cannot be used is named and counted,
and the rest goes on. A run that was stopped goes on where it was when the same command is given again. A local run ends
with `beam_pipeline.verify`. Exit codes: 0, every cell-year is written or rejected; 1, some are dead letters, nothing at
all was written, what was written is not what it must be, or the storage failed; 2, the input cannot be used: nothing
was launched; 130, stopped by Ctrl-C.
"""

import sys
from collections.abc import Sequence

from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress


def main(argv: Sequence[str] | None = None, prog: str = "python -m beam_pipeline.import_published") -> int:
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
            from beam_pipeline.jobs.import_published.options import parse_import_flags
            from beam_pipeline.jobs.import_published.run import import_published
            from beam_pipeline.jobs.plan.dry_run import plan_import

        return Command(parse_import_flags, import_published, plan_import)(argv, prog, __doc__ or "")

    return run_program(work, interrupted="given again, the same command goes on where this one was")


if __name__ == "__main__":
    sys.exit(main())
