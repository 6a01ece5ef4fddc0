r"""Makes a new dataset of the images of another one and new labels: another ontology, `none` table, sea or map.

    python -m beam_pipeline.relabel --dataset out/luxembourg --ontology strict --output out/strict
    python -m beam_pipeline.relabel --dataset out/luxembourg --osm out/features_2024 --output out/map_2024

The images are the same to the byte, and no host is asked for them. The new dataset is the one, to the byte, that
`build_dataset` would have made with the same flags of labels; with those, and the flags that the first one was built
with, `build_dataset` goes on with it. A run that was stopped goes on where it was when the same command is given again.
A local run ends with `beam_pipeline.verify`. Exit codes: 0, every cell-year is written or rejected; 1, some are dead
letters, nothing at all was written, what was written is not what it must be, or the storage failed; 2, the input cannot
be used: nothing was launched; 130, stopped by Ctrl-C.
"""

import sys
from collections.abc import Sequence

from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress


def main(argv: Sequence[str] | None = None, prog: str = "python -m beam_pipeline.relabel") -> int:
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
            from beam_pipeline.jobs.plan.dry_run import plan_relabelling
            from beam_pipeline.jobs.relabel.options import parse_relabel_flags
            from beam_pipeline.jobs.relabel.run import relabel_dataset

        return Command(parse_relabel_flags, relabel_dataset, plan_relabelling)(argv, prog, __doc__ or "")

    return run_program(work, interrupted="given again, the same command goes on where this one was")


if __name__ == "__main__":
    sys.exit(main())
