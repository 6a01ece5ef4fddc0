"""Tokens that sign the URLs of files in Azure Blob Storage, from an endpoint such as the Planetary Computer's.

GDAL can sign such URLs by itself, one request a file, but tells nothing of an endpoint that fails, and sends the file's
URL unsigned then.
"""

import dataclasses
import datetime
import email.utils
import re
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Annotated

import pydantic
import requests

from beam_pipeline.imagery.token_file import NoToken
from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault
from beam_pipeline.runtime.foreign_text import hide
from beam_pipeline.runtime.http_session import bounded_session, request_faults
from beam_pipeline.runtime.parsing import MalformedError, parse_json
from beam_pipeline.runtime.reach import Reach
from beam_pipeline.runtime.retries import (
    THROTTLED,
    TOO_MANY_REQUESTS,
    RetryAfterFault,
    RetryPolicy,
    retry_after_s,
)
from beam_pipeline.runtime.traffic import Traffic

PLANETARY_COMPUTER = "planetarycomputer.microsoft.com"

PLANETARY_COMPUTER_TOKENS = f"https://{PLANETARY_COMPUTER}/api/sas/v1/token"
"""Where anybody gets a token: `/ACCOUNT/CONTAINER` is added.

Source: https://planetarycomputer.microsoft.com/docs/concepts/sas
"""

_BLOB_HOST = re.compile(r"([a-z0-9]{3,24})\.blob\.core\.windows\.net\Z")
_CONTAINER = re.compile(r"/(\$root|\$web|[a-z0-9](?:-?[a-z0-9]){2,62})/")
"""Names of accounts and containers. Source: Azure's "Naming and referencing containers, blobs, and metadata"."""

_TIMEOUT_S = (10.0, 30.0)
_ANSWER_S = 60.0

_EARLY_S = 300.0
"""Seconds before its end in which a token is used no more, so that it does not end while a file is being read."""


@dataclasses.dataclass(frozen=True)
class Container:
    """A container of Azure Blob Storage."""

    account: str
    name: str

    @classmethod
    def of_url(cls, url: str) -> "Container | None":
        """Finds the container of a file; None for a file elsewhere, or one that is not asked for over HTTPS.

        Args:
            url: http(s) URL.
        """
        parts = urllib.parse.urlsplit(url)
        # As text: a port that is no number is an error when it is asked for.
        is_https = parts.scheme == "https" and parts.netloc.lower() in (
            parts.hostname,
            f"{parts.hostname}:443",
        )
        account = _BLOB_HOST.match((parts.hostname or "").lower())
        container = _CONTAINER.match(parts.path)
        if not is_https or account is None or container is None:
            return None
        return cls(account[1], container[1])


class _Answer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    # A query, and nothing that would end one or begin a header.
    token: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_.~%=&+:/,-]{1,4096}$")]
    expiry: Annotated[pydantic.AwareDatetime, pydantic.Field(validation_alias="msft:expiry")]


_ANSWER = pydantic.TypeAdapter(_Answer)


class _Shared:
    """The newest token for one container in this process, and what became of the last question for one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.token = ""
        self.good_until = 0.0
        self.asked = 0
        self.fault: NoToken | None = None


class SasTokens:
    """Asks an endpoint for tokens; all of a process share one token for each container.

    Safe to use from many threads.

    Args:
        endpoint: URL to which `/ACCOUNT/CONTAINER` is added.
        reach: What may be asked for it.
        retry: How often it is asked.
        traffic: Paces the requests and counts those that were sent again.
        clock: Seconds of a clock that never goes back; a test passes its own.
    """

    def __init__(
        self,
        endpoint: str,
        reach: Reach,
        retry: RetryPolicy,
        traffic: Traffic,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._reach = reach
        self._retry = retry
        self._traffic = traffic
        self._clock = clock

    def token(self, container: Container, refused: str = "") -> str:
        """Returns a token, a query without "?", that is good for some minutes more.

        Args:
            container: What it is for.
            refused: A token that the host has refused, whatever its end said.

        Raises:
            NoToken: The endpoint gives none, for longer than the retries last.
        """
        with _shared_lock:
            shared = _shared.setdefault((self._endpoint, container.account, container.name), _Shared())
        asked = shared.asked
        with shared.lock:
            if shared.token and shared.token != refused and self._clock() < shared.good_until:
                return shared.token
            if shared.asked != asked and shared.fault is not None:
                raise shared.fault  # of who asked while we waited: eight threads are not eight times as patient
            try:
                shared.token, shared.good_until = self._ask(container)
                shared.fault = None
            except Fault as fault:
                shared.fault = NoToken(detail=f"no token for {container.account}/{container.name}: {fault}")
                raise shared.fault from fault
            finally:
                shared.asked += 1
            return shared.token

    def _ask(self, container: Container) -> tuple[str, float]:
        url = f"{self._endpoint}/{container.account}/{urllib.parse.quote(container.name)}"
        return self._retry.call(lambda: self._ask_once(url), on_retry=self._traffic.retried)

    def _ask_once(self, url: str) -> tuple[str, float]:
        self._traffic.turn()
        with request_faults(url), bounded_session(_ANSWER_S, self._reach) as session:
            answer = session.get(url, timeout=_TIMEOUT_S)
        _raise_for_status(answer, url)
        return self._read(answer, url)

    def _read(self, answer: requests.Response, url: str) -> tuple[str, float]:
        """Returns the token, and when it is to be used no more by our clock."""
        try:
            read = parse_json(_ANSWER, answer.content)
        except MalformedError:
            # What is wrong is not shown: it may be the token.
            raise TransientFault(
                "bad_answer", f'{url} gave no JSON with a "token" and its "msft:expiry"'
            ) from None
        hide(read.token)
        # By the endpoint's own clock, as far as it says: ours may be wrong.
        life_s = (read.expiry - _date_of(answer)).total_seconds()
        if life_s <= 0:
            raise TransientFault("bad_answer", f"{url} gave a token that has expired")
        return read.token, self._clock() + life_s - min(_EARLY_S, life_s / 2)


def _raise_for_status(answer: requests.Response, url: str) -> None:
    status = answer.status_code
    if 200 <= status < 300:
        return
    detail = f"{url}: HTTP {status}"
    if status in TOO_MANY_REQUESTS:
        raise RetryAfterFault(THROTTLED, detail, retry_after_s(answer.headers.get("Retry-After")))
    if status in (408, 425) or status >= 500:
        raise RetryAfterFault("server_error", detail, retry_after_s(answer.headers.get("Retry-After")))
    raise PermanentFault("refused", detail)


def _date_of(answer: requests.Response) -> datetime.datetime:
    try:
        when = email.utils.parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        return datetime.datetime.now(datetime.UTC)
    return when if when.tzinfo else when.replace(tzinfo=datetime.UTC)


_shared: dict[tuple[str, str, str], _Shared] = {}
"""By endpoint, account and container."""

_shared_lock = threading.Lock()
