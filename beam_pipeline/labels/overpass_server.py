"""Asks an Overpass server, through OSMnx, or takes what it answered before from a cache.

OSMnx makes the query and sends it. Queries go out one at a time: those of this process, and of all processes that share
the cache.
"""

import contextlib
import dataclasses
import fcntl
import functools
import gzip
import hashlib
import json
import logging
import re
import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import shapely

from beam_pipeline import __version__
from beam_pipeline.labels.chip_boxes import Bounds
from beam_pipeline.labels.overpass_answer import Element, format_elements, parse_answer, parse_elements
from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.http_session import BoundedAdapter, bounded_session, is_timeout
from beam_pipeline.runtime.json_weight import parsed_bytes
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.reach import Reach
from beam_pipeline.runtime.retries import THROTTLED, RetryAfterFault, RetryPolicy, retry_after_s
from beam_pipeline.runtime.traffic import Traffic
from beam_pipeline.runtime.whole_files import write_whole

USER_AGENT = f"OpenSentinelMap/{__version__} (builds land-use training data; one query at a time)"
"""The User-Agent that tells servers who asks. Source: https://operations.osmfoundation.org/policies/api/"""

TIMEOUT_S = 180
"""Seconds that a server may work on a query. Source: Overpass' own default."""

ANSWER_S = 2.0 * TIMEOUT_S
"""Seconds in which an answer must be whole, the server's work included."""

MOST_PARSED_BYTES = 512 << 20
"""Of an answer, parsed; the densest chip takes some 160 MB."""

_VERBOSITY = "out meta"
"""Asks for versions and times of elements. Source: https://wiki.openstreetmap.org/wiki/Overpass_API/Overpass_QL#out"""

_QUERY = "_create_overpass_features_query"
"""OSMnx's function that makes a query."""

LOCK = "lock"
"""File of the cache that a process holds while it asks."""

_STATUS_S = 10.0
_STATUS_BYTES = 1 << 14  # read of a status, which has a few lines

_log = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()
_NO_USE_TRYING = re.compile(
    # The last two are of a server that keeps no map but today's. Source: issue 616 of OpenHistoricalMap/issues.
    r"out of memory|parse error|static error|maxsize|no museum files|_attic\.bin",
    re.IGNORECASE,
)
_SLOT_FREE = re.compile(r"Slot available after: [^,\n]{,40}, in (-?\d{1,9}) seconds")


@dataclasses.dataclass(frozen=True)
class Server:
    """A server, and how it is asked.

    Attributes:
        url: Its API, e.g. "https://overpass-api.de/api".
        cache: Where answers are kept, for good.
        date: As of when, e.g. "2019-07-01T00:00:00Z"; "" for now.
        retry: How often and how long it is asked again.
        traffic: Paces the queries and counts those that were sent again.
        reach: Where it may lead to.
    """

    url: str
    cache: Path
    date: str
    retry: RetryPolicy
    traffic: Traffic
    reach: Reach

    @property
    def host(self) -> str:
        """Its name, for messages."""
        return urlsplit(self.url).hostname or "the server"

    def on_retry(self, fault: TransientFault) -> None:
        """Says and counts what is asked once more."""
        _log.warning(fault)
        self.traffic.retried(fault)


def elements_in(box: Bounds, keys: Sequence[str], server: Server) -> list[Element]:
    """Returns the elements of an answer, from the cache or from the server.

    Args:
        box: What is asked for.
        keys: Elements bear one of these, sorted, or belong to one that does.
        server: The server.

    Raises:
        PermanentFault: It refuses the query, has not the memory for it, or leads to a host that must not be asked.
        TransientFault: It was busy, slow or out of reach to the last try.
    """
    question = [server.url, [f"{degrees:.7f}" for degrees in box], list(keys), _VERBOSITY]
    question += [server.date] if server.date else []
    kept = server.cache / f"{hashlib.sha256(json.dumps(question).encode()).hexdigest()}.json.gz"
    server.cache.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time, (server.cache / LOCK).open("ab") as lock:
        # As long as others ask, whose time is limited; the kernel frees the lock of a process that died.
        fcntl.flock(lock, fcntl.LOCK_EX)
        elements = _kept_elements(kept)
        if elements is None:
            elements = server.retry.call(lambda: _ask(box, keys, server), server.on_retry)
            write_whole(str(kept), [gzip.compress(format_elements(elements), mtime=0)])
        return elements


def _kept_elements(path: Path) -> list[Element] | None:
    """Reads an answer of the cache; None where there is none, or only what a disk that failed left of one."""
    try:
        return parse_elements(gzip.decompress(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, EOFError, zlib.error, MalformedError) as error:
        _log.warning("%s is damaged and asked for again: %s", path, error)
        return None


def _ask(box: Bounds, keys: Sequence[str], server: Server) -> list[Element]:
    """Sends one query and returns the elements of the answer."""
    # OSMnx brings geopandas and more along: workers that read extracts do without.
    import osmnx
    from osmnx import _overpass
    from osmnx._errors import CacheOnlyInterruptError

    elements: list[Element] = []

    def check(response: requests.Response, **_: object) -> None:
        if not response.is_redirect:
            with response:
                elements.extend(_checked(response, server))

    settings: dict[str, Any] = {
        "overpass_url": server.url,
        "overpass_settings": "[out:json][timeout:{timeout}]{maxsize}"
        + (f'[date:"{server.date}"]' if server.date else "")
        + _areas_around(box, keys),
        # OSMnx waits without end for servers that have no /status, and resends without end on 429 and 504.
        # Here a refusal comes out as a fault and the retry policy waits.
        "overpass_rate_limit": False,
        "requests_kwargs": {"hooks": {"response": check}},
        "requests_timeout": TIMEOUT_S,
        "http_user_agent": USER_AGENT,
        "http_referer": "",
        "doh_url_template": None,  # host names are not told to a third party
        "use_cache": False,
        "cache_only_mode": True,  # OSMnx stops behind the download
    }
    tags: dict[str, bool | str | list[str]] = dict.fromkeys(keys, True)
    # OSMnx makes a session of its own, and its time-out holds between two bytes only.
    adapter = {"HTTPAdapter": functools.partial(BoundedAdapter, ANSWER_S, server.reach)}
    try:
        with (
            server.traffic.slot(),
            _borrowed(osmnx.settings, settings),
            _borrowed(requests.sessions, adapter),
            _borrowed(_overpass, {_QUERY: _with_metadata(getattr(_overpass, _QUERY))}),
            contextlib.suppress(CacheOnlyInterruptError),
        ):
            server.traffic.turn()
            osmnx.features.features_from_polygon(shapely.box(*box), tags)
    except requests.exceptions.SSLError as error:
        raise PermanentFault("untrusted", f"{server.host}: {error}") from error
    except (requests.exceptions.RequestException, OSError) as error:
        reason = "timeout" if is_timeout(error) else "unreachable"
        raise TransientFault(reason, f"{server.host}: {type(error).__name__}") from error
    return elements


def _areas_around(box: Bounds, keys: Sequence[str]) -> str:
    """Overpass QL, put before OSMnx's query, for the areas that hold the box and have no edge in it.

    A search by polygon, which is what OSMnx sends, finds by edges and nodes only: a forest all around the
    chip would be missed. An area that holds the box holds its centre.
    """
    west, south, east, north = box
    tagged = f'[~"^({"|".join(map(re.escape, keys))})$"~"."]'
    return (
        f";is_in({(south + north) / 2:.7f},{(west + east) / 2:.7f})->.around;"
        f"(way.around{tagged};way(pivot.around){tagged};relation(pivot.around){tagged};);(._;>;);{_VERBOSITY}"
    )


def _with_metadata(query_of: Callable[..., str]) -> Callable[..., str]:
    """Returns a function that makes OSMnx's query, and asks for versions and times besides, for which OSMnx cannot."""

    def create_query(*arguments: Any) -> str:
        return f"{query_of(*arguments).removesuffix('out;')}{_VERBOSITY};"

    return create_query


@contextlib.contextmanager
def _borrowed(module: Any, settings: dict[str, Any]) -> Iterator[None]:
    """Sets names of a module, which are global, and afterwards puts back what they and `socket` were."""
    before = {name: getattr(module, name) for name in settings}
    getaddrinfo = socket.getaddrinfo
    try:
        for name, value in settings.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)
        socket.getaddrinfo = getaddrinfo


def _checked(response: requests.Response, server: Server) -> list[Element]:
    """Returns the elements of an answer, or raises what speaks against it."""
    host, status = server.host, response.status_code
    stated_s = retry_after_s(response.headers.get("Retry-After"))
    if status == 429:
        wait_s = stated_s or _seconds_to_a_slot(server)
        raise RetryAfterFault(THROTTLED, f"{host} has no free slot", wait_s)
    if status in (408, 425) or status >= 500:
        raise RetryAfterFault("server_error", f"{host} answered {status}", stated_s)
    if status != 200:
        reason = {400: "refused_query", 403: "forbidden", 404: "not_found"}.get(status, "refused")
        raise PermanentFault(reason, f"{host} answered {status} {response.reason}")
    if parsed_bytes(response.content) > MOST_PARSED_BYTES:
        raise PermanentFault(
            "heavy_answer", f"{host} gave JSON that takes more than {MOST_PARSED_BYTES >> 20} MiB of memory"
        )
    try:
        answer = parse_answer(response.content)
    except MalformedError as error:
        raise TransientFault("malformed_answer", f"{host} answered 200 with no Overpass JSON") from error
    # Overpass finds out that it cannot finish when it has said 200 already: what came is only a part.
    if answer.remark is not None:
        remark = str(answer.remark)
        kind = PermanentFault if _NO_USE_TRYING.search(remark) else TransientFault
        raise kind("overpass_remark", f"{host}: {remark}")
    return answer.elements


def _seconds_to_a_slot(server: Server) -> float:
    """Asks a server that has refused a query when it would take one; 0 where it does not say."""
    server.traffic.turn()
    try:
        with (
            bounded_session(_STATUS_S, server.reach) as session,
            session.get(
                f"{server.url.rstrip('/')}/status",
                headers={"User-Agent": USER_AGENT},
                timeout=_STATUS_S,
                stream=True,
            ) as status,
        ):
            text = next(status.iter_content(_STATUS_BYTES), b"").decode("utf-8", errors="replace")
    except requests.exceptions.RequestException:
        return 0.0
    return max(0.0, min((float(seconds) for seconds in _SLOT_FREE.findall(text)), default=0.0))
