"""Measures `verify` in one process and in two: the whole command, its imports included.

    python tests/benchmarks/verify.py [--check] [--copies 40] [--folder out/sample]

The dataset is the sample, built here or given, with its cells so many times over under other ids. Each command is given
twice, in turn, and the quicker one counts. Under --check the exit code is 1 when a bound is missed; the bound of the
two processes holds on two idle cores.
"""

import argparse
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from beam_pipeline.cells.table import CELLS_FILE, format_cells_csv
from beam_pipeline.dataset.closing import sidecar_texts
from beam_pipeline.dataset.commits import commit_unit, read_summary
from beam_pipeline.dataset.extract_records import parse_dropped
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import (
    DATASET_FILE,
    EXTRACTS_FOLDER,
    FINGERPRINT_FILE,
    LAUNCH_FILE,
    ONTOLOGY_FILE,
    UNITS_FILE,
    DatasetFolder,
    description_json,
)
from beam_pipeline.dataset.launch_record import LaunchRecord
from beam_pipeline.dataset.manifest import dataset_json, describe_ontology
from beam_pipeline.dataset.outcomes import CellYearId
from beam_pipeline.dataset.summary import ShardContent
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import Unit, parse_units, units_text
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.records.example import decode
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.shards import read_shard, shard_name
from beam_pipeline.runtime.disk import Disk

COPIES = 40
ID_STEP = 1_000_000_000
MIN_GAIN = 1.8
MIN_MB_A_CPU_S = 40.0
MAX_PROCESS_MB = 250.0
ROUNDS = 2


def copied_units(units: list[Unit], copies: int) -> Iterator[tuple[Unit, Unit, int]]:
    """Yields (unit, the unit that it is of, how much its ids are larger) in the order of the larger plan."""
    for split in dict.fromkeys(unit.split for unit in units):
        of_split = [unit for unit in units if unit.split == split]
        for copy in range(copies):
            for place, unit in enumerate(of_split):
                name = shard_name(split, copy * len(of_split) + place, copies * len(of_split))
                more = copy * ID_STEP
                cells = tuple(dataclasses.replace(cell, cell_id=cell.cell_id + more) for cell in unit.cells)
                yield dataclasses.replace(unit, name=name, cells=cells), unit, more


def with_id(payload: bytes, cell_id: int) -> bytes:
    """Returns a record with another id; its pixels stay as they are packed."""
    message = Example.FromString(payload)
    message.features.feature["cell_id"].int64_list.value[0] = cell_id
    return bytes(message.SerializeToString(deterministic=True))


def multiply(source: DatasetFolder, target: DatasetFolder, copies: int) -> None:
    """Writes a dataset of so many times the cells."""
    given = [*copied_units(parse_units(source.read_bytes(UNITS_FILE)), copies)]
    units = [unit for unit, _, _ in given]
    text = units_text(units)
    fingerprint = Fingerprint.from_json(source.read_bytes(FINGERPRINT_FILE)).model_copy(
        update={"cells_sha256": hashlib.sha256(text.encode()).hexdigest()}
    )
    summaries = []
    for unit, original, more in given:
        content = ShardContent()
        payloads = []
        for payload in read_shard(source.files, source.at(original.name)):
            example = decode(payload)
            cell = dataclasses.replace(example.cell, cell_id=example.cell.cell_id + more)
            content.add(dataclasses.replace(example, cell=cell))
            payloads.append(with_id(payload, cell.cell_id))

        def moved(cell_years: tuple[CellYearId, ...], more: int = more) -> tuple[CellYearId, ...]:
            return tuple((cell_id + more, year) for cell_id, year in cell_years)

        summary = read_summary(source, original.name)
        changed = dataclasses.replace(
            summary,
            name=unit.name,
            fingerprint=fingerprint.sha256,
            rejections={reason: moved(rejected) for reason, rejected in summary.rejections.items()},
            coastal_cells=tuple(cell_id + more for cell_id in summary.coastal_cells),
            **content.counts(),
        )
        summaries.append(commit_unit(target, unit.name, payloads, changed))
    for name in source.names("plan/*"):
        target.write_text(name, source.read_text(name))
    target.write_text(UNITS_FILE, text)
    target.write_text(FINGERPRINT_FILE, fingerprint.to_json())
    target.write_text(CELLS_FILE, format_cells_csv(cell for unit in units for cell in unit.cells))
    describe(source, target, fingerprint, units, Totals.of(summaries))


def describe(
    source: DatasetFolder, target: DatasetFolder, fingerprint: Fingerprint, units: list[Unit], totals: Totals
) -> None:
    """Writes what the closing step writes."""
    dropped = {}
    for name in source.names(f"{EXTRACTS_FOLDER}/*.json"):
        target.write_text(name, source.read_text(name))
        dropped[name.partition("/")[2].removesuffix(".json")] = parse_dropped(source.read_bytes(name))
    for name, text in sidecar_texts(units, totals.summaries, fingerprint).items():
        target.write_text(name, text)
    described = dataset_json(
        fingerprint=fingerprint,
        units=units,
        ontology=describe_ontology(Ontology.load(source.read_text(ONTOLOGY_FILE))),
        totals=totals,
        dropped_from_extracts=dropped,
        cells_beyond_extracts=LaunchRecord.from_json(source.read_bytes(LAUNCH_FILE)).cells_beyond_extracts,
    )
    target.write_text(DATASET_FILE, description_json(described))
    target.delete_leftovers()


def verify(folder: str, processes: int) -> tuple[float, float, str]:
    """Returns (seconds, CPU seconds of all processes, what was printed) of the command."""
    before, start = os.times(), time.monotonic()
    command = [sys.executable, "-m", "beam_pipeline.verify", folder, f"--processes={processes}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - start, cpu_s, said


def peak_mb(folder: str, processes: int) -> float:
    """Returns the most memory of any process of the command."""
    program = (
        "import resource, sys\nfrom beam_pipeline.verify import main\nmain(sys.argv[1:])\n"
        "used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]\n"
        "print(max(used))"
    )
    command = [sys.executable, "-c", program, folder, f"--processes={processes}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(said.splitlines()[-1]) / 1e3


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="a built sample")
    parser.add_argument("--copies", type=int, default=COPIES, help=f"how often its cells come ({COPIES})")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        sample = given.folder or Path(room) / "sample"
        if not sample.exists():
            build = [sys.executable, "-m", "beam_pipeline.build_dataset", "--sample", "--output", str(sample)]
            subprocess.run(build, check=True, capture_output=True)
        folder = Path(room) / "set"
        multiply(DatasetFolder(Disk(), str(sample)), DatasetFolder(Disk(), str(folder)), given.copies)
        megabytes = sum(path.stat().st_size for path in folder.glob("opensentinelmap-*")) / 1e6
        print(f"{megabytes:,.0f} MB in {len([*folder.glob('opensentinelmap-*')])} shards")
        results = {count: [] for count in (1, 2)}
        for _ in range(ROUNDS):
            for count, measured in results.items():
                measured.append(verify(str(folder), count))
        memory = peak_mb(str(folder), 2)
        shutil.rmtree(folder)
    print(f"  {'processes':>9}{'s':>8}{'MB/s':>8}{'CPU s':>8}{'MB a CPU s':>12}")
    best = {count: min(measured) for count, measured in results.items()}
    for count, (seconds, cpu_s, _) in best.items():
        print(f"  {count:9}{seconds:8.1f}{megabytes / seconds:8.1f}{cpu_s:8.1f}{megabytes / cpu_s:12.1f}")
    gain, more_s = best[1][0] / best[2][0], best[2][1] - best[1][1]
    print(f"two processes are {gain:.2f} x as fast, and take {more_s:.1f} CPU s more")
    print(f"a process takes {memory:.0f} MB at most")
    texts = {said for measured in results.values() for *_, said in measured}
    missed = [
        said
        for said, is_missed in (
            (f"a gain of {gain:.2f} is below {MIN_GAIN}", gain < MIN_GAIN),
            (f"{megabytes / best[1][1]:.0f} MB a CPU s", megabytes / best[1][1] < MIN_MB_A_CPU_S),
            (f"{memory:.0f} MB are over {MAX_PROCESS_MB:.0f}", memory > MAX_PROCESS_MB),
            ("what is printed differs", len(texts) > 1),
        )
        if is_missed
    ]
    print("\n".join(["missed:", *missed] if missed else ["every bound is kept"]))
    return 1 if missed and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
