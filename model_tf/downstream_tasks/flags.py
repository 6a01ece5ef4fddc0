"""The command line of downstream.py. Imports no Keras and no TensorFlow."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from beam_pipeline.runtime.apart import require_apart
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name, path_name
from model_tf.downstream_tasks.splits import DRAWN_KINDS, KINDS, Column, Kind

PROG = "downstream.py"

CACHE_FOLDER = "cache"
"""In the output folder, where no other is given."""

TASK_NAMES = ("eurosat", "fmow", "classes")
NORMS = ("image", "patches")
METHOD_FLAGS = ("cnn", "knn", "linear")
COLUMNS = "1,5,10,100,10/90,20/80,30/70,40/60,50/50,60/40,70/30,80/20,90/10"
"""Those of the paper's table 1."""

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class DownstreamCommand:
    """The settings of a command line.

    Attributes:
        run: The run's folder, local or gs://; None for random weights alone.
        width: Of the net with random weights where there is no run.
        checkpoint: "best", "last" or a path.
        patches: The folder of the patches, local.
        task: A key of `tasks.TASKS`.
        output: Where the results go, local.
        cache: Where embeddings are kept, local.
        columns: Of the table.
        splits: Kinds of splits.
        methods: "cnn", "knn", "linear".
        seeds: Repetitions.
        head_seeds: Repetitions of the head.
        seed: Of all draws.
        context: "none" or "mirror".
        statistics: "run" or "patches".
        norms: "image", "patches".
        grid: Side of what is kept of a patch's embeddings.
        at_once: Images of a batch.
    """

    run: str | None
    width: str
    checkpoint: str
    patches: str
    task: str
    output: str
    cache: str
    columns: tuple[Column, ...]
    splits: tuple[Kind, ...]
    methods: tuple[str, ...]
    seeds: int
    head_seeds: int
    seed: int
    context: str
    statistics: str | None
    norms: tuple[str, ...]
    grid: int
    at_once: int


def parse_downstream_flags(argv: Sequence[str], description: str, prog: str = PROG) -> DownstreamCommand:
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
    given.cache = given.cache or join(given.output, CACHE_FOLDER)
    given.head_seeds = given.seeds if given.head_seeds is None else given.head_seeds
    for name, least in (("seeds", 1), ("head_seeds", 1), ("grid", 1), ("at_once", 1), ("seed", 0)):
        if getattr(given, name) < least:
            raise InvalidInputError(f"--{name} must be at least {least}. Received: {getattr(given, name)}")
    if given.head_seeds > given.seeds:
        raise InvalidInputError(
            f"--head_seeds must be at most --seeds. Received: {given.head_seeds} and {given.seeds}"
        )
    for name in ("output", "cache"):
        if "://" in getattr(given, name):
            raise InvalidInputError(f"--{name} must be on this machine. Received: {getattr(given, name)}")
        # Next time its folders would be classes.
        require_apart(getattr(given, name), [("--patches", given.patches)], f"--{name}")
    if given.run is None and given.statistics == "run":
        raise InvalidInputError("--statistics run needs --run. Received: no --run")
    return DownstreamCommand(**vars(given))


def build_parser(prog: str = PROG, description: str = "") -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
        description: What the program does.
    """
    parser = FlagParser(prog, description)
    add = parser.add_argument
    add("--run", type=folder_name, help="folder that train.py wrote (default: random weights alone)")
    add(
        "--width",
        choices=("w18", "w32", "w48", "tiny"),
        default="w18",
        help="of random weights without --run",
    )
    add("--checkpoint", type=path_name, default="best", help="best, last or the path of a .keras file")
    add("--patches", type=folder_name, required=True, help="folder of the patches, on this machine")
    add("--task", choices=TASK_NAMES, default="eurosat", help="what the patches are (default: %(default)s)")
    add("--output", type=folder_name, required=True, help="folder of the results, on this machine")
    add("--cache", type=folder_name, help="folder of embeddings that are kept (default: OUTPUT/cache)")
    add(
        "--columns",
        type=_several("columns", _column),
        default=COLUMNS,
        metavar="N,...",
        help="training patches a class, or percent for training and testing, separated by commas "
        "(default: the paper's)",
    )
    add(
        "--splits",
        type=_several("splits", _one_of(KINDS)),
        default=",".join(DRAWN_KINDS),
        metavar="KIND,...",
        help="random, spatial, and published where patches bring their own, separated by commas (default: the first "
        "two)",
    )
    add(
        "--methods",
        type=_several("methods", _one_of(METHOD_FLAGS)),
        default=",".join(METHOD_FLAGS),
        metavar="METHOD,...",
        help="cnn, knn and linear, separated by commas (default: all)",
    )
    add("--seeds", type=int, default=5, help="repetitions of every split (default: %(default)s)")
    add("--head_seeds", type=int, help="repetitions of the CNN head (default: as --seeds)")
    add("--seed", type=int, default=0, help="of all draws (default: %(default)s)")
    add(
        "--context",
        choices=("none", "mirror"),
        default="none",
        help="mirror: patches without context are mirrored outwards to 192 pixels (default: %(default)s)",
    )
    add(
        "--statistics",
        choices=("run", "patches"),
        help="by whose mean and variance patches are standardised (default: the run's for L2A, else the patches')",
    )
    add(
        "--norms",
        type=_several("norms", _one_of(NORMS)),
        default=NORMS[0],
        metavar="NORM,...",
        help="group normalisation by each image's statistics, as in training, or by those of a sample of all patches: "
        "image and patches, separated by commas (default: %(default)s)",
    )
    add("--grid", type=int, default=16, help="side to which a patch's embeddings are averaged for the head")
    add(
        "--at_once",
        type=int,
        default=32,
        help="images in a batch of the encoder, 256 at the most (default: %(default)s)",
    )
    return parser


def _several(flag: str, parse: Callable[[str], _T]) -> Callable[[str], tuple[_T, ...]]:
    def values(text: str) -> tuple[_T, ...]:
        found = tuple(parse(part) for part in text.split(",") if part)
        if not found or len({*found}) < len(found):
            raise argparse.ArgumentTypeError(f"must name some {flag}, each once. Received: {text}")
        return found

    return values


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def value(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"must be of {', '.join(choices)}. Received: {text}")
        return text

    return value


def _column(text: str) -> Column:
    try:
        return Column.of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be like 5 or 10/90. Received: {text}") from None
