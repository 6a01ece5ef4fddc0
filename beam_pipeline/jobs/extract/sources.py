"""Where a store's map is of: extracts, also such as are gone since they were read."""

from collections.abc import Sequence

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.identity import ExtractIdentity
from beam_pipeline.features.names import piece_record
from beam_pipeline.features.plan import EXTRACTS_FILE, PlannedExtract, PlannedExtracts
from beam_pipeline.jobs.build.inputs import expand_extracts, inspect_extracts
from beam_pipeline.jobs.extract.settings import GivenExtract
from beam_pipeline.labels.extract import ExtractInfo
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError


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
