r"""Builds a dataset: cells -> Sentinel-2 pairs and OpenStreetMap labels in sharded TFRecords.

    python -m beam_pipeline.build_dataset --sample --output out/sample
    python -m beam_pipeline.build_dataset --area 6.0,49.6,6.2,49.8 --years 2019-2020 \
        --osm luxembourg.osm.pbf --output out/luxembourg

A run that was stopped goes on where it was when the same command is given again. A local run ends with
`beam_pipeline.verify`. Exit codes: 0, every cell-year is written or rejected; 1, some are dead letters, nothing at
all was written, what was written is not what it must be, or the storage failed; 2, the input cannot be used: nothing
was launched; 130, stopped by Ctrl-C.
"""

import sys
from collections.abc import Sequence

from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress


def main(argv: Sequence[str] | None = None, prog: str = "python -m beam_pipeline.build_dataset") -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as `--help` shows it.

    Returns:
        The exit code.
    """

    def work() -> int:
        with Progress(None, "starting"):  # Beam takes seconds, on a busy machine many
            from beam_pipeline.jobs.build.options import parse_build_flags
            from beam_pipeline.jobs.build.run import build_dataset
            from beam_pipeline.jobs.command import Command
            from beam_pipeline.jobs.plan.dry_run import plan_build

        return Command(parse_build_flags, build_dataset, plan_build)(argv, prog, __doc__ or "")

    return run_program(work, interrupted="given again, the same command goes on where this one was")


if __name__ == "__main__":
    sys.exit(main())
