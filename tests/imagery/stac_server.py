"""A small local STAC API: paging, bbox, datetime and query, a request log, bad manners and injected faults.

In a test: `with StacServer(items) as server: ... server.url ... server.requests`.
"""

import contextlib
import dataclasses
import datetime
import http.server
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

Item = dict[str, Any]

_CORE = "https://api.stacspec.org/v1.0.0/core"
_COLLECTIONS = "https://api.stacspec.org/v1.0.0/collections"
_SEARCH = "https://api.stacspec.org/v1.0.0/item-search"


@dataclasses.dataclass
class Fault:
    """The answer of the server to the next request whose path ends in `path`.

    Attributes:
        path: E.g. "/search".
        status: The status; 0 stalls for `stall_s` seconds and then closes.
        body: The body.
        headers: Further headers.
        stall_s: Seconds before the answer.
        passing: How many such requests are answered as they should be before that.
    """

    path: str
    status: int = 500
    body: str = "{}"
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    stall_s: float = 0.0
    passing: int = 0


def exact(found: int, _: int) -> int:
    """The count that a well-behaved API gives, of what it found, on whatever page."""
    return found


class StacServer:
    """A STAC API on a free local port.

    Attributes:
        items: What it holds.
        query: "honoured" is what Earth Search does; "absent" does not advertise the query extension; "empty"
            advertises it and finds nothing, "ignored" advertises it and finds everything.
        methods: How a search may be asked.
        page_size: Items a page at most.
        count: Gives `numberMatched` of how many items match and of the place of a page's first item; None leaves
            it out.
        next_links: Which pages have one. "more": those that are not the last, as it should be; "full": those of as
            many items as a page may have; "filled": those with any item, as older stac-servers; "always"; "never".
        overlap: How many items of a page come again on the next one.
        swaps: Whether each page but the first has, in place of its first item, the last one of the page before.
        operators: What the query extension takes.
        refuses_others: Whether other operators are refused, as pgstac does, or passed over, as stac-server does.
        faults: Taken one by one.
        requests: (method, path, search parameters) of every request.
        http_server: What listens, while the context lasts.
    """

    def __init__(
        self,
        items: Sequence[Item],
        query: Literal["honoured", "absent", "empty", "ignored"] = "honoured",
        methods: Sequence[str] = ("GET", "POST"),
        page_size: int = 100,
    ) -> None:
        self.items = list(items)
        self.query = query
        self.methods = methods
        self.page_size = page_size
        self.count: Callable[[int, int], int | None] = exact
        self.next_links: Literal["more", "full", "filled", "always", "never"] = "more"
        self.overlap = 0
        self.swaps = False
        self.operators = {"eq", "in"}
        self.refuses_others = False
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.empty_pages = False
        self.repeat_pages = False

    def __enter__(self) -> "StacServer":
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self, {})

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                outer._answer(self, json.loads(self.rfile.read(length) or b"{}"))

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http_server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http_server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self.http_server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http_server.shutdown()
        self.http_server.server_close()
        self._thread.join()

    @property
    def searches(self) -> list[dict[str, Any]]:
        """The parameters of every search for a tile and year; a launch looks at samples of years alone."""
        of_year = [it for _, path, it in self.requests if path == "/v1/search" and "datetime" in it]
        return [parameters for parameters in of_year if parameters.keys() & {"query", "bbox"}]

    def _answer(self, handler: http.server.BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        url = urllib.parse.urlsplit(handler.path)
        parameters = body or _from_query_string(url.query)
        self.requests.append((handler.command, url.path, parameters))
        fault = next((fault for fault in self.faults if url.path.endswith(fault.path)), None)
        if fault is not None and fault.passing:
            fault.passing -= 1
        elif fault is not None:
            self.faults.remove(fault)
            time.sleep(fault.stall_s)
            if fault.status:
                self._send(handler, fault.status, fault.body, fault.headers)
            return
        path = url.path.removeprefix("/v1").rstrip("/")
        if path == "":
            self._send(handler, 200, json.dumps(self.landing_page()))
        elif path == "/search" and self.refuses_others and self._unknown_operators(parameters):
            self._send(handler, 400, '{"code":"RequestValidationError"}')
        elif path == "/search":
            self._send(handler, 200, json.dumps(self.search(handler.command, parameters)))
        elif path.startswith("/collections/") and path.split("/")[2] in self._collections():
            self._send(handler, 200, json.dumps(self.collection(path.split("/")[2])))
        else:
            self._send(handler, 404, '{"code":404,"description":"Collection not found"}')

    def _send(
        self,
        handler: http.server.BaseHTTPRequestHandler,
        status: int,
        body: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        content = body.encode()
        # A client that timed out is gone.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            handler.send_response(status)
            for name, value in {"Content-Type": "application/geo+json", **(headers or {})}.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)

    def _collections(self) -> set[str]:
        return {item["collection"] for item in self.items}

    def collection(self, name: str) -> dict[str, Any]:
        """Returns a collection's document; a test may give another."""
        return {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": name,
            "description": name,
            "license": "proprietary",
            "extent": {
                "spatial": {"bbox": [[-180, -90, 180, 90]]},
                "temporal": {"interval": [[None, None]]},
            },
            "links": [],
        }

    def landing_page(self) -> dict[str, Any]:
        """Returns what the API says of itself; a test may say otherwise."""
        search = [
            {"rel": "search", "href": f"{self.url}/search", "type": "application/geo+json", "method": method}
            for method in self.methods
        ]
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "local",
            "description": "a local STAC API",
            "conformsTo": [_CORE, _COLLECTIONS, _SEARCH, *([f"{_SEARCH}#query"] * (self.query != "absent"))],
            "links": [
                {"rel": "self", "href": self.url},
                {"rel": "root", "href": self.url},
                {"rel": "data", "href": f"{self.url}/collections"},
                *search,
            ],
        }

    def search(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Returns a page of a search."""
        found = list(self._matching(parameters))
        start = int(parameters.get("token", 0))
        size = min(int(parameters.get("limit", 10)), self.page_size)
        stop = start + size
        page = found[start:stop]
        if self.swaps and start and page:
            page[0] = found[start - 1]
        leads_on = {
            "more": stop < len(found),
            "full": len(page) == size,
            "filled": bool(page),
            "always": True,
            "never": False,
        }
        links = []
        if leads_on[self.next_links]:
            following = {**parameters, "token": start if self.repeat_pages else stop - self.overlap}
            link: dict[str, Any] = {"rel": "next", "href": f"{self.url}/search", "method": method}
            if method == "POST":
                link["body"] = following
            else:
                link["href"] += "?" + urllib.parse.urlencode(_to_query_string(following))
            links.append(link)
        if self.empty_pages and links and not parameters.get("passed"):
            links[0]["body"] = {**parameters, "passed": True}
            page = []
        answer = {"type": "FeatureCollection", "features": page, "links": links}
        count = self.count(len(found), start)
        return answer if count is None else {**answer, "numberMatched": count}

    def _unknown_operators(self, parameters: dict[str, Any]) -> bool:
        return any(test.keys() - self.operators for test in parameters.get("query", {}).values())

    def _matching(self, parameters: dict[str, Any]) -> Iterator[Item]:
        window = parameters.get("datetime", "0001-01-01T00:00:00Z/9999-12-31T00:00:00Z")
        first, last = map(datetime.datetime.fromisoformat, window.split("/"))
        for item in self.items:
            if item["collection"] not in parameters["collections"]:
                continue
            if not first <= datetime.datetime.fromisoformat(item["properties"]["datetime"]) <= last:
                continue
            if "bbox" in parameters and not _overlap(item["bbox"], parameters["bbox"]):
                continue
            if "query" in parameters and self.query != "ignored":
                if self.query != "honoured":
                    continue
                if not all(
                    _passes(item["properties"].get(key), operator, operand)
                    for key, test in parameters["query"].items()
                    for operator, operand in test.items()
                    if operator in self.operators
                ):
                    continue
            yield item


def _passes(value: Any, operator: str, operand: Any) -> bool:
    return bool(value in operand if operator == "in" else value == operand)


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _to_query_string(parameters: dict[str, Any]) -> dict[str, str]:
    return {
        key: ",".join(map(str, value))
        if isinstance(value, list | tuple)
        else json.dumps(value)
        if isinstance(value, dict)
        else str(value)
        for key, value in parameters.items()
    }


def _from_query_string(text: str) -> dict[str, Any]:
    parameters: dict[str, Any] = dict(urllib.parse.parse_qsl(text))
    if "collections" in parameters:
        parameters["collections"] = parameters["collections"].split(",")
    if "bbox" in parameters:
        parameters["bbox"] = [float(part) for part in parameters["bbox"].split(",")]
    if "query" in parameters:
        parameters["query"] = json.loads(parameters["query"])
    return parameters
