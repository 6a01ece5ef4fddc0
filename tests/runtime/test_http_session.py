"""Answers that come slowly, or never: no one waits longer than the limit."""

import datetime
import ipaddress
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from beam_pipeline.runtime import http_session
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.http_session import bounded_session, is_timeout
from beam_pipeline.runtime.reach import Reach
from tests.imagery.range_server import Injected, RangeServer

CONTENT = bytes(range(256)) * 4096
LIMIT_S = 0.6
OWN = Reach(own_network=True)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that signs itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return path


Get = Callable[[str], bytes]


@pytest.fixture(params=["http", "https"])
def served(
    request: pytest.FixtureRequest, tmp_path: Path, certificate: Path
) -> Iterator[tuple[RangeServer, Get]]:
    """A server, and how its files are asked for within the limit, over one session."""
    (tmp_path / "a.bin").write_bytes(CONTENT)
    with RangeServer(tmp_path) as server, bounded_session(LIMIT_S, OWN) as session:
        if request.param == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)

        def get(path: str) -> bytes:
            url = server.url(path).replace("http:", f"{request.param}:")
            return session.get(url, timeout=30, verify=str(certificate)).content

        yield server, get


def test_content_and_connection_are_as_ever(served: tuple[RangeServer, Get]) -> None:
    server, get = served
    for _ in range(3):
        assert get("a.bin") == CONTENT
    assert [request.status for request in server.requests] == [200] * 3


@pytest.mark.parametrize(
    "fault",
    [
        Injected("trickle", seconds=0.02),
        Injected("trickle header", seconds=0.02),
        Injected("stall", seconds=20.0),
    ],
    ids=lambda fault: fault.kind,
)
def test_nothing_takes_longer_than_the_limit(served: tuple[RangeServer, Get], fault: Injected) -> None:
    server, get = served
    fault.times = 1
    server.inject("a.bin", fault)
    started = time.monotonic()
    with pytest.raises(requests.RequestException) as caught:
        get("a.bin")
    assert LIMIT_S <= time.monotonic() - started < LIMIT_S + 3
    assert is_timeout(caught.value)
    assert get("a.bin") == CONTENT, "what was cut off is not used again"


def test_the_limit_is_of_each_answer_not_of_the_connection(served: tuple[RangeServer, Get]) -> None:
    _, get = served
    started = time.monotonic()
    while time.monotonic() - started < 1.5 * LIMIT_S:
        assert get("a.bin") == CONTENT
        time.sleep(0.1)


def test_other_failures_are_no_time_outs(served: tuple[RangeServer, Get]) -> None:
    server, get = served
    for kind in ("reset", "truncate"):
        server.inject("a.bin", Injected(kind, times=1))  # type: ignore[arg-type]
        with pytest.raises(requests.RequestException) as caught:
            get("a.bin")
        assert not is_timeout(caught.value)


def test_the_limit_holds_through_a_proxy(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    with RangeServer(tmp_path) as proxy, bounded_session(LIMIT_S, OWN) as session:
        session.trust_env, session.proxies = False, {"http": proxy.url("")}
        assert session.get("http://elsewhere.example/a.bin", timeout=30).content == CONTENT
        proxy.inject("a.bin", Injected("trickle header", seconds=0.02))
        with pytest.raises(requests.RequestException) as caught:
            session.get("http://elsewhere.example/a.bin", timeout=30)
    assert is_timeout(caught.value)


@pytest.mark.parametrize("redirected", [False, True])
def test_a_body_without_end_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redirected: bool
) -> None:
    most = 600  # fewer than a page has
    monkeypatch.setattr(http_session, "MOST_BYTES", most)
    (tmp_path / "a.bin").write_bytes(CONTENT[: most + 1])
    (tmp_path / "b.bin").write_bytes(CONTENT[:most])
    with RangeServer(tmp_path) as server, bounded_session(LIMIT_S, OWN) as session:
        if redirected:  # its own body is read before the one that it leads to
            server.inject("a.bin", Injected("page", 302, headers={"Location": server.url("b.bin")}))
        with pytest.raises(PermanentFault, match="endless_answer"):
            session.get(server.url("a.bin"), timeout=30)
        assert session.get(server.url("b.bin"), timeout=30).content == CONTENT[:most]
    assert [request.path for request in server.requests] == ["/a.bin", "/b.bin"]


def test_cookies_headers_and_redirects_are_as_ever(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    with RangeServer(tmp_path) as server, bounded_session(LIMIT_S, OWN) as session:
        leads = {"Location": server.url("a.bin"), "Set-Cookie": "a=1"}
        server.inject("old.bin", Injected("status", 302, headers=leads))
        answer = session.get(server.url("old.bin"), timeout=30)
        assert (answer.status_code, answer.content) == (200, CONTENT)
        assert [(it.status_code, it.headers["Location"]) for it in answer.history] == [(302, answer.url)]
        assert session.cookies.get_dict() == {"a": "1"}
