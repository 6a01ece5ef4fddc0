"""A small published folder, written with numpy and Pillow alone: squares of UTM on no lattice, as the real one has."""

import csv
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pyproj

HEADER = ("cell_id", "MGRS_tile", "min_lon", "max_lon", "min_lat", "max_lat", "split")

TILES = {
    "43QEU": (32643, 523_457, 1_834_568),
    "02LMK": (32702, 423_431, 8_412_347),
    "11SQA": (32611, 712_346, 4_054_329),
    "60HXD": (32760, 623_457, 5_834_568),
}
"""(EPSG, easting, northing) of the lower left corner of a first square in each tile, in metres."""

SPLITS = {"43QEU": "training", "02LMK": "validation", "11SQA": "testing"}

Arrays = dict[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Square:
    """A cell of the published kind.

    Attributes:
        cell_id: Its number.
        tile: Its tile.
        left: Easting of the west edge in metres.
        bottom: Northing of the south edge.
    """

    cell_id: int
    tile: str
    left: int
    bottom: int

    @property
    def row(self) -> list[Any]:
        """Its line of the table, bounds as the envelope of its corners."""
        transformer = pyproj.Transformer.from_crs(TILES[self.tile][0], 4326, always_xy=True)
        corners = [
            transformer.transform(self.left + x, self.bottom + y) for x in (0, 1920) for y in (0, 1920)
        ]
        lons, lats = zip(*corners, strict=True)
        return [
            self.cell_id,
            self.tile,
            min(lons),
            max(lons),
            min(lats),
            max(lats),
            SPLITS.get(self.tile, "training"),
        ]


def square(tile: str, number: int = 0) -> Square:
    """Returns one of the squares of a tile, each 3 km east of the one before."""
    _, left, bottom = TILES[tile]
    return Square(82_543_044 + 1000 * list(TILES).index(tile) + number, tile, left + 3000 * number, bottom)


def image_arrays(seed: int, least: int = 1, most: int = 12_000) -> Arrays:
    """Returns the arrays of an image: floats that are whole numbers of 1/10,000."""
    rng = np.random.default_rng(seed)
    shapes = {"gsd_10": (192, 192, 4), "gsd_20": (96, 96, 6), "gsd_60": (32, 32, 2)}
    arrays: Arrays = {
        name: (rng.integers(least, most, shape, endpoint=True) / 10_000).astype(np.float32)
        for name, shape in shapes.items()
    }
    arrays["scl"] = rng.choice([4, 5, 6, 7, 8, 9], (96, 96)).astype(np.uint8)
    arrays["bad_percent"] = np.array(np.isin(arrays["scl"], (8, 9)).mean())
    return arrays


def npz(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Returns an npz as numpy writes it."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def label_pixels(seed: int) -> npt.NDArray[np.uint8]:
    """Returns a label image of large squares, with values of the published ontology."""
    rng = np.random.default_rng(seed)
    channels = ([0, 1, 2, 11, 255], [12, 13, 254, 255], [14, 254, 255])
    coarse = [rng.choice(values, (12, 12)).repeat(16, axis=0).repeat(16, axis=1) for values in channels]
    return np.stack(coarse, axis=-1).astype(np.uint8)


def png(pixels: npt.NDArray[Any], **options: Any) -> bytes:
    """Returns a PNG as Pillow writes it."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


class PublishedFolder:
    """A published folder that grows.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[list[Any]] = []
        self.images: dict[tuple[int, str], Arrays] = {}
        self.labels: dict[int, npt.NDArray[np.uint8]] = {}
        self.put("spatial_cell_info.csv", b"")

    def put(self, name: str, content: bytes) -> Path:
        """Writes a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def add_row(self, row: list[Any]) -> None:
        """Adds a line to the table."""
        self.rows.append(row)
        text = io.StringIO()
        csv.writer(text).writerows([HEADER, *self.rows])
        self.put("spatial_cell_info.csv", text.getvalue().encode())

    def add_cell(self, cell: Square, *dates: str) -> None:
        """Adds a line, a label and an image of each date, "20180704"."""
        self.add_row(cell.row)
        self.labels[cell.cell_id] = label_pixels(cell.cell_id)
        self.put(f"osm_label_images_v10/{cell.tile}/{cell.cell_id}.png", png(self.labels[cell.cell_id]))
        for date in dates:
            self.add_image(cell, date)

    def add_image(self, cell: Square, date: str, number: int = 0) -> None:
        """Adds an image, called as the published ones are."""
        arrays = image_arrays(cell.cell_id + int(date) + number)
        self.images[cell.cell_id, date] = arrays
        self.put(image_file(cell, date, number), npz(arrays))


def image_file(cell: Square, date: str, number: int = 0) -> str:
    """Returns the name of an image's file."""
    item = f"S2A_{cell.tile.lstrip('0')}_{date}_{number}_L2A.npz"
    return f"osm_sentinel_imagery/{cell.tile}/{cell.cell_id}/{item}"
