"""Measures the size of the units' summaries, and the closing step that reads those of 137,045 cells.

    python tests/benchmarks/summaries.py [--check] [FILE]

Labels are those of every cell of a real extract, FILE or Liechtenstein beside the repository; without one, made-up
patches stand in. Each cell has two images in each of 4 years. Two folders, one of twice the cells, are written, read
and described as the closing step does; what the larger takes more is what each further cell takes. Under --check the
exit code is 1 when a bound is missed.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import numpy.typing as npt

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.dataset.cell_content import CellContent, count_labels
from beam_pipeline.dataset.commits import commit_unit, read_summaries
from beam_pipeline.dataset.folder import UNITS_FILE, DatasetFolder
from beam_pipeline.dataset.manifest import dataset_json, describe_ontology
from beam_pipeline.dataset.outcomes import AssembledUnit
from beam_pipeline.dataset.summary import UnitSummary, summarise
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import Unit, make_units, parse_units, units_text
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.extract import check_extract, features_of_cells
from beam_pipeline.labels.feature import deduplicate
from beam_pipeline.labels.label_image import SIZE
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.rasterize import rasterize
from tests.benchmarks.peak_memory import peak_bytes
from tests.records.builders import make_fingerprint
from tests.shared_data import SHARED

DEFAULT = SHARED / "osm" / "liechtenstein-2022.osm.pbf"
CELLS = 137_045
"""Of the published dataset."""

FEW, MANY = 4_096, 8_192
PER_UNIT = 64
YEARS = (2017, 2018, 2019, 2020)
MAX_UNIT_BYTES = 40_000
"""Of a summary of the 64 cells in which most values meet."""

MAX_CLOSING_S = 20.0
MAX_CLOSING_MB = 150.0


def real_labels(file: Path, ontology: Ontology) -> list[npt.NDArray[np.uint8]]:
    """Draws every cell of an extract."""
    bounds = check_extract(file).bounds
    chips = {cell.cell_id: cell.chip for cell in cells_in_region(",".join(map(str, bounds)), None, 0).cells}
    of_cell = collections.defaultdict(list)
    for found in features_of_cells(file, chips, ontology):
        for cell_id, one in found.features:
            of_cell[cell_id].append(one)
    return [
        rasterize(deduplicate(of_cell[cell_id]), chip, ontology, True, sea_known=False).pixels
        for cell_id, chip in chips.items()
    ]


def made_labels(ontology: Ontology) -> list[npt.NDArray[np.uint8]]:
    """Draws patches, of few values a cell."""
    rng = np.random.default_rng(0)
    labels = []
    for _ in range(64):
        patches = [
            rng.choice([*rng.choice([label.value for label in channel.labels], 2), 254, 255], (12, 12))
            for channel in ontology.channels
        ]
        labels.append(np.stack(patches, axis=-1).astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1))
    assert labels[0].shape == (SIZE, SIZE, 3)
    return labels


def summary_of(unit: Unit, contents: Sequence[CellContent]) -> UnitSummary:
    """The summary of a unit whose cells hold what is given, in turn."""
    empty = AssembledUnit(unit, len(YEARS), (), {}, {}, {}, (), (), ())
    rng = np.random.default_rng(unit.cells[0].cell_id)
    images = [
        tuple((year, *sorted(rng.integers(1, 13, 1).tolist()), int(rng.integers(2304))) for year in YEARS * 2)
        for _ in unit.cells
    ]
    return dataclasses.replace(
        summarise(empty),
        cells_with_examples=len(unit.cells),
        contents=tuple(
            CellContent(cell.cell_id, content.labels, tuple(sorted(of_cell)))
            for cell, content, of_cell in zip(unit.cells, contents, images, strict=True)
        ),
    )


def write(folder: DatasetFolder, cells: int, contents: Sequence[CellContent]) -> int:
    """Writes the plan and the summaries of a dataset with empty shards; returns their bytes."""
    chip = ChipWindow(32632, 539_460, 5_220_060)
    planned = [
        Cell(100_000_000 + number, "32TNT", "training", chip, 9.5, 9.6, 47.1, 47.2) for number in range(cells)
    ]
    units = make_units(planned, PER_UNIT)
    folder.write_text(UNITS_FILE, units_text(units))
    size = 0
    for number, unit in enumerate(units):
        of_unit = [contents[(number * PER_UNIT + place) % len(contents)] for place in range(len(unit.cells))]
        size += len(commit_unit(folder, unit.name, [], summary_of(unit, of_unit)).to_json())
    return size


def close(path: str, ontology_json: str) -> tuple[float, float]:
    """Reads all summaries of a folder and describes the dataset; returns CPU seconds and MB more than before."""
    folder = DatasetFolder(BeamFiles(), path)
    units = parse_units(folder.read_bytes(UNITS_FILE))
    before, start = peak_bytes() / 1e6, time.process_time()
    dataset_json(
        fingerprint=make_fingerprint(years=YEARS),
        units=units,
        ontology=describe_ontology(Ontology.load(ontology_json)),
        totals=Totals.of(read_summaries(folder, units)),
        dropped_from_extracts={},
        cells_beyond_extracts=None,
    )
    seconds = time.process_time() - start
    return seconds, peak_bytes() / 1e6 - before


def measure(cells: int, contents: Sequence[CellContent], ontology_json: str) -> tuple[int, float, float]:
    """Returns (bytes of all summaries, CPU seconds and MB of the closing step), in a process of its own."""
    with (
        tempfile.TemporaryDirectory() as path,
        concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        size = write(DatasetFolder(BeamFiles(), path), cells, contents)
        return size, *pool.submit(close, path, ontology_json).result()


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    given = parser.parse_args()
    ontology_json = DEFAULT_ONTOLOGY.read_text(encoding="utf-8")
    ontology = Ontology.load(ontology_json)
    labels = real_labels(given.file, ontology) if given.file.exists() else made_labels(ontology)
    contents = [CellContent(0, count_labels(label), ()) for label in labels]
    densest = (sorted(contents, key=lambda it: len(it.labels)) * PER_UNIT)[-PER_UNIT:]
    print(f"labels of {given.file.name if given.file.exists() else 'made-up patches'}, {len(labels)} cells")

    with tempfile.TemporaryDirectory() as path:
        unit = write(DatasetFolder(BeamFiles(), path), PER_UNIT, densest)
    print(f"  the {PER_UNIT} densest cells, {len(YEARS)} years: {unit:,} bytes, at most {MAX_UNIT_BYTES:,}")
    print(f"  {'cells':>9}{'bytes a cell':>14}{'closing s':>11}{'peak MB':>9}")
    (few_bytes, few_s, few_mb), (_, many_s, many_mb) = (
        measure(cells, contents, ontology_json) for cells in (FEW, MANY)
    )
    print(f"  {FEW:9,}{few_bytes / FEW:14.0f}{few_s:11.2f}{few_mb:9.1f}")
    print(f"  {MANY:9,}{'':14}{many_s:11.2f}{many_mb:9.1f}")
    times = (CELLS - FEW) / (MANY - FEW)
    seconds, megabytes = few_s + times * (many_s - few_s), few_mb + times * (many_mb - few_mb)
    print(f"  {CELLS:9,}{'':14}{seconds:11.2f}{megabytes:9.1f}  by these two")
    missed = [
        said
        for said, is_missed in (
            (f"{unit:,} bytes of a summary", unit > MAX_UNIT_BYTES),
            (f"{seconds:.0f} s of closing are over {MAX_CLOSING_S:.0f} s", seconds > MAX_CLOSING_S),
            (f"{megabytes:.0f} MB of closing are over {MAX_CLOSING_MB:.0f} MB", megabytes > MAX_CLOSING_MB),
        )
        if is_missed
    ]
    print("\n".join(["missed:", *missed] if missed else ["every bound is kept"]))
    return 1 if missed and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
