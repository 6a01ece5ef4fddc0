"""Proves from the files alone that a dataset is whole.

    python -m beam_pipeline.verify out/sample
    python -m beam_pipeline.verify out/features
    python -m beam_pipeline.verify gs://bucket/set --runner=DataflowRunner --project=mine --region=europe-west1 ...

Every planned cell-year must be accounted for once, as an example, a rejection or a dead letter; every shard must be
readable and be what its summary and dataset.json say; every example must be what the plan, the schema, the ontology
and the filters say; every file that describes the dataset must be what plan and summaries give. A store of features, in
a dataset or alone, must be what its plan and its pieces give, and the labels those that are drawn of it once more. All
of it is read, by as many processes as are of use or, with --runner, by the workers of a Beam job: what is found is the
same. Exit codes: 0, nothing differs, or a job was launched on Dataflow; 1, something does, or cannot be read, and the
table says what, or a process or the job failed; 2, it is no dataset and no store, or one of another major version, or a
flag cannot be used; 130, stopped by Ctrl-C. Of a later minor version the table also says what could not be checked.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from beam_pipeline.jobs.files_here import asks_for_job, files_here
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name, path_name
from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress

PROG = "python -m beam_pipeline.verify"

_MOST_PROCESSES = 1024

_BEAM = (
    "With --runner=NAME it is a Beam job, and Beam's flags hold too, as of a build. On Dataflow it is launched and not "
    "waited for; its findings are in the report."
)


def build_parser(prog: str = PROG) -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
    """
    parser = FlagParser(prog, __doc__ or "", _BEAM)
    parser.add_argument(
        "dataset",
        type=folder_name,
        help="a folder that build_dataset or extract_features wrote, local or gs://",
    )
    parser.add_argument(
        "--features",
        type=folder_name,
        metavar="FOLDER",
        help="the store of features that the dataset was built of, where it holds none itself; local or gs://",
    )
    parser.add_argument(
        "--skip_labels",
        action="store_true",
        help="do not draw the labels from the store once more, which takes longer than all else",
    )
    parser.add_argument(
        "--processes",
        type=_count,
        metavar="N",
        help="read shards in so many processes (all cores; fewer where there is little to read)",
    )
    parser.add_argument(
        "--report",
        type=path_name,
        metavar="JSON",
        help="write the findings to this file too, local or gs:// (on a cluster: verification.json in the dataset)",
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
            return _verify_as_job(argv, prog)
        return _verify_here(build_parser(prog).parse_all(argv))

    return run_program(work, interrupted="nothing was found out")


def _verify_here(given: argparse.Namespace) -> int:
    with Progress(None, "starting"):
        from beam_pipeline.audit.dataset import Asked, verify_dataset
        from beam_pipeline.audit.processes import ProcessLost
        from beam_pipeline.audit.report import Report, begin_report, write_report
        from beam_pipeline.dataset.folder import DatasetFolder

        paths = (given.dataset, given.report or "", given.features or "")
        files, ready = files_here(paths, [("--report", given.report)])
    folder = DatasetFolder(files, given.dataset)
    if given.report:
        begin_report(files, given.report)
    try:
        asked = Asked(given.features or "", not given.skip_labels)
        findings = verify_dataset(folder, given.processes, ready, asked)
    except ProcessLost as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if given.report:
        write_report(files, given.report, Report.of(findings))
    print(findings.table())
    return 1 if findings.kinds else 0


def _verify_as_job(argv: Sequence[str] | None, prog: str) -> int:
    with Progress(None, "starting"):  # Beam takes seconds, on a busy machine many
        from beam_pipeline.jobs.verify.options import parse_verify_flags
        from beam_pipeline.jobs.verify.run import verify_as_job

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    return verify_as_job(*parse_verify_flags(build_parser(prog), argv))


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_PROCESSES:
        raise argparse.ArgumentTypeError(f"must be 1 to {_MOST_PROCESSES}. Received: {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
