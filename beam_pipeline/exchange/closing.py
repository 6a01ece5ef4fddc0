"""The closing step of an export: the files of the whole, licences, and what came of it all."""

import array
import collections
import dataclasses
from collections.abc import Iterator

import numpy as np
import pydantic

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.folder import CITATION_FILE, LICENSES_FILE, description_json
from beam_pipeline.dataset.notices import citation_cff, licences_md
from beam_pipeline.exchange.output import WholeOutput
from beam_pipeline.exchange.record import EXPORT_FOLDER, Records
from beam_pipeline.exchange.settings import ExportSettings
from beam_pipeline.exchange.source import SourceDataset
from beam_pipeline.records.shards import parse_shard_name
from beam_pipeline.runtime.disk import is_local
from beam_pipeline.runtime.files import Files, join
from beam_pipeline.runtime.parsing import parse_json
from beam_pipeline.runtime.storage_faults import with_retries
from beam_pipeline.runtime.whole_files import PARTIAL_SUFFIX

SUMMARY_FILE = f"{EXPORT_FOLDER}/export.json"
"""The file that says how an export ended; written last of all."""

DEAD_LETTERS_FILE = f"{EXPORT_FOLDER}/dead_letters.jsonl"


@dataclasses.dataclass(frozen=True)
class ExportSummary:
    """The outcome of an export.

    Attributes:
        format: The format's name.
        splits: By split: examples of the dataset, cells that were written, and what else the format counts.
        left_out: Number of cells that the format does not take, by reason.
        files: Number of files.
        bytes: Of all files.
        dead_letters: Number of dead letters by reason.
        missing_shards: Names of shards of which there is no record.
        doubled_cells: Ids of cells that lie in two shards: one file has two writers then.
    """

    format: str
    splits: dict[str, dict[str, int]]
    left_out: dict[str, int]
    files: int
    bytes: int
    dead_letters: dict[str, int]
    missing_shards: tuple[str, ...]
    doubled_cells: tuple[int, ...]

    @property
    def complete(self) -> bool:
        """Whether all was exported, and that is not nothing."""
        lost = bool(self.dead_letters or self.missing_shards or self.doubled_cells)
        return not lost and any(counts["cells"] for counts in self.splits.values())


_SUMMARY = pydantic.TypeAdapter(ExportSummary)


def close_export(files: Files, settings: ExportSettings, source: SourceDataset) -> None:
    """Writes the files of the whole; to be called when all shards are done or failed.

    Args:
        files: The file system of the output.
        settings: Of the export.
        source: The dataset.

    Raises:
        Fault: The storage failed.
    """
    records = Records(files, settings.output, [it.name for it in source.shards], settings.sha256)
    if is_local(settings.output):
        _delete_parts(files, settings.output, records)
    whole = with_retries(lambda: _written_whole(files, settings, source, records))
    summary = _summary(settings, source, records, whole)
    text = description_json({**dataclasses.asdict(summary), "complete": summary.complete})
    files.write_text(join(settings.output, SUMMARY_FILE), text)


def _written_whole(
    files: Files, settings: ExportSettings, source: SourceDataset, records: Records
) -> WholeOutput:
    """Writes the files of the whole."""
    whole = WholeOutput(files, settings.output)
    settings.format.finish(source, records, whole)
    whole.write(LICENSES_FILE, licences_md(source.years).encode())
    whole.write(CITATION_FILE, citation_cff(source.years, source.description.schema_version).encode())
    whole.make_lasting()
    letters = (f"{letter.to_json()}\n".encode() for record in records for letter in record.dead_letters)
    files.write_bytes(join(settings.output, DEAD_LETTERS_FILE), letters)
    return whole


def read_summary(files: Files, output: str) -> ExportSummary:
    """Reads what came of an export.

    Raises:
        Fault: The storage failed.
        MalformedError: It is damaged.
    """
    return parse_json(_SUMMARY, files.read_bytes(join(output, SUMMARY_FILE)))


def _summary(
    settings: ExportSettings, source: SourceDataset, records: Records, whole: WholeOutput
) -> ExportSummary:
    splits = {split: collections.Counter[str]() for split in SPLITS if split in source.splits}
    for shard in source.shards:
        splits[shard.split]["examples"] += shard.examples
    left_out, reasons = collections.Counter[str](), collections.Counter[str]()
    num_files, num_bytes = len(whole.sizes), sum(whole.sizes.values())
    cells = array.array("q")  # 8 bytes a cell
    missing = {*records.shards}
    for record in records:
        missing.remove(record.shard)
        counts = splits[parse_shard_name(record.shard)[0]]
        counts.update({"cells": len(record.cells), **record.counts})
        left_out.update(record.left_out)
        num_files += len(record.files)
        num_bytes += sum(size for _, size in record.files)
        reasons.update(letter.reason for letter in record.dead_letters)
        cells.extend(record.cells)
    ids, times = np.unique(np.frombuffer(cells, np.int64), return_counts=True)
    return ExportSummary(
        format=settings.format.name,
        splits={split: {"examples": 0, "cells": 0, **counts} for split, counts in splits.items()},
        left_out=dict(left_out),
        files=num_files,
        bytes=num_bytes,
        dead_letters=dict(reasons),
        missing_shards=tuple(sorted(missing)),
        doubled_cells=tuple(ids[times > 1].tolist()),
    )


def _delete_parts(files: Files, output: str, records: Records) -> None:
    """Deletes what writers that were killed left aside."""
    for folder in _folders(records):
        for path in files.glob(join(output, folder), f"*{PARTIAL_SUFFIX}"):
            files.delete(path)


def _folders(records: Records) -> Iterator[str]:
    for record in records:
        yield from sorted({name.rpartition("/")[0] for name, _ in record.files})
    yield f"{EXPORT_FOLDER}/shards"
