"""The format `published`: the folders in which the dataset of the paper was published.

Source: the published files and their README; terratorch's `OpenSentinelMap` reads them.
"""

import csv
import dataclasses
import io
import itertools
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.table import CELLS_FILE, PUBLISHED_COLUMNS
from beam_pipeline.exchange.format import Format
from beam_pipeline.exchange.output import ShardOutput, WholeOutput
from beam_pipeline.exchange.record import ShardRecord
from beam_pipeline.exchange.source import SourceDataset, SourceExample
from beam_pipeline.imagery.image import Image
from beam_pipeline.imagery.radiometry import to_reflectance
from beam_pipeline.records.description import Shard
from beam_pipeline.records.schema import GRID_BANDS

IMAGERY_FOLDER = "osm_sentinel_imagery"
LABELS_FOLDER = "osm_label_images_v10"
CATEGORIES_FILE = "osm_categories.json"

NO_PAIR = "no_pair"
"""Reason of cells that are left out: they have one image, and readers draw two."""

_LEVEL = 2
"""Of zlib: as small as numpy's 6 in half the time, because a search finds little in reflectance but repeated floats.

Source: tests/benchmarks/export.py.
"""

_LEAST_IMAGES = 2
_MOST_ID_CHARS = 100
_ODD = re.compile(r"[^A-Za-z0-9.-]+")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_EIGHT_DIGITS = re.compile(r"\d{8}")


@dataclasses.dataclass(frozen=True)
class Published(Format):
    """npz of reflectance, PNG of labels, a CSV of the cells."""

    name = "published"
    help = "the folders, npz, PNG and CSV of the published dataset"
    whole_files = (CELLS_FILE, CATEGORIES_FILE)

    def write_shard(
        self, source: SourceDataset, shard: Shard, examples: Iterator[SourceExample], output: ShardOutput
    ) -> list[str]:
        """Writes the images and the label of each cell with a pair; returns the cells' lines of the CSV."""
        rows = []
        for _, of_cell in itertools.groupby(examples, lambda example: example.cell_year.cell.cell_id):
            years = list(of_cell)
            if self._write_cell(years, output):
                rows.append(_row(years[0].cell_year.cell))
        return rows

    def _write_cell(self, years: list[SourceExample], output: ShardOutput) -> bool:
        cell, label = years[0].cell_year.cell, years[0].label_png
        images = [image for example in years for image in example.cell_year.images]
        if len(images) < _LEAST_IMAGES:
            output.leave_out(NO_PAIR)
            return False
        if any(it.cell_year.cell != cell or it.label_png != label for it in years):
            detail = f"cell {cell.cell_id} has other labels or another chip in one year than in another"
            output.dead_letter(cell.cell_id, None, "cell_differs", detail)
            return False
        by_name = {image_name(image, cell.tile): image for image in images}
        if len(by_name) < len(images):
            detail = f"cell {cell.cell_id} has two images of one name: {', '.join(by_name)}"
            output.dead_letter(cell.cell_id, None, "doubled_image", detail)
            return False
        for name, image in by_name.items():
            output.write(f"{IMAGERY_FOLDER}/{cell.tile}/{cell.cell_id}/{name}.npz", npz(image))
        output.write(f"{LABELS_FOLDER}/{cell.tile}/{cell.cell_id}.png", label)
        output.wrote_cell(cell.cell_id)
        output.count("images", len(images))
        return True

    def finish(self, source: SourceDataset, records: Iterable[ShardRecord], output: WholeOutput) -> None:
        """Writes the table of the cells and the ontology."""
        rows = (row.encode() for record in records for row in record.content or ())
        output.write(CELLS_FILE, itertools.chain([f"{','.join(PUBLISHED_COLUMNS)}\n".encode()], rows))
        output.write(CATEGORIES_FILE, source.ontology.encode())


def npz(image: Image) -> bytes:
    """Returns the npz file of an image, as `np.savez_compressed` writes it but for zlib's level.

    Args:
        image: The image.

    Returns:
        gsd_10 (192, 192, 4), gsd_20 (96, 96, 6) and gsd_60 (32, 32, 2) float32 reflectance, which may be negative or
        above 1; scl (96, 96) uint8; bad_percent () float64, 0 to 1.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        name: to_reflectance(getattr(image, name), image.boa_add_offset) for name in GRID_BANDS
    }
    arrays |= {"scl": image.scl, "bad_percent": np.array(image.bad_percent, np.float64)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, array in arrays.items():
            # By its name alone it has no time of day, so equal images give equal bytes.
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return buffer.getvalue()


def image_name(image: Image, tile: str) -> str:
    """Returns the name of an image's file, without its ending.

    Readers take the first eight digits in it for the date, and some look for `_YYYYMMDD_`. An item id that holds its
    date so is the name, e.g. "S2A_43QEU_20201018_0_L2A". Before another go tile and date, with what cannot stand in the
    name of a file replaced: "T43QEU_20201018_S2A-MSIL2A-20201018T053121-...".

    Args:
        image: The image.
        tile: Its MGRS tile.
    """
    date = image.date.replace("-", "")
    first = _EIGHT_DIGITS.search(image.item_id)
    plain = _PLAIN.fullmatch(image.item_id) is not None
    if plain and f"_{date}_" in image.item_id and first is not None and first[0] == date:
        return image.item_id
    return f"T{tile}_{date}_{_ODD.sub('-', image.item_id)[:_MOST_ID_CHARS]}"


def _row(cell: Cell) -> str:
    """Returns a cell's line of the published CSV."""
    line = io.StringIO()
    bounds = (cell.min_lon, cell.max_lon, cell.min_lat, cell.max_lat)
    fields = (cell.cell_id, cell.tile, *map(repr, map(float, bounds)), cell.split)
    csv.writer(line, lineterminator="\n").writerow(fields)
    return line.getvalue()
