"""Reads a dataset's files for the audit: what cannot be read is a difference like any other."""

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from beam_pipeline.audit.findings import Findings
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.runtime.faults import Fault
from beam_pipeline.runtime.regular_files import put_files_there


def read_file(
    folder: DatasetFolder, name: str, findings: Findings, missing: str | None = "missing"
) -> bytes | None:
    """Reads a file of a dataset.

    Args:
        folder: The dataset's folder.
        name: The file, relative to the folder.
        findings: Where it goes that the file cannot be read: "unreadable".
        missing: The kind of difference where there is no such file; None where it need not be.

    Returns:
        Its content, or None.
    """
    try:
        return folder.read_bytes(name)
    except Fault as fault:
        _note(fault, name, findings, missing)
    return None


@contextlib.contextmanager
def open_file(
    folder: DatasetFolder, name: str, findings: Findings, missing: str | None = "missing"
) -> Iterator[BinaryIO | None]:
    """Opens a file of a dataset, which may be larger than memory; arguments as those of `read_file`.

    Yields:
        The file, or None where it cannot be opened. That it cannot be read further ends the block, and is noted.
    """
    is_open = False
    try:
        with folder.open(name) as file:
            is_open = True
            yield file
    except Fault as fault:
        _note(fault, name, findings, missing)
        if not is_open:
            yield None


def check_regular(folder: DatasetFolder, findings: Findings) -> None:
    """Looks for links, pipes, devices and sockets among a dataset's files, those included that nobody reads."""
    try:
        irregular = folder.irregular()
    except Fault as fault:
        findings.unreadable(".", fault.detail)
        return
    for name, kind in irregular.items():
        findings.unreadable(name, f"is {kind}. {put_files_there(kind)}")


def _note(fault: Fault, name: str, findings: Findings, missing: str | None) -> None:
    if fault.reason != "not_found":
        findings.unreadable(name, fault.detail)
    elif missing is not None:
        findings.differ(missing, name, "is not there")


def list_files(folder: DatasetFolder, pattern: str, findings: Findings) -> list[str]:
    """Returns the files that match, relative to the dataset's folder; that it cannot be listed is a difference."""
    try:
        return folder.names(pattern)
    except Fault as fault:
        findings.unreadable(pattern, fault.detail)
        return []
