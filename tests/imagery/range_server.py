"""A small local HTTP/1.1 server with Range requests, keep-alive, a request log and injected faults.

In a test: `with RangeServer(folder) as server: ... server.url("a.tif") ... server.requests`. For a benchmark it runs
in a process of its own, so that its CPU is not counted: `with ServerProcess(folder, delay_s) as server`.
"""

import argparse
import contextlib
import dataclasses
import http.server
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

CONTROL = "/-/"
"""Paths that drive the server from another process; they are not logged."""

_CHUNK = 1 << 16


@dataclasses.dataclass(frozen=True)
class Request:
    """One answered request.

    Attributes:
        method: "GET" or "HEAD".
        path: The path without its query.
        start: First byte asked for; 0 without a Range.
        stop: One past the last byte asked for.
        status: The answer's status; 0 for a reset connection.
        sent: Bytes of the body that were handed to the socket.
    """

    method: str
    path: str
    start: int
    stop: int
    status: int
    sent: int


@dataclasses.dataclass
class Injected:
    """A fault that the server commits on one path.

    Attributes:
        kind: "status" answers `status`; "truncate" announces the whole body, sends half and closes; "reset" resets
            the connection; "stall" waits `seconds` before it answers; "garble" flips bits in the body; "trickle" sends
            a byte of the body every `seconds`, "trickle header" one of a header that has no end; "page" sends a web
            page with `status`, as proxies do that are out of order; "endless" sends a body without length or end.
        status: The status of "status" and "page".
        times: How many requests are hit; None for all.
        overlaps: Only GETs that ask for a byte of this range [start, stop) are hit; None for every request.
        seconds: How long "stall" waits, and each byte of "trickle".
        headers: More headers of a "status" or "page" answer.
    """

    kind: Literal[
        "status", "truncate", "reset", "stall", "garble", "trickle", "trickle header", "page", "endless"
    ]
    status: int = 503
    times: int | None = None
    overlaps: tuple[int, int] | None = None
    seconds: float = 0.0
    headers: dict[str, str] = dataclasses.field(default_factory=dict)

    def hits(self, method: str, start: int, stop: int) -> bool:
        """Whether the request is one to be hit; the caller holds the server's lock."""
        if self.times == 0:
            return False
        if self.overlaps is not None and (
            method != "GET" or start >= self.overlaps[1] or stop <= self.overlaps[0]
        ):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "RangeServer"

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        if self.path.startswith(CONTROL):
            self._control()
        else:
            self._answer()

    def _control(self) -> None:
        server = self.server
        with server.lock:
            body = json.dumps([dataclasses.asdict(request) for request in server.requests]).encode()
            if self.path == CONTROL + "reset":
                server.requests.clear()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _range(self, size: int) -> tuple[int, int]:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is None:
            return 0, size
        return int(match[1]), min(size, int(match[2] or size - 1) + 1)

    def _answer(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        file = self.server.root / path.lstrip("/")
        size = file.stat().st_size if file.is_file() else -1
        start, stop = self._range(max(size, 0))
        if self.server.delay_s:
            time.sleep(self.server.delay_s)
        fault = self.server.fault_for(self.command, path, start, stop)
        if fault is not None and fault.kind == "stall":
            time.sleep(fault.seconds)
        if fault is not None and fault.kind == "reset":
            self._log(path, start, stop, 0, 0)
            # Lingering for 0 s makes close() send RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault is not None and fault.kind == "status":
            self._refuse(path, start, stop, fault.status, fault.headers)
        elif fault is not None and fault.kind == "page":
            page = b"<html>" + b"We are back soon. " * 40 + b"</html>"
            self._refuse(
                path, start, stop, fault.status, {"Content-Type": "text/html", **fault.headers}, page
            )
        elif fault is not None and fault.kind == "trickle header":
            self._log(path, start, stop, 0, 0)
            self._trickle(b"HTTP/1.1 206 Partial Content\r\nX-Slow: " + b"." * 50_000, fault.seconds)
        elif fault is not None and fault.kind == "endless":
            self._send_without_end(path, start, stop)
        elif size < 0:
            self._refuse(path, start, stop, 404, {})
        elif start >= size:
            self._refuse(path, start, stop, 416, {"Content-Range": f"bytes */{size}"})
        else:
            self._send(path, file, size, start, stop, fault)

    def _refuse(
        self, path: str, start: int, stop: int, status: int, headers: dict[str, str], page: bytes = b""
    ) -> None:
        body = page or f'{{"message": "{status}"}}'.encode()
        sent = b"" if self.command == "HEAD" else body
        # Logged before it is sent: a client that has its answer finds it in the log.
        self._log(path, start, stop, status, len(sent))
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(sent)

    def _send(self, path: str, file: Path, size: int, start: int, stop: int, fault: Injected | None) -> None:
        partial = "Range" in self.headers
        body = b""
        if self.command == "GET":
            with file.open("rb") as opened:
                opened.seek(start)
                body = opened.read(stop - start)
        if fault is not None and fault.kind == "garble":
            body = bytes(byte ^ 0x5A for byte in body)
        if fault is not None and fault.kind == "truncate":
            body = body[: len(body) // 2]
            self.close_connection = True
        status = 206 if partial else 200
        entry = self._log(path, start, stop, status, 0)
        self.send_response(status)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "image/tiff")
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        if fault is not None and fault.kind == "trickle":
            self._trickle(body, fault.seconds)
            return
        sent, rest = 0, memoryview(body)
        try:
            while sent < len(body):
                sent += self.connection.send(rest[sent : sent + _CHUNK])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.requests[entry] = dataclasses.replace(self.server.requests[entry], sent=sent)

    def _send_without_end(self, path: str, start: int, stop: int) -> None:
        """Sends zeros until the client hangs up, whatever was asked for."""
        entry = self._log(path, start, stop, 200, 0)
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        sent = 0
        with contextlib.suppress(OSError):
            while self.command == "GET":
                sent += self.connection.send(bytes(_CHUNK))
        with self.server.lock:
            self.server.requests[entry] = dataclasses.replace(self.server.requests[entry], sent=sent)

    def _trickle(self, content: bytes, seconds: float) -> None:
        """Sends byte after byte until the client hangs up."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            for position in range(len(content)):
                self.connection.send(content[position : position + 1])
                time.sleep(seconds)

    def _log(self, path: str, start: int, stop: int, status: int, sent: int) -> int:
        with self.server.lock:
            self.server.requests.append(Request(self.command, path, start, stop, status, sent))
            return len(self.server.requests) - 1


class RangeServer(http.server.ThreadingHTTPServer):
    """Serves the files below a folder on a free port of the loopback interface, in threads of this process.

    Attributes:
        requests: What was answered, in order.
        delay_s: Seconds waited before every answer.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, root: Path, delay_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.delay_s = delay_s
        self.lock = threading.Lock()
        self.requests: list[Request] = []
        self._faults: dict[str, list[Injected]] = {}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    def inject(self, path: str, fault: Injected) -> None:
        """Commits the fault on a path from now on; the first of several that applies is committed."""
        with self.lock:
            self._faults.setdefault("/" + path, []).append(fault)

    def heal(self) -> None:
        """Forgets all faults."""
        with self.lock:
            self._faults.clear()

    def fault_for(self, method: str, path: str, start: int, stop: int) -> Injected | None:
        with self.lock:
            return next((f for f in self._faults.get(path, []) if f.hits(method, start, stop)), None)

    def handle_error(self, *_: Any) -> None:
        """Clients of these tests hang up at will."""

    def __enter__(self) -> "RangeServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class ServerProcess:
    """A `RangeServer` in a process of its own.

    Attributes:
        base: Its URL, with a slash at the end.
    """

    def __init__(self, root: Path, delay_s: float = 0.0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), str(root), "--delay", str(delay_s)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.base = self._process.stdout.readline().strip()

    def take_requests(self) -> list[Request]:
        """Returns what was answered since the last call."""
        with urllib.request.urlopen(self.base[:-1] + CONTROL + "reset") as answer:
            return [Request(**entry) for entry in json.load(answer)]

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


@contextlib.contextmanager
def serving(root: Path, delay_s: float = 0.0) -> Iterator[RangeServer]:
    """Yields a running `RangeServer`."""
    with RangeServer(root, delay_s) as server:
        yield server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before every answer")
    args = parser.parse_args()
    server = RangeServer(args.root, args.delay)
    print(server.url(""), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
