"""Peak memory and pace of builds of the sample world: the whole command, and four times as many cells.

    python tests/benchmarks/build.py [--check]

Memory is the largest resident set of the building process, as the kernel counts it.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST_MEMORY_MB = 1500
MOST_GROWTH = 1.2
"""Of the peak, when the number of cells grows four times: what reading a larger extract leaves behind."""

CELLS = 50
TIMES = 4
CELLS_PER_SHARD = 4
"""Of the runs that are compared: small, so that units are equally full in both."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One finished build."""

    name: str
    cells: int
    images: int
    num_bytes: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


def build(
    name: str,
    cells: int,
    folder: Path,
    sample: Path,
    *flags: str,
    module: str = "beam_pipeline.build_dataset",
) -> Run:
    """Builds a sample in a process of its own."""
    output = folder / "set"
    command = [sys.executable, "-m", module, "--sample", f"--sample_cells={cells}"]
    command += [f"--sample_dir={sample}", f"--output={output}", *flags]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if status:
        sys.exit(f"{' '.join(command)} failed")
    splits = json.loads((output / "dataset.json").read_text())["splits"].values()
    return Run(
        name,
        sum(split["cells_planned"] for split in splits),
        sum(split["images"] for split in splits),
        sum(split["num_bytes"] for split in splits),
        seconds,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    given = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        per_shard = f"--cells_per_shard={CELLS_PER_SHARD}"
        small, large = Path(scratch, "small"), Path(scratch, "large")
        runs.append(build("making the world too", CELLS, Path(scratch, "a"), small))
        runs.append(build("from a world", CELLS, Path(scratch, "b"), small, per_shard))
        build("makes the large world", CELLS * TIMES, Path(scratch, "c"), large)
        runs.append(build(f"from a world of {TIMES} x", CELLS * TIMES, Path(scratch, "d"), large, per_shard))
    print(f"{'':24}{'cells':>8}{'images':>8}{'MB':>8}{'s':>8}{'CPU s':>8}{'peak MB':>10}")
    for run in runs:
        print(
            f"{run.name:24}{run.cells:8}{run.images:8}{run.num_bytes / 1e6:8.1f}"
            f"{run.seconds:8.1f}{run.cpu_seconds:8.1f}{run.peak_mb:10.0f}"
        )
    growth = runs[2].peak_mb / runs[1].peak_mb
    peak = runs[0].peak_mb
    print(f"peak memory of the sample build: {peak:.0f} MB (at most {MOST_MEMORY_MB})")
    print(f"peak memory at {TIMES} x the cells: {growth:.2f} x (at most {MOST_GROWTH})")
    missed = peak > MOST_MEMORY_MB or growth > MOST_GROWTH
    return 1 if given.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
