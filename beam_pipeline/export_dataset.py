r"""Writes a dataset in the layout of others: the published folders, and what other programs read.

    python -m beam_pipeline.export_dataset --dataset out/sample --format published --output out/published

The dataset stays as it is. What cannot be read of it is a dead letter, and the rest goes on. A run that was stopped
goes on where it was when the same command is given again. Exit codes: 0, all that the format takes is written; 1,
something is a dead letter or missing, nothing at all was written, or the storage failed; 2, the input cannot be used:
nothing was launched; 130, stopped by Ctrl-C.
"""

import logging
import sys
from collections.abc import Sequence

from beam_pipeline.runtime.foreign_text import hide_secrets_in_logs
from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress


def main(argv: Sequence[str] | None = None, prog: str = "python -m beam_pipeline.export_dataset") -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as `--help` shows it.

    Returns:
        The exit code.
    """

    def work() -> int:
        with Progress(None, "starting"):  # Beam takes seconds, on a busy machine many
            from beam_pipeline.jobs.export.options import parse_export_flags
            from beam_pipeline.jobs.export.run import export_dataset

        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
        hide_secrets_in_logs()
        return export_dataset(*parse_export_flags(argv, prog, __doc__ or ""))

    return run_program(work, interrupted="given again, the same command goes on where this one was")


if __name__ == "__main__":
    sys.exit(main())
