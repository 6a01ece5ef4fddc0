r"""Makes a dataset of labelled places, a Sentinel-2 image of each: EuroSAT's, fMoW's, or those of a table.

    python -m beam_pipeline.resample_patches --places places.csv --years 2019-2020 --output out/patches
    python -m beam_pipeline.resample_patches --eurosat EuroSAT_MS --output out/eurosat
    python -m beam_pipeline.resample_patches --fmow groundtruth --output out/fmow

The images come from the same catalogues, through the same reader and filters, as those of `build_dataset`; their
windows are whole chips with the place in the middle. A run that was stopped goes on where it was when the same command
is given again. A local run ends with `beam_pipeline.verify`. Exit codes: 0, every place has its image or was rejected;
1, some are dead letters, nothing at all was written, what was written is not what it must be, or the storage failed; 2,
the input cannot be used: nothing was launched; 130, stopped by Ctrl-C.
"""

import sys
from collections.abc import Sequence

from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress


def main(argv: Sequence[str] | None = None, prog: str = "python -m beam_pipeline.resample_patches") -> int:
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
            from beam_pipeline.jobs.patches.options import parse_patch_flags
            from beam_pipeline.jobs.patches.run import plan_patches, resample_patches

        return Command(parse_patch_flags, resample_patches, plan_patches)(argv, prog, __doc__ or "")

    return run_program(work, interrupted="given again, the same command goes on where this one was")


if __name__ == "__main__":
    sys.exit(main())
