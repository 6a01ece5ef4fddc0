"""Folders that are written, kept apart from what is read."""

import os
from collections.abc import Iterable
from pathlib import Path

from beam_pipeline.runtime.disk import is_local
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import TEMPORARY_FOLDER, join


def require_apart(
    output: str, read: Iterable[tuple[str, str]], flag: str = "--output", *, may_hold: bool = False
) -> None:
    """Refuses to write into a folder that is read, below it, or around anything that is read.

    A folder that is read would change, and what lies in the output is tidied away or taken for a part of it.

    Args:
        output: The folder that is to be written.
        read: Each folder or file that is read: what it is, as a message names it, and its path.
        flag: What names `output`.
        may_hold: Whether what is read may lie in the output, as a store does in its dataset; but where a run tidies.

    Raises:
        InvalidInputError: They overlap, perhaps through a link or under another name.
    """
    found = [(what, path, name_in(output, path)) for what, path in read]
    # The same folder says most: a store lies in its dataset.
    for what, path, below in sorted(found, key=lambda it: it[2] != ""):
        if below == "":
            raise InvalidInputError(
                f"{flag} is the folder of {what}, which stays as it is. Give another one. Received: {output}"
            )
        if below is not None:
            raise InvalidInputError(
                f"{flag} lies in the folder of {what}, which stays as it is. Give one outside of it. "
                f"Received: {output}, in {path}"
            )
        holder = join(output, TEMPORARY_FOLDER) if may_hold else output
        if name_in(path, holder) is not None:
            raise InvalidInputError(
                f"{flag} holds {what} where nothing may lie but what is written. Give another folder. "
                f"Received: {output}, around {path}"
            )


def name_in(path: str, folder: str) -> str | None:
    """Returns what a path is called in a folder, with slashes.

    Args:
        path: A local path, whose links are followed, or a URL; it need not be there.
        folder: The like.

    Returns:
        The name; "" of the folder itself, None of what lies elsewhere.
    """
    inner, outer = _parts(path), _parts(folder)
    return "/".join(inner[len(outer) :]) if inner[: len(outer)] == outer else None


def _parts(path: str) -> tuple[str, ...]:
    path = path.removeprefix("file://")
    # In a bucket there are neither links nor "..".
    return Path(os.path.realpath(path)).parts if is_local(path) else tuple(path.rstrip("/").split("/"))
