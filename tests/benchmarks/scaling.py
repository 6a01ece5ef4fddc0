r"""Gain of a build from 1 to N worker processes of this machine, or from 1 to N slots of Flink.

    python -m tests.benchmarks.scaling [--processes 1,2] [--flink 1,2] [--cells 840] [--built 840] \
        [--sample_dir DIR] [--delay_ms D] [--check]

A sample world is built from its files, so there is no network to wait for: what is measured is cores. With
`--delay_ms` its images come from an HTTP server of this machine, which waits so long before each answer. Nothing else
should run: `others` are the cores that others used, this program included. `start` is from the command to the written
plan (imports, inputs, checks), `workers` from there to the first answer of a search. The shard phase lies between the
first and the last commit of a shard; of it the table has shards a second, cores used and CPU seconds a shard, all
processes together. `peak` is the largest resident set of one process.
`--flink` needs Java and Maven: Beam's embedded cluster, with a Python process for each slot.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from beam_pipeline.sample_world import SampleWorld, make_sample_world
from tests.engines.flink import flink_libraries, make_job_server, process_workers
from tests.imagery.range_server import ServerProcess

LEAST_GAIN = 1.4
"""Of the shard phase with two processes on two cores, of which one process uses more than one."""

_LOOK_EVERY_S = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Run:
    """One finished build; seconds but for `shards_per_s`, `cores`, `others` and `peak_mb`."""

    name: str
    whole: float
    cpu: float
    start: float
    workers: float
    shards_per_s: float
    cores: float
    others: float
    cpu_per_shard: float
    peak_mb: float


def _tree(root: int) -> Iterator[int]:
    """Yields the process and those that it started, and they."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # ended meanwhile
            continue
    found = [root]
    for process in found:
        yield process
        found += [child for child, parent in parents.items() if parent == process]


def _cpu_seconds(root: int) -> float:
    """Returns the CPU seconds of a tree of processes, those included that have ended and were waited for."""
    ticks = 0
    for process in _tree(root):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


def _busy_seconds() -> float:
    """Returns the CPU seconds of the whole machine, since it began. Source: proc(5)."""
    user, nice, system, _, _, irq, soft_irq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft_irq) / _TICKS


def _peak_mb(root: int) -> float:
    most = 0
    for process in _tree(root):
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            continue
        most = max(most, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
    return most / 1024


def measure(name: str, flags: Sequence[str], output: Path) -> Run:
    """Builds in a process of its own, and looks at it meanwhile."""
    command = [sys.executable, "-m", "beam_pipeline.build_dataset", f"--output={output}", *flags]
    log = output.with_suffix(".log")
    began, clock = time.time(), time.monotonic()
    looks: list[tuple[float, int, float, float]] = []
    peak = 0.0
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        while process.poll() is None:
            shards = sum(1 for _ in output.glob("*.tfrecord-*"))
            if not looks or shards != looks[-1][1]:
                looks.append((time.monotonic(), shards, _cpu_seconds(process.pid), _busy_seconds()))
                peak = max(peak, _peak_mb(process.pid))
            cpu = _cpu_seconds(process.pid)
            time.sleep(_LOOK_EVERY_S)
    whole = time.monotonic() - clock
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")
    planned = (output / "plan/units.jsonl").stat().st_mtime
    searched = min(path.stat().st_mtime for path in (output / "scenes").iterdir())
    (first, before, cpu_before, busy_before), (last, after, cpu_after, busy_after) = looks[1], looks[-1]
    units, seconds = after - before, last - first
    used = cpu_after - cpu_before
    return Run(
        *(name, whole, cpu, planned - began, searched - planned),
        *(units / seconds, used / seconds, (busy_after - busy_before - used) / seconds, used / units, peak),
    )


@contextlib.contextmanager
def catalogue(world: SampleWorld, scratch: Path, delay_ms: float | None) -> Iterator[list[str]]:
    """Yields the flags by which a build finds the images: of the world's files, or served."""
    if delay_ms is None:
        yield [f"--stac_url={world.stac_catalog}"]
        return
    items, root = scratch / "items", world.stac_catalog.parent.resolve()
    items.mkdir(parents=True)
    with ServerProcess(root, delay_ms / 1000) as server:
        for path in root.glob("sentinel-2-l2a/*/*.json"):
            item = json.loads(path.read_text())
            item["links"] = []
            for asset in item["assets"].values():
                file = (path.parent / asset["href"]).resolve()
                asset["href"] = f"{server.base}{file.relative_to(root)}"
            (items / path.name).write_text(json.dumps(item))
        yield [f"--stac_url={items}", "--allow_own_network"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", default="1,2", help="numbers of processes (1,2); empty for none")
    parser.add_argument("--flink", default="", help="numbers of slots (none)")
    parser.add_argument("--cells", type=int, default=840, help="about how many cells the world has (840)")
    parser.add_argument("--built", type=int, help="how many of them are built (all)")
    parser.add_argument("--sample_dir", help="keep the made world here")
    parser.add_argument("--delay_ms", type=float, help="before each answer of an HTTP server (files)")
    parser.add_argument("--check", action="store_true", help="exit 1 when two processes gain too little")
    given = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        world = make_sample_world(Path(given.sample_dir or folder / "world"), given.cells)
        cells = folder / "cells.csv"
        lines = world.cells_csv.read_text().splitlines(keepends=True)
        cells.write_text("".join(lines[: 1 + (given.built or len(lines))]))
        inputs = [f"--cells={cells}", f"--osm={world.osm_extract}"]
        inputs += [f"--years={','.join(map(str, world.years))}"]
        inputs += stack.enter_context(catalogue(world, folder, given.delay_ms))
        for count in filter(None, given.processes.split(",")):
            name = f"{count} process{'' if count == '1' else 'es'}"
            runs.append(measure(name, [*inputs, f"--processes={count}"], folder / name))
        for count in filter(None, given.flink.split(",")):
            jar = make_job_server(flink_libraries(), folder / "job-server.jar")
            name = f"Flink, {count} slot{'' if count == '1' else 's'}"
            flags = ["--runner=FlinkRunner", f"--flink_job_server_jar={jar}", f"--parallelism={count}"]
            flags += [f"--sdk_worker_parallelism={count}", *process_workers(folder)[0]]
            runs.append(measure(name, [*inputs, *flags], folder / name))
    columns = (
        "whole s",
        "CPU s",
        "start s",
        "workers s",
        "shards/s",
        "cores",
        "others",
        "CPU s/shard",
        "peak MB",
    )
    print(f"{'':18}" + "".join(f"{column:>13}" for column in columns))
    for run in runs:
        print(f"{run.name:18}" + "".join(f"{value:13.2f}" for value in dataclasses.astuple(run)[1:]))
    for run in runs[1:]:
        gain = run.shards_per_s / runs[0].shards_per_s
        print(f"{run.name}: whole command {runs[0].whole / run.whole:.2f} x, shard phase {gain:.2f} x")
    pairs = [run.shards_per_s / runs[0].shards_per_s for run in runs if run.name == "2 processes"]
    return 1 if given.check and min(pairs, default=0.0) < LEAST_GAIN else 0


if __name__ == "__main__":
    sys.exit(main())
