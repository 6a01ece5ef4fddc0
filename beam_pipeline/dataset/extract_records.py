"""What was left out of each extract on reading it: said by the store of features, or by the records of older datasets.

It is said of the whole file, so it is the same whichever cells a run still has to do.
"""

from collections.abc import Sequence
from typing import Annotated

import pydantic
from pydantic import Field

from beam_pipeline.dataset.folder import (
    EXTRACTS_FOLDER,
    GIVEN_STORE_FILE,
    STORE_FOLDER,
    DatasetFolder,
    description_json,
)
from beam_pipeline.features.schema import STORE_FILE
from beam_pipeline.features.store_json import Store
from beam_pipeline.labels.feature import MOST_NAMED, Dropped
from beam_pipeline.runtime.parsing import MalformedError, parse_json

STORE_RECORDS = (GIVEN_STORE_FILE, f"{STORE_FOLDER}/{STORE_FILE}")
"""In a dataset's folder: what the store says of itself of which its labels were drawn, the first that is there."""

_Counts = dict[str, Annotated[int, Field(strict=True, ge=0)]]
_Names = Annotated[tuple[str, ...], Field(max_length=MOST_NAMED)]


class _Record(pydantic.BaseModel):
    """The record of an extract of which something was left out; the attributes are those of `Dropped`."""

    model_config = pydantic.ConfigDict(extra="forbid")

    counts: _Counts
    named: dict[str, _Names]


# Before elements were named, a record held the counts alone. It still does where nothing was left out.
_ADAPTER: pydantic.TypeAdapter[_Record | _Counts] = pydantic.TypeAdapter(_Record | _Counts)


def dropped_by_extract(folder: DatasetFolder, names: Sequence[str]) -> dict[str, Dropped] | None:
    """Returns what was left out, by extract; of Overpass' answers under the name of it.

    Args:
        folder: The dataset's folder.
        names: File names of the extracts, of which an older dataset has records.

    Returns:
        That of each extract that was read; None where nothing says so.
    """
    for name in STORE_RECORDS:
        if folder.exists(name):
            try:
                return dropped_of_store(Store.from_json(folder.read_bytes(name)))
            except MalformedError:
                continue
    found = {name: _recorded(folder, name) for name in names}
    return {name: dropped for name, dropped in found.items() if dropped is not None} or None


def dropped_of_store(store: Store) -> dict[str, Dropped]:
    """Returns what was left out of each extract that a store was made of."""
    return {it.extract.name: it.left_out.dropped() for it in store.extracts if it.outcome == "read"}


def _recorded(folder: DatasetFolder, name: str) -> Dropped | None:
    record = f"{EXTRACTS_FOLDER}/{name}.json"
    if not folder.exists(record):
        return None
    try:
        return parse_dropped(folder.read_bytes(record))
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
