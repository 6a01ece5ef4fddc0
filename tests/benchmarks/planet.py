"""Time, disk and memory of reading big extracts, measured on files that grow, and what follows for the planet.

    python tests/benchmarks/planet.py [--check] [--folder FOLDER] [--gb 0.1 0.5 1 2] [FILE ...]

The files are copies of FILEs, which are small (default: the real extracts beside the repository), spread over the
world, with ids as high as OpenStreetMap's. Each is read twice, in a process of its own, as a worker reads it: whole,
for cells all over it; and cut first, for the cells of every eighth copy. The locations of nodes lie on disk. Times are
of CPU, of all processes together. Memory is what the system cannot take back, at its peak; files are seen twice a
second. Straight lines are fitted to the sizes and give the last table.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.osm_copies import PLANET_IDS, shift_of, write_copies
from tests.benchmarks.read_extract import chips_over
from tests.shared_data import SHARED

EVERY = 8  # copy has cells, where the file is cut
PLACES = (
    # name, GB, share of it around the cells
    ("a country, cells all over", 1, 1.0),
    ("Europe, cells all over", 30, 1.0),
    ("Europe, cells in an eighth", 30, 1 / EVERY),
    ("the planet, cells all over", 86, 1.0),
    ("the planet, cells in an eighth", 86, 1 / EVERY),
)
SAMPLE_S = 0.5
MOST_S_A_GB = 600.0  # of CPU, to read a file whole
MOST_MB_A_GB = 1000.0  # of memory


def request_for(bounds, copies, every):
    """The cells that cover the first extract of every so many copies."""
    from beam_pipeline.features.identity import StoreRequest
    from beam_pipeline.labels.store_keys import STORE_KEYS

    cells = {}
    for copy in range(0, copies, every):
        lon, lat = shift_of(copy)
        chips = chips_over((bounds[0] + lon, bounds[1] + lat, bounds[2] + lon, bounds[3] + lat))
        cells[f"T{copy:04}"] = {copy * 1000 + number: chip for number, chip in chips.items()}
    return StoreRequest(cells, STORE_KEYS)


def cpu_s():
    taken = os.times()
    return taken.user + taken.system + taken.children_user + taken.children_system


def measure(path, bounds, copies, every, folder):
    """Reads a file as a worker's process does, and prints what each step took, as JSON."""
    from beam_pipeline.features import extract_cut, read_process
    from beam_pipeline.labels import extract

    extract.free_memory = lambda: 0
    read_process.is_worth_a_cut = lambda *_: every > 1
    took = {}
    check, cut, part = read_process.check_blocks, read_process.cut_extract, read_process.part_extract

    @contextlib.contextmanager
    def timed(step):
        print(step, flush=True)
        start = cpu_s()
        yield
        took[step] = cpu_s() - start

    def timed_check(*args):
        with timed("check"):
            return check(*args)

    @contextlib.contextmanager
    def timed_cut(*args):
        with contextlib.ExitStack() as stack:
            with timed("cut"):
                link = stack.enter_context(cut(*args))
            yield link

    def timed_part(path, *args, **kwargs):
        took["read_bytes"] = Path(path).stat().st_size
        with timed("part"):
            return part(path, *args, **kwargs)

    read_process.check_blocks, read_process.cut_extract = timed_check, timed_cut
    read_process.part_extract = timed_part
    assert extract_cut.GROWN_DEGREES < 1.0, "copies lie about three degrees from each other"
    (folder / "scratch").mkdir()
    (folder / "pieces").mkdir()
    request = request_for(bounds, copies, every)
    record = read_process.cut_and_part(str(path), request, str(folder / "pieces"), str(folder / "scratch"))
    pieces = sum(file.bytes for file in record.tiles.values())
    print(json.dumps({**took, "pieces": pieces}))


class Watch(threading.Thread):
    """Samples what a process and its children take, by the step that they are at."""

    def __init__(self, process, folder):
        super().__init__(daemon=True)
        self.process, self.folder = process, folder
        self.step, self.memory, self.disk = "", {}, 0

    def run(self):
        while self.process.poll() is None:
            pids = [self.process.pid, *children_of(self.process.pid)]
            memory = sum(map(anonymous_bytes, pids))
            self.memory[self.step] = max(self.memory.get(self.step, 0), memory)
            self.disk = max(self.disk, disk_bytes(pids, self.folder))
            time.sleep(SAMPLE_S)


def children_of(pid):
    try:
        return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def anonymous_bytes(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


def disk_bytes(pids, folder):
    """Of the files below a folder and of those without a name that processes have open."""
    found = {}
    paths = list(folder.rglob("*"))
    for pid in pids:
        paths += Path(f"/proc/{pid}/fd").glob("*")
    for path in paths:
        try:
            status = path.stat()
            if path.is_file() and (path.is_relative_to(folder) or status.st_nlink == 0):
                found[status.st_ino] = status.st_blocks * 512
        except OSError:
            continue
    return sum(found.values())


def reading(path, bounds, copies, every, folder, environment=None):
    """Returns what reading a file took."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        command = [sys.executable, __file__, str(path), "--measure", *map(str, (copies, every, own))]
        command += [f"--bounds={','.join(map(str, bounds))}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        watch = Watch(process, Path(own))
        watch.start()
        for line in process.stdout:
            if line.startswith("{"):
                took = json.loads(line)
            else:
                watch.step = line.strip()
        if process.wait():
            raise SystemExit(f"reading {path} failed")
    return {**took, "bytes": path.stat().st_size, "memory": watch.memory, "disk": watch.disk}


def slope(xs, ys):
    """The line through points: what it rises by, and where it begins."""
    return np.polyfit(xs, ys, 1) if len(xs) > 1 else np.array([ys[0] / xs[0], 0.0])


def line_of(took, way):
    steps = [took.get(step, 0.0) for step in ("check", "cut", "part")]
    memory = max(took["memory"].get("part", 0), 0) / 1e6
    cutting = took["memory"].get("cut", 0) / 1e6
    print(
        f"| {took['bytes'] / 1e9:.2f} | {way} | {took['read_bytes'] / 1e9:.2f} | {steps[0]:.0f} | {steps[1]:.0f} "
        f"| {steps[2]:.0f} | {cutting:.0f} | {memory:.0f} | {took['disk'] / 1e9:.2f} | {took['pieces'] / 1e9:.2f} |",
        flush=True,
    )


def projection(whole, cut, nodes_a_gb):
    """Prints the table of places and returns the slopes."""
    size = [it["bytes"] / 1e9 for it in cut]
    every = [*whole, *cut]
    read = [it["read_bytes"] / 1e9 for it in every]
    check = slope(size, [it["check"] for it in cut])[0]
    cutting = slope(size, [it["cut"] for it in cut])[0]
    part = slope(read, [it["part"] for it in every])[0]
    memory, base = slope(read, [it["memory"].get("part", 0) / 1e9 for it in every])
    pieces = slope(read, [it["pieces"] / 1e9 for it in every])[0]
    index = 16 * nodes_a_gb
    located = slope(
        [it["bytes"] / 1e9 for it in whole], [it["disk"] / 1e9 - it["bytes"] * index / 1e18 for it in whole]
    )[0]
    print(
        f"\na GB takes {check:.0f} s to be looked through, {cutting:.0f} s to be cut, {part:.0f} s to be read; "
        f"{base:.2f} GB of memory and {memory:.2f} GB a GB; {nodes_a_gb / 1e6:.0f} million nodes, so "
        f"{index / 1e9:.1f} GB of disk for their locations, {located:.1f} GB for what is written on the way and the "
        f"pieces, of which the pieces are {pieces:.1f} GB\n"
    )
    sets = sum(2 * PLANET_IDS[kind] / 8 for kind in "nw") / 1e9
    print(
        "| extract | GB | CPU, h | memory, GB | disk, GB | of it index, GB | pieces, GB |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name, gb, share in PLACES:
        is_cut = share < 1.0
        seconds = gb * (check + cutting + share * part) if is_cut else gb * part
        index_gb = min(16 * nodes_a_gb * share * gb, 8 * PLANET_IDS["n"]) / 1e9
        disk = index_gb + located * share * gb + (share * gb if is_cut else 0.0)
        needs = max(base + memory * share * gb, sets if is_cut else 0.0)
        row = f"| {name} | {gb} | {seconds / 3600:.1f} | {needs:.1f} | {disk:.0f} | {index_gb:.0f} |"
        print(f"{row} {pieces * share * gb:.0f} |")
    return {"s_a_gb": part, "mb_a_gb": memory * 1e3}


def missed_bounds(slopes):
    missed = []
    if slopes["s_a_gb"] > MOST_S_A_GB:
        missed.append(f"a GB takes {slopes['s_a_gb']:.0f} s, over {MOST_S_A_GB:.0f}")
    if slopes["mb_a_gb"] > MOST_MB_A_GB:
        missed.append(f"a GB takes {slopes['mb_a_gb']:.0f} MB of memory, over {MOST_MB_A_GB:.0f}")
    return missed


def table(files, sizes, folder):
    """Prints both tables and returns the bounds that are missed."""
    from beam_pipeline.labels.extract import check_extract

    bounds = check_extract(files[0]).bounds
    write_copies(files, 1, folder / "one.osm.pbf")
    one = (folder / "one.osm.pbf").stat().st_size / 1e9
    whole, cut = [], []
    print(
        "| file, GB | cells | read, GB | look through, s | cut, s | read, s | cut, MB | read, MB | disk, GB "
        "| pieces, GB |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for gb in sizes:
        copies = max(1, round(gb / one))
        path = folder / f"{copies}-copies.osm.pbf"
        nodes = write_copies(files, copies, path)
        whole.append(reading(path, bounds, copies, 1, folder))
        line_of(whole[-1], "all over")
        cut.append(reading(path, bounds, copies, EVERY, folder))
        line_of(cut[-1], "of an eighth")
        if len(cut) == 1:
            bare = {**os.environ, "PATH": os.path.dirname(sys.executable)}
            by_hand = reading(path, bounds, copies, EVERY, folder, bare)["cut"]
        nodes_a_gb = nodes / (path.stat().st_size / 1e9)
        path.unlink()
    print(f"\npyosmium takes {by_hand:.0f} s to cut the first, {by_hand / cut[0]['cut']:.1f} x osmium-tool's")
    return missed_bounds(projection(whole, cut, nodes_a_gb))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--folder", type=Path, help="of a disk with five times the size of the largest file")
    parser.add_argument("--gb", type=float, nargs="+", default=[0.1, 0.5, 1.0, 2.0])
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--bounds", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        copies, every, folder = arguments.measure
        bounds = tuple(map(float, arguments.bounds.split(",")))
        measure(arguments.files[0], bounds, int(copies), int(every), Path(folder))
        return 0
    files = arguments.files or sorted((SHARED / "osm").glob("*.osm.pbf"))
    if not files:
        print("no extracts: give FILE")
        return 0
    if shutil.which("osmium") is None:
        print("osmium-tool is not installed: pyosmium cuts, which takes several times as long")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        missed = table(files, arguments.gb, Path(folder))
    print("\n".join(["missed:", *missed] if missed else ["every bound is kept"]))
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
