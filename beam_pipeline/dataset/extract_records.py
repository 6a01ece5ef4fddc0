"""What was left out of each extract on reading it, kept in the dataset's folder for `dataset.json`.

It is said of the whole file, so it is the same whichever cells a run still has to do.
"""

from collections.abc import Mapping
from typing import Annotated

import pydantic
from pydantic import Field

from beam_pipeline.dataset.folder import EXTRACTS_FOLDER, DatasetFolder, description_json
from beam_pipeline.runtime.parsing import MalformedError, parse_json

Dropped = Mapping[str, int]
"""What was left out, by reason."""

_ADAPTER: pydantic.TypeAdapter[dict[str, int]] = pydantic.TypeAdapter(
    dict[str, Annotated[int, Field(strict=True, ge=0)]]
)


def record_extract(folder: DatasetFolder, path: str, dropped: Dropped) -> None:
    """Keeps what was left out of an extract.

    Args:
        folder: The dataset's folder.
        path: The extract.
        dropped: What was left out of it, by reason.
    """
    folder.write_text(_record(path), description_json(dropped))


def recorded_extract(folder: DatasetFolder, path: str) -> Dropped | None:
    """Returns what `record_extract` kept of an extract; None where it did not, or what is there is damaged."""
    if not folder.exists(_record(path)):
        return None
    try:
        return parse_dropped(folder.read_bytes(_record(path)))
    except MalformedError:
        return None


def parse_dropped(text: bytes) -> Dropped:
    """Reads the text of a record.

    Raises:
        MalformedError: It is none.
    """
    return parse_json(_ADAPTER, text)


def _record(path: str) -> str:
    return f"{EXTRACTS_FOLDER}/{path.rpartition('/')[2]}.json"
