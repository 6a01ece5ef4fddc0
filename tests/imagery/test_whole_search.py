"""Searches of APIs of every manner: all items, or a fault that says what is missing."""

import collections
import datetime
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

from beam_pipeline.imagery.stac_io import RetryingStacIO
from beam_pipeline.imagery.whole_search import WholeSearch, Window
from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault
from beam_pipeline.runtime.reach import Reach
from beam_pipeline.runtime.retries import RetryPolicy
from tests.imagery.stac_server import StacServer, exact

PAGE = 5
SIZES = (0, 1, 4, 5, 6, 9, 10, 12, 13)
Count = Callable[[int, int], int | None]


def absent(found: int, start: int) -> None:
    """Gives no count, as Planetary Computer."""


def too_high(found: int, start: int) -> int:
    """As the planner of PostgreSQL may estimate."""
    return 3 * found


def too_low(found: int, start: int) -> int:
    """As the planner of PostgreSQL may estimate, too."""
    return found // 2


def changing(found: int, start: int) -> int:
    """An estimate that is another one on each page."""
    return found + start


COUNTS = (exact, absent, too_high, too_low, changing)


class InProcess(RetryingStacIO):
    """Asks a server that listens on no port."""

    def __init__(self, server: StacServer) -> None:
        super().__init__(RetryPolicy(attempts=3, base_s=0.0), Reach(own_network=True))
        self.server = server
        self.asked: list[dict[str, Any]] = []

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        self.asked.append(parameters or {})
        return json.dumps(self.server.search("POST", parameters or {}))


def server_of(
    count: int, times: Iterator[datetime.datetime] | None = None, kind: type[StacServer] = StacServer
) -> StacServer:
    """A server of so many items, of different days of 2020 where nothing else is said."""
    first = datetime.datetime(2020, 1, 3, 10, tzinfo=datetime.UTC)
    days = times or (first + datetime.timedelta(days=3 * number) for number in itertools.count())
    items = [
        {"id": f"item-{number}", "collection": "c", "properties": {"datetime": f"{time:%Y-%m-%dT%H:%M:%SZ}"}}
        for number, time in zip(range(count), days, strict=False)
    ]
    server = kind(items, page_size=PAGE)
    server.url = "https://api.example/v1"
    return server


def searched(server: StacServer, page_size: int = 0) -> tuple[int | Fault, InProcess]:
    """Returns the number of distinct items of a search, or its fault; and what was asked. Each item comes once."""
    io = InProcess(server)
    year = Window.of_year(2020)
    search = WholeSearch(
        io, f"{server.url}/search", "POST", {"collections": ["c"], "limit": 100}, year, page_size
    )
    try:
        found = collections.Counter(item["id"] for page in search.pages() for item in page)
    except Fault as fault:
        return fault, io
    assert set(found.values()) <= {1}
    return len(found), io


def retried(io: InProcess) -> dict[str, int]:
    return io.traffic.take_retried()


@pytest.mark.parametrize("next_links", ["more", "full", "filled", "always", "never"])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("overlap", [0, 1])
def test_whatever_the_pages_say_no_item_is_lost_in_silence(
    next_links: Literal["more", "full", "filled", "always", "never"], count: Count, overlap: int
) -> None:
    # Where nothing says that there is no more, the only end is a fault.
    endless = count is not exact and (next_links == "always" or (next_links == "filled" and overlap))
    for size in SIZES:
        server = server_of(size)
        server.next_links, server.count, server.overlap = next_links, count, overlap
        outcome, _ = searched(server)
        if isinstance(outcome, Fault):
            assert endless
            assert outcome.reason in ("endless_search", "paging_loop")
        elif (next_links, count, size) == ("never", too_low, 2 * PAGE):
            assert outcome == PAGE  # an estimate that is, by chance, what one page may hold
        else:
            assert outcome == size


@pytest.mark.parametrize("next_links", ["more", "full", "filled"])
def test_a_well_behaved_api_is_asked_for_no_more_than_its_pages(
    next_links: Literal["more", "full", "filled"],
) -> None:
    for size in SIZES:
        server = server_of(size)
        server.next_links = next_links
        outcome, io = searched(server)
        pages = max(1, -(-size // PAGE))
        more = {"more": 0, "full": size > 0 and size % PAGE == 0, "filled": size > 0}
        assert (outcome, len(io.asked)) == (size, pages + more[next_links])
        assert {asked["datetime"] for asked in io.asked} == {"2020-01-01T00:00:00Z/2021-01-01T00:00:00Z"}


def test_a_lone_page_without_count_is_proved_by_its_two_halves() -> None:
    server = server_of(4)
    server.count = absent
    outcome, io = searched(server)
    assert (outcome, len(io.asked)) == (4, 3)
    start, middle, _, end = (time for asked in io.asked[1:] for time in asked["datetime"].split("/"))
    assert (start, end) == ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")
    assert "2020-01-06T10:00:00Z" < middle < "2020-01-09T10:00:00Z"  # two items before, two behind
    # As is known of Planetary Computer from a look at its pages, which hold 5 items and lead on.
    assert searched(server, page_size=PAGE)[0] == 4
    assert len(searched(server, page_size=PAGE)[1].asked) == 1


def test_an_api_that_caps_its_pages_shows_all_in_halves_of_halves() -> None:
    server = server_of(83)
    server.count, server.next_links = absent, "never"
    outcome, io = searched(server)
    assert outcome == 83
    assert len(io.asked) < 83


def test_items_of_one_moment_that_are_cut_off_are_a_fault() -> None:
    noon = datetime.datetime(2020, 6, 1, 12, tzinfo=datetime.UTC)
    hours = (noon + datetime.timedelta(hours=number // 7) for number in itertools.count())
    server = server_of(14, hours)
    server.count, server.next_links = absent, "never"
    outcome, io = searched(server)
    assert isinstance(outcome, PermanentFault)
    assert (outcome.reason, len(io.asked)) == ("capped_search", 3)


def test_a_count_is_met_by_distinct_items() -> None:
    """Of 12 items one comes twice and another never: only smaller windows show it."""
    server = server_of(12)
    server.swaps = True
    outcome, io = searched(server)
    assert outcome == 12
    assert retried(io) == {"short_search": 1}


def test_pages_that_shift_are_not_believed_without_a_count() -> None:
    server = server_of(12)
    server.swaps, server.count = True, absent
    assert searched(server)[0] == 12


def test_an_item_that_no_page_shows_is_a_fault_where_a_count_says_so() -> None:
    class Lossy(StacServer):
        def search(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
            answer = super().search(method, parameters)
            features = [item for item in answer["features"] if item["id"] not in hidden(parameters)]
            return {**answer, "features": features}

    def hidden(parameters: dict[str, Any]) -> tuple[str, ...]:
        # A node that is down, and another for smaller windows.
        return ("item-3",) if parameters["datetime"].startswith("2020-01-01T00:00:00Z/2021") else ("item-4",)

    server = server_of(12, kind=Lossy)
    assert searched(server)[0] == 12  # what one node lacks, the other has
    server.count = lambda found, start: found + 1
    outcome, _ = searched(server)
    assert isinstance(outcome, TransientFault)
    assert outcome.reason == "short_search"
    assert "11 items of 2020-01-01T00:00:00Z/2021-01-01T00:00:00Z, and its halves lack 1" in outcome.detail


def test_nothing_of_something_is_never_proved() -> None:
    server = server_of(0)
    server.count = lambda found, start: 3
    outcome, io = searched(server)
    assert isinstance(outcome, TransientFault)
    assert outcome.reason == "short_search"
    assert outcome.detail.endswith("gave 0 of 3 items")
    assert len(io.asked) == 3
