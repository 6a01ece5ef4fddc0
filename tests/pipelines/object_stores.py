"""The one check of files that every object store has to pass, and a bucket of Google to look at."""

import contextlib
import functools
import http.server
import logging
import threading
from collections.abc import Iterator

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


@contextlib.contextmanager
def serving_bucket(name: str) -> Iterator[dict[str, str]]:
    """Serves an empty bucket: gcp-storage-emulator stands in for the store.

    Yields:
        What leads Google's clients to it, also those of other processes, as environment variables.
    """
    from gcp_storage_emulator.handlers.buckets import create_bucket
    from gcp_storage_emulator.server import RequestHandler
    from gcp_storage_emulator.storage import Storage

    storage = Storage(use_memory_fs=True)
    create_bucket(name, storage)
    server = http.server.HTTPServer(("127.0.0.1", 0), functools.partial(RequestHandler, storage))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    loggers = [logging.getLogger(f"gcp_storage_emulator{part}") for part in ("", ".server")]
    for logger in loggers:
        logger.disabled = True  # it warns at each answer that is a string
    try:
        yield {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{server.server_port}",
            "NO_PROXY": "127.0.0.1",
        }
    finally:
        for logger in loggers:
            logger.disabled = False
        server.shutdown()
        server.server_close()
        thread.join()
