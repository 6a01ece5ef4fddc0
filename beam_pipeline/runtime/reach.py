"""The networks that may be asked: the web, and an inner network only where the user chose one.

Strangers name hosts: in items, in links, in redirects, and by what the names of their own hosts resolve to. Each of
these is judged here, by what a URL says and by the address that is about to be connected to.
"""

import contextlib
import dataclasses
import ipaddress
import re
import socket
import urllib.parse
from typing import Literal, Self

from requests.utils import get_environ_proxies, select_proxy

from beam_pipeline.runtime.faults import PermanentFault

Network = Literal["web", "inner", "never"]
"""Of "never" are metadata services of clouds, which give credentials away, and what is no host."""

FLAG = "--allow_own_network"
"""The flag by which the user opens the networks inside."""

_METADATA_NAMES = ("metadata", "metadata.google.internal", "instance-data")
"""Names of the metadata service of a cloud. Source: the clouds' documentation."""

_INNER_SUFFIXES = (".localhost", ".internal", ".local")

_NAME = re.compile(r"[A-Za-z0-9._-]+\Z")
"""A host's name as it is looked up. Libraries make such names of others too, of `%2e` or full-width letters."""

_EMBEDDING = (
    (ipaddress.IPv6Network("::/96"), 0),  # IPv4-compatible, withdrawn
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
)
"""Networks whose addresses hold an IPv4 address, and how many bits follow it. Source: RFC 4291, 2765, 6052, 3056."""

_IPV6_WEB = ipaddress.IPv6Network("2000::/3")
"""All addresses of IPv6 that are given out for the web; site-local ones and the like lie beyond. Source: RFC 4291."""

_METADATA = tuple(
    ipaddress.ip_address(address)
    for address in (
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's, an address of the web otherwise
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google Cloud
        "fd00:c1::a9fe:a9fe",  # Oracle Cloud
        "fd00:42::42",  # Scaleway
    )
)
"""Metadata services beyond link-local addresses. Source: the clouds' documentation."""

_NEXT_S = 2.5
"""Seconds after which the next address of a host is tried, as where IPv6 leads nowhere: two tries of TCP's own."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclasses.dataclass(frozen=True)
class Reach:
    """Which networks may be asked for what one choice of the user's leads to.

    The web may be asked, and a metadata service never. An inner network may be asked where the choice itself plainly
    lies in one, by its address or a name such as localhost, or where the user allowed it.

    Attributes:
        chosen: The http(s) URL that the user chose: of an API, or of one file; "" for none.
        own_network: Whether the user allowed inner networks, by `FLAG`.
    """

    chosen: str = ""
    own_network: bool = False

    @classmethod
    def of_catalogue(cls, catalogue: str, own_network: bool = False) -> Self:
        """Returns the reach of a catalogue.

        Args:
            catalogue: URL of a STAC API, or a path, which is no choice of a network.
            own_network: As the attribute.
        """
        is_api = catalogue.lower().startswith(("http://", "https://"))
        return cls(catalogue if is_api else "", own_network)

    def of_file(self, url: str) -> Self:
        """Returns the reach of a file: that of the API that named it; where there is none, the file is the choice.

        Args:
            url: http(s) URL.
        """
        return self if self.chosen else dataclasses.replace(self, chosen=url)

    @property
    def is_inner(self) -> bool:
        """Whether inner networks may be asked."""
        return self.own_network or (bool(self.chosen) and network_of(self.chosen) == "inner")

    def closes(self, network: Network) -> bool:
        """Tells whether a network must not be asked."""
        return network == "never" or (network == "inner" and not self.is_inner)

    def require_host(self, url: str) -> None:
        """Refuses a URL that plainly names a host that must not be asked; looks nothing up.

        Raises:
            PermanentFault: "refused_link".
        """
        self._require(network_of(url), url)

    def connect(self, host: str, port: int, timeout_s: float | None) -> socket.socket:
        """Connects to a host of which every address may be asked.

        Args:
            host: A name or an address.
            port: The port.
            timeout_s: Seconds for the last of its addresses, and at most for each before; None for no limit.

        Returns:
            The connection. Nothing was sent to an address that must not be asked.

        Raises:
            PermanentFault: "refused_link": an address must not be asked.
            socket.gaierror: The name has no address.
            OSError: No address could be connected to; of the last.
        """
        self._require(network_of_host(host), host)
        *others, last = self._addresses(host)
        for address in others:
            with contextlib.suppress(OSError):
                soon_s = _NEXT_S if timeout_s is None else min(timeout_s, _NEXT_S)
                connected = socket.create_connection((address, port), soon_s)
                connected.settimeout(timeout_s)
                return connected
        return socket.create_connection((last, port), timeout_s)

    def require_resolved(self, url: str) -> None:
        """Refuses a URL whose host has an address that must not be asked; connects to nobody.

        A name without address is let through, as whoever asks it finds out, and behind a proxy none is looked up.

        Raises:
            PermanentFault: "refused_link".
        """
        self.require_host(url)
        if proxy_of(url):
            return
        with contextlib.suppress(OSError):
            self._addresses(urllib.parse.urlsplit(url).hostname or "")

    def _addresses(self, host: str) -> list[str]:
        """Returns the addresses of a host, at least one."""
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except UnicodeError as error:  # a part of the name that is empty, or too long
            raise socket.gaierror(socket.EAI_NONAME, f"the name is none: {error}") from error
        addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        for address in addresses:
            # All of them before the first is asked: a name of the web has none inside.
            self._require(_network_of_address(ipaddress.ip_address(address)), f"{host}, that is {address},")
        return addresses

    def _require(self, network: Network, named: str) -> None:
        if self.closes(network):
            raise PermanentFault("refused_link", f"{named} {why_closed(network)}")


WEB = Reach()
"""The reach that nobody's choice has opened further."""


def network_of(url: str) -> Network:
    """Tells where a URL leads by what it says: what a name resolves to is not looked up."""
    try:
        return network_of_host(urllib.parse.urlsplit(url).hostname or "")
    except ValueError:
        return "never"


def network_of_host(host: str) -> Network:
    """Tells where a host is by its name or address.

    One that says nothing plainly (`%2e` in its name, letters beyond ASCII) is never asked.
    """
    host = host.rstrip(".").lower()
    if not is_host(host) or host in _METADATA_NAMES:
        return "never"
    address = _address(host)
    if address is not None:
        return _network_of_address(address)
    return "inner" if host == "localhost" or host.endswith(_INNER_SUFFIXES) else "web"


def is_host(host: str | None) -> bool:
    """Tells whether it is a name in ASCII (that of another alphabet in its IDNA form), or an address without a zone."""
    if not host or _NAME.match(host):
        return bool(host)
    try:
        return "%" not in host and ipaddress.ip_address(host) is not None
    except ValueError:
        return False


def proxy_of(url: str) -> str:
    """Returns the proxy that the environment names for a URL, as `requests` finds it; "" for none."""
    return select_proxy(url, get_environ_proxies(url)) or ""


def why_closed(network: Network) -> str:
    """Returns what is said of a host in a network that must not be asked, e.g. "lies in an inner network: ..."."""
    if network == "inner":
        return f"lies in an inner network: give {FLAG} if that network is your own"
    return (
        "is never asked: it is none, or may be the metadata service of a cloud, which gives credentials away"
    )


def _network_of_address(address: _Address) -> Network:
    for network, bits_after in _EMBEDDING:
        if address in network:
            address = ipaddress.IPv4Address(int(address) >> bits_after & 0xFFFF_FFFF)
    if address.is_link_local or address in _METADATA:
        return "never"
    if address.version == 6 and address not in _IPV6_WEB:
        return "inner"
    return "web" if address.is_global and not address.is_multicast else "inner"


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    # The forms that inet_aton takes too: 0x7f.1, 2130706433, 0177.0.0.1
    parts = host.split(".")
    try:
        numbers = [int(part, 16 if part[:2] == "0x" else 8 if part[:1] == "0" else 10) for part in parts]
    except ValueError:
        return None
    if len(parts) > 4 or any(number < 0 for number in numbers):
        return None
    value = numbers[-1] + sum(number << (8 * (3 - index)) for index, number in enumerate(numbers[:-1]))
    return ipaddress.IPv4Address(value) if value < 1 << 32 else None
