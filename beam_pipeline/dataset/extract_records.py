"""The counts of what was left out of each extract, kept in the dataset's folder for `dataset.json`.

It is said of the whole file, so it is the same whichever cells a run still has to do.
"""

from typing import Annotated

import pydantic
from pydantic import Field

from beam_pipeline.dataset.folder import EXTRACTS_FOLDER, DatasetFolder, description_json
from beam_pipeline.labels.feature import MOST_NAMED, Dropped
from beam_pipeline.runtime.parsing import MalformedError, parse_json

_Counts = dict[str, Annotated[int, Field(strict=True, ge=0)]]
_Names = Annotated[tuple[str, ...], Field(max_length=MOST_NAMED)]


class _Record(pydantic.BaseModel):
    """The record of an extract of which something was left out; the attributes are those of `Dropped`."""

    model_config = pydantic.ConfigDict(extra="forbid")

    counts: _Counts
    named: dict[str, _Names]


# Before elements were named, a record held the counts alone. It still does where nothing was left out.
_ADAPTER: pydantic.TypeAdapter[_Record | _Counts] = pydantic.TypeAdapter(_Record | _Counts)


def record_extract(folder: DatasetFolder, path: str, dropped: Dropped) -> None:
    """Keeps what was left out of an extract.

    Args:
        folder: The dataset's folder.
        path: The extract.
        dropped: What was left out of it.
    """
    folder.write_text(_record(path), format_dropped(dropped))


def recorded_extract(folder: DatasetFolder, path: str) -> Dropped | None:
    """Returns what `record_extract` kept of an extract; None where it did not, or what is there is damaged."""
    if not folder.exists(_record(path)):
        return None
    try:
        return parse_dropped(folder.read_bytes(_record(path)))
    except MalformedError:
        return None


def format_dropped(dropped: Dropped) -> str:
    """Returns the text of a record."""
    if not dropped.named:
        return description_json(dropped.counts)
    return description_json({"counts": dropped.counts, "named": dropped.named})


def parse_dropped(text: bytes) -> Dropped:
    """Is the inverse of `format_dropped`.

    Raises:
        MalformedError: It is no such text.
    """
    record = parse_json(_ADAPTER, text)
    return Dropped(record.counts, record.named) if isinstance(record, _Record) else Dropped(record)


def _record(path: str) -> str:
    return f"{EXTRACTS_FOLDER}/{path.rpartition('/')[2]}.json"
