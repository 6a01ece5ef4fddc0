"""Files that a person gives by a flag: whatever is wrong with one is said with the flag's name."""

import concurrent.futures
import contextlib
import functools
import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from beam_pipeline.dataset.commits import READS_AT_ONCE
from beam_pipeline.features.schema import STORE_FILE
from beam_pipeline.jobs.runners import is_dataflow, runs_locally
from beam_pipeline.jobs.storage import match_files, open_bytes
from beam_pipeline.runtime.disk import is_local
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.local_files import named_files
from beam_pipeline.runtime.regular_files import MOST_BYTES
from beam_pipeline.runtime.storage_faults import storage_faults, with_retries

_log = logging.getLogger(__name__)


def require_reachable(options: PipelineOptions, given: Iterable[tuple[str, Sequence[str], str]]) -> None:
    """Looks for what lies on this machine, of a job that runs on others.

    Dataflow's workers see nothing of this machine. Those of another runner may share a disk with it, so there is a
    warning only.

    Args:
        options: Beam's options.
        given: Of each flag whose files workers read or write: the flag, the paths, and what to give instead.

    Raises:
        InvalidInputError: Something lies on this machine, and no Dataflow worker would find it.
    """
    if runs_locally(options):
        return
    for flag, paths, instead in given:
        here = ", ".join(path for path in paths if is_local(path) or path.startswith("file://"))
        if here and is_dataflow(options):
            raise InvalidInputError(
                f"{flag} lies on this machine, where no Dataflow worker finds it. Give {instead}. Received: {here}"
            )
        if here:
            _log.warning(
                "%s lies on this machine: every worker must see it under the same path: %s", flag, here
            )


def require_google_login(options: PipelineOptions, written: Iterable[tuple[str, str | None]]) -> None:
    """Looks for the credentials of a job that writes to gs://; what is only read may be open to anybody.

    Beam itself would look for them five times, for up to two minutes, and then go on without.

    Args:
        options: Beam's options.
        written: The flags, and the path of each.

    Raises:
        InvalidInputError: There are none.
    """
    on_gs = [(flag, path) for flag, path in written if path and path.startswith("gs://")]
    if not on_gs or options.view_as(GoogleCloudOptions).no_auth or os.environ.get("STORAGE_EMULATOR_HOST"):
        return
    try:
        import google.auth  # an extra of Beam's
    except ImportError:
        return  # Beam says that it knows no gs://
    try:
        google.auth.default()
    except google.auth.exceptions.DefaultCredentialsError as error:
        flag, path = on_gs[0]
        raise InvalidInputError(
            f"{flag} cannot be written to: Google Cloud does not know who asks ({str(error).partition('. ')[0]}). "
            "Log in with: gcloud auth application-default login, or name the file of a key in "
            f"GOOGLE_APPLICATION_CREDENTIALS. Received: {path}"
        ) from error


def expand_globs(patterns: Iterable[str], flag: str) -> list[str]:
    """Returns the files that paths and globs name, each once.

    Args:
        patterns: Paths or globs, local or gs://. A local file that is called like a pattern is taken by its name.
        flag: The flag that they were given by, for messages.

    Returns:
        Paths, sorted within each pattern.

    Raises:
        InvalidInputError: A pattern matches nothing or a folder.
    """
    with concurrent.futures.ThreadPoolExecutor(READS_AT_ONCE) as pool:
        found = pool.map(functools.partial(_matching, flag=flag), patterns)
        return list(dict.fromkeys(itertools.chain.from_iterable(found)))


def _matching(pattern: str, flag: str) -> list[str]:
    """Returns the files that a path or glob names, for `expand_globs`."""
    try:
        with storage_faults("list", pattern):
            found = (
                named_files(pattern)
                if is_local(pattern)
                else sorted(metadata.path for metadata in match_files(pattern))
            )
    except Exception as error:
        raise InvalidInputError(f"{flag} cannot be read: {error}. Received: {pattern}") from error
    if not found:
        raise InvalidInputError(f"{flag} matches no file. Check the name. Received: {pattern}")
    folders = [path for path in found if is_local(path) and os.path.isdir(path)]
    stores = [folder for folder in folders if os.path.isfile(os.path.join(folder, STORE_FILE))]
    if stores:
        raise InvalidInputError(
            f"{flag} takes files. Received a folder: {stores[0]}. It is a store of features already: "
            f"give it to build_dataset, by --osm {stores[0]}"
        )
    if folders:
        raise InvalidInputError(
            f"{flag} takes files. Received a folder: {folders[0]}. Give what is in it, e.g. '{folders[0]}/*'"
        )
    unreadable = [path for path in found if not _is_utf_8(path)]
    if unreadable:
        raise InvalidInputError(f"{flag} finds a name that is no UTF-8: {unreadable[0]}. Rename the file")
    return found


def read_given_text(path: str, flag: str) -> str:
    """Reads a text that a person gives: UTF-8, with or without the mark that Windows puts before it.

    Args:
        path: A local path or a URL.
        flag: The flag that it was given by, for messages.

    Raises:
        InvalidInputError: It cannot be read, or has more than `MOST_BYTES`.
    """
    try:
        with open_bytes(path) as file:  # whatever it is: a person may give a link or a pipe
            content: bytes = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise InvalidInputError(f"it has more than {MOST_BYTES >> 20} MiB")
        return content.decode("utf-8-sig")
    except Exception as error:
        # More than faults: each cloud's client has classes of its own.
        raise InvalidInputError(
            f"{flag} cannot be read: {error}. Give a UTF-8 text that can be. Received: {path}"
        ) from error


def require_openable(path: str, flag: str) -> None:
    """Opens a file that a person gives, so that a wrong name is told before anything slow begins.

    Args:
        path: A local path or a URL. A pipe is left alone: it can be opened once.
        flag: The flag that it was given by, for messages.

    Raises:
        InvalidInputError: It cannot be opened.
    """
    if is_local(path) and os.path.exists(path) and not os.path.isfile(path):
        return
    with naming(flag, "read", path, "Check path and access"), open_bytes(path):
        pass


def read_given_bytes(path: str) -> bytes:
    """Reads a file that a person gives, which may be a link, as mounted secrets are.

    Args:
        path: A local path or a URL.

    Raises:
        Fault: It cannot be read; other errors of a cloud's client pass as they are.
    """
    if is_local(path) and os.path.exists(path) and not os.path.isfile(path):
        raise PermanentFault("irregular", f"{path} is no file, and is to be read more than once")

    def read() -> bytes:
        with open_bytes(path) as file:
            content: bytes = file.read()
            return content

    return with_retries(read)


def _is_utf_8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def naming(flag: str, done: str, path: str, advice: str) -> Iterator[None]:
    """Turns whatever a path leads to into an error that names the flag which gave it."""
    try:
        yield
    except InvalidInputError:
        raise  # says more already
    except Exception as error:
        # More than faults and OSError: Beam and each cloud's client have classes of their own, e.g. for a scheme
        # without its extra, or for missing credentials.
        raise InvalidInputError(f"{flag} cannot be {done}: {error}. {advice}. Received: {path}") from error
