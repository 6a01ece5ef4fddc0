"""A small whole dataset of every fate, and ways to damage it, for the tests of the audit."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from beam_pipeline import plan
from beam_pipeline.cells.grid import GRID_DESCRIPTION
from beam_pipeline.closing import DATASET_FILE, DEAD_LETTERS_FILE
from beam_pipeline.records import manifest
from beam_pipeline.records.example import CellYear, decode, encode
from beam_pipeline.records.shards import commit_unit, frame, read_shard, read_summary
from beam_pipeline.records.summary import DeadLetter, ShardContent, fingerprint_sha256, summarise
from beam_pipeline.storage import BeamFiles
from tests.records.builders import Assembled, make_cell, make_cell_year

FILES = BeamFiles()
YEARS = (2019, 2020)
FIRST, SECOND = (f"opensentinelmap-training.tfrecord-0000{index}-of-00002" for index in range(2))
TESTING = "opensentinelmap-testing.tfrecord-00000-of-00001"
CELLS = [
    *(make_cell(cell_id) for cell_id in (1, 2, 3, 4)),
    make_cell(5, tile="56HKH", split="testing"),
]
WRITTEN = {(1, 2019), (1, 2020), (2, 2019), (3, 2019), (4, 2019), (4, 2020), (5, 2020)}
REJECTED = {(2, 2020): "no_clear_date", (5, 2019): "one_clear_date"}
DEAD = {(3, 2020)}
LABELS = [
    {"name": "OSM_land_use", "labels": {"wooded": 0, "residential": 2}},
    {"name": "OSM_water_and_roads", "labels": {"water": 12, "road": 13}},
    {"name": "buildings", "labels": {"building": 14}},
]


def cell_year(cell, year: int) -> CellYear:
    example = make_cell_year(cell.cell_id * 10_000 + year, year=year)
    images = tuple(
        dataclasses.replace(image, datetime=f"{year}-0{month}-19T11:34:25.405000Z")
        for month, image in zip((2, 7), example.images, strict=True)
    )
    values = [[*channel["labels"].values(), 254, 255] for channel in LABELS]
    rng = np.random.default_rng(cell.cell_id)
    label = np.stack([rng.choice(np.array(of, np.uint8), (192, 192)) for of in values], axis=-1)
    return CellYear(cell, year, images, label)


def make_dataset(folder: Path) -> None:
    units = plan.make_units(CELLS, cells_per_shard=2)
    text = plan.units_text(units)
    fingerprint = {
        "cells_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "years": list(YEARS),
        "allow_single": False,
        "ontology_sha256": "ab",
    }
    FILES.write_text(f"{folder}/{plan.UNITS_FILE}", text)
    FILES.write_text(f"{folder}/{plan.FINGERPRINT_FILE}", json.dumps(fingerprint))
    for unit in units:
        keys = [(cell, year) for cell in unit.cells for year in YEARS]
        examples = [cell_year(cell, year) for cell, year in keys if (cell.cell_id, year) in WRITTEN]
        rejections: dict[str, list] = {}
        for cell, year in keys:
            if (cell.cell_id, year) in REJECTED:
                rejections.setdefault(REJECTED[cell.cell_id, year], []).append((cell.cell_id, year))
        letters = tuple(
            DeadLetter(unit.name, cell.cell_id, year, "read_chips", "throttled", "503")
            for cell, year in keys
            if (cell.cell_id, year) in DEAD
        )
        assembled = Assembled(unit, len(YEARS), tuple(examples), rejections, dead_letters=letters)
        summary = summarise(assembled, fingerprint_sha256(fingerprint))
        commit_unit(FILES, str(folder), unit.name, map(encode, examples), summary)
    describe(folder)


def describe(folder: Path) -> None:
    """Writes what the closing step writes."""
    lines = (folder / plan.UNITS_FILE).read_text().splitlines()
    units = [plan.Unit.from_json(line) for line in lines]
    fingerprint = json.loads((folder / plan.FINGERPRINT_FILE).read_text())
    summaries = list(manifest.read_summaries(FILES, str(folder), units))
    dataset = manifest.dataset_json(
        fingerprint=fingerprint,
        units=units,
        grid=GRID_DESCRIPTION,
        ontology={"version": 10, "sha256": "ab", "channels": LABELS},
        years=fingerprint["years"],
        summaries=summaries,
        dropped_from_extracts={"a.osm.pbf": {"incomplete_relation": 3}},
        cells_beyond_extracts=0,
    )
    FILES.write_text(f"{folder}/{DATASET_FILE}", manifest.to_text(dataset))
    FILES.write_text(f"{folder}/{DEAD_LETTERS_FILE}", manifest.dead_letters_jsonl(summaries))


def payloads(folder: Path, name: str) -> list[bytes]:
    return list(read_shard(FILES, str(folder / name)))


def rewrite(folder: Path, name: str, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    """Changes a shard's records, and nothing else; their CRCs are right."""
    (folder / name).write_bytes(b"".join(map(frame, edit(payloads(folder, name)))))


def forge(
    folder: Path, name: str, edit: Callable[[list[CellYear]], list[CellYear]], **summary: object
) -> None:
    """Changes a shard's examples, and its summary and dataset.json with them, as a wrong builder would."""
    examples = edit([decode(payload) for payload in payloads(folder, name)])
    content = ShardContent()
    for example in examples:
        content.add(example)
    changed = dataclasses.replace(read_summary(FILES, str(folder), name), **content.counts(), **summary)
    commit_unit(FILES, str(folder), name, map(encode, examples), changed)
    describe(folder)


def edit_json(path: Path, edit: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content, indent=1, sort_keys=True))
