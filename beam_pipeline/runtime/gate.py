"""A gate through which GDAL connects to hosts: a SOCKS proxy of this process, which refuses inner networks.

libcurl, by which GDAL asks the web, looks names up by itself and follows redirects, and GDAL has no option that
forbids either. Through the gate each of its connections, of whatever hop, is one of `Reach.connect`. Bytes pass as
they are: TLS, keys and passwords are between GDAL and the host.
"""

import contextlib
import os
import secrets
import selectors
import socket
import socketserver
import struct
import threading
from collections.abc import Mapping

from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.reach import WEB, Reach, proxy_of

REFUSED, TIMED_OUT = 2, 6
"""Codes with which the gate answers where a host must not be asked, and where it does not answer in time.

Source: RFC 1928, "connection not allowed by ruleset" and "TTL expired".
"""

_GRANTED, _FAILED = 0, 4
_VERSION, _PASSWORD_VERSION = 5, 1
_BY_PASSWORD = 2
_CONNECT = 1
_NOWHERE = b"\0\1" + bytes(6)
"""What follows the code of a reply: the address that was bound, of which nobody asks."""

_HANDSHAKE_S = 10.0
_CHUNK = 1 << 18
_POLL_S = 0.05


class Gate:
    """Lets GDAL connect to what may be asked, and to nothing else.

    It listens on the loopback interface from the first file of the web on, and knows GDAL by a password. One gate
    serves all threads; `close` it.

    Args:
        connect_s: Seconds that connecting to an address may take.
    """

    def __init__(self, connect_s: float) -> None:
        self._connect_s = connect_s
        self._lock = threading.Lock()
        self._server: _Server | None = None
        for name in ("no_proxy", "NO_PROXY"):
            # By these libcurl passes the gate by. Gone for C alone: `os.environ` keeps them for `_proxy_of`.
            os.unsetenv(name)

    def options(self, url: str, reach: Reach) -> Mapping[str, str]:
        """Returns the options by which GDAL asks for a file.

        Where the environment names a proxy for the file, that is asked, and connects to what it may itself.

        Args:
            url: http(s) URL of the file.
            reach: What the file, and what it leads to, may be asked of.
        """
        proxy = _proxy_of(url)
        if proxy:
            return {"GDAL_HTTP_PROXY": proxy, "GDAL_HTTPS_PROXY": proxy}
        with self._lock:
            if self._server is None:
                self._server = _Server(self._connect_s)
            server = self._server
        gate = f"socks5h://127.0.0.1:{server.server_address[1]}"
        return {
            "GDAL_HTTP_PROXY": gate,
            "GDAL_HTTPS_PROXY": gate,
            "GDAL_HTTP_PROXYUSERPWD": f"{server.user_of(reach)}:{server.password}",
        }

    def close(self) -> None:
        """Ends all connections; the next file opens the gate again."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()


def _proxy_of(url: str) -> str:
    """Returns the proxy that the environment names for a URL, in GDAL's own variables or elsewhere; "" for none."""
    secure = os.environ.get("GDAL_HTTPS_PROXY", "") if url.lower().startswith("https:") else ""
    return secure or os.environ.get("GDAL_HTTP_PROXY", "") or proxy_of(url)


class _Server(socketserver.ThreadingTCPServer):
    """Listens, with a thread for each connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, connect_s: float) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.connect_s = connect_s
        self.password = secrets.token_hex(16)
        self.tunnels: set[socket.socket] = set()
        # The user name tells which reach is meant, and libcurl keeps connections of two users apart.
        self._reach_of = {"web": WEB, "inner": Reach(own_network=True)}
        threading.Thread(target=self.serve_forever, args=(_POLL_S,), daemon=True, name="gate").start()

    def user_of(self, reach: Reach) -> str:
        """Returns the user name of a reach."""
        return "inner" if reach.is_inner else "web"

    def reach_of(self, user: str, password: str) -> Reach | None:
        """Returns the reach of a user, None for a stranger."""
        known = secrets.compare_digest(password.encode(), self.password.encode())
        return self._reach_of.get(user) if known else None

    def handle_error(self, *_: object) -> None:
        """Says nothing: GDAL tells what became of its connection."""

    def close(self) -> None:
        """Ends all connections."""
        self.shutdown()
        self.server_close()
        for tunnel in list(self.tunnels):
            with contextlib.suppress(OSError):
                tunnel.shutdown(socket.SHUT_RDWR)


class _Tunnel(socketserver.BaseRequestHandler):
    """One connection of GDAL's."""

    server: _Server
    request: socket.socket

    def setup(self) -> None:
        self.server.tunnels.add(self.request)

    def finish(self) -> None:
        self.server.tunnels.discard(self.request)

    def handle(self) -> None:
        client = self.request
        client.settimeout(_HANDSHAKE_S)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reach = self._greet()
        if reach is None:
            return
        host, port = self._destination()
        try:
            remote = reach.connect(host, port, self.server.connect_s)
        except PermanentFault:
            self._reply(REFUSED)
            return
        except OSError as error:
            self._reply(TIMED_OUT if isinstance(error, TimeoutError) else _FAILED)
            return
        with remote:
            self._reply(_GRANTED)
            _relay(client, remote)

    def _greet(self) -> Reach | None:
        """Returns the reach of who knocks, None for a stranger. Source: RFC 1928 and 1929."""
        version, methods = self._read(2)
        if version != _VERSION or _BY_PASSWORD not in self._read(methods):
            return None
        self.request.sendall(bytes((_VERSION, _BY_PASSWORD)))
        self._read(1)
        user, password = self._read(self._read(1)[0]), self._read(self._read(1)[0])
        reach = self.server.reach_of(user.decode("latin-1"), password.decode("latin-1"))
        self.request.sendall(bytes((_PASSWORD_VERSION, reach is None)))
        return reach

    def _destination(self) -> tuple[str, int]:
        """Returns the host, by name or address, and the port that are asked for."""
        _, command, _, kind = self._read(4)
        if command != _CONNECT:
            raise OSError("the gate connects and does nothing else")
        match kind:
            case 1:
                host = socket.inet_ntop(socket.AF_INET, self._read(4))
            case 4:
                host = socket.inet_ntop(socket.AF_INET6, self._read(16))
            case _:
                host = self._read(self._read(1)[0]).decode("latin-1")
        (port,) = struct.unpack("!H", self._read(2))
        return host, port

    def _reply(self, code: int) -> None:
        self.request.sendall(bytes((_VERSION, code)) + _NOWHERE)

    def _read(self, size: int) -> bytes:
        content = self.request.recv(size, socket.MSG_WAITALL) if size else b""
        if len(content) < size:
            raise OSError("the connection ended within the greeting")
        return content


def _relay(client: socket.socket, remote: socket.socket) -> None:
    """Hands on bytes both ways until both sides have ended."""
    buffer = memoryview(bytearray(_CHUNK))
    for end in (client, remote):
        end.settimeout(None)
    remote.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with selectors.DefaultSelector() as ready:
        ready.register(client, selectors.EVENT_READ, remote)
        ready.register(remote, selectors.EVENT_READ, client)
        while ready.get_map():
            for key, _ in ready.select():
                source, target = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                try:
                    size = source.recv_into(buffer)
                except ConnectionResetError:
                    # Lingering for 0 s makes close() reset the other connection likewise.
                    target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    target.close()
                    return
                if size:
                    target.sendall(buffer[:size])
                    continue
                ready.unregister(source)
                with contextlib.suppress(OSError):
                    target.shutdown(socket.SHUT_WR)
