"""Lets GDAL of another process connect to what may be asked: a SOCKS proxy that refuses inner networks.

`gate.py` starts it, and says why it is a process of its own. Bytes pass as they are: TLS, keys and passwords are
between GDAL and the host.
"""

import contextlib
import selectors
import socket
import socketserver
import struct
import sys
import threading
from secrets import compare_digest

from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.reach import WEB, Reach

REFUSED, TIMED_OUT = 2, 6
"""Codes with which the gate answers where a host must not be asked, and where it does not answer in time.

Source: RFC 1928, "connection not allowed by ruleset" and "TTL expired".
"""

_GRANTED, _FAILED = 0, 4
_VERSION, _PASSWORD_VERSION = 5, 1
_BY_PASSWORD = 2
_CONNECT = 1
_NOWHERE = b"\0\1" + bytes(6)
"""Follows the code of a reply: the address that was bound, of which nobody asks."""

_HANDSHAKE_S = 10.0
_CHUNK = 1 << 18
_POLL_S = 0.05

_REACH_OF = {"web": WEB, "inner": Reach(own_network=True)}


def user_of(reach: Reach, connect_s: float) -> str:
    """Returns the user name by which GDAL says what it may be connected to, and within how many seconds.

    libcurl keeps connections of two users apart.
    """
    return f"{'inner' if reach.is_inner else 'web'}-{connect_s:g}"


class GateServer(socketserver.ThreadingTCPServer):
    """Listens on the loopback interface, with a thread for each connection.

    Args:
        password: By which it knows who may pass.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, password: str) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self._password = password
        threading.Thread(target=self.serve_forever, args=(_POLL_S,), daemon=True, name="gate").start()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self.server_address[1])

    def rights_of(self, user: str, password: str) -> tuple[Reach, float] | None:
        """Returns what a user may ask, and seconds that connecting may take; None for a stranger."""
        if not compare_digest(password.encode(), self._password.encode()):
            return None
        network, _, seconds = user.partition("-")
        return _REACH_OF[network], float(seconds)

    def handle_error(self, *_: object) -> None:
        """Says nothing: GDAL tells what became of its connection."""


class _Tunnel(socketserver.BaseRequestHandler):
    """One connection of GDAL's."""

    server: GateServer
    request: socket.socket

    def handle(self) -> None:
        client = self.request
        client.settimeout(_HANDSHAKE_S)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        rights = self._greet()
        if rights is None:
            return
        reach, connect_s = rights
        host, port = self._destination()
        try:
            remote = reach.connect(host, port, connect_s)
        except PermanentFault:
            self._reply(REFUSED)
            return
        except OSError as error:
            self._reply(TIMED_OUT if isinstance(error, TimeoutError) else _FAILED)
            return
        with remote:
            self._reply(_GRANTED)
            _relay(client, remote)

    def _greet(self) -> tuple[Reach, float] | None:
        """Returns the rights of who knocks, None for a stranger. Source: RFC 1928 and 1929."""
        version, methods = self._read(2)
        if version != _VERSION or _BY_PASSWORD not in self._read(methods):
            return None
        self.request.sendall(bytes((_VERSION, _BY_PASSWORD)))
        self._read(1)
        user, password = self._read(self._read(1)[0]), self._read(self._read(1)[0])
        rights = self.server.rights_of(user.decode("latin-1"), password.decode("latin-1"))
        self.request.sendall(bytes((_PASSWORD_VERSION, rights is None)))
        return rights

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


def main() -> None:
    """Reads a password, writes the port, and serves until its input ends, as it does with the process that began it."""
    server = GateServer(sys.stdin.buffer.readline().decode().strip())
    print(server.port, flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
