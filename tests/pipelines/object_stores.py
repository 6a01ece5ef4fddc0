"""The checks that every object store has to pass: of files, and of a catalogue in STAC GeoParquet."""

import contextlib
import dataclasses
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline.build_dataset import main
from beam_pipeline.dataset.commits import commit_unit, committed_summary
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.imagery.catalog import check_catalog, find_scenes
from beam_pipeline.jobs.storage import HEADER_BYTES, BeamFiles, header_copy, local_copy
from beam_pipeline.records.shards import summary_path
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.files import delete_leftovers
from beam_pipeline.runtime.storage_faults import with_retries
from tests.dataset.test_commits import NAME, SUMMARY
from tests.imagery.stac_parquet import catalogue, made, write_items, year_of


def check_files(folder: str) -> None:
    """Writes, renames, lists and deletes below an empty folder as the records do."""
    files = BeamFiles()
    assert not files.exists(f"{folder}/a")
    assert files.size(f"{folder}/a") is None
    with pytest.raises(PermanentFault, match="not_found"):
        files.read_bytes(f"{folder}/a")
    with pytest.raises(TransientFault, match=r"storage: .*/a is gone"):
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
        assert file.read(HEADER_BYTES) == b"x" * HEADER_BYTES
        assert not any(file.read())
    files.write_text(f"{folder}/a", "anew")
    assert files.read_text(f"{folder}/a") == "anew"
    files.write_bytes(f"{folder}/tmp/b", [b"left over"])
    files.delete(f"{folder}/tmp")
    files.delete(f"{folder}/tmp")
    assert files.glob(folder, "*") == [f"{folder}/{name}" for name in ("a", "empty", "none")]
    assert files.glob(folder, "*/*") == []
    _check_two_runs(f"{folder}/two")


def _check_two_runs(folder: str) -> None:
    """Writes a text and a unit, and has another run end, which deletes what lies aside, before each rename."""

    class Disturbed(BeamFiles):
        def __init__(self, before: int) -> None:
            self.before, self.renames = before, 0

        def rename(self, source: str, target: str) -> None:
            if self.renames == self.before:
                delete_leftovers(BeamFiles(), folder)
                assert not self.exists(source)
            self.renames += 1
            super().rename(source, target)

    for before in range(3):
        files = Disturbed(before)
        at = DatasetFolder(files, folder)
        at.write_text("run.json", f"{before}")
        with_retries(lambda: commit_unit(at, NAME, [b"one"], SUMMARY))  # noqa: B023
        assert files.renames > 3
        assert at.read_text("run.json") == f"{before}"
        assert committed_summary(at, NAME, "ab") is not None
        assert at.names("*/*") == [summary_path("", NAME).lstrip("/")]
        for name in (NAME, "run.json", "summaries"):
            files.delete(at.at(name))


def check_catalogue(folder: str, local: Path) -> None:
    """Searches items in a folder of the store as on a disk, whose catalogue is of the same identity."""
    files = BeamFiles()
    items = {
        "a": [*year_of("33TWM", 30), *year_of("33TWN", 20)],
        "b": [made("33TWN", "2020-12-31T10:00:00Z")],
    }
    for name, some in items.items():
        content = Path(write_items(local / f"{name}.parquet", some, rows=10)).read_bytes()
        files.write_bytes(f"{folder}/{name}.parquet", [content])
    settings, on_disk = catalogue(f"{folder}/*.parquet"), catalogue(str(local / "*.parquet"))
    info = check_catalog(settings)
    assert info == check_catalog(on_disk)
    settings = dataclasses.replace(settings, footers=info.footers)
    for tile, count in (("33TWM", 30), ("33TWN", 21), ("33TWL", 0)):
        found = find_scenes(settings, tile, 2020, 0)
        assert found == find_scenes(on_disk, tile, 2020, 0)
        assert found.found == count
    with pytest.raises(InvalidInputError, match="there is no such file"):
        check_catalog(catalogue(f"{folder}/none.parquet"))
    # Others put another file there while it is open.
    files.write_bytes(f"{folder}/b.parquet", [b"PAR1" * 1000])
    with pytest.raises(PermanentFault, match=r"changed: .* is not as it was at launch"):
        find_scenes(settings, "33TWN", 2020, 0)


@contextlib.contextmanager
def refusing_store(content: bytes, kind: str) -> Iterator[str]:
    """Serves a store that refuses all, with that body, to whoever asks.

    Yields:
        Its URL.
    """

    class Refusing(http.server.BaseHTTPRequestHandler):
        def refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b"" if self.command == "HEAD" else content
            self.send_response(403)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = refuse

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def check_refusal(root: str, cause: str, rights: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Looks at what a missing permission is told as: to list, to read, to write; and at what a launch says of it."""
    files = BeamFiles()
    for said, does in (
        (cause, lambda: files.glob(root, "*")),
        (cause, lambda: files.read_bytes(f"{root}/x")),
        ("403", lambda: files.write_text(f"{root}/x", "text")),
    ):
        with pytest.raises(PermanentFault) as caught:
            does()
        assert caught.value.reason == "storage"
        assert said in caught.value.detail
        assert caught.value.detail.endswith(f". The account that asks needs {rights}")
    named = ["--output", "out", "--area", "6,49.6,6.1,49.7", "--osm", f"{root}/*.osm.pbf"]
    assert main(named) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: --osm cannot be read: storage: cannot list {root}/*.osm.pbf: ")
    assert cause in line
    assert line.endswith(f"The account that asks needs {rights}. Received: {root}/*.osm.pbf")
