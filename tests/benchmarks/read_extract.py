"""Time and memory of reading `.osm.pbf` extracts.

    python tests/benchmarks/read_extract.py [--check] [--copies N] [FILE ...]

Each file is read in a process of its own: only read, then for one cell in the middle of it, then for the
cells that cover it. Without FILE it takes the real extracts beside the repository, or says that there are
none. With `--copies N` it also reads a file made of N copies of the first, far from each other: how the cost grows.
And it clips one lake to the thousands of cells that it touches. Then it reads all objects with a key of a store, and
compares that with a bare pass of pyosmium: the same keys, areas assembled, nothing done with what comes.

Last the feature store: the file of a tile with cells all over the extract is written and read back, which is compared
with the bare pass too. And a made city of a million buildings in one tile, of which two extracts have a part: the
memory that parting and merging take.
"""

import argparse
import collections
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from beam_pipeline.labels.extract import check_extract
from tests.benchmarks.osm_copies import write_copies
from tests.shared_data import SHARED

DEFAULT = SHARED / "osm"
MAX_MB = 500  # of a process that reads a small country, Python and its libraries included
MAX_FACTOR = 4.0  # seconds with features of all cells clipped, over seconds of only reading them
MAX_OBJECTS_FACTOR = 1.2  # CPU of reading objects by columns, over that of a bare pass of pyosmium
MOST_STORE_BYTES = 1.5  # bytes of a tile file over those of the extract that it covers
MAX_WRITTEN = 1.5  # of writing a store, over a bare pass: of CPU, and of time by the clock on idle cores
MAX_READ_BACK = 0.2  # likewise
TIMED_BYTES = (
    1_000_000  # of an extract; of a smaller one a pass takes 40 ms, as long as opening and closing of files
)
BUILDINGS = 1_000_000
MOST_CITY_BYTES = 1000  # of memory, a building
LAKE_NODES = 100_000
MAX_LAKE_S = 3.0  # of CPU


def chips_over(bounds, step_m=1920):
    """Chips that cover bounds in degrees, in the UTM zone of their middle."""
    import numpy as np
    import pyproj

    from beam_pipeline.cells.cell import ChipWindow

    west, south, east, north = bounds
    epsg = 32600 + (100 if south + north < 0 else 0) + int((west + east) / 2 // 6 + 31)
    forward = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)
    left, bottom, right, top = forward.transform_bounds(west, south, east, north)
    origin = 10_000_000 if epsg > 32700 else 0
    lefts = np.arange(left // 60 * 60, right, step_m)
    bottoms = np.arange((bottom - origin) // 60 * 60 + origin, top, step_m)
    places = [(int(x), int(y)) for y in bottoms for x in lefts]
    return {i: ChipWindow(epsg, x, y) for i, (x, y) in enumerate(places)}


def measure(path, way):
    """Reads a file in one way and prints what it took, as JSON."""
    from beam_pipeline.labels.extract import check_extract, features_of_cells, read_features
    from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology

    ontology = Ontology.load(DEFAULT_ONTOLOGY.read_text())
    chips = chips_over(check_extract(path).bounds)
    if way == "one cell":
        chips = {0: chips[len(chips) // 2]}
    start, cpu_start = time.perf_counter(), time.process_time()
    parts = read_features(path, ontology) if way == "read" else features_of_cells(path, chips, ontology)
    features, dropped = 0, collections.Counter()
    for found in parts:
        features += len(found.features)
        dropped.update(found.dropped.counts)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    cells = 0 if way == "read" else len(chips)
    took = {"s": seconds, "cpu_s": cpu_s, "MB": peak}
    print(json.dumps({**took, "features": features, "cells": cells, "dropped": dict(dropped)}))


def clip_lake():
    """Clips a lake of ragged shores to the cells that it touches and prints what it took, as JSON."""
    import numpy as np
    import shapely

    from beam_pipeline.labels.cell_index import CellIndex
    from beam_pipeline.labels.clipping import clip_margin
    from beam_pipeline.labels.feature import Feature
    from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology

    angle = np.linspace(0, 2 * np.pi, LAKE_NODES, endpoint=False)
    waves = sum(np.cos(times * angle + times) / times for times in (2, 3, 9, 60))
    radii = 0.66 + 0.1 * waves + 1e-5 * np.random.default_rng(0).random(LAKE_NODES)
    shore = np.column_stack([9.5 + radii * np.cos(angle), 47.1 + 0.7 * radii * np.sin(angle)])
    lake = Feature("relation", 1, (("natural", "water"),), shapely.to_wkb(shapely.Polygon(shore)))
    chips = chips_over((*shore.min(0).tolist(), *shore.max(0).tolist()))
    index = CellIndex(chips, clip_margin(Ontology.load(DEFAULT_ONTOLOGY.read_text()).reach_m))
    start = time.process_time()
    cells = len(index.clip([lake]).features)
    print(json.dumps({"s": time.process_time() - start, "cells": cells}))


def bare_pass(path):
    """Lets pyosmium pass over a file with the keys of a store and assemble areas."""
    import osmium

    from beam_pipeline.labels.store_keys import STORE_KEYS

    areas, objects = osmium.filter.KeyFilter(*STORE_KEYS), osmium.filter.KeyFilter(*STORE_KEYS)
    for _ in osmium.FileProcessor(str(path)).with_areas(areas).with_filter(objects):
        pass


def read_by_columns(path):
    """Reads all objects with a key of a store."""
    from beam_pipeline.labels.extract import read_columns
    from beam_pipeline.labels.store_keys import STORE_KEYS

    for _ in read_columns(path, STORE_KEYS):
        pass


def in_turns(works, path, turns=7):
    """Does works in turns in this process, so that what else the machine does meets all of them.

    Returns:
        Work -> (CPU, wall) seconds, the medians of all turns but the first, in which nothing is warm.
    """
    took = {what: [] for what in works}
    for _ in range(turns + 1):
        for what, work in works.items():
            start = time.process_time(), time.perf_counter()
            work(path)
            took[what].append((time.process_time() - start[0], time.perf_counter() - start[1]))
    return {
        what: [statistics.median(of_turns) for of_turns in zip(*all_turns[1:], strict=True)]
        for what, all_turns in took.items()
    }


def measure_objects(path):
    """Reads objects, and passes over them, and prints what both took, as JSON."""
    print(json.dumps(in_turns({"bare": bare_pass, "columns": read_by_columns}, path)))


def objects_line(path):
    """Prints a line about objects and returns the bounds that it misses."""
    took = in_a_process(path, "--measure", "objects")
    (bare, bare_wall), (cpu, wall) = took["bare"], took["columns"]
    print(
        f"  objects by columns: {cpu:.2f} s of CPU, {cpu / bare:.2f} x a bare pass of pyosmium ({bare:.2f} s); "
        f"by the clock {wall:.2f} s, {wall / bare_wall:.2f} x"
    )
    factor = cpu / bare
    if factor <= MAX_OBJECTS_FACTOR or path.stat().st_size < TIMED_BYTES:
        return []
    return [f"{path.name}: objects take {factor:.1f} x a bare pass"]


def measure_store(path):
    """Writes the store of an extract, reads it back, and prints what it took, as JSON."""
    from beam_pipeline.features.coordinates import restore
    from beam_pipeline.features.identity import StoreRequest
    from beam_pipeline.features.parting import part_extract
    from beam_pipeline.features.stored_tile import StoredTile
    from beam_pipeline.labels.extract import check_extract
    from beam_pipeline.labels.store_keys import STORE_KEYS

    request = StoreRequest({"32TNT": chips_over(check_extract(path).bounds)}, STORE_KEYS)

    with tempfile.TemporaryDirectory() as folder:
        record = part_extract(path, request, Path(folder))
        written = record.tiles["32TNT"]

        def read_back(_):
            with (Path(folder) / "32TNT.parquet").open("rb") as file:
                for rows in StoredTile(file, "it", known=written.digest).rows():
                    restore(rows["geometry"])

        works = {"bare": bare_pass, "read back": read_back}
        works["written"] = lambda path: part_extract(path, request, Path(folder))
        took = in_turns(works, path)
    print(json.dumps({"rows": written.rows, "bytes": written.bytes, "took": took}))


def measure_city():
    """Parts and merges a city from two extracts and prints the memory that it took, as JSON."""
    import numpy as np
    import shapely

    from beam_pipeline.cells.cell import ChipWindow
    from beam_pipeline.features.identity import ExtractIdentity, StoreRequest
    from beam_pipeline.features.merging import merge_tile
    from beam_pipeline.features.parting import part_objects
    from beam_pipeline.features.stored_tile import StoredTile
    from beam_pipeline.labels.feature import Found
    from beam_pipeline.labels.object_columns import ObjectColumns, offsets_of

    chips = {
        50 * x + y: ChipWindow(32632, 500_040 + 1920 * x, 5_200_020 + 1920 * y)
        for x in range(50)
        for y in range(50)
    }
    request = StoreRequest({"32TNT": chips}, ("building",))
    draw = np.random.default_rng(0)

    def houses(first, count):
        middles = draw.uniform([9.0, 46.97], [10.2, 47.7], (count, 1, 2))
        corners = np.array([(-1, -1), (1, -1), (1, 1), (0, 1), (0, 0.5), (-1, 0.5), (-1, -1)]) * 1e-4
        rings = np.round((middles + corners) * 1e7) / 1e7
        wkb = shapely.to_wkb(shapely.polygons(rings), byte_order=1)
        ids = np.arange(first, first + count)
        three = np.arange(3 * count, dtype=np.int32)
        texts = ["addr:housenumber", "addr:street", "building", "Main Street", "yes", *map(str, range(500))]
        values = np.stack([5 + ids % 500, np.full(count, 3), np.full(count, 4)], axis=1)
        return ObjectColumns(
            *("way", ids, np.full(count, 2, np.int32), np.full(count, 1_600_000_000)),
            *(texts, offsets_of(np.full(count, 3)), three % 3, values.ravel().astype(np.int32)),
            *(offsets_of(np.array([len(one) for one in wkb])), np.frombuffer(b"".join(wkb), np.uint8)),
        )

    def peak_mb():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

    peaks = {"start": peak_mb()}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened:
        pieces = []
        for name, first in (("a", 0), ("b", BUILDINGS // 2)):  # half of the city lies in both
            piece = Path(folder) / name
            piece.mkdir()
            extract = ExtractIdentity(name, 1, "")
            parts = (Found([houses(at, 8000)]) for at in range(first, first + BUILDINGS // 4 * 3, 8000))
            record = part_objects(parts, request, piece, extract)
            file = opened.enter_context((piece / "32TNT.parquet").open("rb"))
            pieces.append((extract, StoredTile(file, name, known=record.tiles["32TNT"].digest)))
        peaks["parted"] = peak_mb()
        with (Path(folder) / "merged").open("wb") as target:
            footer = merge_tile(target, "32TNT", pieces, [], request)
        peaks["merged"] = peak_mb()
        size = (Path(folder) / "merged").stat().st_size
    print(json.dumps({"peaks": peaks, "rows": footer.rows, "superseded": footer.superseded, "bytes": size}))


def store_lines(path):
    """Prints lines about the store of a file and returns the bounds that it misses."""
    took = in_a_process(path, "--measure", "store")
    size = took["bytes"] / path.stat().st_size
    cpu = {what: seconds[0] for what, seconds in took["took"].items()}
    ratios = {
        what: [cpu[what] / cpu["bare"], took["took"][what][1] / took["took"]["bare"][1]] for what in cpu
    }
    print(f"  store: {took['rows']} rows, {took['bytes']} bytes, {size:.2f} x the extract; seconds of CPU:")
    for what in cpu:
        print(
            f"    {what:10}{cpu[what]:7.3f}  {ratios[what][0]:.2f} x the bare pass; "
            f"by the clock {ratios[what][1]:.2f} x"
        )
    bounds = (("written", MAX_WRITTEN), ("read back", MAX_READ_BACK))
    missed = [
        f"{path.name}, {what}: {ratio:.2f} x the bare pass by {clock}, over {most}"
        for what, most in bounds
        for clock, ratio in zip(("CPU", "the clock"), ratios[what], strict=True)
        if ratio > most and path.stat().st_size >= TIMED_BYTES
    ]
    return [
        *missed,
        *([f"{path.name}: the store has {size:.2f} x its bytes"] if size > MOST_STORE_BYTES else []),
    ]


def city_line():
    """Prints a line about a city and returns the bounds that it misses."""
    took = in_a_process("--measure", "city")
    grown = (took["peaks"]["merged"] - took["peaks"]["start"]) * 1e6 / took["rows"]
    print(
        f"a tile of {took['rows']} buildings, {took['bytes'] / 1e6:.0f} MB: peak MB {took['peaks']}, "
        f"{grown:.0f} bytes each"
    )
    return [f"a building takes {grown:.0f} bytes, over {MOST_CITY_BYTES}"] if grown > MOST_CITY_BYTES else []


def in_a_process(*flags):
    """Returns what this script prints with flags, in a process whose memory is its own."""
    command = [sys.executable, __file__, *map(str, flags)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def lake_line():
    """Prints a line about the lake and returns the bounds that it misses."""
    took = in_a_process("--measure", "lake")
    print(f"a lake of {LAKE_NODES} nodes clipped to {took['cells']} cells: {took['s']:.2f} s of CPU")
    return [f"the lake takes {took['s']:.1f} s, over {MAX_LAKE_S:.0f}"] if took["s"] > MAX_LAKE_S else []


def table(path):
    """Prints the rows of a file and returns the bounds that it misses."""
    missed = []
    size = path.stat().st_size / 1e6
    print(f"{path.name}, {size:.1f} MB")
    print(f"  {'what':10}{'cells':>6}{'features':>9}{'s':>8}{'s/GB':>7}{'peak MB':>9}  dropped")
    seconds = {}
    for way in ("read", "one cell", "all cells"):
        took = in_a_process(path, "--measure", way)
        seconds[way] = took["s"]
        print(
            f"  {way:10}{took['cells']:6}{took['features']:9}{took['s']:8.2f}{took['s'] / size * 1e3:7.0f}"
            f"{took['MB']:9.0f}  {took['dropped']}"
        )
        if size < 10 and took["MB"] > MAX_MB:
            missed.append(f"{path.name}, {way}: {took['MB']:.0f} MB is over {MAX_MB}")
    if seconds["all cells"] > MAX_FACTOR * seconds["read"]:
        missed.append(f"{path.name}: clipping takes {seconds['all cells'] / seconds['read']:.1f} x reading")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--copies", type=int, default=0, metavar="N")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    files = arguments.files or sorted(DEFAULT.glob("*.osm.pbf"))
    if arguments.measure:
        ways = {
            "lake": clip_lake,
            "city": measure_city,
            "objects": lambda: measure_objects(files[0]),
            "store": lambda: measure_store(files[0]),
        }
        ways.get(arguments.measure, lambda: measure(files[0], arguments.measure))()
        return 0
    missed = lake_line() + city_line()
    if not files:
        print(f"no extracts: give FILE, or put some into {DEFAULT}")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.copies and files:
            large = Path(folder) / f"{arguments.copies}-copies.osm.pbf"
            write_copies(files[:1], arguments.copies, large, check_extract(files[0]).bounds)
            files.append(large)
        missed += [
            bound for path in files for bound in (*table(path), *objects_line(path), *store_lines(path))
        ]
    print("\n".join(["missed:", *missed] if missed else ["every bound is kept"]))
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
