"""Time and memory of a launcher's checks: 400 extracts and 137,045 cells, as many as the paper has.

    python tests/benchmarks/launcher.py [--check] [--extracts 400] [--cells 137045]

Cells lie in clusters all over the Earth, about ten in a tile. Extracts have real headers and two objects: most give
bounds of the size of a country and a time, some do not. The catalogue is that of the sample world, on this disk. Then
come the plan as `--dry_run` prints it, its writing, and its parse, as a worker does it; and the extracts once more,
out of a bucket in memory that takes 100 ms a request. With --check it exits 1 when a bound is missed.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import osmium
from osmium.osm.mutable import Node

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from beam_pipeline.cells import grid
from beam_pipeline.cells.region import cells_from_ids
from beam_pipeline.cells.table import write_cells_csv
from beam_pipeline.jobs.plan.drawn import PAPER_CELLS, PAPER_TILES
from beam_pipeline.sample_world import make_sample_world

MOST_SECONDS = 60.0
MOST_GB = 1.0

WITHOUT_BOUNDS = 100
"""Every such extract has none."""

WITHOUT_TIME = 10
SEED = 3

REQUEST_S = 0.1
"""The time that a bucket takes to answer."""

MOST_BUCKET_SECONDS = 30.0

STEPS = (
    *("find_cells", "expand_extracts", "inspect_extracts", "require_whole", "check_coverage", "make_units"),
    *("units_text", "check_hosts", "check_images", "format_cells_csv", "plan_json"),
)
"""Functions that `check_build` leads to; none calls another."""


def make_cells(count: int, path: Path) -> np.ndarray:
    """Writes a list of cells in clusters; returns (N, 2) longitudes and latitudes of the clusters."""
    random = np.random.default_rng(SEED)
    clusters = max(1, round(count * PAPER_TILES / PAPER_CELLS))
    # Even on the sphere, where people live.
    lat = np.degrees(np.arcsin(random.uniform(np.sin(np.radians(-45)), np.sin(np.radians(65)), clusters)))
    centres = np.column_stack([random.uniform(-180, 180, clusters), lat])
    around = np.repeat(centres, 2 * count // clusters + 1, axis=0)
    points = around + random.uniform(-0.35, 0.35, around.shape)
    ids = np.unique(grid.lonlat_to_id((points[:, 0] + 180) % 360 - 180, points[:, 1]))
    cells = cells_from_ids(random.choice(ids, min(len(ids), count + count // 20), replace=False), SEED).cells
    write_cells_csv(cells[:count], path)
    return centres


def make_extract(number: int, centre: np.ndarray, path: Path) -> None:
    random = np.random.default_rng([SEED, number])
    west, south, east, north = (
        float(value)
        for value in np.clip(
            np.concatenate([centre - random.uniform(0.5, 6, 2), centre + random.uniform(0.5, 6, 2)]),
            [-180, -90, -180, -90],
            [180, 90, 180, 90],
        )
    )
    header = osmium.io.Header()
    if number % WITHOUT_BOUNDS:
        header.add_box(osmium.osm.Box(west, south, east, north))
    if number % WITHOUT_TIME:
        header.set("osmosis_replication_timestamp", f"2019-07-{1 + number % 28:02d}T00:00:00Z")
    with osmium.SimpleWriter(str(path), header=header) as writer:
        for osm_id in (2 * number + 1, 2 * number + 2):
            writer.add_node(
                Node(id=osm_id, location=(float(centre[0]), float(centre[1])), tags={"a": str(number)})
            )


def make_inputs(folder: Path, extracts: int, cells: int) -> None:
    centres = make_cells(cells, folder / "cells.csv")
    (folder / "osm").mkdir()
    for number in range(extracts):
        make_extract(number, centres[number % len(centres)], folder / "osm" / f"part-{number:04d}.osm.pbf")
    make_sample_world(str(folder / "world"), 4)


def measure(folder: Path) -> dict[str, Any]:
    """Checks a build of the inputs; returns seconds by step, and gigabytes."""
    from beam_pipeline.dataset.folder import UNITS_FILE
    from beam_pipeline.dataset.output_folder import write_plan
    from beam_pipeline.dataset.units import Unit
    from beam_pipeline.jobs.build import launch
    from beam_pipeline.jobs.build.options import parse_build_flags
    from beam_pipeline.jobs.plan.report import report
    from beam_pipeline.jobs.plan.run import plan_of_build

    steps: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            before = time.monotonic()
            try:
                return function(*given, **named)
            finally:
                steps[name] = steps.get(name, 0.0) + time.monotonic() - before

        return call

    jobs = [module for name, module in sys.modules.items() if name.startswith("beam_pipeline.jobs.")]
    for name in STEPS:
        callers = [module for module in jobs if hasattr(module, name)]
        step = timed(name, getattr(callers[0], name))
        for module in callers:
            setattr(module, name, step)
    world = make_sample_world(str(folder / "world"), 4)
    given, options = parse_build_flags(
        [
            *(f"--cells={folder / 'cells.csv'}", f"--osm={folder / 'osm'}/*.osm.pbf"),
            *(f"--stac_url={world.stac_catalog}", f"--output={folder / 'set'}"),
            f"--years={','.join(map(str, world.years))}",
        ]
    )
    baseline = _gigabytes()
    before, cpu = time.monotonic(), time.process_time()
    checked = launch.check_build(given, options)
    seconds, cpu_seconds = time.monotonic() - before, time.process_time() - cpu
    steps["others"] = seconds - sum(steps.values())
    peak = _gigabytes()
    after: dict[str, float] = {}
    timed_plan = timed(
        "plan", lambda: report(plan_of_build(checked.units, checked.settings, options, checked.extract_sizes))
    )
    steps, checks = after, steps
    timed_plan()
    timed("write", write_plan)(checked.folder, checked.fingerprint, checked.texts)
    lines = checked.folder.read_text(UNITS_FILE).splitlines()
    timed("parse", lambda: [Unit.from_json(line) for line in lines])()
    gb_after = _gigabytes()
    return {
        "bucket": measure_bucket(folder / "osm"),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "gb_before": baseline,
        "gb": peak,
        "gb_after": gb_after,
        "steps": checks,
        "after": after,
        "units": len(lines),
        "cells": sum(len(unit.cells) for unit in checked.units),
        "extracts": len(checked.extract_sizes),
    }


def measure_bucket(extracts: Path) -> float:
    """Looks into extracts that are named one by one; returns seconds."""
    from beam_pipeline.jobs.extract.sources import expand_extracts, inspect_extracts
    from tests.jobs.test_storage import ObjectStore

    contents = {f"objects://bucket/{path.name}": path.read_bytes() for path in extracts.iterdir()}
    ObjectStore.objects = contents
    for name in ("_list", "open", "exists", "size", "metadata"):
        setattr(ObjectStore, name, _slow(getattr(ObjectStore, name)))
    before = time.monotonic()
    inspect_extracts(expand_extracts(sorted(contents)))
    return time.monotonic() - before


def _slow(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        time.sleep(REQUEST_S)
        return function(*given, **named)

    return call


def _gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> int:
    """Measures in a process of its own, prints, and returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--extracts", type=int, default=400)
    parser.add_argument("--cells", type=int, default=PAPER_CELLS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure)))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        make_inputs(Path(scratch), given.extracts, given.cells)
        command = [sys.executable, __file__, "--measure", scratch]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    print(f"{found['extracts']} extracts, {found['cells']:,} cells, {found['units']:,} units")
    for name, seconds in sorted(found["steps"].items(), key=lambda step: -step[1]):
        print(f"  {name:20}{seconds:8.2f} s {seconds / found['seconds']:6.0%}")
    print(f"checks: {found['seconds']:.1f} s (at most {MOST_SECONDS:g}), {found['cpu_seconds']:.1f} s of CPU")
    print(
        f"peak memory: {found['gb']:.2f} GB (at most {MOST_GB:g}), {found['gb_before']:.2f} before any check"
    )
    print(
        f"the plan: printed by --dry_run {found['after']['plan']:.1f} s, written {found['after']['write']:.1f} s, "
        f"parsed by a worker {found['after']['parse']:.1f} s; peak memory then {found['gb_after']:.2f} GB"
    )
    print(
        f"extracts in a bucket, {REQUEST_S * 1000:g} ms a request: {found['bucket']:.1f} s "
        f"(at most {MOST_BUCKET_SECONDS:g})"
    )
    missed = found["seconds"] > MOST_SECONDS or max(found["gb"], found["gb_after"]) > MOST_GB
    missed |= found["bucket"] > MOST_BUCKET_SECONDS
    return 1 if given.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
