"""Tokens for files in Azure Blob Storage: asked for once, renewed in time, sent to nobody else."""

import concurrent.futures
import json
import traceback
from collections.abc import Iterator

import pytest

from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.file_keys import NO_KEY, FileKeys
from beam_pipeline.imagery.sas_tokens import PLANETARY_COMPUTER_TOKENS, Container, SasTokens
from beam_pipeline.imagery.token_file import NoToken
from beam_pipeline.runtime.reach import Reach
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic
from tests.imagery.blob_storage import ACCOUNT, CONTAINER, HOST, SIGNATURE, Answer, TokenEndpoint

OURS = Container(ACCOUNT, CONTAINER)
FILE = f"https://{HOST}/{CONTAINER}/32/T/a.tif"


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint() as served:
        yield served


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def tokens(
    endpoint: TokenEndpoint, attempts: int = 3, clock: Clock | None = None, waits: list[float] | None = None
) -> SasTokens:
    slept = [] if waits is None else waits
    retry = RetryPolicy(attempts, 0.001, 60.0, sleep=slept.append)
    return SasTokens(endpoint.url, Reach(endpoint.url), retry, Traffic(), clock or Clock())


def test_a_container_is_told_by_the_host_of_a_file() -> None:
    assert Container.of_url(FILE) == OURS
    assert Container.of_url(FILE.replace(HOST, HOST.upper())) == OURS
    assert Container.of_url(FILE.replace(HOST, f"{HOST}:443")) == OURS


@pytest.mark.parametrize(
    "url",
    [
        FILE.replace("https", "http"),
        FILE.replace(HOST, f"{HOST}:8443"),
        FILE.replace(HOST, f"me@{HOST}"),
        FILE.replace(HOST, f"{HOST}.evil.example"),
        FILE.replace(HOST, f"evil.example.{HOST}"),
        FILE.replace(HOST, "blob.core.windows.net"),
        FILE.replace(HOST, "evilblob.core.windows.net"),
        FILE.replace(HOST, f"{HOST}@evil.example"),
        FILE.replace(HOST, f"evil.example#@{HOST}"),
        FILE.replace(HOST, f"evil.example?@{HOST}"),
        FILE.replace(HOST, f"{HOST}:port"),
        f"https://{HOST}/a.tif",
        f"https://{HOST}/UPPER/a.tif",
        f"https://{HOST}/../a.tif",
        "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel/a.tif",
    ],
)
def test_no_token_is_for_other_hosts(url: str, endpoint: TokenEndpoint) -> None:
    assert Container.of_url(url) is None
    assert FileKeys(CatalogSettings("items", "c", sas_token_url=endpoint.url)).find(url) == NO_KEY
    assert endpoint.asked == []


def test_what_its_api_has_signed_is_left_as_it_is(endpoint: TokenEndpoint) -> None:
    keys = FileKeys(CatalogSettings("items", "c", sas_token_url=endpoint.url))
    assert keys.find(f"{FILE}?sv=1&sig=abc") == NO_KEY
    assert keys.find(FILE).signed(FILE).startswith(f"{FILE}?st=")
    assert keys.find(f"{FILE}?a=1").signed(f"{FILE}?a=1").startswith(f"{FILE}?a=1&st=")


def test_the_endpoint_is_that_of_the_catalogue() -> None:
    own = CatalogSettings("https://planetarycomputer.microsoft.com/api/stac/v1", "sentinel-2-l2a")
    assert own.sas_endpoint == PLANETARY_COMPUTER_TOKENS
    assert CatalogSettings("https://earth-search.aws.element84.com/v1", "c").sas_endpoint == ""
    assert CatalogSettings("https://planetarycomputer.microsoft.com.evil.example/v1", "c").sas_endpoint == ""
    assert (
        CatalogSettings("items.json", "c", sas_token_url="https://a.example/t").sas_endpoint
        == "https://a.example/t"
    )


def test_a_process_asks_once_for_a_container(endpoint: TokenEndpoint) -> None:
    endpoint.release.clear()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(tokens(endpoint).token, OURS) for _ in range(8)]
        endpoint.release.set()
        assert len({job.result() for job in jobs}) == 1
    assert [path for path, _ in endpoint.asked] == [f"/api/sas/v1/token/{ACCOUNT}/{CONTAINER}"]
    assert tokens(endpoint).token(Container(ACCOUNT, "other-one")) != tokens(endpoint).token(OURS)
    assert len(endpoint.asked) == 2


def test_a_token_is_renewed_before_its_end(endpoint: TokenEndpoint) -> None:
    clock = Clock()
    first = tokens(endpoint, clock=clock).token(OURS)
    clock.now += 3600 - 300 - 10
    assert tokens(endpoint, clock=clock).token(OURS) == first
    clock.now += 20
    assert tokens(endpoint, clock=clock).token(OURS) != first
    assert len(endpoint.asked) == 2


def test_a_token_that_was_refused_is_renewed_once(endpoint: TokenEndpoint) -> None:
    asked = tokens(endpoint)
    first = asked.token(OURS)
    second = asked.token(OURS, refused=first)
    assert second != first
    assert asked.token(OURS, refused=first) == second  # another thread, whose read failed with the first too
    assert len(endpoint.asked) == 2


def test_our_clock_may_be_wrong(endpoint: TokenEndpoint) -> None:
    """The end is told by the endpoint's own clock."""
    long_ago = json.dumps({"msft:expiry": "2020-01-01T01:00:00Z", "token": "sig=old"})
    endpoint.faults = [
        Answer(200, long_ago, {"Date": "Wed, 01 Jan 2020 00:00:00 GMT"}),
        Answer(200, long_ago),
    ]
    asked = tokens(endpoint, attempts=1)
    assert asked.token(OURS) == "sig=old"
    with pytest.raises(NoToken, match="has expired"):
        asked.token(OURS, refused="sig=old")


def test_what_may_pass_is_asked_again(endpoint: TokenEndpoint) -> None:
    waits: list[float] = []
    endpoint.faults = [Answer(429, headers={"Retry-After": "7"}), Answer(503), Answer(200, "<html>back soon")]
    assert SIGNATURE in tokens(endpoint, attempts=4, waits=waits).token(OURS)
    assert len(endpoint.asked) == 4
    assert waits[0] == 7.0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(404), "HTTP 404"),
        (Answer(401), "HTTP 401"),
        (Answer(302, headers={"Location": "http://169.254.169.254/a"}), "is never asked"),
    ],
)
def test_what_will_not_pass_is_asked_once(endpoint: TokenEndpoint, answer: Answer, said: str) -> None:
    endpoint.faults = [answer]
    with pytest.raises(NoToken, match=rf"{ACCOUNT}/{CONTAINER}.*{said}"):
        tokens(endpoint).token(OURS)
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize(
    "content",
    [
        {"token": "sig=shown-1701", "msft:expiry": "soon"},
        {"token": "sig=shown-1701\r\nHost: evil.example", "msft:expiry": "2099-01-01T00:00:00Z"},
        {"token": "sig=shown-1701 x", "msft:expiry": "2099-01-01T00:00:00Z"},
        {"token": "sig=shown-1701", "msft:expiry": "2099-01-01T00:00:00"},
        {"token": "", "msft:expiry": "2099-01-01T00:00:00Z"},
        {"token": "sig=shown-1701"},
        ["sig=shown-1701"],
    ],
)
def test_an_answer_that_is_none_is_not_shown(endpoint: TokenEndpoint, content: object) -> None:
    endpoint.faults = [Answer(200, json.dumps(content))]
    with pytest.raises(NoToken, match="gave no JSON") as raised:
        tokens(endpoint, attempts=1).token(OURS)
    assert "shown-1701" not in "".join(traceback.format_exception(raised.value))


def test_who_waits_for_an_answer_shares_the_failure(endpoint: TokenEndpoint) -> None:
    """Eight threads that each had all tries would wait eight times as long."""
    endpoint.faults = [Answer(500)] * 100
    endpoint.release.clear()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(tokens(endpoint, attempts=3).token, OURS) for _ in range(8)]
        while not endpoint.asked:
            pass
        endpoint.release.set()
        assert {type(job.exception()) for job in jobs} == {NoToken}
    assert len(endpoint.asked) < 8 * 3
