"""Draws a contact sheet of a dataset: both images in true colour with their dates, and the label channels.

    python -m beam_pipeline.preview out/sample

Rows are taken from all shards in turn, so that every split is seen. Exit codes: 0, the picture is written; 2, it
cannot be; 130, stopped by Ctrl-C.
"""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from beam_pipeline.jobs.storage import BeamFiles, use_default_options
from beam_pipeline.labels.label_image import CHANNELS, NONE
from beam_pipeline.records.example import CellYear, decode
from beam_pipeline.records.shards import parse_shard_name, read_shard
from beam_pipeline.runtime.extras import require_package
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.flags import FlagParser, ending_at_interrupt
from beam_pipeline.runtime.progress import Progress

_MOST_ROWS = 200  # matplotlib draws up to 65,536 pixels


def some_examples(output: str, rows: int, split: str | None = None) -> list[CellYear]:
    """Takes examples from all shards in turn.

    Args:
        output: The dataset's folder.
        rows: The most examples, 1 or more.
        split: Only of this split; None for all.

    Returns:
        Examples, one of each shard before the second of any.
    """
    files = BeamFiles()
    shards = [shard["name"] for shard in _read_dataset(files, output)["shards"] if shard["examples"]]
    if split is not None:
        shards = [name for name in shards if parse_shard_name(name)[0] == split]
    streams: list[Iterator[bytes]] = [read_shard(files, f"{output}/{name}") for name in shards]
    # Shards evenly spread over the dataset, where there are more of them than rows.
    step = max(1, len(streams) // rows)
    turns = itertools.zip_longest(*streams[::step])
    payloads = (payload for turn in turns for payload in turn if payload is not None)
    return [decode(payload) for payload in itertools.islice(payloads, rows)]


def _read_dataset(files: BeamFiles, output: str) -> dict[str, Any]:
    """Reads what is drawn of `dataset.json`, and checks all that it is used for: it may be anybody's.

    Raises:
        InvalidInputError: It does not describe shards and channels.
    """
    path = f"{output}/dataset.json"
    try:
        dataset = json.loads(files.read_text(path))
        shards = [{"name": shard["name"], "examples": int(shard["examples"])} for shard in dataset["shards"]]
        for shard in shards:
            parse_shard_name(shard["name"])  # so that it leads nowhere else
        channels: list[dict[str, Any]] = [
            {"name": str(channel["name"]), "labels": {str(k): int(v) for k, v in channel["labels"].items()}}
            for channel in dataset["ontology"]["channels"]
        ]
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise InvalidInputError(
            f"{path} describes no dataset of this version: {error!r}. Copy it again from where it was built."
        ) from error
    if len(channels) != CHANNELS or not all(
        0 <= value < NONE for channel in channels for value in channel["labels"].values()
    ):
        raise InvalidInputError(f"{path}: ontology.channels are not those of a label image")
    return {"shards": shards, "channels": channels}


def main(argv: Sequence[str] | None = None, prog: str = "python -m beam_pipeline.preview") -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as `--help` shows it.

    Returns:
        The exit code.
    """
    parser = FlagParser(prog, __doc__ or "")
    parser.add_argument("dataset", help="a folder that build_dataset wrote")
    parser.add_argument("--output", type=Path, help="the PNG (DATASET/preview.png)")
    parser.add_argument("--rows", type=int, default=8, help=f"how many examples (8), up to {_MOST_ROWS}")
    parser.add_argument("--split", choices=("training", "validation", "testing"), help="only of this split")
    with ending_at_interrupt("no picture was written"):
        try:
            given = parser.parse_args(argv)
            require_package("matplotlib", "preview")
            path = _preview(given.dataset.rstrip("/"), given.output, given.rows, given.split)
        except (InvalidInputError, Fault) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    print(path)
    return 0


def _preview(dataset: str, output: Path | None, rows: int, split: str | None) -> Path:
    from beam_pipeline.report.contact_sheet import _DPI, contact_sheet  # matplotlib is an extra

    use_default_options()
    files = BeamFiles()
    if not 1 <= rows <= _MOST_ROWS:
        raise InvalidInputError(f"--rows must be 1 to {_MOST_ROWS}. Received: {rows}")
    if not files.exists(f"{dataset}/dataset.json"):
        raise InvalidInputError(f"There is no dataset.json: no build finished there. Received: {dataset}")
    if output is None and "://" in dataset:
        raise InvalidInputError("--output PNG is needed for a dataset that is not on this machine")
    with Progress(None, "reading and drawing"):
        examples = some_examples(dataset, rows, split)
        if not examples:
            raise InvalidInputError(f"The dataset has no example to draw. Received: {dataset}")
        channels = _read_dataset(files, dataset)["channels"]
        path = output or Path(dataset) / "preview.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(examples, channels).savefig(path, format="png", dpi=_DPI)
    return path


if __name__ == "__main__":
    sys.exit(main())
