"""A small whole dataset of every fate, and ways to damage it, for the tests of the audit."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.sidecars import read_ontology
from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.table import CELLS_FILE, format_cells_csv
from beam_pipeline.dataset.closing import sidecar_texts
from beam_pipeline.dataset.commits import commit_unit, read_summaries, read_summary
from beam_pipeline.dataset.extract_records import format_dropped
from beam_pipeline.dataset.fingerprint import Extract, Filters, Fingerprint
from beam_pipeline.dataset.folder import (
    DATASET_FILE,
    FINGERPRINT_FILE,
    LAUNCH_FILE,
    ONTOLOGY_FILE,
    UNITS_FILE,
    DatasetFolder,
    description_json,
    plan_json,
    summary_name,
)
from beam_pipeline.dataset.manifest import dataset_json
from beam_pipeline.dataset.outcomes import DeadLetter
from beam_pipeline.dataset.summary import ShardContent, summarise, summary_json
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import make_units, parse_units, units_text
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.feature import Dropped
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.labels.ontology_1_0 import load_1_0
from beam_pipeline.records.example import CellYear, decode, encode
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.shards import frame, read_shard
from tests.records.builders import make_assembled, make_cell, make_cell_year, make_fingerprint

FILES = BeamFiles()
DROPPED = Dropped({"incomplete_relation": 3}, {"incomplete_relation": ("relation/5", "relation/8")})
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
ONTOLOGY = {
    "version": 10,
    "channels": [
        {
            "name": channel["name"],
            "labels": {
                name: {"value": value, "precedence": value + 1, name: ["*"]}
                for name, value in channel["labels"].items()
            },
        }
        for channel in LABELS
    ],
}
BAD_SCL = (3, 8, 9)
FINGERPRINT = make_fingerprint(
    cells_per_shard=2,
    years=YEARS,
    filters=Filters(**dataclasses.asdict(FilterSettings(bad_scl=BAD_SCL))),
    ontology_sha256=Ontology.load(json.dumps(ONTOLOGY)).sha256,
    osm=(Extract(name="a.osm.pbf", bytes=1, timestamp=""),),
)


def cell_year(cell, year: int) -> CellYear:
    example = make_cell_year(cell.cell_id * 10_000 + year, year=year)
    rng = np.random.default_rng(cell.cell_id)
    images = []
    for month, image in zip((2, 7), example.images, strict=True):
        scl = rng.choice(np.array([4, 4, 4, 5, 5, 6, 3], np.uint8), (96, 96))
        bad = sum(int((scl == value).sum()) for value in BAD_SCL) / 9216
        time = f"{year}-0{month}-19T11:34:25.405000Z"
        item = f"S2A_{cell.tile}_{year}0{month}19_0_L2A"
        # Its offset is one that random pixels cannot contradict.
        changes = {
            "item_id": item,
            "datetime": time,
            "scl": scl,
            "bad_percent": bad,
            "boa_decision": "host_applied",
            "boa_add_offset": 0,
        }
        images.append(dataclasses.replace(image, **changes))
    values = [[*channel["labels"].values(), 254, 255] for channel in LABELS]
    label = np.stack([rng.choice(np.array(of, np.uint8), (192, 192)) for of in values], axis=-1)
    return CellYear(cell, year, tuple(images), label)


def make_dataset(folder: Path, cells: Sequence[Cell] = CELLS) -> None:
    units = make_units(cells, cells_per_shard=2)
    text = units_text(units)
    fingerprint = FINGERPRINT.model_copy(update={"cells_sha256": hashlib.sha256(text.encode()).hexdigest()})
    whole = DatasetFolder(FILES, str(folder))
    for name, content in (
        (UNITS_FILE, text),
        (CELLS_FILE, format_cells_csv(cells)),
        (ONTOLOGY_FILE, plan_json(ONTOLOGY)),
        (LAUNCH_FILE, plan_json({"cells_beyond_extracts": 0})),
        (FINGERPRINT_FILE, fingerprint.to_json()),
    ):
        whole.write_text(name, content)
    whole.write_text("extracts/a.osm.pbf.json", format_dropped(DROPPED))
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
        assembled = make_assembled(unit, len(YEARS), examples, rejections=rejections, dead_letters=letters)
        summary = summarise(assembled, fingerprint.sha256)
        commit_unit(whole, unit.name, map(encode, examples), summary)
    describe(folder)


def describe(folder: Path) -> None:
    """Writes what the closing step writes."""
    whole = DatasetFolder(FILES, str(folder))
    units = parse_units(whole.read_bytes(UNITS_FILE))
    fingerprint = Fingerprint.from_json(whole.read_bytes(FINGERPRINT_FILE))
    totals = Totals.of(read_summaries(whole, units))
    described = dataset_json(
        fingerprint=fingerprint,
        units=units,
        ontology={"version": 10, "sha256": fingerprint.ontology_sha256, "channels": LABELS},
        totals=totals,
        dropped_from_extracts={"a.osm.pbf": DROPPED},
        cells_beyond_extracts=0,
    )
    for name, text in sidecar_texts(units, totals.summaries, fingerprint).items():
        whole.write_text(name, text)
    whole.delete_leftovers()
    whole.write_text(DATASET_FILE, description_json(described))


def as_version(
    folder: Path,
    version: str,
    record: Callable[[Example], object],
    summary: Callable[[dict], object],
    described: Callable[[dict], object] = lambda content: None,
) -> None:
    """Makes of a dataset what a build of another version would have written.

    Args:
        folder: The dataset.
        version: The version, e.g. "1.0.0".
        record: Changes an example.
        summary: Changes the content of a summary.
        described: Changes the content of dataset.json.
    """
    whole = DatasetFolder(FILES, str(folder))
    load = load_1_0 if version.startswith("1.0.") else Ontology.load
    of_version = {"schema_version": version, "ontology_sha256": load(json.dumps(ONTOLOGY)).sha256}
    edit_json(folder / FINGERPRINT_FILE, lambda content: content.update(of_version))
    fingerprint = Fingerprint.from_json(whole.read_bytes(FINGERPRINT_FILE))
    # Each version takes the digest of an ontology in a way of its own.
    ontology = read_ontology(whole, fingerprint, Findings())
    edit_json(folder / FINGERPRINT_FILE, lambda content: content.update(ontology_sha256=ontology.sha256))
    fingerprint = Fingerprint.from_json(whole.read_bytes(FINGERPRINT_FILE))
    for unit in parse_units(whole.read_bytes(UNITS_FILE)):
        stored = dataclasses.replace(read_summary(whole, unit.name), fingerprint=fingerprint.sha256)
        records = [changed(payload, record) for payload in payloads(folder, unit.name)]
        commit_unit(whole, unit.name, records, stored)
        path = folder / summary_name(unit.name)
        content = json.loads(path.read_text())
        summary(content)
        path.write_text((summary_json if "contents" in content else plan_json)(content))
    describe(folder)
    edit_json(folder / DATASET_FILE, described)


def changed(payload: bytes, change: Callable[[Example], object]) -> bytes:
    """Changes a record as a message."""
    message = Example.FromString(payload)
    change(message)
    return bytes(message.SerializeToString(deterministic=True))


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
    changed = dataclasses.replace(
        read_summary(DatasetFolder(FILES, str(folder)), name), **content.counts(), **summary
    )
    commit_unit(DatasetFolder(FILES, str(folder)), name, map(encode, examples), changed)
    describe(folder)


def edit_json(path: Path, edit: Callable[[dict], object]) -> None:
    """Changes a file's content and not its layout."""
    content = json.loads(path.read_text())
    edit(content)
    layouts = {DATASET_FILE: description_json, "summaries": summary_json}
    path.write_text(layouts.get(path.name, layouts.get(path.parent.name, plan_json))(content))
