"""A store of features that a person gives in place of extracts, checked before launch."""

import dataclasses
from collections.abc import Sequence

from beam_pipeline.cells.cell import Cell
from beam_pipeline.dataset.folder import GIVEN_STORE_FILE, DatasetFolder
from beam_pipeline.features.identity import StoreRequest
from beam_pipeline.features.plan import TILES_FILE, parse_tiles, tiles_of
from beam_pipeline.features.schema import STORE_FILE
from beam_pipeline.features.store_json import Store, store_differences, tiles_to_compare
from beam_pipeline.jobs.coverage import check_coverage
from beam_pipeline.jobs.given_files import naming
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.extract import ExtractInfo
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.labels.store_keys import drawn_keys
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.parsing import MalformedError

_MOST_NAMED = 3
_ADVICE = "Make a store with extract_features"


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
