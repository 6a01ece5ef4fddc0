"""Pace of importing published files, beside a plain loop that reads them and writes the same examples.

    python tests/benchmarks/import_published.py [--check] [--data out/sample]

A dataset is exported in the published layout. An import looks for the files of each cell, checks and decodes them, adds
up summaries and commits shards. The plain loop has the names, reads by `np.load` and Pillow, and encodes and frames the
examples with our functions. Both run in this process without Beam, and in turn; the pace is in images a CPU second, and
the best of the rounds counts. Then an import of the same units many times over tells whether memory grows with their
number. Under --check the exit code is 1 when a bound is missed.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import PIL.Image

from beam_pipeline.build_dataset import main as build_dataset
from beam_pipeline.dataset.commits import commit_unit
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.units import Unit, make_units
from beam_pipeline.exchange.import_unit import PublishedSource, import_unit
from beam_pipeline.exchange.published_folder import find_published
from beam_pipeline.export_dataset import main as export_dataset
from beam_pipeline.imagery.image import Image
from beam_pipeline.labels.label_image import NONE, UNLABELED
from beam_pipeline.labels.ontology import PUBLISHED, Ontology, shipped_ontology
from beam_pipeline.records.example import CellYear, encode
from beam_pipeline.records.shards import frame
from beam_pipeline.runtime.disk import Disk
from tests.benchmarks.peak_memory import peak_bytes

MIN_PACE = 0.9
"""Least pace of an import, as a share of the plain loop's."""

MOST_GROWTH = 1.1
"""Most memory of an import of all units `_TIMES` times over, as a share of that of once."""

_PROCESS_CPU_S = 14
"""CPU that pays for a process: what a build takes for `jobs.processes.PROCESS_CELL_YEARS`."""

_TIMES = 8
_ROUNDS = 3
_CELLS_PER_SHARD = 16


def plan(published: Path) -> tuple[list[Unit], tuple[int, ...]]:
    """Returns the units and years of published files."""
    text = (published / "spatial_cell_info.csv").read_text()
    found = find_published(Disk(), str(published), text)
    return make_units(found.cells, _CELLS_PER_SHARD), found.years


def imports(published: Path, output: Path, times: int = 1) -> int:
    """Imports published files as the job does; returns the number of images."""
    units, years = plan(published)
    channels = Ontology.load(shipped_ontology(PUBLISHED)).channels
    values = tuple(frozenset({*(it.value for it in of.labels), NONE, UNLABELED}) for of in channels)
    source = PublishedSource(Disk(), str(published), values)
    images = 0
    for unit in units * times:
        done = import_unit(source, unit, years, "")
        commit_unit(DatasetFolder(Disk(), str(output)), unit.name, done.payloads, done.summary)
        images += done.summary.images
    return images


def plain(published: Path, output: Path) -> int:
    """Reads and writes the same by a plain loop; returns the number of images."""
    units, years = plan(published)
    images = 0
    for unit in units:
        with (output / unit.name).open("wb") as shard:
            for cell in unit.cells:
                with PIL.Image.open(
                    published / f"osm_label_images_v10/{cell.tile}/{cell.cell_id}.png"
                ) as png:
                    label = np.asarray(png)
                paths = sorted((published / f"osm_sentinel_imagery/{cell.tile}/{cell.cell_id}").iterdir())
                for year in years:
                    of_year = [path for path in paths if f"_{year}" in path.name][:2]
                    if of_year:
                        pair = tuple(_plain_image(path) for path in of_year)
                        shard.write(frame(encode(CellYear(cell, year, pair, label, bounds_exact=False))))
                        images += len(pair)
    return images


def _plain_image(path: Path) -> Image:
    with np.load(path) as file:
        grids = {name: file[name] for name in ("gsd_10", "gsd_20", "gsd_60")}
        scl, bad_percent = file["scl"], float(file["bad_percent"])
    offset = -1000 if min(it.min() for it in grids.values()) < 0 else 0
    dn = {name: (np.rint(it * 10_000) - offset).astype(np.uint16) for name, it in grids.items()}
    return Image(path.stem, "", "", "", offset, "", bad_percent, scl=scl, **dn)


def cpu() -> float:
    """Returns the seconds of CPU until now, of this process."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def paces(published: Path, scratch: Path) -> list[float]:
    """Returns the images a CPU second of the import and of the plain loop."""
    best = [0.0, 0.0]
    for number in range(_ROUNDS):
        for index, way in enumerate((imports, plain)):
            folder = scratch / f"{index}_{number}"
            folder.mkdir()
            started = cpu()
            best[index] = max(best[index], way(published, folder) / (cpu() - started))
            shutil.rmtree(folder)
    return best


def memory(published: Path, times: int) -> int:
    """Returns the most bytes that a process holds that imports all units so many times over."""
    command = [sys.executable, __file__, "--published", str(published), "--times", str(times)]
    return int(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--data", help="a dataset (a sample, which is built first)")
    # Of the process whose memory is measured.
    parser.add_argument("--published", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--times", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if given.times:
            imports(given.published, scratch / "out", given.times)
            print(peak_bytes())
            return 0
        data, published = given.data or str(scratch / "set"), scratch / "published"
        if not os.path.exists(data) and build_dataset(["--sample", "--output", data]):
            sys.exit("the sample could not be built")
        if export_dataset(["--dataset", data, "--format", "published", "--output", str(published)]):
            sys.exit("the dataset could not be exported")
        ours, bare = paces(published, scratch)
        once, often = memory(published, 1), memory(published, _TIMES)
    print(f"{'':24}{'images a CPU s':>16}")
    print(f"{'import':24}{ours:16.1f}")
    print(f"{'plain loop':24}{bare:16.1f}")
    print(f"{'pace':24}{ours / bare:16.2f}  (at least {MIN_PACE})")
    print(f"{'CPU ms a pair':24}{2000 / ours:16.1f}")
    print(f"{f'pairs in {_PROCESS_CPU_S} s':24}{_PROCESS_CPU_S * ours / 2:16.0f}  (pay for a process)")
    print(f"{'memory, MB':24}{once / 1e6:16.0f}")
    print(f"{f'of {_TIMES} x the units':24}{often / 1e6:16.0f}  (at most {MOST_GROWTH} x)")
    met = ours / bare >= MIN_PACE and often / once <= MOST_GROWTH
    return 0 if met or not given.check else 1


if __name__ == "__main__":
    sys.exit(main())
