"""Where the map of a build comes from: extracts or Overpass, kept in a store of its own, or a store that was given."""

import dataclasses
from collections.abc import Sequence

from beam_pipeline.cells.cell import Cell
from beam_pipeline.dataset.fingerprint import Extract
from beam_pipeline.dataset.folder import STORE_FOLDER, DatasetFolder
from beam_pipeline.dataset.output_folder import began_with
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.jobs.extract.launch import CheckedStore, check_extracts, check_store
from beam_pipeline.jobs.extract.settings import AskedOverpass, ExtractSettings, GivenExtract
from beam_pipeline.jobs.extract.sources import find_extracts, info_of, planned_extracts
from beam_pipeline.jobs.given_store import check_given_store, given_store
from beam_pipeline.labels.extract import ExtractInfo
from beam_pipeline.labels.store_keys import keys_for
from beam_pipeline.runtime.apart import require_apart


@dataclasses.dataclass(frozen=True)
class MapSource:
    """The map of a build, checked.

    Attributes:
        settings: The build's, with what was found.
        extracts: What the headers of all extracts say.
        beyond: Planned cells beyond the bounds of all extracts; None where it is not known.
        texts: The small files of the plan that go with it, by name.
        own: How the build makes its store; None where it was given one.
        filled: That store as `with_store` found it.
    """

    settings: BuildSettings
    extracts: list[ExtractInfo]
    beyond: int | None
    texts: dict[str, str]
    own: ExtractSettings | None = None
    filled: CheckedStore | None = None

    @property
    def filling(self) -> ExtractSettings | None:
        """The settings of the job that fills the store first; None where the store is whole."""
        return None if self.filled is None or self.filled.is_whole else self.filled.settings


def find_map(settings: BuildSettings, cells: Sequence[Cell], folder: DatasetFolder) -> MapSource:
    """Finds and checks the map of a build.

    Args:
        settings: The settings.
        cells: The cells.
        folder: The dataset's folder; it may be missing.

    Returns:
        The map; nothing of it was written.

    Raises:
        InvalidInputError: It cannot be used.
        Fault: The dataset's folder cannot be read.
    """
    given = given_store(settings.extracts)
    if given is not None:
        require_apart(settings.output, [("--osm", given.path)], may_hold=True)
        return _of_given(given, settings, cells)
    read = [("--osm", path) for path in settings.extracts]
    read += [("--overpass_cache", it) for it in [settings.overpass_cache] if it]
    require_apart(settings.output, read, may_hold=True)
    require_apart(settings.store, read, "The store in --output")
    store = DatasetFolder(folder.files, settings.store)
    extracts = find_extracts(settings.extracts, store)
    begun = {it.identity for it in planned_extracts(store)}
    beyond = check_extracts(
        extracts, cells, lambda it: it.identity in begun or began_with(folder, Extract.of_info(info_of(it)))
    )
    settings = dataclasses.replace(settings, extracts=tuple(extract.path for extract in extracts))
    own = _filling(settings, extracts)
    return MapSource(settings, [info_of(extract) for extract in extracts], beyond, {}, own=own)


def with_store(source: MapSource, cells: Sequence[Cell]) -> MapSource:
    """Compares the store that a build makes with what its folder was begun for.

    To be called once the dataset itself was compared, whose differences say more.

    Args:
        source: From `find_map`.
        cells: The cells.

    Returns:
        The map with the store; as it was, if a store was given.

    Raises:
        InvalidInputError: The folder holds another store.
        Fault: The folder cannot be read.
    """
    if source.own is None:
        return source
    filled = check_store(source.own, cells, source.settings.ontology)
    texts = {f"{STORE_FOLDER}/{name}": text for name, text in filled.texts.items()}
    return dataclasses.replace(source, filled=filled, texts=texts)


def _filling(settings: BuildSettings, extracts: Sequence[GivenExtract]) -> ExtractSettings:
    asked = AskedOverpass(
        settings.overpass_url, settings.overpass_cache, settings.osm_date, settings.own_network
    )
    return ExtractSettings(
        output=settings.output,
        store=settings.store,
        extracts=tuple(extracts),
        overpass=asked if settings.overpass_url else None,
        keys=keys_for(settings.ontology),
        make_all=False,
        limits=settings.read_limits,
        api=settings.api,
        files=settings.files,
    )


def _of_given(store: DatasetFolder, settings: BuildSettings, cells: Sequence[Cell]) -> MapSource:
    found = check_given_store(store, settings.ontology, cells)
    record = found.record
    settings = dataclasses.replace(
        settings, extracts=(), given_store=store.path, overpass_url=record.url, osm_date=record.date
    )
    return MapSource(settings, found.extracts, found.beyond, found.texts)
