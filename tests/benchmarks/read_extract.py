"""Time and memory of reading `.osm.pbf` extracts.

    python tests/benchmarks/read_extract.py [--check] [--copies N] [FILE ...]

Each file is read in a process of its own: only read, then for one cell in the middle of it, then for the
cells that cover it. Without FILE it takes the real extracts beside the repository, or says that there are
none. With `--copies N` it also reads a file made of N copies of the first, side by side: how the cost grows.
And it clips one lake to the thousands of cells that it touches. Last it reads all objects with a key of a store, and
compares that with a bare pass of pyosmium: the same keys, areas assembled, nothing done with what comes.
"""

import argparse
import collections
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.shared_data import SHARED

DEFAULT = SHARED / "osm"
MAX_MB = 500  # of a process that reads a small country, Python and its libraries included
MAX_FACTOR = 4.0  # seconds with features of all cells clipped, over seconds of only reading them
MAX_OBJECTS_FACTOR = 2.0  # CPU of reading objects by columns, over that of a bare pass of pyosmium
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


def write_copies(path, copies, target):
    """Writes copies of a file side by side, each 0.5 degrees east of the one before, with ids of its own."""
    import osmium

    kinds = (osmium.osm.NODE, osmium.osm.WAY, osmium.osm.RELATION)
    span = 1 + max(entity.id for entity in osmium.FileProcessor(str(path)))
    box = osmium.io.Reader(str(path), osmium.osm.NOTHING).header().box()
    header = osmium.io.Header()
    header.add_box(osmium.osm.Box(box.bottom_left, box.top_right))
    with osmium.SimpleWriter(str(target), header=header) as writer:
        for kind in kinds:
            for copy in range(copies):
                add = copy * span
                for entity in osmium.FileProcessor(str(path), kind):
                    if entity.is_node():
                        place = (entity.lon + 0.5 * copy, entity.lat)
                        writer.add_node(entity.replace(id=entity.id + add, location=place))
                    elif entity.is_way():
                        nodes = [node.ref + add for node in entity.nodes]
                        writer.add_way(entity.replace(id=entity.id + add, nodes=nodes))
                    else:
                        members = [(m.type, m.ref + add, m.role) for m in entity.members]
                        writer.add_relation(entity.replace(id=entity.id + add, members=members))


def measure(path, way):
    """Reads a file in one way and prints what it took, as JSON."""
    from beam_pipeline.labels.extract import check_extract, features_of_cells, read_features
    from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology

    ontology = Ontology.load(DEFAULT_ONTOLOGY.read_text())
    chips = chips_over(check_extract(path).bounds)
    if way == "one cell":
        chips = {0: chips[len(chips) // 2]}
    start = time.perf_counter()
    parts = read_features(path, ontology) if way == "read" else features_of_cells(path, chips, ontology)
    features, dropped = 0, collections.Counter()
    for found in parts:
        features += len(found.features)
        dropped.update(found.dropped.counts)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    cells = 0 if way == "read" else len(chips)
    print(
        json.dumps({"s": seconds, "MB": peak, "features": features, "cells": cells, "dropped": dict(dropped)})
    )


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


def least(work, path, times=5):
    """Returns (CPU, wall) seconds of the best of some turns in this process; both are warm after the first."""
    took = []
    for _ in range(times):
        start = time.process_time(), time.perf_counter()
        work(path)
        took.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    return min(cpu for cpu, _ in took), min(wall for _, wall in took)


def measure_objects(path):
    """Reads objects, and passes over them, and prints what both took, as JSON."""
    print(json.dumps({"bare": least(bare_pass, path), "columns": least(read_by_columns, path)}))


def objects_line(path):
    """Prints a line about objects and returns the bounds that it misses."""
    took = in_a_process(path, "--measure", "objects")
    (bare, bare_wall), (cpu, wall) = took["bare"], took["columns"]
    print(
        f"  objects by columns: {cpu:.2f} s of CPU, {cpu / bare:.2f} x a bare pass of pyosmium ({bare:.2f} s); "
        f"by the clock {wall:.2f} s, {wall / bare_wall:.2f} x"
    )
    factor = cpu / bare
    return [f"{path.name}: objects take {factor:.1f} x a bare pass"] if factor > MAX_OBJECTS_FACTOR else []


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
        if arguments.measure == "lake":
            clip_lake()
        elif arguments.measure == "objects":
            measure_objects(files[0])
        else:
            measure(files[0], arguments.measure)
        return 0
    missed = lake_line()
    if not files:
        print(f"no extracts: give FILE, or put some into {DEFAULT}")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.copies and files:
            large = Path(folder) / f"{arguments.copies}-copies.osm.pbf"
            write_copies(files[0], arguments.copies, large)
            files.append(large)
        missed += [bound for path in files for bound in (*table(path), *objects_line(path))]
    print("\n".join(["missed:", *missed] if missed else ["every bound is kept"]))
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
