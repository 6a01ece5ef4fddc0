"""Reads OpenStreetMap features from `.osm.pbf` extracts.

A file is read once (its relations more often), whatever the number of cells. Lines and the areas of closed ways are
made of the ways; the areas of multipolygon and boundary relations come from `area_relations`.
"""

import dataclasses
import itertools
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import osmium

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.area_relations import AreaRelations
from beam_pipeline.labels.cell_index import CellIndex
from beam_pipeline.labels.chip_boxes import Bounds
from beam_pipeline.labels.clipping import clip_margin
from beam_pipeline.labels.drawn_features import DrawnFeatures
from beam_pipeline.labels.feature import DroppedTally, Feature, Found
from beam_pipeline.labels.map_object import MapObject
from beam_pipeline.labels.node_index import MAKE_ROOM, NOWHERE, NodeIndex, Places, plan_node_index
from beam_pipeline.labels.object_blocks import ObjectBlock, objects_of
from beam_pipeline.labels.object_columns import ObjectColumns
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.labels.pbf_blocks import begins_with_lz4
from beam_pipeline.labels.pbf_checks import checked_blocks, naming_damage
from beam_pipeline.labels.pbf_header import header_bounds
from beam_pipeline.labels.pbf_order import ObjectOrder
from beam_pipeline.labels.pbf_survey import copy_relations, count_nodes, quick_counts
from beam_pipeline.labels.pbf_wire import AGAIN
from beam_pipeline.labels.store_keys import drawn_keys
from beam_pipeline.labels.way_columns import Lines, node_columns, way_columns
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.free_room import free_memory
from beam_pipeline.runtime.storage_failures import is_full, storage_failure

# libosmium reads that many blocks ahead, 20 by default, and one may take 256 MiB (`pbf_blocks.py`).
# Source: libosmium's `osmium/util/config.hpp`.
os.environ["OSMIUM_MAX_OSMDATA_QUEUE_SIZE"] = "2"

_T = TypeVar("_T", Feature, MapObject)
_WKB = osmium.geom.WKBFactory()
_TIMESTAMP = "osmosis_replication_timestamp"  # field of a header: the date of the data
_FEATURES_READ = 8192  # features that are looked up in the spatial index at once,
_BYTES_READ = 1 << 24  # or fewer, if their geometries take that much
_FEATURES_FOUND = 1 << 14  # features of cells that are held, at least, before they are passed on


@dataclasses.dataclass(frozen=True)
class ExtractInfo:
    """The header of an extract, parsed, with the name and size of the file.

    Attributes:
        name: File name.
        size: Bytes.
        timestamp: Of the data, ISO 8601 in UTC, from the header; "" where it gives none.
        bounds: In degrees from the header; None where it gives none that a map can have.
    """

    name: str
    size: int
    timestamp: str
    bounds: Bounds | None


def check_extract(path: str | os.PathLike[str]) -> ExtractInfo:
    """Reads an extract's header: quick, so that a wrong file is found before launch.

    What follows the header is not looked at: `features_of_cells` finds files that are unsorted or truncated.

    Args:
        path: A local `.osm.pbf` file.

    Returns:
        Name, size, timestamp and bounds.

    Raises:
        InvalidInputError: There is no such file, it is no PBF file, it is packed with LZ4 or it is a history
            file.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidInputError(
            f"An OSM extract is missing. Received: {path}. Give the path of an .osm.pbf file"
        )
    try:
        with osmium.io.Reader(osmium.io.File(str(file), "pbf"), osmium.osm.NOTHING) as reader:
            header = reader.header()
        packed_with_lz4 = begins_with_lz4(file)
        bounds = None if packed_with_lz4 else header_bounds(file)
    except (RuntimeError, EOFError, ValueError) as error:
        raise InvalidInputError(
            f"An OSM extract has no readable header ({error}). Received: {path}. Give an .osm.pbf file, "
            "e.g. of https://download.geofabrik.de; other formats: osmium cat -o FILE.osm.pbf"
        ) from error
    if packed_with_lz4:
        raise InvalidInputError(
            f"An OSM extract is packed with LZ4. Received: {path}. Write it anew: osmium cat -o FILE.osm.pbf"
        )
    if header.has_multiple_object_versions:
        raise InvalidInputError(
            f"An OSM extract holds the history of its objects. Received: {path}. Take one moment of it: "
            f"{time_filter(path, '2020-07-01T00:00:00Z', 'MOMENT.osm.pbf')}"
        )
    return ExtractInfo(file.name, file.stat().st_size, header.get(_TIMESTAMP, ""), bounds)


def time_filter(history: str | os.PathLike[str], moment: str, extract: str) -> str:
    """Returns the command of osmium-tool that takes one moment of a history extract.

    Args:
        history: The .osh.pbf file.
        moment: ISO 8601, in UTC. It goes into the header too, which osmium-tool does not do by itself.
        extract: The .osm.pbf file to be made.
    """
    return f"osmium time-filter {history} {moment} -o {extract} --output-header {_TIMESTAMP}={moment}"


def features_of_cells(
    path: str | os.PathLike[str], chips: Mapping[int, ChipWindow], ontology: Ontology
) -> Iterator[Found[tuple[int, Feature]]]:
    """Reads the features that the ontology draws, clipped to chips.

    Args:
        path: A local `.osm.pbf` file, sorted by type and id.
        chips: Cell id -> chip. Features are kept up to the ontology's reach outside of it.
        ontology: Says which keys are looked at and what is drawn.

    Yields:
        Parts of some ten thousand features: (cell id, feature in metres of the chip's UTM zone), in order of the
        file and of cells. A cell comes as often as it has features, and not at all without. Dropped are, of
        the whole file: "incomplete_way" (nodes are missing), "incomplete_relation" (member ways are missing,
        as at an extract's edge), "broken_relation" (its ways make no valid rings), "long_way" and "long_relation" (of
        more nodes or members than OpenStreetMap allows), "degenerate_way" (all nodes lie in one place), "tangled" and
        "tangled_relation" (to repair, cut or assemble it could take minutes).

    Raises:
        PermanentFault: "missing_extract", "unsorted_extract", "doubled_extract", "truncated_extract" or
            "corrupt_extract". Features may have come before it: they are not all there are.
    """
    index = CellIndex(chips, clip_margin(ontology.reach_m))
    held: list[Found[tuple[int, Feature]]] = []
    for read in read_features(path, ontology):
        clipped = index.clip(read.features)
        held += [clipped, Found[tuple[int, Feature]]((), read.dropped)]
        if sum(len(part.features) for part in held) >= _FEATURES_FOUND:
            yield Found.all_of(held)
            held = []
    yield Found.all_of(held)


def read_features(
    path: str | os.PathLike[str], ontology: Ontology, *, index_folder: str | None = None
) -> Iterator[Found[Feature]]:
    """Reads all features of an extract that the ontology draws.

    Args:
        path: As for `features_of_cells`.
        ontology: As for `features_of_cells`.
        index_folder: As for `read_columns`.

    Yields:
        Parts of some thousand features in longitude and latitude, in order of the file, relations last.
        Geometries may be invalid. Dropped are those of `features_of_cells` but for the "tangled".

    Raises:
        PermanentFault: As for `features_of_cells`.
        TransientFault: As for `read_columns`.
    """
    drawn = DrawnFeatures(ontology)
    tally = DroppedTally()

    def features() -> Iterator[Feature]:
        for found in read_columns(path, drawn_keys(ontology), index_folder=index_folder):
            tally.update(found.dropped)
            for columns in found.features:
                for one in columns.objects():
                    yield from drawn.of(one)

    read = features()
    while batch := list(_batch(read)):
        yield Found(batch)
    yield Found((), tally.dropped())


def read_objects(
    path: str | os.PathLike[str], keys: Collection[str], *, index_folder: str | None = None
) -> Iterator[Found[MapObject]]:
    """Reads the objects of an extract that bear one of some keys, one by one; see `read_columns`."""
    for found in read_columns(path, keys, index_folder=index_folder):
        yield Found([one for columns in found.features for one in columns.objects()], found.dropped)


def read_columns(
    path: str | os.PathLike[str], keys: Collection[str], *, index_folder: str | None = None
) -> Iterator[Found[ObjectColumns]]:
    """Reads the objects of an extract that bear one of some keys, by columns.

    Args:
        path: A local `.osm.pbf` file, sorted by type and id.
        keys: One or more keys of OpenStreetMap.
        index_folder: Where the locations of nodes lie if memory is too small for them, and in any case relations and
            their ways; None for the folder of temporary files.

    Yields:
        The objects of some blocks of the file, about 8,000 of one type, in order of the file, relations last. Nodes
        without a location are not among them, nor relations that are no area. Dropped, of those with one of the keys,
        are: "incomplete_way" (nodes are missing), "incomplete_relation" (member ways are missing, as at an extract's
        edge), "broken_relation" (its ways make no valid rings), "long_way" and "long_relation" (of more nodes or
        members than OpenStreetMap allows), "degenerate_way" (all nodes lie in one place) and "tangled_relation" (to
        assemble it could take minutes).

    Raises:
        PermanentFault: "missing_extract", "unsorted_extract", "doubled_extract", "truncated_extract" or
            "corrupt_extract". Objects may have come before it: they are not all there are.
        TransientFault: "no_disk": there is no room in `index_folder`; "storage": a disk fails.
    """
    name = Path(path).name
    if not Path(path).is_file():
        raise PermanentFault("missing_extract", f"{name}: there is no such file")
    try:
        with naming_damage(name), tempfile.TemporaryFile(dir=index_folder) as file:
            copy_relations(path, file)
            yield from _columns(path, frozenset(keys), index_folder, file)
    except OSError as error:
        if is_full(error) or storage_failure(error):
            raise libosmium_fault(name, error) from error
        raise
    except RuntimeError as error:
        raise libosmium_fault(name, error) from error


def libosmium_fault(name: str, error: RuntimeError | OSError) -> PermanentFault | TransientFault:
    """Returns what an error of pyosmium's means: it has one class for all, and only the text tells them apart.

    Args:
        name: The extract's.
        error: With libosmium's text, or that of a disk that fails.
    """
    text = str(error)
    if is_full(error):
        return TransientFault("no_disk", f"{name}: the disk of temporary files is full ({text}). {MAKE_ROOM}")
    if storage_failure(error):
        return TransientFault("storage", f"{name}: {text}")
    reason = "truncated_extract" if "EOF" in text or "truncated" in text else "corrupt_extract"
    return PermanentFault(reason, f"{name}: {text}; {AGAIN}")


def _batch(found: Iterator[_T]) -> Iterator[_T]:
    """Yields the next features or objects, as many as are looked at at once."""
    size = 0
    for one in itertools.islice(found, _FEATURES_READ):
        yield one
        size += len(one.geometry)
        if size > _BYTES_READ:
            return


def _columns(
    path: str | os.PathLike[str], keys: frozenset[str], folder: str | None, relation_file: BinaryIO
) -> Iterator[Found[ObjectColumns]]:
    """Yields the objects.

    Args:
        path: As for `read_columns`.
        keys: As for `read_columns`.
        folder: As for `read_columns`.
        relation_file: From `copy_relations`.
    """
    tally = DroppedTally()
    relations = AreaRelations(osmium.io.File(f"/dev/fd/{relation_file.fileno()}", "pbf"), keys, tally)
    relations.find()
    # Where the ways bear their locations, nodes may be gone.
    has_locations = bears_locations(osmium.io.File(str(path), "pbf"))
    index = None if has_locations else _node_index(path, folder)
    order = ObjectOrder(Path(path).name)

    def found() -> Iterator[ObjectColumns]:
        for block in checked_blocks(path):
            for objects in objects_of(block):
                order.look_at(objects.osm_type, objects.ids)
                if objects.osm_type == "node":
                    if index:
                        index.add(objects.ids, objects.places)
                    yield node_columns(objects, keys)
                elif objects.osm_type == "way":
                    lines = Lines(objects, index.find(objects.refs) if index else _own_places(objects))
                    relations.look_at(objects.ids, lines)
                    yield way_columns(objects, lines, keys, tally)

    for columns in _gathered(found()):
        yield Found([columns])
    with tempfile.TemporaryFile(dir=folder) as scratch:
        areas = relations.areas(scratch)
        read = (_area_object(area, relations.tags_of(area)) for area in areas)
        while batch := list(_batch(read)):
            yield Found([ObjectColumns.of("relation", batch)])
    yield Found((), tally.dropped())


def _gathered(parts: Iterator[ObjectColumns]) -> Iterator[ObjectColumns]:
    """Yields objects in parts that pay: few nodes bear a tag, so that a block gives few."""
    held: list[ObjectColumns] = []
    size = 0
    for part in parts:
        if held and (part.osm_type != held[0].osm_type or size + len(part) > _FEATURES_READ):
            yield ObjectColumns.joined(held)
            held, size = [], 0
        if len(part):
            held.append(part)
            size += len(part)
    if held:
        yield ObjectColumns.joined(held)


def _node_index(path: str | os.PathLike[str], folder: str | None) -> NodeIndex:
    free = free_memory()  # asked once: another answer could not be met by counts that are not exact
    plan = plan_node_index(quick_counts(path), free)
    if plan.disk_bytes:
        plan = plan_node_index(count_nodes(path), free)
    return NodeIndex(plan, folder)


def _own_places(ways: ObjectBlock) -> Places:
    """Returns the locations that ways bear."""
    return ways.places if len(ways.places) else np.full((len(ways.refs), 2), NOWHERE, np.int32)


def _area_object(area: Any, tags: tuple[tuple[str, str], ...]) -> MapObject:
    """Returns a relation as pyosmium has assembled it."""
    return MapObject(
        "relation",
        area.orig_id(),
        area.version,
        max(0, int(area.timestamp.timestamp())),
        tags,
        bytes.fromhex(_WKB.create_multipolygon(area)),
    )


def bears_locations(file: Any) -> bool:
    """Tells whether the ways of a file bear the locations of their nodes (`osmium add-locations-to-ways`)."""
    with osmium.io.Reader(file, osmium.osm.NOTHING) as reader:
        header = reader.header()
    names = (header.get(f"pbf_optional_feature_{number}", "") for number in itertools.count())
    return "LocationsOnWays" in itertools.takewhile(bool, names)
