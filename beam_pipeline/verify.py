"""Proves from the files alone that a dataset is whole.

    python -m beam_pipeline.verify out/sample

Every planned cell-year must be accounted for once, as an example, a rejection or a dead letter; every shard must be
readable and be what its summary and dataset.json say; every example must be what the plan, the schema, the ontology
and the filters say; every file that describes the dataset must be what plan and summaries give. All of it is read. Exit
codes: 0, nothing differs; 1, something does, or cannot be read, and the table says what; 2, it is no dataset, or one of
another major version; 130, stopped by Ctrl-C. Of a later minor version the table also says what could not be checked.
"""

import sys
from collections.abc import Sequence

from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name
from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress

PROG = "python -m beam_pipeline.verify"


def build_parser(prog: str = PROG) -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
    """
    parser = FlagParser(prog, __doc__ or "")
    parser.add_argument("dataset", type=folder_name, help="a folder that build_dataset wrote, local or gs://")
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
        given = build_parser(prog).parse_all(argv).dataset
        with Progress(None, "starting"):  # Beam takes seconds, on a busy machine many
            from beam_pipeline.audit.dataset import verify_dataset
            from beam_pipeline.dataset.folder import DatasetFolder
            from beam_pipeline.jobs.storage import BeamFiles, use_default_options

        use_default_options()
        findings = verify_dataset(DatasetFolder(BeamFiles(), given))
        print(findings.table())
        return 1 if findings.kinds else 0

    return run_program(work, interrupted="nothing was found out")


if __name__ == "__main__":
    sys.exit(main())
