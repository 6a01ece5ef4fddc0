"""Writes small datasets of made-up cell-years in the real format, without Beam."""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.dataset.commits import commit_unit
from beam_pipeline.dataset.folder import DatasetFolder, description_json
from beam_pipeline.dataset.manifest import dataset_json
from beam_pipeline.dataset.summary import summarise
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.image import BANDS_10, BANDS_20, Image
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.description import Ontology
from beam_pipeline.records.example import CellYear, encode
from beam_pipeline.records.schema import NONE, UNLABELED
from beam_pipeline.records.shards import shard_name
from tests.records.builders import make_assembled, make_fingerprint

ONTOLOGY: dict[str, Any] = {
    "version": 1,
    "sha256": "made up",
    "channels": [
        {
            "name": "OSM_land_use",
            "labels": {
                "wooded": 0,
                "agricultural": 1,
                "residential": 2,
                "industrial": 3,
                "commercial": 4,
                "recreation": 5,
                "airport": 6,
                "quarry": 7,
                "military": 8,
                "desert_sand": 9,
                "mountain_rock": 10,
                "other_natural": 11,
            },
        },
        {"name": "OSM_water_and_roads", "labels": {"water": 12, "road": 13}},
        {"name": "buildings", "labels": {"building": 14}},
    ],
}
"""As in dataset.json, with the 15 categories of the paper."""

VALUES = tuple(tuple(channel["labels"].values()) for channel in ONTOLOGY["channels"])
"""Values of the categories of each channel."""

_BLOCK = 16  # side of a patch of one label, px at 10 m


def table_of(ontology: dict[str, Any]) -> CategoryTable:
    """The categories of an ontology as it stands in dataset.json."""
    return CategoryTable.from_ontology(Ontology.model_validate_json(json.dumps(ontology)))


class LocalFiles:
    """The part of `records.files.Files` that writes shards, on a local disk."""

    def open(self, path: str) -> BinaryIO:
        return Path(path).open("rb")

    def write_bytes(self, path: str, chunks: Iterable[bytes]) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"".join(chunks))

    def write_text(self, path: str, text: str) -> None:
        self.write_bytes(path, [text.encode()])

    def rename(self, source: str, target: str) -> None:
        shutil.move(source, target)


def made_label(rng: np.random.Generator) -> np.ndarray:
    """(192, 192, 3) uint8 of patches; each channel holds all its categories, 254 and 255 sooner or later."""
    side = 192 // _BLOCK
    channels = [rng.choice([*values, NONE, UNLABELED], (side, side)) for values in VALUES]
    return np.stack(channels, axis=-1).repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1).astype(np.uint8)


def made_image(label: np.ndarray, rng: np.random.Generator, item_id: str, **changes: Any) -> Image:
    """An image whose spectra follow the label, so that it can be learnt from it; DN are 1000 and more."""
    # (3, 256, bands): what each value of each channel adds, the same in every image.
    spectra = np.random.default_rng(0).uniform(0, 600, (3, 256, len(BANDS_10 + BANDS_20)))
    clean = 1000 + sum(spectra[channel][label[..., channel]] for channel in range(3))
    coarse = clean[::2, ::2]

    def noisy(pixels: np.ndarray) -> np.ndarray:
        return (pixels + rng.uniform(0, 300, pixels.shape)).astype(np.uint16)

    image = Image(
        item_id=item_id,
        datetime="2020-02-19T11:34:25.405000Z",
        platform="sentinel-2a",
        baseline="05.11",
        boa_add_offset=int(rng.choice([0, -1000])),
        boa_decision="not_applied",
        bad_percent=0.0,
        gsd_10=noisy(clean[..., : len(BANDS_10)]),
        gsd_20=noisy(coarse[..., len(BANDS_10) :]),
        gsd_60=rng.integers(1000, 3000, (32, 32, 2), np.uint16),
        scl=np.full((96, 96), 4, np.uint8),
    )
    return dataclasses.replace(image, **changes)


def made_cell(cell_id: int, split: Any = "training", tile: str = "33TWN") -> Cell:
    return Cell(cell_id, tile, split, ChipWindow(32633, 300000, 5000040), 12.0, 12.02, 45.0, 45.02)


def made_cell_years(
    cell_ids: Iterable[int], years: Sequence[int], split: Any = "training", singles: Iterable[tuple] = ()
) -> list[CellYear]:
    """Cell-years in the order of a shard; those of `singles`, (cell_id, year), have one image."""
    made = []
    for cell_id in sorted(cell_ids):
        # The labels of a cell are the same in all years.
        label = made_label(np.random.default_rng([cell_id, 0]))
        for year in years:
            rng = np.random.default_rng([cell_id, year])
            count = 1 if (cell_id, year) in singles else 2
            images = tuple(made_image(label, rng, f"item_{cell_id}_{year}_{slot}") for slot in range(count))
            made.append(CellYear(made_cell(cell_id, split), year, images, label))
    return made


def write_dataset(folder: str | Path, shards: dict[str, list[list[CellYear]]], files: Any = None) -> str:
    """Writes a dataset.

    Args:
        folder: Where to.
        shards: By split, the cell-years of each shard.
        files: Where `folder` is, by default the local disk.

    Returns:
        The folder.
    """
    folder = str(folder)
    files = files or LocalFiles()
    units, summaries = [], []
    for split, parts in shards.items():
        for index, cell_years in enumerate(parts):
            cells = dict.fromkeys(cell_year.cell.cell_id for cell_year in cell_years)
            cells = tuple(made_cell(cell_id, split) for cell_id in cells)
            unit = Unit(shard_name(split, index, len(parts)), split, "33TWN", cells)
            years = max([1, *(sum(1 for it in cell_years if it.cell.cell_id == c.cell_id) for c in cells)])
            summary = summarise(make_assembled(unit, years, tuple(cell_years)))
            units.append(unit)
            summaries.append(
                commit_unit(DatasetFolder(files, folder), unit.name, map(encode, cell_years), summary)
            )
    all_years = {it.year for it in itertools.chain.from_iterable(itertools.chain(*shards.values()))}
    content = dataset_json(
        fingerprint=make_fingerprint(years=tuple(sorted(all_years))),
        units=units,
        ontology=ONTOLOGY,
        totals=Totals.of(summaries),
        dropped_from_extracts={},
        cells_beyond_extracts=0,
    )
    files.write_text(f"{folder}/dataset.json", description_json(content))
    return folder
