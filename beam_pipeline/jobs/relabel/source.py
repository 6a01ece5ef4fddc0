"""The dataset whose images are taken, found and checked before launch."""

import dataclasses
import hashlib

from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.grid import GRID_NAME
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import FINGERPRINT_FILE, UNITS_FILE, DatasetFolder
from beam_pipeline.dataset.units import Unit, parse_units
from beam_pipeline.jobs.given_files import naming
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.description import require_map
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.records.version import require_readable
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.regular_files import put_files_there

_ADVICE = "Give the folder of a dataset that build_dataset wrote"


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset whose plan is sound; whether its shards are is seen when they are read.

    Attributes:
        folder: Its folder.
        fingerprint: Its fingerprint.
        units: Its plan.
        units_text: The text of that.
    """

    folder: DatasetFolder
    fingerprint: Fingerprint
    units: list[Unit]
    units_text: str

    @property
    def cells(self) -> list[Cell]:
        """All its cells."""
        return [cell for unit in self.units for cell in unit.cells]


def find_source(path: str) -> Source:
    """Reads the plan of a dataset.

    Args:
        path: Its folder.

    Returns:
        The dataset.

    Raises:
        InvalidInputError: It is none, cannot be read, its plan is damaged, or another version has made it.
    """
    folder = DatasetFolder(BeamFiles(), path)
    with naming("--dataset", "read", path, _ADVICE):
        missing = [name for name in (UNITS_FILE, FINGERPRINT_FILE) if not folder.exists(name)]
        if missing:
            raise InvalidInputError(
                f"--dataset is no dataset: there is no {folder.at(missing[0])}. {_ADVICE}. Received: {path}"
            )
        for name, kind in folder.irregular().items():
            raise InvalidInputError(f"{folder.at(name)} is {kind}. {put_files_there(kind)}")
        fingerprint = _fingerprint(folder)
        content = folder.read_bytes(UNITS_FILE)
        if hashlib.sha256(content).hexdigest() != fingerprint.cells_sha256:
            raise _damaged(folder, UNITS_FILE, "it is not the plan whose hash is in the fingerprint")
        try:
            units = parse_units(content)
        except MalformedError as error:
            raise _damaged(folder, UNITS_FILE, str(error)) from error
    return Source(folder, fingerprint, units, content.decode())


def _fingerprint(folder: DatasetFolder) -> Fingerprint:
    try:
        fingerprint = Fingerprint.from_json(folder.read_bytes(FINGERPRINT_FILE))
    except MalformedError as error:
        raise _damaged(folder, FINGERPRINT_FILE, str(error)) from error
    require_readable(fingerprint.schema_version, folder.at(FINGERPRINT_FILE))
    if fingerprint.version.is_newer:
        raise InvalidInputError(
            f"--dataset is of version {fingerprint.schema_version} of the data format, and this program writes "
            f"{SCHEMA_VERSION}, which may lack what that has: use a later version of this program. "
            f"Received: {folder.path}"
        )
    require_map(fingerprint.grid, folder.path)
    if fingerprint.grid != GRID_NAME:
        raise InvalidInputError(
            f"--dataset has cells of the grid {fingerprint.grid!r}, and this program knows {GRID_NAME!r} only. "
            f"Received: {folder.path}"
        )
    return fingerprint


def _damaged(folder: DatasetFolder, name: str, what: str) -> InvalidInputError:
    return InvalidInputError(
        f"--dataset has a damaged plan, {folder.at(name)}: {what}. verify tells what else of it is damaged. "
        f"Received: {folder.path}"
    )
