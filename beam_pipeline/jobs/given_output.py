"""The folder of --output: looked at before a job is launched, whatever it already holds."""

import os

from beam_pipeline.jobs.given_files import naming
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.folder_kinds import Kind, require_own_kind
from beam_pipeline.runtime.disk import is_local
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import TEMPORARY_FOLDER, is_aside, join

WRITABLE = "Give a folder that can be written, local or gs://"


def require_own_output(output: str, kind: Kind, others: tuple[str, ...] = (), *, tidies: bool = True) -> None:
    """Refuses a folder that another command made, and one in which a stranger's files would be harmed.

    Args:
        output: The folder, local or a URL; it may be missing.
        kind: Of what is to be written.
        others: What is written besides, under fixed names.
        tidies: Whether the job deletes `tmp/` when it ends.

    Raises:
        InvalidInputError: It is such a folder, or cannot be looked into.
    """
    files = BeamFiles()
    with naming("--output", "used", output, WRITABLE):
        if (
            require_own_kind(output, kind, lambda name: files.exists(join(output, name)), others)
            or not tidies
        ):
            return
        strangers = [name for name in _names_aside(files, output) if not is_aside(name)]
    if strangers:
        raise InvalidInputError(
            f"--output holds {join(TEMPORARY_FOLDER, min(strangers))}, and {TEMPORARY_FOLDER}/ is deleted when the job "
            f"ends. Give another --output. Received: {output}"
        )


def _names_aside(files: BeamFiles, output: str) -> list[str]:
    """Returns the names in the folder that is deleted; "" where it is a file."""
    folder = join(output, TEMPORARY_FOLDER)
    if not is_local(folder):
        return [path.rpartition(f"/{TEMPORARY_FOLDER}/")[2] for path in files.glob(folder, "**")]
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        return [""] if os.path.isdir(output) else []
