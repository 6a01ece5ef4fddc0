"""Reads OpenStreetMap features from `.osm.pbf` extracts.

A file is read once (its relations and ways more often), whatever the number of cells. Lines and the areas of closed
ways are made of the ways; the areas of multipolygon and boundary relations come from `area_relations`.
"""

import dataclasses
import functools
import itertools
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import osmium
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.area_relations import AreaRelations
from beam_pipeline.labels.cell_index import CellIndex
from beam_pipeline.labels.chip_boxes import Bounds
from beam_pipeline.labels.clipping import clip_margin
from beam_pipeline.labels.feature import DroppedTally, Feature, Found
from beam_pipeline.labels.ontology import COASTLINE, SEA_KEY, Ontology
from beam_pipeline.labels.ontology_json import KINDS, Kind
from beam_pipeline.labels.pbf_blocks import begins_with_lz4, check_blocks
from beam_pipeline.labels.pbf_header import header_bounds
from beam_pipeline.labels.polygon_rules import tags_of_closed_way
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault

# libosmium reads that many blocks ahead, 20 by default, and one may take 256 MiB (`pbf_blocks.py`).
# Source: libosmium's `osmium/util/config.hpp`.
os.environ["OSMIUM_MAX_OSMDATA_QUEUE_SIZE"] = "2"

MOST_WAY_NODES = 2_000
"""Of a way. Source: https://wiki.openstreetmap.org/wiki/API_v0.6 (`waynodes maximum`)."""

LARGE_EXTRACT_BYTES = 1 << 30
"""From this size on, the locations of nodes are kept in a temporary file instead of in memory."""

_TIMESTAMP = "osmosis_replication_timestamp"  # field of a header: the date of the data
_FEATURES_READ = 8192  # features that are looked up in the spatial index at once,
_BYTES_READ = 1 << 24  # or fewer, if their geometries take that much
_FEATURES_FOUND = 1 << 14  # features of cells that are held, at least, before they are passed on
_CACHED_TAGS = 1 << 13
_LINE_HEADER = struct.pack("<BI", 1, 2)  # little-endian WKB: a line string,
_POLYGON_HEADER = struct.pack("<BII", 1, 3, 1)  # and a polygon of one ring


@dataclasses.dataclass(frozen=True)
class ExtractInfo:
    """What an extract says of itself.

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


def drawn_keys(ontology: Ontology, kinds: tuple[Kind, ...] = KINDS) -> list[str]:
    """Returns the keys of OpenStreetMap without one of which a feature is of no use to drawing, sorted.

    Args:
        ontology: What is drawn.
        kinds: The kinds of geometry that are meant.
    """
    rules = (rule for label in ontology.labels for rule in label.rules)
    keys = {rule.key for rule in rules if set(kinds) & set(rule.kinds)} - {SEA_KEY}
    return sorted(keys | {COASTLINE[0]} if "line" in kinds else keys)


def read_features(
    path: str | os.PathLike[str], ontology: Ontology, *, large_bytes: int = LARGE_EXTRACT_BYTES
) -> Iterator[Found[Feature]]:
    """Reads all features of an extract that the ontology draws.

    Args:
        path: As for `features_of_cells`.
        ontology: As for `features_of_cells`.
        large_bytes: Size of a file from which on the locations of its nodes are kept on disk.

    Yields:
        Parts of some thousand features in longitude and latitude, in order of the file, relations last.
        Geometries may be invalid. Dropped are those of `features_of_cells` but for the "tangled".

    Raises:
        PermanentFault: As for `features_of_cells`.
    """
    name = Path(path).name
    if not Path(path).is_file():
        raise PermanentFault("missing_extract", f"{name}: there is no such file")
    check_blocks(path)
    try:
        reading = _Reading(path, ontology, large_bytes)
        features = reading.features()
        while batch := list(_batch(features)):
            yield Found(batch)
        yield Found((), reading.tally.dropped())
    except UnicodeDecodeError as error:
        raise PermanentFault(
            "corrupt_extract", f"{name}: a key or value is not in UTF-8; download or make it again"
        ) from error
    except RuntimeError as error:
        # pyosmium has one class for all its errors; only the text tells them apart.
        text = str(error)
        reason = "truncated_extract" if "EOF" in text or "truncated" in text else "corrupt_extract"
        advice = "download or make it again"
        if "overlong" in text:
            advice = f"a key or value has 255 characters at most in OpenStreetMap; {advice}"
        raise PermanentFault(reason, f"{name}: {text}; {advice}") from error


def _batch(features: Iterator[Feature]) -> Iterator[Feature]:
    """Yields the next features, as many as are looked up at once."""
    size = 0
    for feature in itertools.islice(features, _FEATURES_READ):
        yield feature
        size += len(feature.geometry)
        if size > _BYTES_READ:
            return


class _Reading:
    """One pass through an extract.

    Args:
        path: The file.
        ontology: What is drawn.
        large_bytes: As for `read_features`.

    Attributes:
        tally: What was left out, once all features have been read.
    """

    def __init__(self, path: str | os.PathLike[str], ontology: Ontology, large_bytes: int) -> None:
        self.tally = DroppedTally()
        self._file = osmium.io.File(str(path), "pbf")
        self._drawn_keys = frozenset(drawn_keys(ontology))
        self._keys = (ontology.keys | {COASTLINE[0]}) - {SEA_KEY}
        self._point_keys = drawn_keys(ontology, ("point",))
        self._wkb = osmium.geom.WKBFactory()
        # Few combinations of tags make up most of a file.
        self._keeps: Callable[[Kind, tuple[tuple[str, str], ...]], bool] = functools.lru_cache(_CACHED_TAGS)(
            ontology.keeps
        )
        # Looked up, locations that the ways bear would be written over, by none where the nodes are gone.
        storage = "sparse_file_array" if Path(path).stat().st_size >= large_bytes else "flex_mem"
        self._locations = None if _bears_locations(self._file) else osmium.index.create_map(storage)
        self._relations = AreaRelations(
            self._file, lambda tags: self._keeps("area", self._looked_at(tags)), self.tally
        )

    def features(self) -> Iterator[Feature]:
        """Yields the features."""
        self._relations.find()
        for entity in self._processor():
            yield from self._way(entity) if entity.is_way() else self._node(entity)
        for area in self._relations.areas(self._locating()):
            yield self._area(area)

    def _processor(self) -> Any:
        # Filters run in C++: nodes without a tag of ours, nine in ten objects of a file, never reach Python.
        points = (
            osmium.filter.KeyFilter(*self._point_keys)
            if self._point_keys
            else osmium.filter.EntityFilter(osmium.osm.WAY)
        )
        points.enable_for(osmium.osm.NODE)
        return (
            osmium.FileProcessor(self._file, osmium.osm.NODE | osmium.osm.WAY)
            .with_locations(self._locations)  # type: ignore[arg-type]  # None is taken
            .with_filter(_WayFilter(self._relations.look_at, self.tally))
            .with_filter(osmium.filter.KeyFilter(*self._drawn_keys))
            .with_filter(points)
        )

    def _locating(self) -> list[Any]:
        """Returns what gives ways the locations of their nodes, once the nodes have been read."""
        if self._locations is None:
            return []
        handler = osmium.NodeLocationsForWays(self._locations)
        handler.ignore_errors()
        return [handler]

    def _looked_at(self, tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((key, value) for key, value in tags.items() if key in self._keys))

    def _node(self, node: Any) -> Iterator[Feature]:
        tags = self._looked_at(dict(node.tags))
        if self._keeps("point", tags) and node.location.valid():
            yield Feature("node", node.id, tags, shapely.to_wkb(shapely.Point(node.lon, node.lat)))

    def _way(self, way: Any) -> Iterator[Feature]:
        tags = dict(way.tags)
        nodes = way.nodes
        kinds: tuple[tuple[Kind, Mapping[str, str]], ...] = (("line", tags),)
        if len(nodes) and nodes.is_closed():
            area, line = tags_of_closed_way(tags, self._drawn_keys)
            kinds = (("area", area), ("line", line))
        wkb = None
        for kind, of_kind in kinds:
            looked_at = self._looked_at(of_kind)
            if looked_at and self._keeps(kind, looked_at):
                wkb = self._line(way, nodes) if wkb is None else wkb
                if wkb:
                    geometry = _POLYGON_HEADER + wkb[len(_LINE_HEADER) :] if kind == "area" else wkb
                    yield Feature("way", way.id, looked_at, geometry)

    def _line(self, way: Any, nodes: Any) -> bytes:
        """Returns a way as WKB; none where it has no line, which is noted."""
        try:
            # libosmium passes over locations at the beginning that are missing.
            if not len(nodes) or nodes[0].location.valid():
                return bytes.fromhex(self._wkb.create_linestring(way))
            self.tally.add("incomplete_way", "way", way.id)
        except osmium.InvalidLocationError:
            self.tally.add("incomplete_way", "way", way.id)
        except RuntimeError:
            self.tally.add("degenerate_way", "way", way.id)
        return b""

    def _area(self, area: Any) -> Feature:
        geometry = bytes.fromhex(self._wkb.create_multipolygon(area))
        return Feature("relation", area.orig_id(), self._looked_at(dict(area.tags)), geometry)


class _WayFilter:
    """Keeps away ways of more nodes than OpenStreetMap allows.

    Args:
        look_at: Is called with each way that is not kept away.
        tally: Takes those that are.
    """

    def __init__(self, look_at: Callable[[Any], None], tally: DroppedTally) -> None:
        self._look_at = look_at
        self._tally = tally

    def way(self, way: Any) -> bool:
        """Tells whether a way is kept away."""
        if len(way.nodes) > MOST_WAY_NODES:
            self._tally.add("long_way", "way", way.id)
            return True
        self._look_at(way)
        return False


def _bears_locations(file: Any) -> bool:
    """Tells whether the ways of a file bear the locations of their nodes (`osmium add-locations-to-ways`)."""
    with osmium.io.Reader(file, osmium.osm.NOTHING) as reader:
        header = reader.header()
    names = (header.get(f"pbf_optional_feature_{number}", "") for number in itertools.count())
    return "LocationsOnWays" in itertools.takewhile(bool, names)
