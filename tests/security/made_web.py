"""A made-up web on this machine: names, what they resolve to, and who is connected to."""

import socket
from typing import Any

import osmnx  # noqa: F401 - it keeps the `getaddrinfo` that it finds when it is first imported
import pytest

from beam_pipeline.runtime import gate
from beam_pipeline.runtime.gate_server import GateServer

OUTSIDE = "93.184.216.34"
"""An address of the web; the connections to it come to servers on the loopback interface."""

WEB = "web.example"
"""A name of the web."""


class MadeWeb:
    """The addresses that names resolve to, for who asks in this process.

    Attributes:
        addresses: Of each name, its addresses. No other name is known.
        connected: The addresses that were connected to, in order.
        ports: By a port of the web, that of the local server which stands for it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses = {WEB: [OUTSIDE]}
        self.connected: list[str] = []
        self.ports: dict[int, int] = {}
        self._getaddrinfo, self._create_connection = socket.getaddrinfo, socket.create_connection
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)
        monkeypatch.setattr(socket, "create_connection", self.create_connection)
        # The gate asks in this process, too.
        server = GateServer("password")
        monkeypatch.setattr(gate, "GATES", {})
        monkeypatch.setattr(
            gate, "open_gate", lambda: gate.Gate(server.port, "password", lambda: True, server.server_close)
        )
        # OSMnx asks in this way before it sends anything.
        monkeypatch.setattr(socket, "gethostbyname", lambda name: self.getaddrinfo(name, 80)[0][4][0])
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

    def getaddrinfo(self, host: str, port: int | None, *args: Any, **kwargs: Any) -> list[Any]:
        if host not in self.addresses:
            kwargs["flags"] = socket.AI_NUMERICHOST  # nobody outside is asked
            return self._getaddrinfo(host, port, *args, **kwargs)
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in self.addresses[host]
        ]

    def create_connection(self, address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        self.connected.append(address[0])
        if address[0] == OUTSIDE:
            address = "127.0.0.1", self.ports.get(address[1], address[1])
        return self._create_connection(address, *args, **kwargs)


@pytest.fixture
def made_web(monkeypatch: pytest.MonkeyPatch) -> MadeWeb:
    """The web of a test."""
    return MadeWeb(monkeypatch)
