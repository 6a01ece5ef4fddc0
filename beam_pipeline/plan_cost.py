r"""Tells what a build will take before it is launched: requests, bytes, time, memory and money.

    python -m beam_pipeline.plan_cost --cells spatial_cell_info.csv --years 2017-2020 --workers 20
    python -m beam_pipeline.plan_cost --paper

Nothing is asked of any host and nothing is written. Counts follow from the cells; what a unit of work costs was
measured; the weather is a guess, and prices have their date. Exit codes: 0, the plan is printed; 2, the
input cannot be used; 130, stopped by Ctrl-C.
"""

import sys
from collections.abc import Sequence

from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress


def main(argv: Sequence[str] | None = None, prog: str = "python -m beam_pipeline.plan_cost") -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as `--help` shows it.

    Returns:
        The exit code.
    """

    def work() -> int:
        with Progress(None, "starting"):  # Beam takes seconds, on a busy machine many
            from beam_pipeline.jobs.plan.options import parse_plan_flags
            from beam_pipeline.jobs.plan.report import report
            from beam_pipeline.jobs.plan.run import plan_of_flags
            from beam_pipeline.jobs.storage import use_options

        given = parse_plan_flags(argv, prog, __doc__ or "")
        use_options()
        print(report(plan_of_flags(given)))
        return 0

    return run_program(work, interrupted="nothing was found out")


if __name__ == "__main__":
    sys.exit(main())
