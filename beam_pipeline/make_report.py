"""Makes the report of a dataset: one page with figures, examples and the paper's numbers beside its own.

    python -m beam_pipeline.make_report out/sample
    python -m beam_pipeline.make_report out/luxembourg --output luxembourg.html --examples 12

The page, report.html, holds all that it shows and loads nothing; its figures lie beside it as PNG and CSV. It is made
of the summaries that the build wrote; shards are opened for the examples only. They are read here, or with --runner by
the workers of a Beam job. Exit codes: 0, the report is written, or a job was launched on Dataflow; 1, it is written and
names what could not be used, or the job or the storage failed; 2, the folder holds no dataset that is described, one of
another major version, or a flag cannot be used: nothing was written; 130, stopped by Ctrl-C.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from beam_pipeline.jobs.files_here import asks_for_job, files_here
from beam_pipeline.runtime.extras import require_package
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name, path_name
from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress

PROG = "python -m beam_pipeline.make_report"

_BEAM = (
    "With --runner=NAME it is a Beam job, and Beam's flags hold too, as of a build. On Dataflow it is launched and not "
    "waited for."
)


def build_parser(prog: str = PROG) -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
    """
    parser = FlagParser(prog, __doc__ or "", _BEAM)
    parser.add_argument("dataset", type=folder_name, help="a folder that build_dataset wrote, local or gs://")
    parser.add_argument(
        "--output", type=path_name, metavar="HTML", help="the page, local or gs:// (DATASET/report.html)"
    )
    parser.add_argument(
        "--examples", type=int, default=6, metavar="N", help="how many examples are shown (6)"
    )
    parser.add_argument(
        "--read_refused",
        action="store_true",
        help="read images that the filters refuse once more, from the files that the dataset's scene lists name, on "
        "the web or on this machine: only of a dataset that you trust (off: the page says that they are not stored)",
    )
    parser.add_argument(
        "--allow_own_network",
        action="store_true",
        help="with --read_refused, ask hosts of inner networks too",
    )
    return parser


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as `--help` shows it.

    Returns:
        The exit code.
    """

    def work() -> int:
        words = sys.argv[1:] if argv is None else argv
        if asks_for_job(words):
            return _report_as_job(argv, prog)
        return _report_here(build_parser(prog).parse_all(argv))

    return run_program(work, interrupted="no report was written")


def _report_here(given: argparse.Namespace) -> int:
    require_package("matplotlib", "report", "plots")
    with Progress(None, "starting"):
        from beam_pipeline.dataset.folder import DatasetFolder
        from beam_pipeline.report.settings import ReportSettings
        from beam_pipeline.report.source import count_units, open_source
        from beam_pipeline.report.writing import write_report

        settings = ReportSettings.of_flags(given)
        files, _ = files_here((settings.dataset, settings.output), [("--output", settings.output)])
    settings.require_output(files)
    source = open_source(DatasetFolder(files, settings.dataset))
    units = list(source.units())
    with Progress(len(units), "report", "summaries") as progress:
        statistics = count_units(source.counter(settings.examples), units, progress.update)
    with Progress(None, "report: drawing"):
        written = write_report(files, source, statistics, settings)
    print(written.page)
    if written.problems:
        print(f"error: {written.problems:,} things could not be used; the page names them", file=sys.stderr)
    return 1 if written.problems else 0


def _report_as_job(argv: Sequence[str] | None, prog: str) -> int:
    require_package("matplotlib", "report", "plots")
    with Progress(None, "starting"):  # Beam takes seconds, on a busy machine many
        from beam_pipeline.jobs.report.options import parse_report_flags
        from beam_pipeline.jobs.report.run import report_as_job

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    return report_as_job(*parse_report_flags(build_parser(prog), argv))


if __name__ == "__main__":
    sys.exit(main())
