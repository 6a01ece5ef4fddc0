"""Memory and CPU that hostile inputs take: small files and answers that are made to cost much.

    python tests/benchmarks/hostile_inputs.py [--check] [--limit_s S] [--code FOLDER] [NAME ...]

Each input is made here and read in a process of its own, as the pipeline reads it; one that takes more than `--limit_s`
is ended. With `--code` another checkout's code is measured: how it was before.
"""

import argparse
import collections
import functools
import gzip
import http.server
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.peak_memory import peak_bytes
from tests.labels.raw_pbf import framed, held, number, signed, varint, write_raw_pbf

HERE = sys.path[0]
MAX_MB = 1_500
MAX_CPU_S = 30
LIMIT_S = 60.0
RING = [(9.5, 47.1), (9.501, 47.1), (9.501, 47.101), (9.5, 47.101), (9.5, 47.1)]


@functools.cache
def packed(block: bytes) -> bytes:
    """Returns a block as a blob of a file."""
    return framed(b"OSMData", number(2, varint(len(block))) + held(3, zlib.compress(block, 9)))


def table(*texts: bytes) -> bytes:
    """Returns a block's table of texts; the first, which is empty, is number 0."""
    return held(1, b"".join(held(1, text) for text in (b"", *texts)))


def nodes(places: list[tuple[float, float]]) -> bytes:
    """Returns dense nodes of ids from 1."""
    lonlats = [(round(lon * 1e7), round(lat * 1e7)) for lon, lat in places]
    before = [(0, 0), *lonlats[:-1]]
    lons, lats = (
        b"".join(signed(now[axis] - then[axis]) for now, then in zip(lonlats, before, strict=True))
        for axis in (0, 1)
    )
    return held(2, held(2, held(1, signed(1) * len(places)) + held(8, lats) + held(9, lons)))


def way(way_id: int, refs: list[int], tags: bytes = b"") -> bytes:
    """Returns a way; `tags` are its fields 2 and 3."""
    steps = b"".join(signed(now - then) for now, then in zip(refs, [0, *refs[:-1]], strict=True))
    return held(3, number(1, varint(way_id)) + tags + held(8, steps))


def relation(relation_id: int, ways: list[int], tags: bytes) -> bytes:
    """Returns a relation; `tags` are its fields 2 and 3."""
    steps = b"".join(signed(now - then) for now, then in zip(ways, [0, *ways[:-1]], strict=True))
    roles, types = bytes(len(ways)), b"\1" * len(ways)
    return held(4, number(1, varint(relation_id)) + tags + held(8, roles) + held(9, steps) + held(10, types))


FOREST = table(b"landuse", b"forest", b"type", b"multipolygon")
IS_FOREST = held(2, b"\1") + held(3, b"\2")
IS_MULTIPOLYGON = held(2, b"\1\3") + held(3, b"\2\4")


def to_and_fro(refs: int, ways: int = 1) -> list[bytes]:
    """Ways that go to and fro between two nodes."""
    there = IS_FOREST + held(8, signed(1) + (signed(1) + signed(-1)) * (refs // 2))
    body = b"".join(held(3, number(1, varint(way_id)) + there) for way_id in range(1, ways + 1))
    return [FOREST + nodes([(9.5, 47.1), (9.501, 47.1)]) + held(2, body)]


def dense_nodes() -> list[bytes]:
    """Nodes of three bytes."""
    count = (32 << 20) // 3 - 1000
    return [
        table() + held(2, held(2, held(1, b"\2" * count) + held(8, bytes(count)) + held(9, bytes(count))))
    ] * 10


def long_tags() -> list[bytes]:
    """Nodes whose tags name two texts of 1,024 bytes again and again."""
    count = 1_000_000
    return [
        table(b"k" * 1024, b"v" * 1024)
        + held(
            2, held(2, held(1, b"\2") + held(8, b"\0") + held(9, b"\0") + held(10, b"\1\2" * count + b"\0"))
        )
    ]


def crossing_relation() -> list[bytes]:
    """A relation of ways that lie all over each other."""
    side = 1000
    places = [(9.5 + 1e-6 * i, 47.1 + 1e-4 * (i * 7919 % side)) for i in range(2 * side)]
    ways = [way(w + 1, [1 + (i * (2 * w + 1)) % (2 * side) for i in range(1999)]) for w in range(100)]
    forest = relation(1, list(range(1, 101)), IS_MULTIPOLYGON)
    return [FOREST + nodes(places) + held(2, b"".join(ways)) + held(2, forest)]


def joined_relation() -> list[bytes]:
    """A relation of four ways each from one node to the next, in a ring of 20: more ways round than can be tried."""
    joints, each = 20, 4
    places = [(9.5 + 0.001 * i, 47.1 + 0.0001 * i * (joints - i)) for i in range(joints)]
    refs, middles = [], []
    for i in range(joints):
        for k in range(each):
            (lon, lat), (lon2, lat2) = places[i], places[(i + 1) % joints]
            middles.append(((lon + lon2) / 2, (lat + lat2) / 2 + 1e-5 * (k + 1)))
            refs.append([i + 1, joints + len(middles), (i + 1) % joints + 1])
    ways = [way(w, nodes_of) for w, nodes_of in enumerate(refs, 1)]
    forest = relation(1, list(range(1, len(ways) + 1)), IS_MULTIPOLYGON)
    return [FOREST + nodes(places + middles) + held(2, b"".join(ways)) + held(2, forest)]


def repeated_relation() -> list[bytes]:
    """Relations of the same ways, over and over."""
    places = [(9.5 + 1e-5 * (i % 40), 47.1 + 1e-5 * (i // 40)) for i in range(1600)]
    ways = [way(w, [w, w + 1]) for w in range(1, 1600)]
    relations = [relation(r, list(range(1, 1600)), IS_MULTIPOLYGON) for r in range(1, 1500)]
    return [FOREST + nodes(places) + held(2, b"".join(ways)) + held(2, b"".join(relations))]


EXTRACTS: dict[str, Callable[[], list[bytes]]] = {
    "way of 200,000 refs": lambda: to_and_fro(200_000),
    "way of 2,000,000 refs": lambda: to_and_fro(2_000_000),
    "4,000 ways of 1,999 refs": lambda: to_and_fro(1_998, 4_000),
    "dense nodes": dense_nodes,
    "long tags": long_tags,
    "ways across ways": crossing_relation,
    "ways round 20 nodes": joined_relation,
    "relations of the same ways": repeated_relation,
}


def page_of(features: bytes, more: bytes = b"") -> bytes:
    """Returns a page of a search."""
    return b'{"type":"FeatureCollection","features":[' + features + b"]" + more + b"}"


def item(name: int, ballast: int) -> bytes:
    """Returns an item with much that is not needed."""
    return json.dumps(
        {
            "type": "Feature",
            "id": f"S2A_33TWN_{name}",
            "properties": {"ballast": [{}] * ballast},
            "assets": {},
        }
    ).encode()


def endless_pages() -> Iterator[bytes]:
    """Pages of a hundred heavy items, each with a link to the next."""
    for page in range(100):
        items = b",".join(item(100 * page + i, 1000) for i in range(100))
        yield page_of(items, b',"links":[{"rel":"next","href":"NEXT"}]' if page < 99 else b"")


SEARCHES: dict[str, Callable[[], Iterator[bytes]]] = {
    "page of empty objects": lambda: iter([page_of(b",".join([b"{}"] * 40_000_000))]),
    "100 pages of heavy items": endless_pages,
}
ANSWERS: dict[str, Callable[[], bytes]] = {
    "Overpass answer of empty objects": lambda: b'{"elements":[' + b",".join([b"{}"] * 40_000_000) + b"]}",
}
FILES: dict[str, Callable[[], bytes]] = {
    "catalogue file of empty objects": lambda: page_of(b",".join([b"{}"] * 10_000_000)),
}
NAMES = [*EXTRACTS, *SEARCHES, *ANSWERS, *FILES]


def make(name: str, folder: Path) -> int:
    """Makes an input in a folder and returns its bytes, packed."""
    if name in EXTRACTS:
        path = folder / "a.osm.pbf"
        write_raw_pbf(path, RING, {"building": "yes"}, (9.0, 47.0, 10.0, 48.0))
        header = path.read_bytes()
        path.write_bytes(header[: header.index(b"OSMData") - 6] + b"".join(map(packed, EXTRACTS[name]())))
        return path.stat().st_size
    if name in FILES:
        return (folder / "items.json").write_bytes(FILES[name]())
    pages = SEARCHES[name]() if name in SEARCHES else iter([ANSWERS[name]()])
    return sum((folder / f"{i}.gz").write_bytes(gzip.compress(page, 9)) for i, page in enumerate(pages))


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    """Starts a server of the pages, of a landing page before them, and of an Overpass."""

    class Handler(http.server.BaseHTTPRequestHandler):
        server: http.server.ThreadingHTTPServer

        def do_GET(self) -> None:
            url = f"http://127.0.0.1:{self.server.server_port}"
            if self.path.startswith(("/pages/", "/api")):
                number = self.path.removeprefix("/pages/").partition("?")[0]
                page = folder / f"{number if number.isdigit() else 0}.gz"
                self.answer(page.read_bytes(), url, int(number) + 1 if number.isdigit() else 0)
                return
            landing = {
                "type": "Catalog",
                "id": "hostile",
                "description": "",
                "stac_version": "1.0.0",
                "conformsTo": [f"https://api.stacspec.org/v1.0.0/{part}" for part in ("core", "item-search")],
                "links": [{"rel": "search", "href": f"{url}/pages/0", "type": "application/geo+json"}],
            }
            self.answer(gzip.compress(json.dumps(landing).encode()), url, 0)

        do_POST = do_GET

        def answer(self, body: bytes, url: str, following: int) -> None:
            if following and (folder / f"{following}.gz").exists():
                body = gzip.compress(
                    gzip.decompress(body).replace(b"NEXT", f"{url}/pages/{following}".encode()), 1
                )
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def read(name: str, folder: Path, url: str) -> str:
    """Reads an input as the pipeline does, and returns what came of it."""
    from beam_pipeline.cells.cell import ChipWindow
    from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
    from beam_pipeline.runtime.retries import RetryPolicy

    ontology = Ontology.load(DEFAULT_ONTOLOGY.read_text())
    chip = ChipWindow(32632, 539_460, 5_220_060)
    once = RetryPolicy(attempts=1)
    if name in EXTRACTS:
        from beam_pipeline.labels.extract import features_of_cells

        features = 0
        dropped: collections.Counter[str] = collections.Counter()
        for part in features_of_cells(folder / "a.osm.pbf", {1: chip}, ontology):
            features += len(part.features)
            dropped.update(part.dropped.counts)
        return f"{features} features, dropped {dict(dropped)}"
    if name in ANSWERS:
        from beam_pipeline.labels.overpass import features_of_chip

        return str(features_of_chip(chip, ontology, f"{url}/api", folder / "cache", retry=once))
    from beam_pipeline.imagery.catalog import find_scenes
    from beam_pipeline.imagery.catalog_settings import CatalogSettings

    where = url if name in SEARCHES else str(folder / "items.json")
    found = find_scenes(CatalogSettings(where, "c"), "33TWN", 2021, 0, retry=once)
    return f"{found.found} found, {len(found.scenes)} scenes"


def cpu_s(process: int) -> float:
    """Returns the seconds of CPU that another process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, folder: Path, url: str) -> None:
    """Reads an input and prints what it took, as JSON."""
    before = time.process_time()
    try:
        came_of_it = read(name, folder, url)
    except Exception as error:  # whatever the code that is measured makes of it
        came_of_it = f"{type(error).__name__}: {error}"
    print(
        json.dumps(
            {
                "cpu_s": time.process_time() - before,
                "MB": peak_bytes() / 1e6,
                "came_of_it": came_of_it[:100],
            }
        )
    )


def measured(name: str, folder: str, url: str, code: str, limit_s: float) -> dict[str, Any]:
    """Has an input read by another process and returns what that took, at the least where it is ended."""
    command = [sys.executable, __file__, name, "--code", code, "--measure", folder, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        try:
            said, _ = child.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            took = {
                "MB": peak_bytes(child.pid) / 1e6,
                "cpu_s": cpu_s(child.pid),
                "came_of_it": "ENDED, NOT DONE",
            }
            child.kill()
            return took
    if child.returncode:
        return {"MB": math.inf, "cpu_s": math.inf, "came_of_it": f"DIED with {child.returncode}"}
    took = json.loads(said.splitlines()[-1])
    return took


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--limit_s", type=float, default=LIMIT_S)
    parser.add_argument("--code", default=HERE, metavar="FOLDER")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "URL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        folder, url = arguments.measure
        sys.path.insert(0, arguments.code)
        measure(arguments.names[0], Path(folder), url)
        return 0
    missed = []
    print(f"{'what':34}{'kB':>9}{'MB':>8}{'CPU s':>8}  came of it")
    for name in arguments.names or NAMES:
        with tempfile.TemporaryDirectory() as folder:
            size = make(name, Path(folder))
            server = serve(Path(folder))
            url = f"http://127.0.0.1:{server.server_port}"
            took = measured(name, folder, url, arguments.code, arguments.limit_s)
            server.shutdown()
        print(
            f"{name:34}{size / 1e3:9.1f}{took['MB']:8.0f}{took['cpu_s']:8.1f}  {took['came_of_it']}",
            flush=True,
        )
        ended = took["came_of_it"].startswith(("ENDED", "DIED"))
        if ended or took["MB"] > MAX_MB or took["cpu_s"] > MAX_CPU_S:
            missed.append(name)
    print("\n".join(["missed:", *missed] if missed else ["every bound is kept"]))
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
