"""CPU of relabelling a unit, beside that of building it, on the sample world.

    python tests/benchmarks/relabel.py [--cells N] [--files] [--check]

Images come from an HTTP server in a process of its own, which is not counted; with `--files` from files of the disk, as
no dataset of the Earth is built.

Both jobs draw their labels of the same store of features, which is made before and not counted. What is counted is the
CPU of the whole process, and of those that it starts, from the launch of a job to its end, less what the same job takes
that finds all units done. Imports, checks, the plan and the audit behind a run are left out, and one job of each kind
has been run before, so that nothing is loaded for the first time.

A label is drawn once for all years, and a build is of four years by default. The sample world has two; its scenes are
there a second time here, as those of two years earlier.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from beam_pipeline.build_dataset import main as build_dataset
from beam_pipeline.dataset.folder import UNITS_FILE
from beam_pipeline.jobs.build.graph import build_graph as add_build
from beam_pipeline.jobs.build.launch import prepare_build
from beam_pipeline.jobs.build.options import parse_build_flags
from beam_pipeline.jobs.engines import run_job
from beam_pipeline.jobs.relabel.graph import build_graph as add_relabelling
from beam_pipeline.jobs.relabel.launch import check_relabelling, prepare_relabelling
from beam_pipeline.jobs.relabel.options import parse_relabel_flags
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.records.shards import DATASET_NAME
from beam_pipeline.sample_world import SampleWorld, make_sample_world
from tests.benchmarks.scaling import catalogue

MOST_SHARE = 0.1
"""Of the CPU of building a unit."""

EARLIER = 2
"""Years."""

CELLS = 240
WARM_CELLS = 12


def add_years(world: SampleWorld) -> tuple[int, ...]:
    """Lists each scene of a world once more, as one of two years earlier; returns all years.

    The files of the assets are the same ones.
    """
    collection = world.stac_catalog.parent / "sentinel-2-l2a"
    listed = collection / "collection.json"
    described = json.loads(listed.read_text())
    for folder in sorted(path for path in collection.iterdir() if path.is_dir()):
        text = (folder / f"{folder.name}.json").read_text()
        name = folder.name
        for year in world.years:
            name = name.replace(f"_{year}", f"_{year - EARLIER}")
            text = text.replace(f'"{year}-', f'"{year - EARLIER}-')
        shutil.copytree(folder, collection / name, copy_function=os.link)
        (collection / name / f"{folder.name}.json").unlink()
        (collection / name / f"{name}.json").write_text(text.replace(f'"{folder.name}"', f'"{name}"'))
        link = {"rel": "item", "href": f"./{name}/{name}.json", "type": "application/geo+json"}
        described["links"].append(link)
    listed.write_text(json.dumps(described))
    return (*(year - EARLIER for year in world.years), *world.years)


def cpu_of_build(flags: Sequence[str], output: Path) -> float:
    """Builds from a store; returns the seconds of CPU that the job takes."""
    given, options = parse_build_flags([*flags, f"--output={output}"])
    pipeline = make_pipeline(options)
    prepared = prepare_build(given, options)
    add_build(pipeline, prepared.settings, prepared.filling)
    return cpu_of(lambda: run_job(pipeline))


def cpu_of_relabelling(dataset: Path, store: Path, output: Path) -> float:
    """Relabels a dataset; returns the seconds of CPU that the job takes."""
    given, options = parse_relabel_flags(
        [f"--dataset={dataset}", f"--osm={store}", "--ontology=strict", f"--output={output}"]
    )
    pipeline = make_pipeline(options)
    checked = check_relabelling(given)
    prepare_relabelling(checked, given, options)
    add_relabelling(pipeline, checked.settings)
    return cpu_of(lambda: run_job(pipeline))


def cpu_of(work: Callable[[], object]) -> float:
    """Returns the seconds of CPU of all threads of this process and of those that it starts."""
    before = cpu()
    work()
    return cpu() - before


def cpu() -> float:
    """Returns the seconds of CPU until now."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(it.ru_utime + it.ru_stime for it in spent)


def measure(cells: int, scratch: Path, delay_ms: float | None) -> tuple[int, float, float]:
    """Returns units, and the CPU seconds of building and of relabelling them."""
    world = make_sample_world(scratch / f"world_{cells}", cells)
    world = dataclasses.replace(world, years=add_years(world))
    whole, direct = scratch / f"whole_{cells}", scratch / f"direct_{cells}"
    flags = [f"--cells={world.cells_csv}", f"--years={','.join(map(str, world.years))}"]
    with contextlib.ExitStack() as stack:
        flags += stack.enter_context(catalogue(world, scratch, delay_ms))
        with contextlib.redirect_stdout(io.StringIO()):
            code = build_dataset([*flags, f"--osm={world.osm_extract}", f"--output={whole}"])
        if code:
            sys.exit("the sample could not be built")
        store = whole / "features"
        flags.append(f"--osm={store}")
        # Twice: the second run of each has its start and end only.
        built = cpu_of_build(flags, direct) - cpu_of_build(flags, direct)
    relabelled_to = scratch / f"relabelled_{cells}"
    relabelled = cpu_of_relabelling(whole, store, relabelled_to)
    relabelled -= cpu_of_relabelling(whole, store, relabelled_to)
    for name in (path.name for path in whole.glob(f"{DATASET_NAME}-*")):
        if not (relabelled_to / name).exists():
            sys.exit(f"{name} was not relabelled")
    return len((whole / UNITS_FILE).read_text().splitlines()), built, relabelled


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--files", action="store_true", help="read images from files")
    parser.add_argument("--cells", type=int, default=CELLS, help=f"of the sample world ({CELLS})")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        delay_ms = None if given.files else 0.0
        measure(WARM_CELLS, Path(scratch, "warm"), delay_ms)
        units, built, relabelled = measure(given.cells, Path(scratch, "measured"), delay_ms)
    share = relabelled / built
    print(f"{units} units of {given.cells} cells and 4 years, CPU s a unit")
    print(f"{'build from a store':24}{built / units:8.3f}")
    print(f"{'relabel':24}{relabelled / units:8.3f}")
    print(f"{'share':24}{share:8.3f}  (at most {MOST_SHARE})")
    return 1 if given.check and share > MOST_SHARE else 0


if __name__ == "__main__":
    sys.exit(main())
