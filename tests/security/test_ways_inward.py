"""Redirects and names that lead inward: whatever the hop, an inner host is asked for nothing."""

import contextlib
import ctypes
import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import osmium
import pytest
import requests

from beam_pipeline import build_dataset
from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.catalog import check_catalog, find_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.hrefs import readable_href
from beam_pipeline.jobs.build.inputs import check_hosts
from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.overpass import features_of_chip
from beam_pipeline.runtime.faults import Fault, InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.gate import GATES, gate_options
from beam_pipeline.runtime.http_session import bounded_session
from beam_pipeline.runtime.reach import FLAG, Reach
from beam_pipeline.runtime.retries import RetryPolicy
from tests.fuzz.test_decoders import ITEM
from tests.imagery.made_cogs import EPSG, LEFT, TOP, FolderServer, write_cog
from tests.imagery.range_server import Injected, RangeServer
from tests.imagery.stac_server import Fault as Answer
from tests.imagery.stac_server import StacServer
from tests.labels.overpass_server import OverpassServer
from tests.security.made_web import OUTSIDE, WEB, MadeWeb, made_web

__all__ = ["made_web"]  # a fixture

CHIP = ChipWindow(EPSG, LEFT + 600, TOP - 3000)
ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
ONCE = RetryPolicy(1)
ROOT = Path(__file__).resolve().parents[2]

API = Reach(f"https://{WEB}/v1")
COLLECTION = "sentinel-2-l2a"

CODES = [301, 302, 303, 307, 308]
INSIDE = [
    *(["127.0.0.1"], ["10.0.0.7"], ["0.0.0.0"], ["100.64.0.1"], ["224.0.0.1"]),
    *([OUTSIDE, "127.0.0.1"], ["2606:2800:220:1::1", "::1"]),
    *(["::1"], ["::"], ["fd12::1"], ["ff02::1"], ["::ffff:127.0.0.1"], ["::ffff:0:127.0.0.1"]),
    *(["64:ff9b::7f00:1"], ["64:ff9b:1::7f00:1"], ["2002:7f00:1::"], ["fec0::1"], ["4000::1"]),
]
METADATA = [
    *(["169.254.169.254"], ["169.254.170.2"], ["100.100.100.200"], ["168.63.129.16"], ["192.0.0.192"]),
    *(["fe80::a9fe:a9fe"], ["fd00:ec2::254"], ["fd20:ce::254"], ["::ffff:169.254.169.254"]),
]


class Counting(FolderServer):
    """Counts whoever connects, whatever is asked."""

    def __init__(self, folder: Path) -> None:
        self._callers: list[int] = []
        self._own: set[int] = set()
        super().__init__(folder)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        accepted, caller = super().get_request()
        self._callers.append(caller[1])
        return accepted, caller

    @property
    def knocks(self) -> int:
        """The number of connections until now: they are accepted in turn, so a call of ours comes last."""
        with socket.create_connection(("127.0.0.1", self.server_address[1])) as call:
            port = call.getsockname()[1]
            self._own.add(port)
            while port not in self._callers:
                time.sleep(0.001)
        return sum(caller not in self._own for caller in self._callers)


@pytest.fixture
def inner(tmp_path: Path) -> Iterator[Counting]:
    """A server inside, with an image that can be read."""
    write_cog(tmp_path / "secret.tif", side_m=6000)
    with Counting(tmp_path) as server:
        yield server


@pytest.fixture
def web(tmp_path: Path) -> Iterator[FolderServer]:
    """A server of the web."""
    with FolderServer(tmp_path) as server:
        yield server


def of_web(url: str, name: str = WEB) -> str:
    """Returns the URL of a server under a name."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{name}:{parts.port}").geturl()


def ways_inward(inner: RangeServer) -> list[str]:
    return [
        inner.url("secret.tif"),
        of_web(inner.url("secret.tif"), "inside.example"),
        of_web(inner.url("secret.tif"), "[::ffff:127.0.0.1]"),
        of_web(inner.url("secret.tif"), "localhost"),
        of_web(inner.url("secret.tif"), "2130706433"),
    ]


def read(url: str, reach: Reach = API) -> object:
    with SceneReader(1, ONCE, timeout_s=5, reach=reach) as reader:
        (answer,) = reader.read({"B02": url}, ["B02"], [CHIP])
        return answer


def get(url: str, reach: Reach = API) -> requests.Response:
    with bounded_session(5.0, reach) as session:
        return session.get(url, timeout=5)


def refused(answer: object) -> None:
    # No other date stands in: names and redirects are of the network, not of the file.
    assert isinstance(answer, TransientFault)
    assert answer.reason == "refused_link"


@pytest.mark.parametrize("addresses", [*INSIDE, *METADATA], ids=",".join)
def test_a_name_that_resolves_inward_is_not_connected_to(made_web: MadeWeb, addresses: list[str]) -> None:
    made_web.addresses[WEB] = addresses
    with pytest.raises(PermanentFault, match="refused_link"):
        get(f"http://{WEB}/a.tif")
    answer = read(f"http://{WEB}/{'-'.join(addresses)}.tif")
    refused(answer)
    assert WEB in str(answer)
    assert made_web.connected == []


@pytest.mark.parametrize("addresses", METADATA, ids=",".join)
def test_a_metadata_service_is_never_asked(made_web: MadeWeb, addresses: list[str]) -> None:
    made_web.addresses["my.internal"] = addresses
    for reach in (Reach(own_network=True), Reach("http://localhost/v1", own_network=True)):
        with pytest.raises(PermanentFault, match="refused_link"):
            get("http://my.internal/a", reach)
    assert made_web.connected == []


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, "nobody.example"])
def test_what_is_no_name_is_an_error_like_any_other(made_web: MadeWeb, name: str) -> None:
    with pytest.raises(requests.RequestException):
        get(f"http://{name}/a")
    with pytest.raises((OSError, PermanentFault)):
        API.connect(name, 80, 1.0)


@pytest.mark.parametrize("code", CODES)
def test_redirects_are_followed_outside_and_not_inside(
    made_web: MadeWeb, web: FolderServer, inner: Counting, code: int
) -> None:
    made_web.addresses["inside.example"] = ["127.0.0.1"]
    for number, target in enumerate([*ways_inward(inner), "http://169.254.169.254/a.tif"]):
        # By a relative one first.
        first, second = f"first{number}.tif", f"second{number}.tif"
        web.inject(first, Injected("status", code, headers={"Location": second}))
        web.inject(second, Injected("status", code, headers={"Location": target}))
        with pytest.raises(PermanentFault, match="refused_link"):
            get(of_web(web.url(first)))
        refused(read(of_web(web.url(first))))
    assert inner.knocks == 0
    good = "good.tif"
    web.inject(good, Injected("status", code, headers={"Location": of_web(web.url("secret.tif"))}))
    assert (
        get(of_web(web.url(good))).content
        == (web.root / urlsplit(web.url("secret.tif")).path[1:]).read_bytes()
    )
    assert not isinstance(read(of_web(web.url(good))), Fault)


@pytest.mark.parametrize("code", CODES)
def test_a_redirect_in_the_midst_of_a_file(
    made_web: MadeWeb, web: FolderServer, inner: Counting, tmp_path: Path, code: int
) -> None:
    name = f"midst{code}.tif"
    write_cog(tmp_path / name)
    leads = Injected(
        "status", code, headers={"Location": inner.url("secret.tif")}, overlaps=(1 << 16, 1 << 30)
    )
    web.inject(name, leads)
    refused(read(of_web(web.url(name))))
    assert len(web.requests) > 1
    assert inner.knocks == 0


@pytest.mark.parametrize(
    "target", ["file:///etc/hostname", "ftp://127.0.0.1:{}/a.tif", "gopher://127.0.0.1:{}/a.tif"]
)
def test_a_redirect_to_another_scheme(
    made_web: MadeWeb, web: FolderServer, inner: Counting, target: str
) -> None:
    target = target.format(inner.server_address[1])
    name = f"{urlsplit(target).scheme}.tif"
    web.inject(name, Injected("status", 302, headers={"Location": target}))
    with pytest.raises(requests.RequestException):
        get(of_web(web.url(name)))
    assert isinstance(read(of_web(web.url(name))), Fault)
    assert inner.knocks == 0


def test_a_redirect_without_end(made_web: MadeWeb, web: FolderServer) -> None:
    web.inject("loop.tif", Injected("status", 302, headers={"Location": of_web(web.url("loop.tif"))}))
    with pytest.raises(requests.TooManyRedirects):
        get(of_web(web.url("loop.tif")))
    assert isinstance(read(of_web(web.url("loop.tif"))), TransientFault)


def test_reading_asks_as_often_as_without_a_gate(
    made_web: MadeWeb, web: FolderServer, inner: Counting
) -> None:
    """A direct look, size and header in one, then the pixels: nothing is asked for redirects alone."""
    assert not isinstance(read(of_web(web.url("secret.tif"))), Fault)
    assert made_web.connected == [OUTSIDE], "connections are kept"
    assert [request.method for request in web.requests][:2] == ["HEAD", "GET"]
    assert web.requests[1].start == 0
    assert inner.knocks == 0


def api_of_web(server: StacServer) -> str:
    server.url = of_web(server.url)
    return server.url


@pytest.mark.parametrize("path", ["/v1", f"/collections/{COLLECTION}", "/search"])
def test_an_api_that_leads_inward_is_refused_before_launch(
    made_web: MadeWeb, inner: Counting, path: str
) -> None:
    leads = {"Location": inner.url("secret.tif")}
    with StacServer([ITEM]) as server:
        url = api_of_web(server)
        assert check_catalog(CatalogSettings(url, COLLECTION), ONCE).kind == "api"
        server.faults = [Answer(path, 307, headers=leads)]
        with pytest.raises(InvalidInputError, match=rf"refused_link.*{FLAG}"):
            check_catalog(CatalogSettings(url, COLLECTION), ONCE)
    assert inner.knocks == 0


@pytest.mark.parametrize("methods", [("GET",), ("POST",)])
def test_a_next_page_that_leads_inward(made_web: MadeWeb, inner: Counting, methods: tuple[str, ...]) -> None:
    items = [{**ITEM, "id": f"{ITEM['id']}{number}"} for number in range(2)]
    with StacServer(items, methods=methods, page_size=1) as server:
        url = api_of_web(server)
        leads = {"Location": inner.url("secret.tif")}
        server.faults = [Answer("/search", 302, headers=leads, passing=1)]
        with pytest.raises(PermanentFault, match="refused_link"):
            find_scenes(CatalogSettings(url, COLLECTION), "33TWN", 2020, 0, retry=ONCE)
        assert len(server.searches) == 2
    assert inner.knocks == 0


def test_an_api_whose_name_resolves_inward_needs_the_flag(made_web: MadeWeb) -> None:
    made_web.addresses["stac.example"] = ["127.0.0.1"]
    with StacServer([ITEM]) as server:
        server.url = url = of_web(server.url, "stac.example")
        with pytest.raises(InvalidInputError, match=f"refused_link.*{FLAG}"):
            check_catalog(CatalogSettings(url, COLLECTION), ONCE)
        assert server.requests == []
        assert check_catalog(CatalogSettings(url, COLLECTION, own_network=True), ONCE).kind == "api"
        assert (
            find_scenes(
                CatalogSettings(url, COLLECTION, own_network=True), "33TWN", 2020, 0, retry=ONCE
            ).found
            == 1
        )


@pytest.mark.parametrize("host", ["inside.example", "127.0.0.1"])
def test_the_flag_opens_files_of_ones_own_network(made_web: MadeWeb, inner: Counting, host: str) -> None:
    made_web.addresses["inside.example"] = ["127.0.0.1"]
    url = of_web(inner.url("secret.tif"), host)
    refused(read(url))
    assert inner.knocks == 0
    assert not isinstance(read(url + "?with", Reach(API.chosen, own_network=True)), Fault)
    if host == "127.0.0.1":  # as they are to the item of an API that is asked inside
        assert not isinstance(read(url + "?beside", Reach("http://localhost/v1")), Fault)


@pytest.mark.parametrize("where", ["name", "redirect"])
def test_a_build_ends_before_launch(
    made_web: MadeWeb, inner: Counting, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    with StacServer([ITEM]) as server:
        url = of_web(server.url, "stac.example" if where == "name" else WEB)
        made_web.addresses["stac.example"] = ["127.0.0.1"]
        server.faults = [Answer("/v1", 302, headers={"Location": inner.url("secret.tif")})]
        assert build_dataset.main(flags(tmp_path, "--stac_url", url)) == 2
    said = capsys.readouterr().err
    assert "refused_link" in said
    assert FLAG in said
    assert inner.knocks == 0
    assert not (tmp_path / "set").exists()


def flags(tmp_path: Path, *more: str) -> list[str]:
    return ["--output", str(tmp_path / "set"), "--osm", "overpass", "--area", "9,47,9.1,47.1", *more]


def test_the_flag_reaches_workers(tmp_path: Path) -> None:
    url = f"https://{WEB}/v1"
    given = parse_build_flags(flags(tmp_path, "--stac_url", url, FLAG))
    settings = pickle.loads(pickle.dumps(build_settings(*given)))
    assert settings.catalog.reach == Reach(url, own_network=True)
    without = build_settings(*parse_build_flags(flags(tmp_path, "--stac_url", str(tmp_path))))
    assert without.catalog.reach == Reach("", own_network=False)


def test_a_catalogue_on_disk_names_no_metadata_service(
    made_web: MadeWeb, web: FolderServer, inner: Counting, tmp_path: Path
) -> None:
    made_web.addresses["inside.example"] = ["127.0.0.1"]
    file = str(tmp_path / "a.json")
    assert readable_href("http://10.0.0.7/a.tif", file) == "http://10.0.0.7/a.tif"
    for host in (
        "169.254.169.254",
        "metadata.google.internal",
        "[fd00:ec2::254]",
        "2852039166",
        "168.63.129.16",
    ):
        with pytest.raises(PermanentFault, match=r"unreadable_href.*metadata"):
            readable_href(f"http://{host}/a.tif", file, Reach(own_network=True))
    # What it plainly names is its maker's choice, but a host of the web is none for what it leads to.
    on_disk = Reach.of_catalogue(file)
    assert not isinstance(read(inner.url("secret.tif?named"), on_disk), Fault)
    knocks = inner.knocks
    refused(read(of_web(inner.url("secret.tif"), "inside.example"), on_disk))
    web.inject("out.tif", Injected("status", 302, headers={"Location": inner.url("secret.tif")}))
    refused(read(of_web(web.url("out.tif")), on_disk))
    assert inner.knocks == knocks
    inner.inject("in.tif", Injected("status", 302, headers={"Location": "http://169.254.169.254/a.tif"}))
    refused(read(inner.url("in.tif"), on_disk))
    assert "169.254.169.254" not in made_web.connected


@pytest.fixture
def overpass(tmp_path: Path) -> Iterator[OverpassServer]:
    extract = tmp_path / "a.osm.pbf"
    osmium.SimpleWriter(str(extract)).close()
    with OverpassServer(extract) as server:
        yield server


def test_overpass_whose_name_resolves_inward_needs_the_flag(
    made_web: MadeWeb, overpass: OverpassServer, tmp_path: Path
) -> None:
    made_web.addresses["overpass.example"] = ["127.0.0.1"]
    url = of_web(overpass.url, "overpass.example")
    more = ("--overpass_url", url, "--stac_url", str(tmp_path / "a.json"))
    (tmp_path / "a.json").write_text(json.dumps({**ITEM, "collection": COLLECTION}))
    with pytest.raises(InvalidInputError, match=f"--overpass_url.*{FLAG}"):
        check_hosts(build_settings(*parse_build_flags(flags(tmp_path, *more))))
    with pytest.raises(PermanentFault, match="refused_link"):
        features_of_chip(CHIP, ONTOLOGY, url, tmp_path / "cache", retry=ONCE)
    assert overpass.queries == []
    check_hosts(build_settings(*parse_build_flags(flags(tmp_path, *more, FLAG))))
    found = features_of_chip(CHIP, ONTOLOGY, url, tmp_path / "cache", retry=ONCE, own_network=True)
    assert found.features == []


def test_an_overpass_server_that_leads_inward(
    made_web: MadeWeb, overpass: OverpassServer, inner: Counting, tmp_path: Path
) -> None:
    url = of_web(overpass.url)
    for code in CODES:
        overpass.refusals = [(code, {"Location": inner.url("secret.tif")}, "")]
        with pytest.raises(PermanentFault, match="refused_link"):
            features_of_chip(CHIP, ONTOLOGY, url, tmp_path / "cache", retry=ONCE)
    assert len(overpass.queries) == len(CODES)
    # When there is a slot again is asked for too, by GET.
    overpass.refusals = [(429, {}, "")]
    overpass.status_text = "Slot available after: 2026-01-01T00:00:00Z, in 1 seconds."
    with pytest.raises(TransientFault, match="throttled"):
        features_of_chip(CHIP, ONTOLOGY, url, tmp_path / "cache", retry=ONCE)
    assert inner.knocks == 0


def test_a_proxy_of_the_environment_connects(
    made_web: MadeWeb, web: FolderServer, inner: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are judged by what they say; the proxy may lie inside."""
    url = of_web(inner.url("secret.tif?proxied"), "unknown.example")
    monkeypatch.setenv("http_proxy", web.url(""))
    assert get(url).ok
    assert not isinstance(read(url), Fault)
    for target in (inner.url("a.tif"), "http://169.254.169.254/a.tif"):
        asked = len(web.requests)
        with pytest.raises(PermanentFault, match="refused_link"):
            get(target)
        assert len(web.requests) == asked
    assert inner.knocks == 0


@pytest.mark.parametrize("with_proxy", [False, True])
def test_no_proxy_is_no_way_round(
    made_web: MadeWeb, web: FolderServer, inner: Counting, monkeypatch: pytest.MonkeyPatch, with_proxy: bool
) -> None:
    monkeypatch.setenv("no_proxy", f"127.0.0.1,{WEB}")
    if with_proxy:
        monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    name = f"round{with_proxy}.tif"
    web.inject(name, Injected("status", 302, headers={"Location": inner.url("secret.tif")}))
    refused(read(of_web(web.url(name))))
    assert inner.knocks == 0


def knock(options: dict[str, str], password: str, host: str, port: int) -> bytes:
    """Asks a gate by SOCKS, and returns all that it says."""
    gate = urlsplit(options["GDAL_HTTP_PROXY"])
    user = b"inner-5"
    said = b""
    with socket.create_connection((str(gate.hostname), gate.port or 0), 5.0) as client:
        client.sendall(bytes((5, 1, 2)) + bytes((1, len(user))) + user)
        client.sendall(bytes((len(password),)) + password.encode())
        client.sendall(bytes((5, 1, 0, 3, len(host))) + host.encode() + port.to_bytes(2, "big"))
        while len(said) < 14 and (more := client.recv(64)):
            said += more
    return said


def test_a_gate_serves_its_own_process_alone(inner: Counting) -> None:
    options = dict(gate_options("http://web.example/a.tif", API, 5.0))
    password = options["GDAL_HTTP_PROXYUSERPWD"].partition(":")[2]
    port = inner.server_address[1]
    assert knock(options, password, "127.0.0.1", port)[:6] == bytes((5, 2, 1, 0, 5, 0))
    for stranger in ("", "x", password[:-1]):
        knocks = inner.knocks
        with contextlib.suppress(ConnectionResetError):
            assert knock(options, stranger, "127.0.0.1", port)[4:] == b""
        assert inner.knocks == knocks
    assert dict(gate_options("http://web.example/b.tif", API, 5.0)) == options, "one gate is enough"


BEGIN_AND_DIE = """
import os
from beam_pipeline.runtime.gate import open_gate

print(open_gate().port, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_gate_ends_with_its_process_whatever_ends_that() -> None:
    command = [sys.executable, "-c", BEGIN_AND_DIE]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == -9
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", int(ran.stdout)), 5.0).close()
        except ConnectionError:
            return
        time.sleep(0.1)
    pytest.fail("it still listens")


def test_a_gate_that_ended_is_replaced() -> None:
    url = "http://web.example/a.tif"
    first = dict(gate_options(url, API, 5.0))
    gate = GATES[os.getpid()]
    gate.end()
    assert not gate.is_open()
    second = dict(gate_options(url, API, 5.0))
    assert second["GDAL_HTTP_PROXYUSERPWD"] != first["GDAL_HTTP_PROXYUSERPWD"]
    assert GATES[os.getpid()].is_open()


def test_the_gate_hands_on_while_the_lock_of_python_is_held(web: FolderServer) -> None:
    """A program that holds it as rasterio does where it asks GDAL for a header."""
    options = gate_options(web.url("secret.tif"), Reach(web.url("")), 5.0)
    address = urlsplit(options["GDAL_HTTP_PROXY"])
    user, _, password = options["GDAL_HTTP_PROXYUSERPWD"].partition(":")
    libc = ctypes.PyDLL(None)  # which, unlike CDLL, holds the lock
    with socket.create_connection(("127.0.0.1", address.port or 0), 5.0) as client:
        greeting = (
            bytes((5, 1, 2, 1, len(user))) + user.encode() + bytes((len(password),)) + password.encode()
        )
        client.settimeout(None)
        client.sendall(greeting)
        received = ctypes.create_string_buffer(4)
        assert libc.recv(client.fileno(), received, 4, socket.MSG_WAITALL) == 4
        assert received.raw == bytes((5, 2, 1, 0))
