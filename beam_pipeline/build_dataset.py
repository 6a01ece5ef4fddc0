r"""Builds a dataset: cells -> Sentinel-2 pairs and OpenStreetMap labels in sharded TFRecords.

    python -m beam_pipeline.build_dataset --sample --output out/sample
    python -m beam_pipeline.build_dataset --area 6.0,49.6,6.2,49.8 --years 2019-2020 \
        --osm luxembourg.osm.pbf --output out/luxembourg

A run that was stopped goes on where it was when the same command is given again. A local run ends with
`beam_pipeline.verify`. Exit codes: 0, every cell-year is written or rejected; 1, some are dead letters, nothing at
all was written, or what was written is not what it must be; 2, the input cannot be used: nothing was launched;
130, stopped by Ctrl-C.
"""

import logging
import sys
from collections.abc import Sequence

from beam_pipeline.jobs.build.options import PROG, parse_build_flags
from beam_pipeline.jobs.build.run import build_dataset
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.flags import ending_at_interrupt
from beam_pipeline.runtime.foreign_text import hide_secrets_in_logs


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as `--help` shows it.

    Returns:
        The exit code.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    hide_secrets_in_logs()
    with ending_at_interrupt("given again, the same command goes on where this one was"):
        try:
            return build_dataset(*parse_build_flags(argv, prog, __doc__ or ""))
        except InvalidInputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
