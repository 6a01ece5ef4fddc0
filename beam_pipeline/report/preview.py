"""Draws some examples of a dataset."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from beam_pipeline.cells.cell import Split
from beam_pipeline.dataset.folder import DatasetFolder, require_beside
from beam_pipeline.records.description import DATASET_FILE, Shard, read_description
from beam_pipeline.records.example import CellYear, decode
from beam_pipeline.records.shards import read_shard
from beam_pipeline.report.contact_sheet import contact_sheet, save_sheet
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault

MOST_ROWS = 200
"""Examples on a sheet: matplotlib draws up to 65,536 pixels."""


def draw_preview(
    folder: DatasetFolder, *, rows: int, split: Split | None = None, output: Path | None = None
) -> Path:
    """Draws a contact sheet of a dataset.

    Args:
        folder: The dataset's folder.
        rows: The most examples, 1 to `MOST_ROWS`.
        split: Only of this split; None for all.
        output: The PNG; None for `preview.png` in the folder, which must be local then.

    Returns:
        The PNG.

    Raises:
        InvalidInputError: An argument is out of range, there is no dataset, it has nothing to draw, or the picture
            cannot be written.
        Fault: A file cannot be read, or it is damaged.
    """
    if not 1 <= rows <= MOST_ROWS:
        raise InvalidInputError(f"--rows must be 1 to {MOST_ROWS}. Received: {rows}")
    if not folder.exists(DATASET_FILE):
        raise InvalidInputError(
            f"There is no {DATASET_FILE}: no build finished there. One that was stopped goes on with the same command. "
            f"Received: {folder.path}"
        )
    if output is None and "://" in folder.path:
        raise InvalidInputError("--output PNG is needed for a dataset that is not on this machine")
    path = output or Path(folder.path) / "preview.png"
    require_beside(str(path), folder.path)
    description = read_description(folder.files, folder.path)
    examples = some_examples(folder, description.shards, rows, split)
    if not examples:
        raise InvalidInputError(f"The dataset has no example to draw. Received: {folder.path}")
    sheet = contact_sheet(examples, description.ontology.channels)
    try:
        save_sheet(sheet, path)
    except OSError as error:
        raise InvalidInputError(
            f"--output cannot be written: {error}. Give the name of a PNG in a folder that can be written. "
            f"Received: {path}"
        ) from error
    return path


def some_examples(
    folder: DatasetFolder, shards: Sequence[Shard], rows: int, split: Split | None = None
) -> list[CellYear]:
    """Takes examples from shards that are spread evenly over the dataset, in turn.

    Args:
        folder: The dataset's folder.
        shards: Of the dataset's description.
        rows: The most examples, 1 or more.
        split: Only of this split; None for all.

    Returns:
        Examples, one of each shard before the second of any.

    Raises:
        Fault: A shard cannot be read or is damaged.
    """
    sizes = {shard.name: shard.num_bytes for shard in shards}
    names = [shard.name for shard in shards if shard.examples and split in (None, shard.split)]
    step = max(1, len(names) // rows)  # where there are more shards than rows
    streams: list[Iterator[bytes]] = [_read(folder, name, sizes[name]) for name in names[::step]]
    turns = itertools.zip_longest(*streams)
    payloads = (payload for turn in turns for payload in turn if payload is not None)
    return [decode(payload) for payload in itertools.islice(payloads, rows)]


def _read(folder: DatasetFolder, name: str, num_bytes: int) -> Iterator[bytes]:
    """Reads a shard of the size that the dataset says."""
    size = folder.size(name)
    if size is not None and size != num_bytes:
        raise PermanentFault(
            "corrupt_shard", f"{folder.at(name)} has {size} bytes, and {DATASET_FILE} says {num_bytes}"
        )
    yield from read_shard(folder.files, folder.at(name))
