"""A search of a STAC API, read page by page until it is proved that no item is missing.

An end of the pages is proved by a count that the distinct items meet, or by a last page that is smaller than the
largest one. Where neither is so, the two halves of the window of time are read, and must show the same items. The
table of all cases is in docs/sources.md.

The halves are parted between the items that are known, so that both have some: an API that shows no more than a page of
a window shows more of its halves. Halves that show more are parted again, until each has proved its own end.
"""

import dataclasses
import datetime
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import pystac

from beam_pipeline.imagery.stac_answers import SearchPage, parse_next_link, parse_search_page
from beam_pipeline.imagery.stac_io import RetryingStacIO, shown_source
from beam_pipeline.imagery.stac_item import sensing_time
from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.parsing import MalformedError

MOST_SEARCH_BYTES = 256 << 20
"""Of all pages of a search: 10,000 items. Its halves may take as much again, like all that follows."""

MOST_SEARCH_ITEMS = 20_000
"""Of a search; how many a tile has see `_MOST_PAGES`."""

_MOST_PAGES = 1000
"""Of a search: a tile and its neighbours have about 3,000 items a year, and small pages 10 of them."""

_MOST_EMPTY_PAGES = 10
"""One after the other. Some APIs filter behind the paging, so that one without items need not be the last."""

_MILLISECOND = datetime.timedelta(milliseconds=1)
"""To which an API is asked for times."""

_NEXT_HEADERS = {"accept", "content-type"}
"""Parts of a request that a link to the next page may ask for, in lower case."""

_BEGUN_AGAIN = ("paging_loop", "short_search")
"""Faults of a search as a whole; any other is of a request, which has had its tries."""

Features = Sequence[dict[str, Any]]
"""Items as they came."""


@dataclasses.dataclass(frozen=True)
class Window:
    """A span of time, in UTC, both ends of which belong to it."""

    start: datetime.datetime
    end: datetime.datetime

    @classmethod
    def of_year(cls, year: int) -> "Window":
        """Returns a year with the first moment of the next one, which some APIs leave out."""
        return cls(*(datetime.datetime(it, 1, 1, tzinfo=datetime.UTC) for it in (year, year + 1)))

    def parted(self, moments: Sequence[datetime.datetime]) -> "list[Window]":
        """Parts the window so that half of the known items lie in each part.

        Args:
            moments: The sensing times that are known, each once, ascending, in whole milliseconds.

        Returns:
            Two windows with one moment in common; or what is before and behind the one moment that is known.
        """
        if len(moments) == 1:
            before, behind = moments[0] - _MILLISECOND, moments[0] + _MILLISECOND
            return [
                Window(*ends) for ends in ((self.start, before), (behind, self.end)) if ends[0] <= ends[1]
            ]
        middle = len(moments) // 2
        low, high = moments[middle - 1 : middle + 1] if moments else (self.start, self.end)
        between = low + (high - low) // (2 * _MILLISECOND) * _MILLISECOND
        return [Window(self.start, between), Window(between, self.end)]

    def __str__(self) -> str:
        return "/".join(_rfc3339(moment) for moment in (self.start, self.end))


class WholeSearch:
    """A search that is read to a proved end.

    Args:
        io: Asks the API.
        url: That of its search.
        method: "GET" or "POST".
        parameters: Of the search, without the window.
        window: When the items were sensed.
        page_size: Items on the largest page of this API that had a next link; 0 where none is known. A smaller page
            without one is the last.
    """

    def __init__(
        self,
        io: RetryingStacIO,
        url: str,
        method: str,
        parameters: Mapping[str, Any],
        window: Window,
        page_size: int = 0,
    ) -> None:
        self._io = io
        self._url = url
        self._method = method
        self._parameters = parameters
        self._window = window
        self._largest = page_size
        self._where = shown_source(url)
        self._short: set[str] | None = None

    def pages(self) -> Iterator[Features]:
        """Yields the pages of the search that hold items, each item once.

        Raises:
            TransientFault: As `RetryingStacIO.read_json`; "bad_answer" for an answer without items, "paging_loop" for
                a page that brings nothing but what was seen and leads on, "short_search" for fewer items than the API
                says there are, or than it shows elsewhere.
            PermanentFault: As `RetryingStacIO.read_json`; "endless_search" where there is always one page more, or
                more items or bytes than a search may have; "refused_link" where the next one is to be asked for in an
                odd way; "capped_search" where an API shows a part of a moment's items and no way to the others.
        """
        passed: set[str] = set()
        attempt = self._attempt()

        def next_new() -> Features | TransientFault | None:
            nonlocal attempt
            try:
                for features in attempt:
                    new = [feature for feature in features if _id(feature) not in passed]
                    passed.update(map(_id, features))
                    if new:
                        return new
                return None
            except TransientFault as fault:
                if fault.reason not in _BEGUN_AGAIN:
                    return fault
                attempt = self._attempt()
                raise

        while (new := self._io.retry.call(next_new, on_retry=self._io.traffic.retried)) is not None:
            if isinstance(new, TransientFault):
                raise new
            yield new

    def _attempt(self) -> Iterator[Features]:
        """Reads the window, and its halves where it does not prove its own end."""
        whole = yield from self._read(self._window, _Budget(self._io, self._where))
        if whole.is_met or (whole.is_ended(self._largest) and not whole.is_short):
            return
        if whole.is_short and (not whole.times or self._short != whole.ids):
            self._short = whole.ids
            # As when a node of the API fails: its part is missing, and the answer says 200.
            raise TransientFault(
                "short_search", f"{self._where} gave {len(whole.times)} of {whole.count} items"
            )
        yield from self._part(self._window, whole)

    def _part(self, window: Window, whole: "_Shown") -> Iterator[Features]:
        """Reads the halves of a window, their halves and so on, until each has proved its end.

        The count of the whole was wrong, if it had one: those of the halves prove nothing.
        """
        budget = _Budget(self._io, self._where)
        is_capped = False
        ahead = [(window, whole)]
        while ahead:
            window, whole = ahead.pop()
            moments = whole.moments
            halves = window.parted(moments)
            shown = []
            for half in halves:
                of_half = yield from self._read(half, budget)
                shown.append(of_half)
            # Where only one moment is known, nothing but what lies around it was asked for.
            together = set().union(*(it.ids for it in shown), whole.ids if len(moments) == 1 else ())
            if whole.count == len(whole.ids | together):
                continue
            if not whole.ids <= together:
                raise TransientFault(
                    "short_search",
                    f"{self._where} gave {len(whole.ids)} items of {window}, and its halves lack "
                    f"{len(whole.ids - together)} of them",
                )
            is_capped |= together != whole.ids
            if is_capped and len(moments) == 1:
                raise PermanentFault(
                    "capped_search",
                    f"{self._where} shows {len(whole.ids)} items of {_rfc3339(moments[0])} and may have more: it gives "
                    "neither a link to the next page nor a count",
                )
            if together != whole.ids:
                pairs = zip(halves, shown, strict=True)
                ahead += [(half, it) for half, it in pairs if not it.is_ended(self._largest)]

    def _read(self, window: Window, budget: "_Budget") -> Generator[Features, None, "_Shown"]:
        """Yields the pages of one window; returns what they showed."""
        shown = _Shown()
        parameters = {**self._parameters, "datetime": str(window)}
        page = self._page(self._io.read_json(self._url, method=self._method, parameters=parameters))
        empty = 0
        while True:
            is_new = shown.add(page)
            self._largest = max(self._largest, shown.largest)
            budget.charge(page)
            if page.features:
                yield page.features
            following = page.next_link
            if following is None:
                return shown
            empty = 0 if page.features else empty + 1
            if (page.features and not is_new) or empty > _MOST_EMPTY_PAGES:
                # It could go on for ever; only a count says that there is nothing to go on for.
                if shown.is_met:
                    return shown
                if empty:
                    raise PermanentFault(
                        "endless_search", f"{self._where} gives one empty page after the other"
                    )
                raise TransientFault("paging_loop", f"{self._where} gives the same page again")
            self._require_plain(following)
            page = self._page(self._io.read_json(pystac.Link.from_dict(following), parameters=parameters))

    def _page(self, answer: dict[str, Any]) -> SearchPage:
        try:
            return parse_search_page(answer)
        except MalformedError as error:
            raise TransientFault("bad_answer", f"{self._where} gave no list of features: {error}") from error

    def _require_plain(self, following: Mapping[str, Any]) -> None:
        """Refuses a link to the next page that would have us send anything but a search."""
        where = self._where
        try:
            link = parse_next_link(following)
        except MalformedError as error:
            raise PermanentFault(
                "refused_link", f"{where} wants its next page asked for oddly: {error}"
            ) from error
        if link.href is None:
            raise TransientFault("bad_answer", f"{where} gave a next page without an href")
        if link.method.upper() not in ("GET", "POST"):
            raise PermanentFault("refused_link", f"{where} wants its next page asked for by {link.method}")
        odd = [name for name in link.headers or () if str(name).lower() not in _NEXT_HEADERS]
        if odd:
            raise PermanentFault("refused_link", f"{where} wants the header {odd[0]} sent for its next page")


class _Shown:
    """The findings in the pages of a window.

    Attributes:
        times: Sensing times by id; "" where an item has none.
        count: The most items that a page said there are; None where none said it.
        largest: Items on the largest page.
    """

    def __init__(self) -> None:
        self.times: dict[str, str] = {}
        self.count: int | None = None
        self.largest = 0
        self._last = 0
        self._repeated = False

    @property
    def ids(self) -> set[str]:
        """Of the items."""
        return set(self.times)

    @property
    def moments(self) -> list[datetime.datetime]:
        """The sensing times that are known, each once, ascending, in whole milliseconds."""
        times = {datetime.datetime.fromisoformat(time) for time in self.times.values() if time}
        return sorted({time.replace(microsecond=time.microsecond // 1000 * 1000) for time in times})

    @property
    def is_short(self) -> bool:
        """Whether there should be more items."""
        return self.count is not None and self.count > len(self.times)

    @property
    def is_met(self) -> bool:
        """Whether the distinct items are as many as the API says."""
        return self.count == len(self.times)

    def is_ended(self, largest: int) -> bool:
        """Whether the last page is smaller than the largest one seen so far, and no page shifted."""
        return self._last < largest and not self._repeated

    def add(self, page: SearchPage) -> bool:
        """Counts a page in; tells whether it has an item that was not seen before."""
        before = len(self.times)
        for feature in page.features:
            self.times.setdefault(_id(feature), sensing_time(feature))
        new = len(self.times) - before
        self._last = len(page.features)
        self._repeated |= new < self._last
        self.largest = max(self.largest, self._last)
        if page.matched is not None:
            self.count = max(self.count or 0, page.matched)
        return new > 0


class _Budget:
    """The bounds of what the pages of a search may take in all."""

    def __init__(self, io: RetryingStacIO, where: str) -> None:
        self._io = io
        self._where = where
        self._before = io.received_bytes
        self._items = self._pages = 0

    def charge(self, page: SearchPage) -> None:
        """Counts a page.

        Raises:
            PermanentFault: "endless_search".
        """
        self._items += len(page.features)
        self._pages += 1
        received = self._io.received_bytes - self._before
        if self._items > MOST_SEARCH_ITEMS or received > MOST_SEARCH_BYTES:
            raise PermanentFault(
                "endless_search",
                f"{self._where} gave {self._items} items and {received >> 20} MiB; a search may have "
                f"{MOST_SEARCH_ITEMS} and {MOST_SEARCH_BYTES >> 20}",
            )
        if self._pages > _MOST_PAGES:
            raise PermanentFault("endless_search", f"{self._where} has more than {_MOST_PAGES} pages")


def _id(feature: Mapping[str, Any]) -> str:
    return str(feature.get("id"))


def _rfc3339(moment: datetime.datetime) -> str:
    milliseconds = "milliseconds" if moment.microsecond else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=milliseconds) + "Z"
