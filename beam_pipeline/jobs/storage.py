"""The file system of a run: Beam's, so that local folders and gs:// are the same to everyone."""

import contextlib
import functools
import itertools
import logging
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems as _FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.runtime.disk import Disk, is_local
from beam_pipeline.runtime.faults import Fault, PermanentFault
from beam_pipeline.runtime.files import join, source_of_rename
from beam_pipeline.runtime.storage_faults import FULL, storage_faults, with_retries
from beam_pipeline.runtime.whole_files import PARTIAL_SUFFIX

FileSystems: Any = _FileSystems  # carries no types

HEADER_BYTES = 1 << 17
"""The part of a remote file that is looked at before launch. An OSM extract's header is far smaller."""

_COPY_BYTES = 1 << 20

_AHEAD_BYTES = 1 << 16
"""Fetched at least from a bucket where ranges of a file are read."""

_DISK = Disk()


class BeamFiles:
    """The `runtime.files.Files` of every scheme that Beam knows, and of this machine. Holds nothing, so it pickles.

    A rename is atomic on a local disk. On an object store it is a copy and a delete: the copy appears whole
    or not at all, which is what the commit of a shard needs.
    """

    def exists(self, path: str) -> bool:
        """Tells whether there is a file."""
        if is_local(path):
            return _DISK.exists(path)

        def look() -> bool:
            with storage_faults("look for", path):
                return bool(FileSystems.exists(path))

        return with_retries(look)

    def size(self, path: str) -> int | None:
        """Returns a file's size in bytes, None where there is none."""
        if is_local(path):
            return _DISK.size(path)

        def look() -> int | None:
            with storage_faults("look for", path):
                return next((int(found.size_in_bytes) for found in match_files(path)), None)

        return with_retries(look)

    def read_bytes(self, path: str) -> bytes:
        """Returns a file's content."""
        if is_local(path):
            return _DISK.read_bytes(path)

        def read() -> bytes:
            with open_bytes(path) as file:
                content: bytes = file.read()
                return content

        return with_retries(read)

    def open(self, path: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Opens a file for reading."""
        return _DISK.open(path) if is_local(path) else open_bytes(path)

    @contextlib.contextmanager
    def open_ranges(self, path: str) -> Iterator[BinaryIO]:
        """Yields a file open for reading, without the 16 MiB that Beam fetches ahead from a bucket."""
        if not path.startswith(("gs://", "s3://")):
            with self.open(path) as file:
                yield file
            return
        with storage_faults("read", path), contextlib.closing(_open_in_bucket(path)) as file:
            yield file

    def irregular(self, folder: str, inner: tuple[str, ...]) -> dict[str, str]:
        """Returns by name what is neither a regular file nor a folder: there is no such thing but on a disk."""
        return _DISK.irregular(folder, inner) if is_local(folder) else {}

    def read_text(self, path: str) -> str:
        """Returns the content of a UTF-8 file."""
        return self.read_bytes(path).decode()

    def write_bytes(self, path: str, chunks: Iterable[bytes], *, lasting: bool = True) -> None:
        """Writes a file of all chunks in turn, over an old one, and makes the folders it needs.

        On a local disk it is written whole or not at all, and never through a link: `whole_files`.

        It is not tried again, because the chunks may come only once: their maker does, with `with_retries`.
        """
        chunks = iter(chunks)
        # Found here, so that what the first chunk takes to make is not taken for a fault of the storage.
        first = next((chunk for chunk in chunks if chunk), b"")
        if is_local(path):
            _DISK.write_bytes(path, itertools.chain([first], chunks), lasting=lasting)
            return
        if not first and path.startswith("s3://"):
            with storage_faults("write", path):
                _write_empty_s3(path)
            return
        with storage_faults("write", path):
            file = FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
            try:
                for chunk in itertools.chain([first], chunks):
                    file.write(chunk)
                file.close()
            except BaseException:
                _give_up(file)
                raise

    def make_lasting(self, path: str) -> None:
        """Waits until the disk holds a file; what lies in a bucket lasts."""
        if is_local(path):
            _DISK.make_lasting(path)

    def write_text(self, path: str, text: str) -> None:
        """Writes a UTF-8 file whole or not at all, over an old one, and makes the folders it needs."""

        def write() -> None:
            if is_local(path):
                self.write_bytes(path, [text.encode()])
                return
            # uuid4 names the file only while it grows; two writers of one path never meet in it.
            aside = f"{path}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}"
            try:
                self.write_bytes(aside, [text.encode()])
                self.rename(aside, path)
            except Exception:
                with contextlib.suppress(Fault):  # what happened first says more
                    self.delete(aside)
                raise

        with_retries(write)

    def rename(self, source: str, target: str) -> None:
        """Moves a file that was written aside, over an old one, and makes the folders it needs.

        It is not tried again: a move that was done though it seemed to fail has no source any more. What is
        begun anew is the writing of the source.
        """
        if is_local(target):
            _DISK.rename(source, target)
            return
        with source_of_rename(source), storage_faults("rename to", target):
            FileSystems.rename([source], [target])

    def glob(self, folder: str, pattern: str) -> list[str]:
        """Returns the paths of the files below a folder that match, sorted; `*` stops at a slash.

        Args:
            folder: A name, not a pattern. In a URL it holds none of Beam's signs: `runners.output_folder`.
            pattern: Relative to it.
        """
        if is_local(folder):
            return _DISK.glob(folder, pattern)

        def look() -> list[str]:
            with storage_faults("list", folder):
                return sorted(found.path for found in match_files(join(folder, pattern)))

        return with_retries(look)

    def delete(self, path: str) -> None:
        """Deletes a file, or a folder and all in it; nothing happens where there is none."""
        if is_local(path):
            _DISK.delete(path)
        else:
            with_retries(lambda: self._delete(path))

    @staticmethod
    def _delete(path: str) -> None:
        with storage_faults("delete", path):
            # An object store has no folders: delete the object, and all whose names begin with path/.
            paths = [found.path for found in match_files(path.rstrip("/") + "/**")]
            if FileSystems.exists(path):
                paths.append(path)
            if paths:
                FileSystems.delete(paths)


def use_options(**given: Any) -> None:
    """Readies Beam's file systems in a process that makes no pipeline, which would have done so.

    Without options s3:// cannot be opened at all; where it lies is then taken from the environment of boto3.

    Args:
        given: Beam's options, as `get_all_options` returns them; by default there are none.
    """
    FileSystems.set_options(PipelineOptions([], **given))
    # It warns with a whole stack trace each time that it looks for credentials once more.
    logging.getLogger("apache_beam.utils.retry").setLevel(logging.ERROR)


@contextlib.contextmanager
def open_bytes(path: str) -> Iterator[Any]:
    """Yields a file open for reading as it is, compressed or not; faults as those of `BeamFiles`."""
    with (
        storage_faults("read", path),
        FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file,
    ):
        yield file


def local_copy(path: str, beside: Sequence[str] = ()) -> contextlib.AbstractContextManager[str]:
    """Gives a file a local path, for libraries that know no other.

    Args:
        path: A local path or a URL.
        beside: Endings of files that go with it, in place of its own.

    Returns:
        A context of the path itself if it is local, else of that of a copy, which is deleted afterwards.

    Raises:
        Fault: The file cannot be read.
    """
    return _copy(path, None, beside)


def header_copy(path: str) -> contextlib.AbstractContextManager[str]:
    """Gives the head of a file a local path; what follows the head may be all zeros.

    Args:
        path: A local path or a URL.

    Returns:
        A context of the path itself if it is local, else of that of a copy of the first `HEADER_BYTES`, as long
        as the file, which is deleted afterwards.

    Raises:
        Fault: The file cannot be read.
    """
    return _copy(path, HEADER_BYTES)


@contextlib.contextmanager
def _copy(path: str, limit: int | None, beside: Sequence[str] = ()) -> Iterator[str]:
    """Yields a local path of a file, or of a copy of its first `limit` bytes padded to its length."""
    if is_local(path):
        yield path
        return
    with contextlib.ExitStack() as kept:
        try:
            folder = kept.enter_context(tempfile.TemporaryDirectory())
        except OSError as error:
            raise _no_room_for(path, error) from error
        local = os.path.join(folder, path.rpartition("/")[2])
        with_retries(lambda: _download(path, local, limit))
        for ending in beside:
            source, target = (os.path.splitext(name)[0] + ending for name in (path, local))
            with_retries(functools.partial(_download, source, target, limit))
        yield local


def _download(path: str, local: str, limit: int | None) -> None:
    opened = open_bytes(path) if limit is None else BeamFiles().open_ranges(path)
    with opened as source:
        (found,) = match_files(path)
        try:
            with open(local, "wb") as target:
                while limit is None or target.tell() < limit:
                    chunk = source.read(_COPY_BYTES if limit is None else limit - target.tell())
                    if not chunk:
                        break
                    target.write(chunk)
                # The padding is a hole: it takes no space.
                target.truncate(found.size_in_bytes)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise _no_room_for(path, error) from error


def _no_room_for(path: str, error: OSError) -> PermanentFault:
    return PermanentFault(
        "storage",
        f"no copy of {path} can be kept among temporary files: {error}. Give workers a larger disk (--disk_size_gb on "
        "Dataflow), or name a folder with room in TMPDIR",
    )


def _give_up(file: Any) -> None:
    """Closes a file that could not be written whole.

    One of Google's client whose upload failed stays open, and would be uploaded once more as it is collected: in any
    thread, for two minutes.
    """
    with contextlib.suppress(Exception):
        getattr(file, "terminate", file.close)()
    if hasattr(file, "terminate"):  # which asks the store first, and may have failed
        file._buffer.close()


def _write_empty_s3(path: str) -> None:
    """Writes an empty object, which Beam cannot: it uploads in parts, and S3 refuses an upload without any."""
    from apache_beam.io.aws import s3io

    bucket, name = s3io.parse_s3_path(path)
    filesystem = FileSystems.get_filesystem(path)
    s3io.S3IO(options=filesystem._options).client.client.put_object(Bucket=bucket, Key=name, Body=b"")


def _open_in_bucket(path: str) -> Any:
    """Opens an object, past the buffers of Beam's file systems: they have no parameter for their size."""
    filesystem = FileSystems.get_filesystem(path)
    if path.startswith("gs://"):
        return filesystem._gcsIO().open(path, "rb", read_buffer_size=_AHEAD_BYTES)
    from apache_beam.io.aws import s3io

    return s3io.S3IO(options=filesystem._options).open(path, "rb", read_buffer_size=_AHEAD_BYTES)


def match_files(pattern: str) -> list[Any]:
    """Returns Beam's metadata of the files that match."""
    (match,) = FileSystems.match([pattern])
    return list(match.metadata_list)
