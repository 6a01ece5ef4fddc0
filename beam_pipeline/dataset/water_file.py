"""The sea of a dataset's cells, cut once of a file of water polygons and kept in the dataset's folder."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated

import pydantic
from pydantic import Field

from beam_pipeline.dataset.fingerprint import Fingerprint, WaterPolygons
from beam_pipeline.dataset.folder import FINGERPRINT_FILE, WATER_FILE, DatasetFolder
from beam_pipeline.runtime.parsing import MalformedError, parse_json


class _Line(pydantic.BaseModel):
    """A line of the file: a cell, and WKB in base64."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid")

    cell_id: Annotated[int, Field(ge=0)]
    sea: pydantic.Base64Bytes


_LINE = pydantic.TypeAdapter(_Line)


def water_text(sea: Mapping[int, bytes]) -> str:
    """Returns the text of `plan/water_polygons.jsonl`, a line a cell.

    Args:
        sea: Cell id -> WKB, as `labels.water_polygons.sea_of_cells` gives it.
    """
    return "".join(
        f'{{"cell_id": {cell_id}, "sea": "{base64.b64encode(wkb).decode()}"}}\n'
        for cell_id, wkb in sorted(sea.items())
    )


def parse_water(text: str) -> Iterator[tuple[int, bytes]]:
    """Reads what `water_text` wrote: (cell id, WKB) of each line.

    Raises:
        MalformedError: A line is none of it.
    """
    for line in text.splitlines():
        parsed = parse_json(_LINE, line)
        yield parsed.cell_id, parsed.sea


def describe_water(name: str, size: int, text: str) -> WaterPolygons:
    """Returns what the fingerprint holds of water polygons.

    Args:
        name: Of the file that was given.
        size: Its bytes.
        text: From `water_text`.
    """
    return WaterPolygons(name=name, bytes=size, sha256=hashlib.sha256(text.encode()).hexdigest())


def kept_water(
    folder: DatasetFolder, name: str, size: int, cells_sha256: str, ontology_sha256: str
) -> str | None:
    """Returns the text that an earlier launch kept of the same file for the same cells.

    Args:
        folder: The dataset's folder.
        name: Of the file that is given now.
        size: Its bytes.
        cells_sha256: As in the fingerprint.
        ontology_sha256: As in the fingerprint; it says how far outside of the cells there must be sea.

    Returns:
        The text; None where there is none, or it is not what was written.

    Raises:
        Fault: The storage failed.
    """
    if not folder.exists(FINGERPRINT_FILE) or not folder.exists(WATER_FILE):
        return None
    try:
        planned = Fingerprint.from_json(folder.read_bytes(FINGERPRINT_FILE))
        text = folder.read_bytes(WATER_FILE).decode()
    except (MalformedError, UnicodeDecodeError):
        return None
    same = (planned.cells_sha256, planned.ontology_sha256) == (cells_sha256, ontology_sha256)
    return text if same and planned.water_polygons == describe_water(name, size, text) else None
