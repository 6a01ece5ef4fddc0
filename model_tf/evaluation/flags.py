"""The command line of evaluate.py. Imports no Keras and no TensorFlow."""

import argparse
import dataclasses
from collections.abc import Sequence

from beam_pipeline.runtime.apart import require_apart
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name, path_name
from model_tf.training.flags import add_data_flag
from model_tf.training.settings import STRATEGIES, Backend

PROG = "evaluate.py"

RESULTS_FOLDER = "evaluation"
"""In the run's folder, where no other is given."""


@dataclasses.dataclass(frozen=True)
class EvaluateCommand:
    """The request of a command line.

    Attributes:
        run: The run's folder, local or gs://.
        data: The dataset's folder, local or gs://.
        output: Where the results go, local or gs://.
        split: "training", "validation" or "testing".
        cells: Of the panel; none = the default ones.
        checkpoint: "best", "last" or a path.
        pairs_per_batch: Pairs at once; None = as the run trained.
        backend: Of Keras; a net trained on one runs on all.
    """

    run: str
    data: str
    output: str
    split: str
    cells: tuple[int, ...]
    checkpoint: str
    pairs_per_batch: int | None
    backend: Backend


def parse_evaluate_flags(argv: Sequence[str], description: str, prog: str = PROG) -> EvaluateCommand:
    """Reads and checks a command line.

    Args:
        argv: Arguments without the program's name.
        description: What the program does, for --help.
        prog: The command, as --help shows it.

    Returns:
        The command.

    Raises:
        InvalidInputError: A flag is unknown or its value cannot be.
    """
    given = build_parser(prog, description).parse_all(argv)
    if given.pairs_per_batch is not None and given.pairs_per_batch < 1:
        raise InvalidInputError(f"--pairs_per_batch must be at least 1. Received: {given.pairs_per_batch}")
    given.output = given.output or join(given.run, RESULTS_FOLDER)
    require_apart(given.output, [("--data", given.data)])
    return EvaluateCommand(**vars(given))


def build_parser(prog: str = PROG, description: str = "") -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    parser = FlagParser(prog, description)
    parser.add_argument(
        "--run", type=folder_name, required=True, help="folder that train.py wrote, local or gs://"
    )
    add_data_flag(parser)
    parser.add_argument(
        "--output", type=folder_name, help="folder of the results, local or gs:// (default: RUN/evaluation)"
    )
    parser.add_argument(
        "--split", default="testing", help="training, validation or testing (default: %(default)s)"
    )
    parser.add_argument(
        "--cells",
        type=_cells,
        default=(),
        metavar="ID,...",
        help="cells on the panel, separated by commas (default: those with most categories)",
    )
    parser.add_argument(
        "--checkpoint",
        type=path_name,
        default="best",
        help="best, last or the path of a .keras file (default: %(default)s)",
    )
    parser.add_argument(
        "--pairs_per_batch", type=int, help="pairs of images at once (default: as in training)"
    )
    parser.add_argument(
        "--backend",
        choices=[*STRATEGIES],
        default="tensorflow",
        help="of Keras; any runs the nets of all (default: %(default)s)",
    )
    return parser


def _cells(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be ids of cells, like 11,12. Received: {text}") from None
