"""Reads a dataset's files for the audit: what cannot be read is a difference like any other."""

from beam_pipeline.audit.findings import Findings
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.runtime.faults import Fault


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
        if fault.reason != "not_found":
            findings.differ("unreadable", name, fault.detail)
        elif missing is not None:
            findings.differ(missing, name, "is not there")
    return None


def list_files(folder: DatasetFolder, pattern: str, findings: Findings) -> list[str]:
    """Returns the files that match, relative to the dataset's folder; that it cannot be listed is a difference."""
    try:
        return folder.names(pattern)
    except Fault as fault:
        findings.differ("unreadable", pattern, fault.detail)
        return []
