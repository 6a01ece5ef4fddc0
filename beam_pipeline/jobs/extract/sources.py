"""Where a store's map is of: extracts, also such as are gone since they were read."""

import concurrent.futures
import os
from collections.abc import Sequence

from beam_pipeline.dataset.commits import READS_AT_ONCE
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.identity import ExtractIdentity
from beam_pipeline.features.names import piece_record
from beam_pipeline.features.plan import EXTRACTS_FILE, PlannedExtract, PlannedExtracts
from beam_pipeline.jobs.extract.settings import GivenExtract
from beam_pipeline.jobs.given_files import expand_globs, naming
from beam_pipeline.jobs.storage import header_copy
from beam_pipeline.labels.extract import ExtractInfo, check_extract
from beam_pipeline.labels.pbf_blocks import breaks_off
from beam_pipeline.runtime.disk import is_local
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.progress import Progress


def find_extracts(patterns: Sequence[str], store: DatasetFolder) -> list[GivenExtract]:
    """Returns the extracts that paths and globs name; of one that is gone, what the store kept of it.

    Args:
        patterns: Paths or globs, local or gs://.
        store: The folder of the store that they go into; it may be missing.

    Returns:
        Extracts in the order of the patterns, those that are gone last.

    Raises:
        InvalidInputError: A pattern matches nothing, two extracts share a file name, or one cannot be read.
    """
    kept = {extract.name: extract for extract in planned_extracts(store)}
    gone = [path for path in patterns if _name(path) in kept and _is_gone(path, kept[_name(path)], store)]
    others = [path for path in patterns if path not in gone]
    paths = expand_extracts(others) if others else ()
    found = [given(path, info) for path, info in zip(paths, inspect_extracts(paths), strict=True)]
    found += [
        GivenExtract(path, kept[_name(path)].identity, kept[_name(path)].bounds)
        for path in dict.fromkeys(gone)
    ]
    names = [extract.identity.name for extract in found]
    if len(set(names)) != len(names):
        raise InvalidInputError(
            "Two extracts of --osm have one file name, by which they are told apart. "
            f"Received: {', '.join(extract.path for extract in found)}"
        )
    return found


def given(path: str, info: ExtractInfo) -> GivenExtract:
    """Returns an extract as its header tells of it."""
    return GivenExtract(path, ExtractIdentity(info.name, info.size, info.timestamp), info.bounds)


def info_of(extract: GivenExtract) -> ExtractInfo:
    """Returns what an extract's header says."""
    return ExtractInfo(
        extract.identity.name, extract.identity.bytes, extract.identity.timestamp, extract.bounds
    )


def planned_extracts(store: DatasetFolder) -> tuple[PlannedExtract, ...]:
    """Returns the extracts that a store was last asked to be made of; none where it does not say."""
    if not store.exists(EXTRACTS_FILE):
        return ()
    try:
        return PlannedExtracts.from_json(store.read_bytes(EXTRACTS_FILE)).extracts
    except MalformedError:
        return ()  # it is written anew


def extracts_text(extracts: Sequence[GivenExtract]) -> str:
    """Returns the text of `plan/extracts.json`."""
    return PlannedExtracts(
        extracts=tuple(
            PlannedExtract(
                name=it.identity.name,
                bytes=it.identity.bytes,
                timestamp=it.identity.timestamp,
                bounds=it.bounds,
            )
            for it in sorted(extracts, key=lambda it: it.identity)
        )
    ).to_json()


def _is_gone(path: str, kept: PlannedExtract, store: DatasetFolder) -> bool:
    """Tells whether a file is missing of which all that is needed was read."""
    return not store.files.exists(path) and store.exists(piece_record(kept.identity))


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def expand_extracts(patterns: Sequence[str]) -> tuple[str, ...]:
    """Returns the extracts that paths and globs name, each once.

    Args:
        patterns: Paths or globs, local or gs://.

    Returns:
        Paths, sorted within each pattern; of those that lead to one file under one name, the first.

    Raises:
        InvalidInputError: A pattern matches nothing, or two extracts share a file name.
    """
    by_file: dict[tuple[str, str], str] = {}
    for path in expand_globs(patterns, "--osm"):
        file = os.path.realpath(path) if is_local(path) else path
        by_file.setdefault((file, path.rpartition("/")[2]), path)
    paths = list(by_file.values())
    if len({name for _, name in by_file}) != len(paths):
        raise InvalidInputError(
            "Two extracts of --osm have one file name, by which they are told apart. "
            f"Received: {', '.join(paths)}"
        )
    return tuple(paths)


def inspect_extracts(paths: Sequence[str]) -> list[ExtractInfo]:
    """Returns what the extracts' headers say, in the order of the paths; a remote file is read no farther.

    Raises:
        InvalidInputError: One cannot be read, or is no extract.
    """
    extracts = []
    with (
        Progress(len(paths), "looking into the extracts", "extracts") as progress,
        concurrent.futures.ThreadPoolExecutor(READS_AT_ONCE) as pool,
    ):
        for info in pool.map(_inspect, paths):
            extracts.append(info)
            progress.update()
    return extracts


def _inspect(path: str) -> ExtractInfo:
    with naming("--osm", "read", path, "Check path and access"), header_copy(path) as local:
        return check_extract(local)


def require_whole(paths: Sequence[str]) -> None:
    """Refuses a local extract that breaks off.

    Found in the job, it would cost cells, and the whole file would be that of another dataset. A remote file is not
    read before launch.

    Args:
        paths: The extracts; without those that a folder was begun with, which is gone on with all the same, as its
            other cells are sound.

    Raises:
        InvalidInputError: One breaks off.
    """
    for path in paths:
        if is_local(path) and breaks_off(path):
            raise InvalidInputError(
                f"An OSM extract breaks off: it was not downloaded to its end. Received: {path}. Download it again, "
                "then give the same command"
            )
