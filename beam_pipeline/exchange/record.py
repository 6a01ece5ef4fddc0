"""The record of an exported shard: its file lies last, so a shard with a record is written whole."""

import concurrent.futures
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pydantic

from beam_pipeline.dataset.commits import READS_AT_ONCE
from beam_pipeline.dataset.outcomes import STORED, DeadLetter
from beam_pipeline.runtime.files import Files, join
from beam_pipeline.runtime.parsing import MalformedError, parse_json

EXPORT_FOLDER = "export"
"""Holds what the frame writes; the rest of the output is the format's."""

_SHARDS = f"{EXPORT_FOLDER}/shards"
_SUFFIX = ".json"

RECORDS = f"{_SHARDS}/*{_SUFFIX}"
"""The pattern of the records' names."""


@dataclasses.dataclass(frozen=True)
class ShardRecord:
    """The account of one shard.

    Attributes:
        shard: Its name.
        settings: SHA-256 of the settings that it was written with.
        cells: Ids of the cells that were written, in order.
        counts: What else was written, by name, e.g. "images".
        left_out: Number of cells that the format does not take, by reason.
        files: (name, bytes) of each file, names relative to the output.
        dead_letters: What could not be read or written.
        content: What the format's `finish` needs to know.
    """

    __pydantic_config__ = STORED

    shard: str
    settings: str
    cells: tuple[int, ...]
    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    files: tuple[tuple[str, int], ...]
    dead_letters: tuple[DeadLetter, ...]
    content: Any

    def to_json(self) -> str:
        """Returns its text; equal records give equal text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True) + "\n"


_RECORD = pydantic.TypeAdapter(ShardRecord)


def record_path(output: str, shard: str) -> str:
    """Returns the path of a shard's record."""
    return join(output, _SHARDS, f"{shard}{_SUFFIX}")


def write_record(files: Files, output: str, record: ShardRecord) -> None:
    """Writes the record of a shard."""
    files.write_text(record_path(output, record.shard), record.to_json())


def read_record(files: Files, output: str, shard: str, settings: str) -> ShardRecord | None:
    """Reads the record of a shard.

    Args:
        files: The file system.
        output: The export's folder.
        shard: The shard's name.
        settings: SHA-256 of the export's settings.

    Returns:
        The record; None where there is none of these settings that can be read: the shard is to be done.
    """
    path = record_path(output, shard)
    if not files.exists(path):
        return None
    try:
        record = parse_json(_RECORD, files.read_bytes(path))
    except MalformedError:
        return None  # a disk that lost power
    return record if (record.shard, record.settings) == (shard, settings) else None


def missing_file(files: Files, output: str, record: ShardRecord) -> str | None:
    """Returns the name of a file of a record that is not there, or is of another size; None where all are right."""

    def wrong(file: tuple[str, int]) -> bool:
        return files.size(join(output, file[0])) != file[1]

    with concurrent.futures.ThreadPoolExecutor(READS_AT_ONCE) as pool:
        found = zip(record.files, pool.map(wrong, record.files), strict=True)
        return next((name for (name, _), is_wrong in found if is_wrong), None)


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of an export, read anew each time that they are iterated over; only a few are in memory.

    Attributes:
        files: The file system.
        output: The export's folder.
        shards: Names of the shards.
        settings: SHA-256 of the export's settings.
    """

    files: Files
    output: str
    shards: Sequence[str]
    settings: str

    def __iter__(self) -> Iterator[ShardRecord]:
        """Yields the records in the order of the shards; those that are missing are left out."""
        with concurrent.futures.ThreadPoolExecutor(READS_AT_ONCE) as pool:
            # Few at a time: the pool would read on, whatever waits to be taken.
            for start in range(0, len(self.shards), READS_AT_ONCE):
                for record in pool.map(self._read, self.shards[start : start + READS_AT_ONCE]):
                    if record is not None:
                        yield record

    def _read(self, shard: str) -> ShardRecord | None:
        return read_record(self.files, self.output, shard, self.settings)
