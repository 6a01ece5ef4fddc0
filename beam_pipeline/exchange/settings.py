"""The settings of an export, and the file that binds its folder to them."""

import dataclasses
import hashlib
import json
from typing import Any

import pydantic

from beam_pipeline.cells.cell import Split
from beam_pipeline.dataset.folder import DatasetFolder, plan_json
from beam_pipeline.exchange.format import Format
from beam_pipeline.exchange.record import EXPORT_FOLDER
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json

SETTINGS_FILE = f"{EXPORT_FOLDER}/settings.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """The settings of an export; small and picklable, so that every DoFn can hold them.

    Attributes:
        dataset: The dataset's folder.
        output: The export's folder.
        format: The format, with its own settings.
        splits: Those that are exported.
        source_fingerprint: `SourceDataset.fingerprint`.
    """

    dataset: str
    output: str
    format: Format
    splits: tuple[Split, ...]
    source_fingerprint: str

    @property
    def content(self) -> dict[str, Any]:
        """All that decides what is written, as plain JSON values."""
        return {
            "dataset": self.source_fingerprint,
            "format": self.format.name,
            "format_version": self.format.version,
            "splits": list(self.splits),
            **{f"format.{name}": value for name, value in self.format.settings.items()},
        }

    @property
    def sha256(self) -> str:
        """SHA-256 in hexadecimal, by which each record names the settings that it is of."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()


_CONTENT = pydantic.TypeAdapter(dict[str, Any])


def bind_output(folder: DatasetFolder, settings: ExportSettings) -> None:
    """Writes the settings into the export's folder, or checks that it holds the same.

    Args:
        folder: The export's folder; it may be missing.
        settings: Of this run.

    Raises:
        InvalidInputError: As `check_output`.
        Fault: The storage failed.
    """
    check_output(folder, settings)
    text = plan_json(settings.content)
    if not folder.exists(SETTINGS_FILE) or folder.read_bytes(SETTINGS_FILE) != text.encode():
        folder.write_text(SETTINGS_FILE, text)


def check_output(folder: DatasetFolder, settings: ExportSettings) -> None:
    """Refuses a folder that holds another export.

    Args:
        folder: The export's folder; it may be missing.
        settings: Of this run.

    Raises:
        InvalidInputError: It does; the message names every difference.
        Fault: The storage failed.
    """
    if not folder.exists(SETTINGS_FILE):
        return
    try:
        there = parse_json(_CONTENT, folder.read_bytes(SETTINGS_FILE))
    except MalformedError as error:
        raise InvalidInputError(
            f"--output holds a damaged {folder.at(SETTINGS_FILE)}: {error}. Give another folder. "
            f"Received: {folder.path}"
        ) from error
    now = json.loads(json.dumps(settings.content))
    differences = [
        f"  {name}: {there.get(name)!r} there, {now.get(name)!r} now"
        for name in sorted({*there, *now})
        if there.get(name) != now.get(name)
    ]
    if differences:
        raise InvalidInputError(
            f"{folder.path} holds another export; one goes on only with the settings it began with:",
            *differences,
            "Choose another --output, or give the settings that it began with.",
        )
