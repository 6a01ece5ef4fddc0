"""A local server that answers Overpass queries from an OSM file.

It knows the query language as far as OSMnx and `overpass.py` use it, and follows the behaviour of Overpass
0.7.57 and later: a search by polygon finds by nodes and edges only, `is_in` finds closed ways and areas, and
relations are areas only if they have a name. Geometry is shapely's throughout, not pyosmium's.
"""

import contextlib
import itertools
import json
import re
import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import osmium
import shapely


def error_page(text: str) -> str:
    """The answers of Overpass in place of data, whatever the format that was asked for."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<html><head><title>OSM3S Response</title></head><body>\n'
        f'<p><strong style="color:#FF0000">Error</strong>: {text} </p>\n</body></html>\n'
    )


_DISPATCHER = "runtime error: open64: 0 Success /osm3s_osm_base Dispatcher_Client::request_read_and_idx::"

RATE_LIMITED = error_page(
    f"{_DISPATCHER}rate_limited. Please check /api/status for the quota of your IP address."
)
TOO_BUSY = error_page(f"{_DISPATCHER}timeout. The server is probably too busy to handle your request.")
PARSE_ERROR = error_page('line 1: parse error: Unknown type "nodes"')
TIMED_OUT = 'runtime error: Query timed out in "query" at line 1 after 180 seconds.'
NO_MEMORY = 'runtime error: Query run out of memory in "recurse" at line 1 using about 2048 MB of RAM.'
"""Texts as servers give them. Source: issues 229, 291, 447 of https://github.com/drolbr/Overpass-API."""

_NO_FILE = (
    "runtime error: open64: 2 No such file or directory /db/db/node_tags_global_attic.bin File_Blocks::1"
)
NO_PAST = (
    f"runtime error: Tried to use museum file but no museum files available on this instance.{_NO_FILE}",
    _NO_FILE,
)
"""The answers, by version, of servers that keep today's map alone to a query of a date.

Source: issue 616 of https://github.com/OpenHistoricalMap/issues, issue 5 of https://github.com/wiktorn/Overpass-API.
"""

USER = "a user's name"
"""Of the last edit of all elements."""

_SEARCH = re.compile(r"\((node|way|relation)\['([^']+)'\]\(poly:'([^']+)'\);\(\._;>;\);\);")
_IS_IN = re.compile(r'is_in\(([-\d.]+),([-\d.]+)\).*?\[~"\^\(([^)]*)\)\$"~"\."\]')

Key = tuple[str, int]


class OsmData:
    """The elements of an OSM file and what Overpass finds among them."""

    def __init__(self, path: Path) -> None:
        self.elements: dict[Key, dict[str, Any]] = {}
        for entity in osmium.FileProcessor(str(path)):
            # As with `out meta`.
            element: dict[str, Any] = {
                "id": entity.id,
                "timestamp": f"{entity.timestamp:%Y-%m-%dT%H:%M:%SZ}",
                "version": entity.version,
                "changeset": 9_000_001,
                "user": USER,
                "uid": 9_000_002,
            }
            if entity.is_node():
                element |= {"type": "node", "lat": entity.lat, "lon": entity.lon}
            elif entity.is_way():
                element |= {"type": "way", "nodes": [node.ref for node in entity.nodes]}
            else:
                kinds = {"n": "node", "w": "way", "r": "relation"}
                members = [{"type": kinds[m.type], "ref": m.ref, "role": m.role} for m in entity.members]
                element |= {"type": "relation", "members": members}
            if len(entity.tags):
                element["tags"] = dict(entity.tags)
            self.elements[element["type"], entity.id] = element
        self._tagged: dict[tuple[str, str], list[Key]] = {}  # by kind and tag
        for key, element in self.elements.items():
            for tag in element.get("tags", {}):
                self._tagged.setdefault((key[0], tag), []).append(key)
        self._lines = {key: line for key in self.elements if (line := self._line(key)) is not None}
        self._line_keys = list(self._lines)
        self._tree = shapely.STRtree([self._lines[key] for key in self._line_keys])

    def _line(self, key: Key) -> Any:
        element = self.elements[key]
        if element["type"] == "node":
            return shapely.Point(element["lon"], element["lat"])
        if element["type"] == "relation":
            return None
        nodes = [self.elements["node", ref] for ref in element["nodes"] if ("node", ref) in self.elements]
        return shapely.LineString([(n["lon"], n["lat"]) for n in nodes]) if len(nodes) > 1 else None

    def search(self, kind: str, tag: str, polygon: Any) -> Iterator[Key]:
        met = {self._line_keys[row] for row in self._tree.query(polygon, predicate="intersects")}
        for key in self._tagged.get((kind, tag), ()):
            members = {(m["type"], m["ref"]) for m in self.elements[key].get("members", [])}
            if key in met or met & members:
                yield key

    def around(self, point: Any, tags: set[str]) -> Iterator[Key]:
        areas = (self._tagged.get((kind, tag), ()) for kind in ("way", "relation") for tag in tags)
        for key in dict.fromkeys(itertools.chain.from_iterable(areas)):
            element = self.elements[key]
            own = element["tags"]
            if key[0] == "way" and element["nodes"][0] == element["nodes"][-1] and len(element["nodes"]) > 3:
                if shapely.Polygon(self._lines[key].coords).buffer(0).contains(point):
                    yield key
            elif key[0] == "relation" and own.get("type") in ("multipolygon", "boundary") and "name" in own:
                ways = [
                    self._lines.get((m["type"], m["ref"])) for m in element["members"] if m["type"] == "way"
                ]
                if None in ways:
                    continue  # incomplete: the file is an extract
                # A point is in a multipolygon if an odd number of its rings hold it.
                rings = shapely.get_parts(shapely.line_merge(shapely.multilinestrings(ways)))
                if sum(shapely.Polygon(ring).contains(point) for ring in rings if ring.is_ring) % 2:
                    yield key

    def with_parts(self, keys: Iterable[Key]) -> list[dict[str, Any]]:
        found: dict[Key, dict[str, Any]] = {}
        ahead = list(keys)
        while ahead:
            key = ahead.pop()
            if key in found or key not in self.elements:
                continue
            element = found[key] = self.elements[key]
            ahead += [("node", ref) for ref in element.get("nodes", [])]
            ahead += [(m["type"], m["ref"]) for m in element.get("members", []) if m["type"] != "relation"]
        return list(found.values())

    def answer(self, query: str) -> list[dict[str, Any]]:
        outs = set(re.findall(r";(out\b[^;]*)", query))
        assert outs == {"out meta"}, outs
        keys: list[Key] = []
        for lat, lon, tags in _IS_IN.findall(query):
            keys += self.around(shapely.Point(float(lon), float(lat)), set(tags.replace("\\", "").split("|")))
        for kind, tag, text in _SEARCH.findall(query):
            numbers = [float(number) for number in text.split()]
            polygon = shapely.Polygon(list(zip(numbers[1::2], numbers[::2], strict=True)))
            keys += self.search(kind, tag, polygon)
        return self.with_parts(keys)


class OverpassServer(ThreadingHTTPServer):
    """Serves on a free port while it is used as a context manager.

    Attributes:
        url: The API's address.
        queries: The queries that came.
        user_agents: Who sent them.
        refusals: (status, headers, body) of answers that are given first, one after the other.
        status_text: What /status says; None for 404.
        most_at_once: How many queries were ever worked on at once.
        byte_s: Seconds before each byte of an answer; None for none.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.data = OsmData(path)
        self.url = f"http://localhost:{self.server_port}/api"
        self.queries: list[str] = []
        self.user_agents: list[str] = []
        self.refusals: list[tuple[int, dict[str, str], str]] = []
        self.status_text: str | None = None
        self.most_at_once = 0
        self.at_once = 0
        self.byte_s: float | None = None

    def __enter__(self) -> "OverpassServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: OverpassServer

    def do_GET(self) -> None:
        if self.path.endswith("/status") and self.server.status_text is not None:
            self._send(200, {}, self.server.status_text)
        else:
            self._send(404, {}, "<html>not found</html>")

    def do_POST(self) -> None:
        server = self.server
        server.at_once += 1
        server.most_at_once = max(server.most_at_once, server.at_once)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        query = parse_qs(body)["data"][0]
        server.queries.append(query)
        server.user_agents.append(self.headers["User-Agent"])
        if not self.path.endswith("/api/interpreter"):
            reply = (404, {}, "<html>not found</html>")
        elif server.refusals:
            reply = server.refusals.pop(0)
        else:
            answer = {"version": 0.6, "elements": server.data.answer(query)}
            reply = (200, {"Content-Type": "application/json"}, json.dumps(answer))
        server.at_once -= 1
        self._send(*reply)

    def _send(self, status: int, headers: dict[str, str], body: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        if self.server.byte_s is None:
            self.wfile.write(body.encode())
            return
        with contextlib.suppress(OSError):  # until the client hangs up
            for byte in body.encode():
                time.sleep(self.server.byte_s)
                self.wfile.write(bytes([byte]))

    def log_message(self, *_: object) -> None:
        pass
