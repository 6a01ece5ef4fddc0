"""Measures the report of 137,045 made-up cells: seconds and the most memory.

    python tests/benchmarks/report.py [--check] [--cells N] [--runner FnApiRunner] [--keep FOLDER]

The cells lie in clusters on every continent, 64 in a unit, each with patches of labels and two images in each of 4
years; shards are empty, so that no example is shown. The command runs as a process of its own. Under --check the exit
code is 1 when a bound is missed.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from beam_pipeline.cells.cell import SPLITS, Cell, ChipWindow
from beam_pipeline.dataset.cell_content import CellContent, count_labels
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import UNITS_FILE, DatasetFolder, description_json, summary_name
from beam_pipeline.dataset.manifest import dataset_json, describe_ontology
from beam_pipeline.dataset.outcomes import AssembledUnit
from beam_pipeline.dataset.summary import UnitSummary, summarise
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import Unit, make_units, units_text
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.runtime.disk import Disk
from tests.benchmarks.summaries import made_labels
from tests.records.builders import make_fingerprint

CELLS = 137_045
"""Of the published dataset."""

PER_UNIT, PER_TILE = 64, 100
YEARS = (2017, 2018, 2019, 2020)
PLACES = (
    (-100, 40),
    (-60, -15),
    (10, 50),
    (25, 0),
    (30, -25),
    (80, 22),
    (110, 30),
    (140, -25),
    (60, 55),
    (-75, 5),
)
"""Longitude and latitude of the middles of clusters."""

MAX_S, MAX_MB = 300.0, 2_000.0


def made_cells(count: int) -> list[Cell]:
    """Cells in tiles around the places; a tile has one split."""
    rng = np.random.default_rng(0)
    cells = []
    for tile in range(-(-count // PER_TILE)):
        lon, lat = np.array(PLACES[tile % len(PLACES)]) + rng.normal(0, (12, 7))
        split = SPLITS[int(np.searchsorted([0.8, 0.9], rng.random()))]
        name = f"{tile % 60 + 1:02d}{''.join(chr(65 + tile // 60 // 26**place % 26) for place in range(3))}"
        for number in range(PER_TILE):
            west, south = lon + number % 10 * 0.03, lat + number // 10 * 0.0173
            chip = ChipWindow(32632, 539_460, 5_220_060)
            bounds = (west, west + 0.02, south, south + 0.0173)
            cells.append(Cell(100_000_000 + len(cells), name, split, chip, *bounds))
    return cells[:count]


def summaries(units: list[Unit], fingerprint: str) -> Iterator[UnitSummary]:
    """The summary of every unit, its cells' contents in turn from some made-up labels."""
    labels = [count_labels(label) for label in made_labels(Ontology.load(DEFAULT_ONTOLOGY.read_text()))]
    rng = np.random.default_rng(1)
    number = itertools.count()
    for unit in units:
        months = np.sort(rng.integers(1, 13, (len(unit.cells), len(YEARS), 2)), axis=2).tolist()
        bad = rng.integers(0, 2304, (len(unit.cells), len(YEARS), 2)).tolist()
        contents = tuple(
            CellContent(
                cell.cell_id,
                labels[next(number) % len(labels)],
                tuple(
                    (year, month, pixels)
                    for year, two, worse in zip(YEARS, of_cell, bads, strict=True)
                    for month, pixels in zip(two, worse, strict=True)
                ),
            )
            for cell, of_cell, bads in zip(unit.cells, months, bad, strict=True)
        )
        pixels = [dict[int, int]() for _ in range(3)]
        for content in contents:
            for *values, count in content.labels:
                for channel, value in zip(pixels, values, strict=True):
                    channel[value] = channel.get(value, 0) + count
        examples = len(unit.cells) * len(YEARS)
        yield dataclasses.replace(
            summarise(
                AssembledUnit(unit, len(YEARS), (), {}, {"unusable": 9, "too_bright": 1}, {}, (), (), ())
            ),
            cells_with_examples=len(unit.cells),
            examples=examples,
            pairs=examples,
            images=2 * examples,
            sha256=hashlib.sha256(unit.name.encode()).hexdigest(),
            num_bytes=560_000 * examples,
            label_pixels=tuple(pixels),
            contents=contents,
            fingerprint=fingerprint,
        )


def make_dataset(path: str, count: int) -> None:
    """Writes plan, summaries and description of a dataset without shards."""
    folder = DatasetFolder(Disk(), path)
    units = make_units(made_cells(count), PER_UNIT)
    text = units_text(units)
    fingerprint: Fingerprint = make_fingerprint(
        years=YEARS, cells_sha256=hashlib.sha256(text.encode()).hexdigest()
    )
    folder.write_text(UNITS_FILE, text)
    totals = Totals()
    for summary in summaries(units, fingerprint.sha256):
        file = Path(path, summary_name(summary.name))
        file.parent.mkdir(exist_ok=True)
        file.write_text(summary.to_json())
        totals.add(summary)
    described = dataset_json(
        fingerprint=fingerprint,
        units=units,
        ontology=describe_ontology(Ontology.load(DEFAULT_ONTOLOGY.read_text())),
        totals=totals,
        dropped_from_extracts={},
        cells_beyond_extracts=None,
    )
    folder.write_text("dataset.json", description_json(described))


def measure(command: list[str]) -> tuple[float, float, float, int]:
    """Runs a command; returns seconds, CPU seconds, MB at most and the exit code."""
    start = time.monotonic()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3, os.waitstatus_to_exitcode(status)


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--cells", type=int, default=CELLS, help=f"how many cells ({CELLS:,})")
    parser.add_argument("--runner", help="as a Beam job of this runner (none)")
    parser.add_argument("--keep", help="make the dataset in this folder and leave it there")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        path = given.keep or stack.enter_context(tempfile.TemporaryDirectory())
        if not Path(path, "dataset.json").exists():
            make_dataset(path, given.cells)
        command = [sys.executable, "-m", "beam_pipeline.make_report", path, "--examples", "0"]
        command += [f"--runner={given.runner}"] if given.runner else []
        seconds, cpu, megabytes, code = measure(command)
        page = Path(path, "report.html")
        size = page.stat().st_size / 1e6 if page.exists() else 0.0
        cells = json.loads(Path(path, "dataset.json").read_text())["splits"]
    count = sum(split["cells"] for split in cells.values())
    print(
        f"report of {count:,} cells: {seconds:.1f} s, {cpu:.1f} s of CPU, {megabytes:.0f} MB; a page of {size:.1f} MB"
    )
    missed = code != 0 or seconds > MAX_S or megabytes > MAX_MB
    print(f"at most {MAX_S:.0f} s and {MAX_MB:.0f} MB: {'missed' if missed else 'kept'}")
    return 1 if missed and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
