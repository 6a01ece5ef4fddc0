import errno
import io
import os
import pickle
import tempfile
import types
from pathlib import Path

import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem

from beam_pipeline.jobs import storage
from beam_pipeline.jobs.storage import HEADER_BYTES, BeamFiles, header_copy, local_copy
from beam_pipeline.runtime import disk, storage_faults
from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryPolicy
from tests.failing_disk import no_file_above


class CloudError(Exception):
    """As google.api_core's: the HTTP status is in `code`."""

    def __init__(self, code):
        super().__init__(f"HTTP {code}")
        self.code = code


class ObjectStore(FileSystem):
    """An object store in memory, known to Beam by its scheme: no folders, and a rename is copy and delete."""

    objects: dict[str, bytes] = {}  # noqa: RUF012
    down = False

    @classmethod
    def scheme(cls):
        return "objects"

    def join(self, basepath, *paths):
        return "/".join([basepath, *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        raise AssertionError("an object store has no folders")

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path, content in self.objects.items():
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(content))

    def create(self, path, mime_type="", compression_type=""):
        objects = self.objects

        class Upload(io.BytesIO):
            def close(self):
                objects[path] = self.getvalue()
                super().close()

        return Upload()

    def open(self, path, mime_type="", compression_type=""):
        if self.down:
            raise CloudError(503)
        if path not in self.objects:
            raise CloudError(404)
        return io.BytesIO(self.objects[path])

    def copy(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def rename(self, source_file_names, destination_file_names):
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            self.objects[target] = self.objects.pop(source)

    def exists(self, path):
        return path in self.objects

    def size(self, path):
        return len(self.objects[path])

    def last_updated(self, path):
        raise NotImplementedError

    def checksum(self, path):
        raise NotImplementedError

    def metadata(self, path):
        return FileMetadata(path, len(self.objects[path]))

    def delete(self, paths):
        for path in paths:
            if path not in self.objects:
                raise BeamIOError("Delete operation failed", {path: "missing"})
            del self.objects[path]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(storage_faults, "RETRIES", RetryPolicy(3, 0.001, 0.001))


@pytest.fixture(params=["local", "objects"])
def root(request, tmp_path, monkeypatch):
    monkeypatch.setattr(ObjectStore, "objects", {})
    monkeypatch.setattr(ObjectStore, "down", False)
    return str(tmp_path / "out") if request.param == "local" else "objects://bucket/out"


def test_write_read_and_exists(root):
    files = BeamFiles()
    path = f"{root}/a/b/c.bin"
    assert not files.exists(path)
    files.write_bytes(path, [b"one", b"", b"two"])
    assert files.exists(path)
    assert files.read_bytes(path) == b"onetwo"
    files.write_bytes(path, [])
    assert files.read_bytes(path) == b""


def test_bytes_stay_as_they_are_whatever_the_name(root):
    # By default Beam inflates and deflates by the ending of the name.
    files = BeamFiles()
    files.write_bytes(f"{root}/x.gz", [b"plain"])
    assert files.read_bytes(f"{root}/x.gz") == b"plain"


def test_text_is_utf_8_and_leaves_nothing_aside(root):
    files = BeamFiles()
    files.write_text(f"{root}/notes/x.txt", "© Überlingen\n")
    files.write_text(f"{root}/notes/x.txt", "© Zürich\n")
    assert files.read_bytes(f"{root}/notes/x.txt") == "© Zürich\n".encode()
    assert files.read_text(f"{root}/notes/x.txt") == "© Zürich\n"
    assert files.glob(root, "notes/*") == [f"{root}/notes/x.txt"]


def test_a_failed_write_of_text_leaves_the_old_one(root, monkeypatch):
    files = BeamFiles()
    files.write_text(f"{root}/x", "old")

    def failing(*_):
        raise TransientFault("storage", "")

    monkeypatch.setattr(BeamFiles, "rename", failing)
    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(TransientFault):
        files.write_text(f"{root}/x", "new")
    assert files.read_text(f"{root}/x") == "old"
    assert files.glob(root, "*") == [f"{root}/x"]


def test_rename_replaces(root):
    files = BeamFiles()
    files.write_text(f"{root}/tmp/a", "new")
    files.write_text(f"{root}/b", "old")
    files.rename(f"{root}/tmp/a", f"{root}/b")
    assert files.read_text(f"{root}/b") == "new"
    assert not files.exists(f"{root}/tmp/a")
    files.rename(f"{root}/b", f"{root}/deep/er/c")
    assert files.read_text(f"{root}/deep/er/c") == "new"


def test_glob_is_sorted_and_stops_at_slashes(root):
    files = BeamFiles()
    assert files.glob(root, "*") == []
    for name in ("b", "a", "sub/c"):
        files.write_text(f"{root}/{name}", name)
    assert files.glob(root, "*") == [f"{root}/a", f"{root}/b"]
    assert files.glob(root, "?") == [f"{root}/a", f"{root}/b"]


def test_delete(root):
    files = BeamFiles()
    for name in ("tmp/a", "tmp/deep/b", "tmpfile", "keep"):
        files.write_text(f"{root}/{name}", name)
    files.delete(f"{root}/tmp")
    files.delete(f"{root}/tmp")
    files.delete(f"{root}/tmpfile")
    assert files.glob(root, "*") == [f"{root}/keep"]
    assert not files.exists(f"{root}/tmp/deep/b")


def test_what_is_missing_is_a_permanent_fault(root):
    with pytest.raises(PermanentFault, match=f"not_found: cannot read {root}/x"):
        BeamFiles().read_bytes(f"{root}/x")


def test_a_copy_of_what_is_missing_is_a_permanent_fault(monkeypatch):
    monkeypatch.setattr(ObjectStore, "objects", {})
    with pytest.raises(PermanentFault, match="not_found"), local_copy("objects://bucket/x"):
        pass


def test_an_outage_is_a_transient_fault(monkeypatch):
    monkeypatch.setattr(ObjectStore, "down", True)
    with pytest.raises(TransientFault, match=r"storage: cannot read .* HTTP 503"):
        BeamFiles().read_bytes("objects://bucket/x")


def test_a_folder_in_the_way_is_a_fault(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    with pytest.raises(PermanentFault, match="storage"):
        BeamFiles().write_bytes(str(tmp_path / "x"), [b""])


def test_faults_of_whoever_makes_the_chunks_pass(root):
    def chunks():
        yield b"x"
        raise PermanentFault("corrupt_png", "y")

    with pytest.raises(PermanentFault, match="corrupt_png: y"):
        BeamFiles().write_bytes(f"{root}/x", chunks())


def test_bugs_pass_as_they_are(root):
    with pytest.raises(ZeroDivisionError):
        BeamFiles().write_bytes(f"{root}/x", (1 // zero for zero in [0]))


def test_copies_of_local_files_are_the_files(tmp_path):
    path = tmp_path / "x.osm.pbf"
    path.write_bytes(b"x")
    for copy in (local_copy, header_copy):
        with copy(str(path)) as local:
            assert local == str(path)
        assert path.exists()


def test_copies_of_remote_files(monkeypatch):
    content = bytes(range(256)) * (3 * HEADER_BYTES // 256)
    monkeypatch.setattr(ObjectStore, "objects", {"objects://bucket/a/x.osm.pbf": content})
    with local_copy("objects://bucket/a/x.osm.pbf") as local:
        assert os.path.basename(local) == "x.osm.pbf"
        with open(local, "rb") as file:
            assert file.read() == content
    assert not os.path.exists(local)
    with header_copy("objects://bucket/a/x.osm.pbf") as local, open(local, "rb") as file:
        assert os.path.basename(local) == "x.osm.pbf"
        head = file.read()
    assert len(head) == len(content)
    assert head[:HEADER_BYTES] == content[:HEADER_BYTES]
    assert not any(head[HEADER_BYTES:])


def test_files_that_go_with_a_remote_one_are_copied_beside_it(monkeypatch):
    sea = {
        f"objects://bucket/a.b/sea{ending}": ending.encode() for ending in (".shp", ".shx", ".prj", ".dbf")
    }
    monkeypatch.setattr(ObjectStore, "objects", sea)
    with local_copy("objects://bucket/a.b/sea.shp", (".shx", ".prj")) as local:
        folder = Path(local).parent
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            **{"sea.shp": b".shp", "sea.shx": b".shx", "sea.prj": b".prj"},
        }
    assert not folder.exists()
    with (
        pytest.raises(PermanentFault, match=r"sea\.shy"),
        local_copy("objects://bucket/a.b/sea.shp", [".shy"]),
    ):
        pass


def test_it_pickles():
    assert isinstance(pickle.loads(pickle.dumps(BeamFiles())), BeamFiles)


def test_a_client_error_without_a_status_may_pass(monkeypatch):
    from google.api_core.exceptions import RetryError

    def out_of_time(*_args, **_kwargs):
        raise RetryError("deadline exceeded", None)

    monkeypatch.setattr(storage.FileSystems, "exists", out_of_time)
    with pytest.raises(TransientFault, match="deadline exceeded"):
        BeamFiles().exists("gs://bucket/x")


def failing(monkeypatch, name, error, times=2):
    """Makes that method of Beam's file systems fail a few times; returns the calls."""
    original = getattr(storage.FileSystems, name)
    calls = []

    def call(*args, **kwargs):
        calls.append(args)
        if len(calls) <= times:
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(storage.FileSystems, name, call)
    if name in OF_A_DISK:  # Beam is not asked: names are no patterns, and links are not followed
        on_disk = getattr(disk, OF_A_DISK[name])

        def call_on_disk(*args, **how):
            calls.append(args)
            if len(calls) <= times:
                raise error
            return on_disk(*args, **how)

        monkeypatch.setattr(disk, OF_A_DISK[name], call_on_disk)
    return calls


OF_A_DISK = {
    "exists": "path_exists",
    "match": "matching_files",
    "delete": "delete_path",
    "open": "read_regular",
    "create": "write_whole",
    "rename": "write_whole",  # of a text, which is written aside
}

OPERATIONS = {
    "exists": ("exists", lambda files, root: files.exists(f"{root}/x") is True),
    "read_bytes": ("open", lambda files, root: files.read_bytes(f"{root}/x") == b"old"),
    "glob": ("match", lambda files, root: files.glob(root, "*") == [f"{root}/x"]),
    "write_text, opening": ("create", lambda files, root: files.write_text(f"{root}/y", "new") is None),
    "write_text, renaming": ("rename", lambda files, root: files.write_text(f"{root}/y", "new") is None),
    "delete": ("delete", lambda files, root: files.delete(f"{root}/x") is None),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.ESTALE, "Stale file handle"),
        BeamIOError("failed", {"x": OSError(OSError(errno.EIO, "wrapped by Beam"))}),
        BeamIOError("failed", {("x", "y"): 503}),  # of a rename or a deletion on gs://
        CloudError(503),
    ],
    ids=str,
)
def test_a_hiccup_of_the_storage_is_tried_again(root, monkeypatch, operation, error):
    name, done = OPERATIONS[operation]
    files = BeamFiles()
    files.write_text(f"{root}/x", "old")
    calls = failing(monkeypatch, name, error)
    assert done(files, root)
    assert len(calls) == 3
    assert not any(path.endswith(".part") for path in files.glob(root, "*"))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
        BeamIOError("failed", {"x": OSError(OSError(errno.ENOSPC, "wrapped by Beam"))}),
        BeamIOError("failed", {("x", "y"): 403}),
        CloudError(403),
    ],
    ids=str,
)
def test_a_full_disk_or_a_missing_permission_is_not_tried_again(root, monkeypatch, operation, error):
    name, done = OPERATIONS[operation]
    files = BeamFiles()
    files.write_text(f"{root}/x", "old")
    with monkeypatch.context() as patch:
        calls = failing(patch, name, error)
        with pytest.raises(PermanentFault, match="storage: cannot"):
            done(files, root)
    assert len(calls) == 1
    assert not any(path.endswith(".part") for path in files.glob(root, "*"))


def test_the_tries_are_few(root, monkeypatch):
    calls = failing(monkeypatch, "exists", OSError(errno.EIO, "dead disk"), times=99)
    with pytest.raises(TransientFault, match="dead disk"):
        BeamFiles().exists(f"{root}/x")
    assert len(calls) == 3


def test_a_download_that_breaks_off_is_begun_anew(monkeypatch):
    monkeypatch.setattr(ObjectStore, "objects", {"objects://bucket/x": bytes(1000)})
    failing(monkeypatch, "match", CloudError(503), times=1)
    with local_copy("objects://bucket/x") as local:
        assert os.path.getsize(local) == 1000


def test_looking_for_the_size_is_tried_again(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"old")
    sizes = iter([OSError(errno.EIO, "Input/output error"), 3])

    def getsize(path):
        size = next(sizes)
        if isinstance(size, OSError):
            raise size
        return size

    monkeypatch.setattr(disk.os.path, "getsize", getsize)
    assert BeamFiles().size(str(tmp_path / "x")) == 3


def refused_by_google():
    inner = CloudError(403)
    inner.args = ("403 GET https://storage/b: worker@p.iam does not have storage.objects.list access.",)
    return BeamIOError("Match failed", {"gs://b/*": BeamIOError("List failed", {"gs://b/": inner})})


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_missing_permission_is_one_sentence_with_the_rights_that_are_needed(monkeypatch, operation):
    _, done = OPERATIONS[operation]

    def refuses(*_args, **_more):
        raise refused_by_google()

    for name in ("match", "exists", "open", "create", "rename", "delete"):
        monkeypatch.setattr(storage.FileSystems, name, refuses)
    for root, rights in (
        ("gs://b", "roles/storage.objectAdmin"),
        ("s3://b", "s3:ListBucket of the bucket, and"),
    ):
        with pytest.raises(PermanentFault) as caught:
            done(BeamFiles(), root)
        said = caught.value.detail
        assert "storage.objects.list access. The account that asks needs " + rights in said
        assert "BeamIOError" not in said
        assert said.count("403") == 1


def test_the_words_of_s3_are_told_without_their_wrapping(monkeypatch):
    def refuses(*_args):
        # Source: apache_beam/io/aws/clients/s3/messages.py
        error = CloudError(403)
        error.args = ("Access Denied", 403)
        raise BeamIOError("List failed", {"s3://b/": error})

    monkeypatch.setattr(storage.FileSystems, "match", refuses)
    with pytest.raises(
        PermanentFault, match=r"storage: cannot list s3://b: Access Denied 403\. The account that asks"
    ):
        BeamFiles().glob("s3://b", "*")


def test_an_upload_that_google_refuses_is_not_tried_again(monkeypatch):
    calls = []

    def refuses(*_args, **_more):
        calls.append(1)
        # Source: google/cloud/storage/exceptions.py, InvalidResponse
        error = CloudError(None)
        error.response = types.SimpleNamespace(status_code=403)
        error.args = ("Request failed with status code", 403, "Expected one of", 200)
        raise error

    monkeypatch.setattr(storage.FileSystems, "create", refuses)
    with pytest.raises(PermanentFault, match=r"status code 403\. The account that asks needs roles/storage"):
        BeamFiles().write_bytes("gs://b/x", [b"content"])
    assert len(calls) == 1


def test_a_copy_that_finds_no_room_says_what_to_give(monkeypatch):
    monkeypatch.setattr(ObjectStore, "objects", {"objects://bucket/x": bytes(100_000)})
    calls = failing(monkeypatch, "open", None, times=0)
    said = r"no copy of objects://bucket/x can be kept .* \(--disk_size_gb on Dataflow\).* TMPDIR"
    with no_file_above(50_000), pytest.raises(PermanentFault, match=said), local_copy("objects://bucket/x"):
        raise AssertionError("there is no such copy")
    assert len(calls) == 1  # it is not tried again
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(PermanentFault, match=said), local_copy("objects://bucket/x"):
        raise AssertionError("there is no such copy")
