"""Map objects, requests and files of stores for tests."""

import io
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.features.footer import TileFooter
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest
from beam_pipeline.features.merging import merge_tile
from beam_pipeline.features.parting import part_objects
from beam_pipeline.features.piece import PieceRecord
from beam_pipeline.features.reading import objects_of
from beam_pipeline.features.stored_tile import StoredTile
from beam_pipeline.labels.feature import Dropped, Found
from beam_pipeline.labels.map_object import MapObject, ObjectType
from beam_pipeline.labels.object_columns import ObjectColumns

TILE = "32TNT"
CHIP = ChipWindow(32632, 539_460, 5_220_060)
LON, LAT = 9.5327, 47.1413  # the middle of CHIP
EXTRACT = ExtractIdentity("alps.osm.pbf", 1234, "2023-01-01T00:00:00Z")


def request(cells=None, keys=("building", "highway", "natural")) -> StoreRequest:
    return StoreRequest({TILE: {7: CHIP}} if cells is None else cells, keys)


def made(
    osm_type: ObjectType, osm_id: int, geometry, version=1, timestamp=1_600_000_000, **tags
) -> MapObject:
    wkb = shapely.to_wkb(geometry, byte_order=1)
    pairs = tuple(sorted(tags.items())) or (("building", "yes"),)
    return MapObject(osm_type, osm_id, version, timestamp, pairs, wkb)


def rounded(geometry):
    """A geometry on OpenStreetMap's grid."""
    return shapely.transform(geometry, lambda places: (places * 1e7).round() / 1e7)


def house(osm_id: int, lon=LON, lat=LAT, half=1e-4, **more) -> MapObject:
    box = shapely.box(lon - half, lat - half, lon + half, lat + half)
    return made("way", osm_id, rounded(box), **more)


def town(count: int, spread=0.01, seed=0) -> list[MapObject]:
    """Objects of all kinds around the middle of CHIP."""
    draw = random.Random(seed)
    objects = []
    for number in range(count):
        lon, lat = LON + draw.uniform(-spread, spread), LAT + draw.uniform(-spread, spread)
        kind = number % 4
        near = [(lon + draw.uniform(-1e-3, 1e-3), lat + draw.uniform(-1e-3, 1e-3)) for _ in range(3)]
        tags = {"building": draw.choice(["yes", "hut"]), "name": f"№ {number}", "addr:city": "Schaan"}
        if kind == 0:
            objects.append(made("node", number, rounded(shapely.Point(lon, lat)), **tags))
        elif kind == 1:
            objects.append(made("way", number, rounded(shapely.LineString(near)), highway="path"))
        elif kind == 2:
            objects.append(house(number, lon, lat, version=0, timestamp=0, **tags))
        else:
            holed = shapely.box(lon, lat, lon + 4e-4, lat + 4e-4) - shapely.box(
                lon + 1e-4, lat + 1e-4, lon + 2e-4, lat + 2e-4
            )
            both = shapely.MultiPolygon([holed, shapely.box(lon + 5e-4, lat, lon + 6e-4, lat + 1e-4)])
            objects.append(made("relation", number, rounded(both), natural="wood", type="multipolygon"))
    return objects


def by_columns(objects: Sequence[MapObject], size=100) -> Iterable[Found[ObjectColumns]]:
    for osm_type in ("node", "way", "relation"):
        of_type = [one for one in objects if one.osm_type == osm_type]
        for first in range(0, len(of_type), size):
            yield Found([ObjectColumns.of(osm_type, of_type[first : first + size])])
    yield Found((), Dropped({"incomplete_way": 1}, {"incomplete_way": ("way/5",)}))


def part(objects, folder: Path, asked=None, extract=EXTRACT, size=100) -> PieceRecord:
    folder.mkdir(exist_ok=True, parents=True)
    return part_objects(by_columns(objects, size), asked or request(), folder, extract)


def opened(path: Path, record: PieceRecord | None = None) -> StoredTile:
    """A file, whose footer is trusted as the record knows it."""
    known = record.tiles[path.stem].digest if record else ""
    return StoredTile(io.BytesIO(path.read_bytes()), path.name, known=known)


def stored(objects, folder: Path, asked=None, extract=EXTRACT, tile=TILE) -> list[MapObject]:
    """The rows of a store that objects give, in order of the file."""
    record = part(objects, folder, asked, extract)
    if tile not in record.tiles:
        return []
    return list(objects_of(opened(folder / f"{tile}.parquet", record)))


def merge(pieces, failures=(), asked=None, tile=TILE) -> tuple[bytes, TileFooter]:
    """Merges (record, folder) of pieces."""
    given = [
        (record.extract, opened(folder / f"{tile}.parquet", record) if tile in record.tiles else None)
        for record, folder in pieces
    ]
    file = io.BytesIO()
    footer = merge_tile(file, tile, given, failures, asked or request())
    return file.getvalue(), footer
