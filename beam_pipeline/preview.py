"""Draws a contact sheet of a dataset: both images in true colour with their dates, and the label channels.

    python -m beam_pipeline.preview out/sample

Rows are taken from all shards in turn, so that every split is seen.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.jobs.storage import BeamFiles, use_default_options
from beam_pipeline.report.preview import MOST_ROWS, draw_preview
from beam_pipeline.runtime.faults import Fault, InvalidInputError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="a folder that build_dataset wrote")
    parser.add_argument("--output", type=Path, help="the PNG (DATASET/preview.png)")
    parser.add_argument("--rows", type=int, default=8, help=f"how many examples (8), up to {MOST_ROWS}")
    parser.add_argument("--split", choices=SPLITS, help="only of this split")
    given = parser.parse_args(argv)
    use_default_options()
    try:
        path = draw_preview(
            BeamFiles(), given.dataset.rstrip("/"), rows=given.rows, split=given.split, output=given.output
        )
    except (InvalidInputError, Fault) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
