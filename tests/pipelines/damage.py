"""Damages a copy of the sample world, and says by rasterio and numpy alone what a build must make of it."""

import contextlib
import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import osmium
import rasterio
from osmium.osm.mutable import Node, Relation, Way
from rasterio.windows import from_bounds

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.image import BANDS, BANDS_10, BANDS_20, BANDS_60, Image
from beam_pipeline.sample_world import SampleWorld

FIRST_ID = 10_000_000
"""Ids of added elements begin here, behind those of the sample's map."""

Usable = Callable[[ChipWindow], bool]


class Catalogue:
    """The items and rasters of a world, to be broken."""

    def __init__(self, world: SampleWorld) -> None:
        self.root = world.stac_catalog.parent / "sentinel-2-l2a"

    def of(self, tile: str, date: str, sequence: int = 0) -> str:
        """The id of a tile's item of a date."""
        (found,) = self.root.glob(f"S2?_{tile}_{date.replace('-', '')}_{sequence}_L2A")
        return found.name

    def ids(self, tile: str, year: int) -> list[str]:
        return sorted(path.name for path in self.root.glob(f"S2?_{tile}_{year}*"))

    def raster(self, item_id: str, band: str) -> Path:
        return self.root / item_id / f"{band}.tif"

    @contextlib.contextmanager
    def editing(self, item_id: str) -> Iterator[dict[str, Any]]:
        path = self.root / item_id / f"{item_id}.json"
        content = json.loads(path.read_text())
        yield content
        path.write_text(json.dumps(content))

    @contextlib.contextmanager
    def links(self) -> Iterator[list[dict[str, str]]]:
        path = self.root / "collection.json"
        content = json.loads(path.read_text())
        yield content["links"]
        path.write_text(json.dumps(content))

    def remove(self, item_id: str) -> None:
        with self.links() as links:
            links[:] = [link for link in links if item_id not in link["href"]]

    def twin(self, item_id: str, twin_id: str) -> None:
        """Copies an item and its rasters under another id."""
        shutil.copytree(self.root / item_id, self.root / twin_id)
        (self.root / twin_id / f"{item_id}.json").rename(self.root / twin_id / f"{twin_id}.json")
        with self.editing(twin_id) as item:
            item["id"] = twin_id
        with self.links() as links:
            links.append({"rel": "item", "href": f"./{twin_id}/{twin_id}.json"})

    def repaint(self, item_id: str, band: str, change: Callable[[np.ndarray, Any], Any]) -> None:
        """Writes a raster anew: `change` takes pixels (H, W) and transform and returns both."""
        path = self.raster(item_id, band)
        with rasterio.open(path) as source:
            pixels, transform, crs = source.read(1), source.transform, source.crs
        pixels, transform = change(pixels, transform)
        path.unlink()
        size = {"height": pixels.shape[0], "width": pixels.shape[1]}
        with rasterio.open(
            path, "w", driver="COG", count=1, dtype=pixels.dtype, crs=crs, transform=transform, **size
        ) as target:
            target.write(pixels, 1)

    def blank(self, item_id: str, bands: tuple[str, ...], x: tuple[float, float] = (0.0, 1e7)) -> None:
        """Puts no data where the easting lies between two bounds."""

        def change(pixels: np.ndarray, transform: Any) -> Any:
            eastings = transform.c + transform.a * (np.arange(pixels.shape[1]) + 0.5)
            return np.where((x[0] < eastings) & (eastings < x[1]), pixels.dtype.type(0), pixels), transform

        for band in bands:
            self.repaint(item_id, band, change)

    def spoil_block(self, item_id: str, band: str) -> tuple[float, float, float, float]:
        """Flips the bits in the middle of the first block and returns its bounds in metres."""
        path = self.raster(item_id, band)
        with rasterio.open(path) as source:
            offset = int(source.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
            size = int(source.get_tag_item("BLOCK_SIZE_0_0", "TIFF", bidx=1))
            rows, columns = source.block_shapes[0]
            (left, top), (right, bottom) = source.transform @ (0, 0), source.transform @ (columns, rows)
        content = bytearray(path.read_bytes())
        middle = slice(offset + size // 2, offset + size // 2 + 64)
        content[middle] = bytes(byte ^ 0xFF for byte in content[middle])
        path.write_bytes(content)
        return left, bottom, right, top


@functools.lru_cache(maxsize=512)
def _whole(path: Path) -> tuple[np.ndarray, Any]:
    with rasterio.open(path) as source:
        return source.read(1), source.transform


def window_of(path: Path, chip: ChipWindow) -> np.ndarray:
    """Returns what a raster shows of a chip."""
    pixels, transform = _whole(path)
    window = from_bounds(*chip.bounds, transform)
    row, column = round(window.row_off), round(window.col_off)
    return pixels[row : row + round(window.height), column : column + round(window.width)]


def is_clear(catalogue: Catalogue, item_id: str, chip: ChipWindow, offset: int) -> bool:
    """The filters in plain words: no pixel without data, a quarter bad at most, and a twentieth of it dark."""
    scl = window_of(catalogue.raster(item_id, "SCL"), chip)
    if (scl == 0).any() or np.isin(scl, (1, 3, 8, 9, 10)).mean() > 0.25:
        return False
    visible = [window_of(catalogue.raster(item_id, band), chip) for band in ("B02", "B03", "B04")]
    dark = (np.min(visible, axis=0).astype(int) + offset) / 10_000 <= 0.2
    return bool(dark.mean() >= 0.05)


def expected_dates(
    folder: Path, clean: Catalogue, cell: Any, year: int, unusable: Mapping[str, Usable], origin: Mapping
) -> list[str]:
    """The items of the first two dates of the walk that are clear in the undamaged rasters and can be used.

    Args:
        folder: The dataset, for the order of the walk.
        clean: The undamaged catalogue.
        cell: The cell.
        year: The year.
        unusable: Item id -> for which chips it cannot be used.
        origin: Item id -> the item of the undamaged world that it was made of, where that is another one.
    """
    scenes = json.loads((folder / "scenes" / f"{cell.tile}_{year}.json").read_text())["scenes"]
    taken: dict[str, str] = {}
    for scene in scenes:
        date = scene["datetime"][:10]
        usable = [
            one
            for one in (scene, *scene["earlier"])
            if one["item_id"] not in unusable or not unusable[one["item_id"]](cell.chip)
        ]
        if date in taken or not usable:
            continue
        item_id = usable[0]["item_id"]
        if is_clear(clean, origin.get(item_id, item_id), cell.chip, usable[0]["boa_add_offset"]):
            taken[date] = item_id
        if len(taken) == 2:
            break
    return [taken[date] for date in sorted(taken)]


def shows(image: Image, clean: Catalogue, item_id: str, chip: ChipWindow) -> bool:
    """Whether an image holds exactly what an undamaged item shows of a chip."""
    stored = {
        **{band: image.gsd_10[..., index] for index, band in enumerate(BANDS_10)},
        **{band: image.gsd_20[..., index] for index, band in enumerate(BANDS_20)},
        **{band: image.gsd_60[..., index] for index, band in enumerate(BANDS_60)},
        "SCL": image.scl,
    }
    return stored.keys() == {*BANDS, "SCL"} and all(
        np.array_equal(pixels, window_of(clean.raster(item_id, band), chip))
        for band, pixels in stored.items()
    )


class MapAdditions:
    """Elements to be added to a map; places are in degrees."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.ways: list[Way] = []
        self.relations: list[Relation] = []

    def node(self, lonlat: tuple[float, float]) -> int:
        self.nodes.append(Node(id=FIRST_ID + len(self.nodes), location=lonlat))
        return FIRST_ID + len(self.nodes) - 1

    def way(self, lonlats: np.ndarray, tags: dict[str, str], extra_refs: tuple[int, ...] = ()) -> int:
        """Adds a way; one that ends where it begins is closed."""
        places = [tuple(place) for place in np.round(lonlats, 7).tolist()]
        closed = places[0] == places[-1]
        refs = [self.node(place) for place in (places[:-1] if closed else places)]
        refs += [*extra_refs, *([refs[0]] if closed else [])]
        self.ways.append(Way(id=FIRST_ID + len(self.ways), nodes=refs, tags=tags))
        return FIRST_ID + len(self.ways) - 1

    def relation(self, members: list[tuple[str, int, str]], tags: dict[str, str]) -> None:
        relation = Relation(id=FIRST_ID + len(self.relations), members=members, tags=tags)
        self.relations.append(relation)

    def write(self, old: Path, new: Path) -> None:
        """Writes a map with the additions, sorted as extracts are."""
        with osmium.io.Reader(str(old)) as reader:
            header = reader.header()
        with osmium.SimpleWriter(str(new), header=header, overwrite=True) as writer:
            for kind, added, add in (
                (osmium.osm.NODE, self.nodes, writer.add_node),
                (osmium.osm.WAY, self.ways, writer.add_way),
                (osmium.osm.RELATION, self.relations, writer.add_relation),
            ):
                for entity in osmium.FileProcessor(str(old), kind):
                    writer.add(entity)
                for element in added:
                    add(element)
