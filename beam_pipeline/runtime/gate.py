"""A gate through which GDAL connects to hosts, and which lets it into no inner network.

libcurl, by which GDAL asks the web, looks names up by itself and follows redirects, and GDAL has no option that
forbids either. Through the gate each of its connections, of whatever hop, is one of `Reach.connect`.

The gate is a process of its own, one for each process that reads: where rasterio asks GDAL for a header and holds
Python's global lock meanwhile, a thread of the same process could not hand on the answer that GDAL waits for.
"""

import atexit
import contextlib
import dataclasses
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.runtime.gate_server import user_of
from beam_pipeline.runtime.own_modules import environment_of_modules
from beam_pipeline.runtime.reach import Reach, proxy_of

_END_S = 5.0


@dataclasses.dataclass(frozen=True)
class Gate:
    """A gate that is open.

    Attributes:
        port: Of the loopback interface.
        password: By which it knows who may pass.
        is_open: Tells whether it still is.
        end: Ends it.
    """

    port: int
    password: str
    is_open: Callable[[], bool]
    end: Callable[[], None]


GATES: dict[int, Gate] = {}
"""By the id of the process that opened it: after a fork there is another."""

_lock = threading.Lock()


def gate_options(url: str, reach: Reach, connect_s: float) -> Mapping[str, str]:
    """Returns the options by which GDAL asks for a file; the first file of a process opens its gate.

    Where the environment names a proxy for the file, that is asked, and connects to what it may itself.

    Args:
        url: http(s) URL of the file.
        reach: What the file, and what it leads to, may be asked of.
        connect_s: Seconds that connecting to an address may take.

    Raises:
        TransientFault: "connection": the gate cannot be opened.
    """
    for name in ("no_proxy", "NO_PROXY"):
        # By these libcurl passes the gate by. Gone for C alone: `os.environ` keeps them for `_proxy_of`.
        os.unsetenv(name)
    proxy = _proxy_of(url)
    if proxy:
        return {"GDAL_HTTP_PROXY": proxy, "GDAL_HTTPS_PROXY": proxy}
    with _lock:
        gate = GATES.get(os.getpid())
        if gate is None or not gate.is_open():
            gate = GATES[os.getpid()] = open_gate()
    address = f"socks5h://127.0.0.1:{gate.port}"
    return {
        "GDAL_HTTP_PROXY": address,
        "GDAL_HTTPS_PROXY": address,
        "GDAL_HTTP_PROXYUSERPWD": f"{user_of(reach, connect_s)}:{gate.password}",
    }


def open_gate() -> Gate:
    """Starts a gate, which ends with this process.

    Raises:
        TransientFault: "connection": it does not start.
    """
    password = secrets.token_hex(16)
    process = subprocess.Popen(
        [sys.executable, "-m", "beam_pipeline.runtime.gate_server"],
        env=environment_of_modules(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for who reads through it
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout as said, contextlib.suppress(BrokenPipeError):
        process.stdin.write(f"{password}\n".encode())
        process.stdin.flush()
        port = said.readline()
    if not port:
        raise TransientFault("connection", f"the gate of GDAL ended at once, with {process.wait()}")
    owner = os.getpid()

    def end() -> None:
        if os.getpid() == owner:  # not in a fork of it
            _end(process)

    atexit.register(end)
    return Gate(int(port), password, lambda: process.poll() is None, end)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        process.communicate(timeout=_END_S)  # closes its input


def _proxy_of(url: str) -> str:
    """Returns the proxy that the environment names for a URL, in GDAL's own variables or elsewhere; "" for none."""
    secure = os.environ.get("GDAL_HTTPS_PROXY", "") if url.lower().startswith("https:") else ""
    return secure or os.environ.get("GDAL_HTTP_PROXY", "") or proxy_of(url)
