"""Where the map of a build comes from: extracts or Overpass, kept in a store of its own, or a store that was given."""

import dataclasses
from collections.abc import Sequence

from beam_pipeline.cells.cell import Cell
from beam_pipeline.dataset.fingerprint import Extract
from beam_pipeline.dataset.folder import GIVEN_STORE_FILE, STORE_FOLDER, DatasetFolder
from beam_pipeline.dataset.output_folder import began_with
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.features.identity import StoreRequest
from beam_pipeline.features.plan import TILES_FILE, parse_tiles, tiles_of
from beam_pipeline.features.schema import STORE_FILE
from beam_pipeline.features.store_json import Store, store_differences, tiles_to_compare
from beam_pipeline.jobs.build.coverage import check_coverage
from beam_pipeline.jobs.build.inputs import naming
from beam_pipeline.jobs.extract.launch import CheckedStore, check_extracts, check_store
from beam_pipeline.jobs.extract.settings import AskedOverpass, ExtractSettings, GivenExtract
from beam_pipeline.jobs.extract.sources import find_extracts, info_of, planned_extracts
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.extract import ExtractInfo
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.labels.store_keys import drawn_keys, keys_for
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.parsing import MalformedError

_MOST_NAMED = 3
_ADVICE = "Make a store with extract_features"


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
        return _of_given(given, settings, cells)
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


def given_store(paths: Sequence[str]) -> DatasetFolder | None:
    """Returns the folder of --osm if it is that of a store; None where extracts are meant."""
    files = BeamFiles()
    for path in paths:
        if path.endswith(".pbf"):  # no bucket is asked for what cannot be
            continue
        with naming("--osm", "read", path, "Check path and access"):
            is_store = files.exists(join(path, STORE_FILE))
        if is_store and len(paths) > 1:
            raise InvalidInputError(
                f"--osm takes one store and nothing beside it. Received: {', '.join(paths)}. "
                "extract_features puts further extracts into a store"
            )
        if is_store:
            return DatasetFolder(files, path)
    return None


@dataclasses.dataclass(frozen=True)
class GivenStore:
    """A store of features that was made before, checked.

    Attributes:
        record: What it says of itself.
        extracts: What the headers of its extracts said; none of Overpass.
        beyond: As of `MapSource`.
        texts: As of `MapSource`.
    """

    record: Store
    extracts: list[ExtractInfo]
    beyond: int | None
    texts: dict[str, str]


def _of_given(store: DatasetFolder, settings: BuildSettings, cells: Sequence[Cell]) -> MapSource:
    found = check_given_store(store, settings.ontology, cells)
    record = found.record
    settings = dataclasses.replace(
        settings, extracts=(), given_store=store.path, overpass_url=record.url, osm_date=record.date
    )
    return MapSource(settings, found.extracts, found.beyond, found.texts)


def check_given_store(store: DatasetFolder, ontology: Ontology, cells: Sequence[Cell]) -> GivenStore:
    """Reads what a store says of itself, and refuses one that cannot give the labels of cells.

    Args:
        store: Its folder.
        ontology: What is drawn.
        cells: The cells.

    Raises:
        InvalidInputError: It cannot be read, or lacks something, which is named.
    """
    with naming("--osm", "read", store.path, _ADVICE):
        content = store.read_bytes(STORE_FILE)
        try:
            record = Store.from_json(content)
        except MalformedError as error:
            raise InvalidInputError(
                f"--osm is no store that can be read: {error}. {_ADVICE}. Received: {store.at(STORE_FILE)}"
            ) from error
        _require_suitable(store, record, ontology, cells)
    extracts = [
        ExtractInfo(it.extract.name, it.extract.bytes, it.extract.timestamp, it.bounds)
        for it in record.extracts
        if record.source == "extracts"
    ]
    return GivenStore(record, extracts, check_coverage(cells, extracts), {GIVEN_STORE_FILE: content.decode()})


def _require_suitable(store: DatasetFolder, record: Store, ontology: Ontology, cells: Sequence[Cell]) -> None:
    """Refuses a store that cannot give the labels of cells, and names what it lacks."""
    chips = {tile.tile: tile.chips for tile in tiles_of(cells)}
    request = StoreRequest(chips, tuple(drawn_keys(ontology)))
    differences = store_differences(record, request)
    if not differences and tiles_to_compare(record, request):
        differences = _cell_differences(store, request)
    if differences:
        raise InvalidInputError(
            "--osm is a store that lacks what the labels need:",
            *(f"  {it}" for it in differences),
            f"{_ADVICE} for the same cells, with the same --ontology. Received: {store.path}",
        )


def _cell_differences(store: DatasetFolder, request: StoreRequest) -> list[str]:
    held = {tile.tile: tile.chips for tile in parse_tiles(store.read_bytes(TILES_FILE))}
    missing = [
        cell_id
        for tile, chips in request.cells.items()
        for cell_id, chip in chips.items()
        if held.get(tile, {}).get(cell_id) != chip
    ]
    if not missing:
        return []
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    named = ", ".join(map(str, sorted(missing)[:_MOST_NAMED]))
    return [f"it lacks {len(missing)} of {sum(map(len, request.cells.values()))} cells: {named}{more}"]
