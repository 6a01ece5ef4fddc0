"""Draws a contact sheet of a dataset: both images in true colour with their dates, and the label channels.

    python -m beam_pipeline.preview out/sample

Rows are taken from all shards in turn, so that every split is seen. Exit codes: 0, the picture is written; 1, the
disk failed; 2, there is nothing to draw or no place for it; 130, stopped by Ctrl-C.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.runtime.extras import require_package
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name, path_name
from beam_pipeline.runtime.program import run_program
from beam_pipeline.runtime.progress import Progress

PROG = "python -m beam_pipeline.preview"


def build_parser(prog: str = PROG) -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
    """
    parser = FlagParser(prog, __doc__ or "")
    parser.add_argument("dataset", type=folder_name, help="a folder that build_dataset wrote, local or gs://")
    parser.add_argument("--output", type=path_name, help="the PNG, a local file (DATASET/preview.png)")
    parser.add_argument("--rows", type=int, default=8, help="how many examples (8)")
    parser.add_argument("--split", choices=SPLITS, help="only of this split")
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
        given = build_parser(prog).parse_all(argv)
        require_package("matplotlib", "preview", "plots")
        with Progress(None, "starting"):  # Beam takes seconds, on a busy machine many
            from beam_pipeline.dataset.folder import DatasetFolder
            from beam_pipeline.jobs.storage import BeamFiles, use_options
            from beam_pipeline.report.preview import draw_preview

        use_options()
        with Progress(None, "reading and drawing"):
            path = draw_preview(
                DatasetFolder(BeamFiles(), given.dataset),
                rows=given.rows,
                split=given.split,
                output=given.output and Path(given.output),
            )
        print(path)
        return 0

    return run_program(work, interrupted="no picture was written")


if __name__ == "__main__":
    sys.exit(main())
