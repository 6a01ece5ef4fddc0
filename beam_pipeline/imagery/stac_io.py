"""The requests to a STAC API: every request retried by our own policy, every failure told apart."""

import json
from typing import Any

import pystac
import requests
from pystac_client.stac_api_io import StacApiIO

from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.foreign_text import without_secrets
from beam_pipeline.runtime.http_session import bound_session, request_faults
from beam_pipeline.runtime.json_weight import parsed_bytes
from beam_pipeline.runtime.reach import Reach
from beam_pipeline.runtime.retries import (
    THROTTLED,
    TOO_MANY_REQUESTS,
    RetryAfterFault,
    RetryPolicy,
    retry_after_s,
)
from beam_pipeline.runtime.traffic import Traffic

TIMEOUT_S = (10.0, 60.0)
"""Seconds to connect, and between two bytes of an answer."""

ANSWER_S = 180.0
"""Seconds in which an answer must be whole; a page of 100 items is about 2.5 MB."""

MOST_PAGE_BYTES = 32 << 20
"""Of an answer, unpacked; of a page of 100 items see `ANSWER_S`."""

MOST_PARSED_BYTES = 256 << 20
"""Of an answer, parsed; a page of 100 items takes 25 MB."""

_STAC_KEYS = {"collections", "features", "links", "stac_version", "type"}
"""Each answer that is asked for has one of these."""

_SHOWN_CHARS = 200
_LOOKED_AT_BYTES = 4096  # of the body of an error


class RetryingStacIO(StacApiIO):
    """The transport of pystac-client with `RetryPolicy` around each request.

    pystac-client's own integer retries skip POST, and know no 403 that means "too many requests". Its paging takes an
    empty page for the last one: see `WholeSearch`.

    Attributes:
        retry: The policy; every request has its own tries.
        traffic: Paces and counts the requests.
        received_bytes: What all answers so far took, unpacked.
    """

    def __init__(
        self,
        retry: RetryPolicy,
        reach: Reach,
        timeout: tuple[float, float] = TIMEOUT_S,
        answer_s: float = ANSWER_S,
        traffic: Traffic | None = None,
    ) -> None:
        super().__init__(max_retries=None, timeout=timeout)
        bound_session(self.session, answer_s, reach, MOST_PAGE_BYTES)
        self.received_bytes = 0
        self.retry = retry
        self.traffic = traffic or Traffic()

    def read_json(self, source: pystac.link.HREF, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Reads a JSON object.

        Raises:
            TransientFault: The retries are used up: "throttled", "server_error", "timeout", "unreachable" or
                "bad_answer".
            PermanentFault: "not_found", "refused", "bad_request", "redirected", "endless_answer", "heavy_answer", or
                "refused_link" for a way inward.
        """

        def read_once() -> dict[str, Any]:
            try:
                answer = super(RetryingStacIO, self).read_json(source, *args, **kwargs)
            except (json.JSONDecodeError, RecursionError) as error:
                raise TransientFault("bad_answer", f"{shown_source(source)} gave no JSON: {error}") from error
            if not isinstance(answer, dict):
                raise TransientFault("bad_answer", f"{shown_source(source)} gave no JSON object")
            if not _STAC_KEYS & answer.keys():
                # A gateway's {"message": "Internal server error"}, sent with 200.
                raise TransientFault(
                    "bad_answer", f"{shown_source(source)} gave no STAC: {str(answer)[:_SHOWN_CHARS]}"
                )
            return answer

        return self.retry.call(read_once, on_retry=self.traffic.retried)

    def read_text(self, source: pystac.link.HREF, *args: Any, **kwargs: Any) -> str:
        """Reads text; other than its base class nothing but the web, where an API's links may lead anywhere.

        Raises:
            PermanentFault: "refused_link", and what `read_json` says.
        """
        href = str(source.href if isinstance(source, pystac.Link) else source)
        if not href.startswith(("https://", "http://")):
            raise PermanentFault("refused_link", f"an API must not lead to {href}")
        return super().read_text(source, *args, **kwargs)

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Sends one request, once; see `read_json` for what is raised."""
        method = (method or "GET").upper()
        payload: dict[str, Any] = {"json" if method == "POST" else "params": parameters}
        where = f"{method} {shown_source(href)}"
        with request_faults(where), self.traffic.slot():
            self.traffic.turn()
            answer = self.session.request(method, href, headers=headers, timeout=self.timeout, **payload)
        self.traffic.charge(len(answer.history))  # redirects, sent by requests itself
        if answer.ok and answer.request.method != method:
            # A redirect turns POST into GET and loses the search: everything would be found.
            raise PermanentFault(
                "redirected", f"{where} leads to {shown_source(answer.url)}: give the URL that it leads to"
            )
        _raise_for_status(answer, where)
        self.received_bytes += len(answer.content)
        if parsed_bytes(answer.content) > MOST_PARSED_BYTES:
            raise PermanentFault(
                "heavy_answer",
                f"{where} gave JSON that takes more than {MOST_PARSED_BYTES >> 20} MiB of memory",
            )
        return answer.content.decode("utf-8", errors="replace")


def _raise_for_status(answer: requests.Response, where: str) -> None:
    status = answer.status_code
    # `answer.text` would look through all of it for its encoding.
    text = answer.content[:_LOOKED_AT_BYTES].decode("utf-8", errors="replace")
    detail = f"{where}: HTTP {status} {text[:_SHOWN_CHARS].strip()}"
    if 200 <= status < 300:
        return
    # Earth Search's gateway says this, and not 429, to a client that asks too often.
    forbidden = status == 403 and '"message":"Forbidden"' in text.replace(" ", "")
    if status in TOO_MANY_REQUESTS or forbidden:
        raise RetryAfterFault(THROTTLED, detail, retry_after_s(answer.headers.get("Retry-After")))
    if status in (408, 425) or status >= 500:
        raise RetryAfterFault("server_error", detail, retry_after_s(answer.headers.get("Retry-After")))
    if status in (404, 410):
        raise PermanentFault("not_found", detail)
    raise PermanentFault("refused" if status in (401, 403) else "bad_request", detail)


def shown_source(source: object) -> str:
    """Returns an address without what may be a key."""
    return without_secrets(str(source.href if isinstance(source, pystac.Link) else source))
