"""Measures the figures of `beam_pipeline/jobs/plan/figures.py` again: the costs of a unit of work.

    python -m tests.benchmarks.unit_costs [--check] [--repeats N]

Reading is that of `read_chips`: the same scene, server and chips; extracts are those of `read_extract`. The other
stages are measured in builds of the sample, each in a process of its own, of two sizes: the CPU seconds of each stage
(`cpu_timed_build`). A line has the least, the median and the most of the repeats. With `--check` the exit code is 1
when a count or a size, which the machine does not change, lies beyond what the figures say.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
from pathlib import Path

import rasterio

from beam_pipeline.jobs.plan import figures
from beam_pipeline.jobs.plan.figures import Figure
from beam_pipeline.jobs.plan.reads import walk
from tests.benchmarks import build, read_chips, read_extract
from tests.benchmarks.cpu_timed_build import PER_SECOND

CELLS = 50
EXACT = ("block_10_bytes", "block_20_bytes", "block_60_bytes", "block_scl_bytes", "requests_over_plan")


def measure_reading(cache, repeats, measured):
    read_chips.make_scene(cache)
    for name, band in (("10", "B02"), ("20", "B05"), ("60", "B01"), ("scl", "SCL")):
        measured[f"block_{name}_bytes"].append(block_bytes(cache / f"{band}.tif"))
    way = read_chips.scene_reader(8)
    with read_chips.Bench(cache, 0.0) as bench:
        for chips in (read_chips.random_chips(), read_chips.touching_chips()):
            places = [(chip.left - read_chips.LEFT, read_chips.TOP - chip.top) for chip in chips]
            planned = walk(places, [[True] * len(places)])
            for _ in range(repeats):
                cost, _ = bench.measure(way, chips, 1, lambda: None)
                measured["requests_over_plan"].append(cost.requests / planned.requests)
                measured["block_cpu_s"].append(cost.cpu_s / planned.blocks)


def block_bytes(path):
    with rasterio.open(path) as dataset:
        windows = [index for index, _ in dataset.block_windows(1)]
        sizes = [int(dataset.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1)) for y, x in windows]
    return statistics.mean(sizes)


def measure_builds(scratch, repeats, measured):
    small, large = scratch / "small", scratch / "large"
    for cells, world in ((CELLS, small), (4 * CELLS, large)):
        build.build("makes the world", cells, scratch / f"first{cells}", world)
    for repeat in range(repeats):
        runs = []
        for cells, world in ((CELLS, small), (4 * CELLS, large)):
            folder = scratch / f"{cells}-{repeat}"
            timed = "tests.benchmarks.cpu_timed_build"
            runs.append(build.build("", cells, folder, world, "--processes=1", module=timed))
            stages = json.loads((folder / "set/run.json").read_text())["stages"]
            images = stages["read_chips"]["images"]
            measured["image_cpu_s"].append(total_s(stages["encode"]) / images)
            measured["image_bytes"].append(stages["encode"]["bytes"] / images)
            measured["cell_label_cpu_s"].append(mean_s(stages["rasterize"]))
            measured["unit_write_s"].append(mean_s(stages["write"]))
            measured["process_mb"].append(runs[-1].peak_mb)


def measure_extracts(repeats, measured):
    files = sorted(read_extract.DEFAULT.glob("*.osm.pbf"))
    if not files:
        print(f"no extracts: put some real ones into {read_extract.DEFAULT}", file=sys.stderr)
    for path in files * repeats:
        for way in ("one cell", "all cells"):
            took = read_extract.in_a_process(path, "--measure", way)
            measured["extract_gb_cpu_s"].append(took["cpu_s"] / (path.stat().st_size / 1e9))


def mean_s(stage):
    return stage["milliseconds"]["mean"] / PER_SECOND


def total_s(stage):
    return mean_s(stage) * stage["milliseconds"]["count"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "read_chips_scene")
    given = parser.parse_args()
    known = {name: figure for name, figure in vars(figures.MEASURED).items() if isinstance(figure, Figure)}
    measured = {name: [] for name in known}
    # First: the kernel counts a child's memory from when it was still a copy of this process.
    with tempfile.TemporaryDirectory() as scratch:
        measure_builds(Path(scratch), given.repeats, measured)
    measure_extracts(given.repeats, measured)
    measure_reading(given.cache, given.repeats, measured)
    missed = []
    print(f"{'figure':20}{'least':>14}{'median':>14}{'most':>14}   in the package")
    for name, values in measured.items():
        if not values:
            continue
        low, median, high = min(values), statistics.median(values), max(values)
        figure = known[name]
        print(
            f"{name:20}{low:14.6g}{median:14.6g}{high:14.6g}   "
            f"{figure.value:g} ({figure.low:g} to {figure.high:g})"
        )
        if name in EXACT and not figure.low * 0.98 <= median <= figure.high * 1.02:
            missed.append(name)
    print(f"peak memory of reading alone: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    print("missed: " + ", ".join(missed) if missed else "every count and size is as the package says")
    return 1 if missed and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
