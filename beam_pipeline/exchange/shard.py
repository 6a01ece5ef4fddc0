"""The export of one shard: its examples in, its files out, its record last."""

from beam_pipeline.dataset.outcomes import DeadLetter, sorted_letters
from beam_pipeline.exchange.output import ShardOutput
from beam_pipeline.exchange.record import ShardRecord, missing_file, read_record, write_record
from beam_pipeline.exchange.settings import ExportSettings
from beam_pipeline.exchange.source import SourceDataset, read_examples
from beam_pipeline.records.description import Shard
from beam_pipeline.runtime.faults import Failure, PermanentFault
from beam_pipeline.runtime.files import Files
from beam_pipeline.runtime.storage_faults import with_retries

STAGE = "export"
"""The stage of dead letters."""


def finished_record(files: Files, settings: ExportSettings, shard: str) -> ShardRecord | None:
    """Returns the record of a shard of which nothing is left to do; None where something is.

    A shard with dead letters is done again: what it was read of may have been mended.

    Args:
        files: The file system.
        settings: Of the export.
        shard: The shard's name.
    """
    record = read_record(files, settings.output, shard, settings.sha256)
    if record is None or record.dead_letters or missing_file(files, settings.output, record):
        return None
    return record


def export_shard(files: Files, settings: ExportSettings, source: SourceDataset, shard: Shard) -> ShardRecord:
    """Writes the files of a shard, looks whether all are there, and writes the record.

    Args:
        files: The file system of the output.
        settings: Of the export.
        source: The dataset.
        shard: One of its shards.

    Returns:
        The record.

    Raises:
        Fault: The shard cannot be read or written.
    """

    def attempt() -> ShardRecord:
        output = ShardOutput(files, settings.output)
        examples = read_examples(source, shard, output.letters)
        content = settings.format.write_shard(source, shard, examples, output)
        output.make_lasting()
        letters = [DeadLetter(shard.name, cell, year, STAGE, *why) for cell, year, *why in output.letters]
        return ShardRecord(
            shard=shard.name,
            settings=settings.sha256,
            cells=tuple(output.cells),
            counts=dict(sorted(output.counts.items())),
            left_out=dict(sorted(output.left_out.items())),
            files=tuple(sorted(output.sizes.items())),
            dead_letters=sorted_letters(letters),
            content=content,
        )

    record = with_retries(attempt)
    if name := missing_file(files, settings.output, record):
        raise PermanentFault("lost_file", f"{name} was written, and is not there or of another size")
    write_record(files, settings.output, record)
    return record


def record_failure(files: Files, settings: ExportSettings, shard: str, failure: Failure) -> None:
    """Writes the record of a shard that failed as a whole.

    Args:
        files: The file system of the output.
        settings: Of the export.
        shard: The shard's name.
        failure: What happened.
    """
    letter = DeadLetter(shard, None, None, STAGE, *failure)
    record = ShardRecord(shard, settings.sha256, (), {}, {}, (), (letter,), None)
    write_record(files, settings.output, record)
