"""The steps before a store is filled: the map is found and checked, and the plan is written."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cells.cell import Cell
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.identity import StoreRequest, overpass_identity
from beam_pipeline.features.names import tile_file
from beam_pipeline.features.plan import (
    EXTRACTS_FILE,
    REQUEST_FILE,
    TILES_FILE,
    Overpass,
    PlannedStore,
    tiles_of,
    tiles_text,
)
from beam_pipeline.features.schema import STORE_FILE, TILE_SUFFIX
from beam_pipeline.features.store_json import Store, store_differences
from beam_pipeline.jobs.coverage import check_coverage, warn_of_headers
from beam_pipeline.jobs.dataset_flags import ontology_text
from beam_pipeline.jobs.extract.options import read_limits
from beam_pipeline.jobs.extract.settings import AskedOverpass, ExtractSettings, GivenExtract
from beam_pipeline.jobs.extract.sources import (
    extracts_text,
    find_extracts,
    info_of,
    planned_extracts,
    require_whole,
)
from beam_pipeline.jobs.given_cells import check_cells_file, check_cells_flags, find_cells
from beam_pipeline.jobs.given_files import naming, require_google_login, require_reachable
from beam_pipeline.jobs.given_output import WRITABLE, require_own_output
from beam_pipeline.jobs.given_overpass import (
    OVERPASS,
    check_overpass,
    parse_osm_date,
    refuse_distant_overpass,
)
from beam_pipeline.jobs.runners import require_job_server
from beam_pipeline.jobs.storage import BeamFiles, use_options
from beam_pipeline.jobs.worker_image import require_package_on_workers
from beam_pipeline.labels.ontology import SHIPPED, Ontology
from beam_pipeline.labels.store_keys import drawn_keys, keys_for
from beam_pipeline.runtime.apart import require_apart
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.foreign_text import without_secrets
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.traffic import Share


@dataclasses.dataclass(frozen=True)
class CheckedStore:
    """A store that has passed all checks, and of which nothing is written yet.

    Attributes:
        settings: Of the job that fills it.
        tiles: How many it has.
        texts: The small files of its plan, by name.
        is_whole: Whether nothing is left to do for it.
        is_stale: Whether what it says of itself is of other extracts.
    """

    settings: ExtractSettings
    tiles: int
    texts: dict[str, str]
    is_whole: bool
    is_stale: bool


def check_flags(given: Any, options: PipelineOptions) -> None:
    """Checks what the flags alone tell, before any file is looked into and Beam asks buckets.

    Args:
        given: Our flags, from `parse_extract_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: A flag is malformed, or workers would lack something.
    """
    require_job_server(options)
    check_cells_flags(given)
    overpass = given.osm == (OVERPASS,)
    if given.osm_date is not None:
        parse_osm_date(given.osm_date, overpass=overpass)
    if overpass:
        refuse_distant_overpass(options)
    require_reachable(
        options,
        [
            ("--output", [given.output], "a gs:// folder"),
            ("--osm", () if overpass else given.osm, "gs:// paths of .osm.pbf extracts"),
        ],
    )
    require_package_on_workers(options)
    require_google_login(options, [("--output", given.output)])
    use_options(**options.get_all_options(drop_default=True))  # as files may lie in a bucket
    ontology_text(given.ontology)
    check_cells_file(given)


def write_store_plan(checked: CheckedStore) -> None:
    """Writes the plan of a store into its folder.

    Args:
        checked: From `check_extraction`.

    Raises:
        InvalidInputError: The folder cannot be used.
    """
    store = DatasetFolder(BeamFiles(), checked.settings.store)
    with Progress(None, "writing the plan"), naming("--output", "used", store.path, WRITABLE):
        for name, text in checked.texts.items():
            if not store.exists(name) or store.read_bytes(name) != text.encode():
                store.write_text(name, text)
        begin(checked)


def check_extraction(given: Any) -> CheckedStore:
    """Checks everything that can be checked before a job is launched, and writes nothing but caches.

    What the flags alone tell was checked by `check_flags`.

    Args:
        given: Our flags, from `parse_extract_flags`.

    Returns:
        What was found.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    overpass = given.osm == (OVERPASS,)
    require_apart(given.output, _read(given))
    require_own_output(given.output, "store")
    date = "" if given.osm_date is None else parse_osm_date(given.osm_date, overpass=overpass)
    ontology = Ontology.load(ontology_text(given.ontology))
    with Progress(None, "finding the cells"):
        cells = find_cells(given, given.seed)
    store = DatasetFolder(BeamFiles(), given.output)
    asked, extracts = None, []
    if overpass:
        url = given.overpass_url.rstrip("/")
        asked = AskedOverpass(url, given.overpass_cache or "", date, given.allow_own_network)
        check_overpass(url, asked.cache, asked.own_network)
    else:
        with naming("--output", "used", store.path, WRITABLE):
            extracts = find_extracts(given.osm, store)
            begun = {it.identity for it in planned_extracts(store)}
        check_extracts(extracts, cells, lambda it: it.identity in begun)
    settings = ExtractSettings(
        output=store.path,
        store=store.path,
        extracts=tuple(extracts),
        overpass=asked,
        keys=keys_for(ontology),
        make_all=True,
        limits=read_limits(given),
        api=Share(),
        files=Share(),
    )
    with naming("--output", "used", store.path, WRITABLE):
        return check_store(settings, cells, ontology)


def _read(given: Any) -> Iterator[tuple[str, str]]:
    """Yields what is read, and would be strays in a store's folder."""
    if given.osm == (OVERPASS,):
        yield from (("--overpass_cache", it) for it in [given.overpass_cache] if it)
    else:
        yield from (("--osm", path) for path in given.osm)
    yield from (("--cells", it) for it in [given.cells] if it)
    yield from (("--ontology", it) for it in [given.ontology] if it not in SHIPPED)


def check_extracts(
    extracts: Sequence[GivenExtract], cells: Sequence[Cell], begun_with: Callable[[GivenExtract], bool]
) -> int | None:
    """Refuses extracts that break off or of which none holds a cell, and warns of what their headers leave out.

    Args:
        extracts: The extracts.
        cells: The cells.
        begun_with: Tells whether the output's folder was begun with an extract.

    Returns:
        The number of cells beyond the bounds of all extracts; None where it is not known.

    Raises:
        InvalidInputError: They cannot be used.
    """
    infos = [info_of(extract) for extract in extracts]
    require_whole([extract.path for extract in extracts if not begun_with(extract)])
    warn_of_headers([extract.path for extract in extracts], infos)
    return check_coverage(cells, infos)


def check_store(settings: ExtractSettings, cells: Sequence[Cell], ontology: Ontology) -> CheckedStore:
    """Compares what a store is to hold with what its folder was begun for.

    Args:
        settings: What it is to hold.
        cells: For which cells.
        ontology: Must find its keys in it.

    Returns:
        What is left to do, with the keys that the folder was begun with.

    Raises:
        InvalidInputError: The folder holds another store.
        Fault: The folder cannot be read.
    """
    store = DatasetFolder(BeamFiles(), settings.store)
    tiles = tiles_of(cells)
    asked = settings.overpass
    overpass = None if asked is None else Overpass(url=without_secrets(asked.url), date=asked.date)
    request = StoreRequest({tile.tile: tile.chips for tile in tiles}, settings.keys)
    planned = _taken_up(store, PlannedStore.of(request, overpass), drawn_keys(ontology))
    settings = dataclasses.replace(settings, keys=planned.keys)
    texts = {
        TILES_FILE: tiles_text(tiles),
        EXTRACTS_FILE: extracts_text(settings.extracts),
        REQUEST_FILE: planned.to_json(),
    }
    described = read_store(store)
    if described is None:
        return CheckedStore(settings, len(tiles), texts, is_whole=False, is_stale=False)
    request = dataclasses.replace(request, keys=planned.keys)
    extracts = [it.identity for it in settings.extracts] if asked is None else [overpass_identity(asked.date)]
    of_same = described.cells_sha256 == planned.cells_sha256 and not store_differences(
        described, request, extracts
    )
    is_whole = of_same and not described.failures and _all_there(store, described)
    return CheckedStore(settings, len(tiles), texts, is_whole, is_stale=not of_same)


def begin(checked: CheckedStore) -> None:
    """Takes away what a store says of itself where it is about to change."""
    if checked.is_stale:
        store = DatasetFolder(BeamFiles(), checked.settings.store)
        store.files.delete(store.at(STORE_FILE))


def read_store(store: DatasetFolder) -> Store | None:
    """Returns what a store says of itself; None where it is not whole, or what it says is damaged.

    Raises:
        Fault: The folder cannot be read.
    """
    if not store.exists(STORE_FILE):
        return None
    try:
        return Store.from_json(store.read_bytes(STORE_FILE))
    except MalformedError:
        return None


def _taken_up(store: DatasetFolder, asked: PlannedStore, drawn: Sequence[str]) -> PlannedStore:
    """Returns what a folder was begun for where that will do; else what is asked for, if it holds no store."""
    if not store.exists(REQUEST_FILE):
        return asked
    way_out = f"Give another folder, or delete {store.path} and give the command again"
    try:
        planned = PlannedStore.from_json(store.read_bytes(REQUEST_FILE))
    except MalformedError:
        return asked  # each file says for itself what it is made for
    if set(drawn) <= set(planned.keys):
        asked = asked.model_copy(update={"keys": planned.keys})
    differences = planned.differences(asked)
    if differences:
        raise InvalidInputError(
            f"{store.path} holds another store of features:",
            *(f"  {it}" for it in differences),
            f"{way_out}.",
        )
    return planned


def _all_there(store: DatasetFolder, described: Store) -> bool:
    """Tells whether the files of all tiles are there; of what size they are is seen when they are read."""
    return {tile_file(tile) for tile in described.tiles} <= set(store.names(f"*{TILE_SUFFIX}"))
