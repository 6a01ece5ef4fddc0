"""The one check of files that every object store has to pass."""

import pytest

from beam_pipeline.jobs.storage import BeamFiles, header_copy, local_copy
from beam_pipeline.runtime.faults import PermanentFault


def check_files(folder: str) -> None:
    """Writes, renames, lists and deletes below an empty folder as the records do."""
    files = BeamFiles()
    assert not files.exists(f"{folder}/a")
    assert files.size(f"{folder}/a") is None
    with pytest.raises(PermanentFault, match="not_found"):
        files.read_bytes(f"{folder}/a")
    with pytest.raises(PermanentFault, match="not_found"):
        files.rename(f"{folder}/a", f"{folder}/b")
    files.write_bytes(f"{folder}/empty", [])
    files.write_bytes(f"{folder}/none", [b"", b""])
    files.write_bytes(f"{folder}/tmp/a", [b"", b"x" * (6 << 20), b"y"])
    assert files.read_bytes(f"{folder}/empty") == files.read_bytes(f"{folder}/none") == b""
    files.rename(f"{folder}/tmp/a", f"{folder}/a")
    assert not files.exists(f"{folder}/tmp/a")
    assert files.size(f"{folder}/a") == (6 << 20) + 1
    with local_copy(f"{folder}/a") as copy, open(copy, "rb") as file:
        assert file.read() == b"x" * (6 << 20) + b"y"
    with header_copy(f"{folder}/a") as copy, open(copy, "rb") as file:
        assert file.read(1 << 20) == b"x" * (1 << 20)
        assert not any(file.read())
    files.write_text(f"{folder}/a", "anew")
    assert files.read_text(f"{folder}/a") == "anew"
    files.write_bytes(f"{folder}/tmp/b", [b"left over"])
    files.delete(f"{folder}/tmp")
    files.delete(f"{folder}/tmp")
    assert files.glob(folder, "*") == [f"{folder}/{name}" for name in ("a", "empty", "none")]
    assert files.glob(folder, "*/*") == []
