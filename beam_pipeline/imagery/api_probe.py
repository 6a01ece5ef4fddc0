"""Searches of a STAC API, and how they are best asked: found out from samples before a run."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pystac_client import ItemSearch

from beam_pipeline.imagery.catalog_settings import ApiProfile
from beam_pipeline.imagery.stac_answers import parse_search_page
from beam_pipeline.imagery.stac_io import RetryingStacIO, shown_source
from beam_pipeline.imagery.stac_item import tile_of_item
from beam_pipeline.imagery.tile_forms import Query, choose_forms, forms_of_item
from beam_pipeline.imagery.whole_search import Features, WholeSearch, Window
from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.parsing import MalformedError

PAGE_SIZE = 100
"""Items a page. Source: larger pages get HTTP 500 and 502 from Earth Search."""

_MOST_SAMPLES = 6
"""Pages that are looked at before a run, of as many years; further years are passed over evenly."""


_TRIED = 10
"""Items that a query is tried with: an API that does not heed it shows other tiles among them."""


class ApiSearches:
    """The searches of one collection of an API.

    Args:
        io: Asks the API.
        profile: How.
        collection: The collection's id.
    """

    def __init__(self, io: RetryingStacIO, profile: ApiProfile, collection: str) -> None:
        self.io = io
        self.profile = profile
        self.collection = collection

    def whole(self, window: Window, **constraints: Any) -> Iterator[Features]:
        """Yields the pages of a search to its proved end; see `WholeSearch.pages`.

        Args:
            window: When the items were sensed.
            constraints: `query` or `bbox`.
        """
        parameters = self._parameters(limit=PAGE_SIZE, **constraints)
        profile = self.profile
        search = WholeSearch(
            self.io, profile.search_url, profile.method, parameters, window, profile.page_size
        )
        return search.pages()

    def first_page(self, **constraints: Any) -> tuple[list[dict[str, Any]], bool]:
        """Asks for the first page of a search.

        Args:
            constraints: As `whole`, and `datetime` and `limit`.

        Returns:
            Its items, and whether it has a next link.

        Raises:
            TransientFault: As `RetryingStacIO.read_json`, or "bad_answer".
            PermanentFault: As `RetryingStacIO.read_json`.
        """
        url, method = self.profile.search_url, self.profile.method
        answer = self.io.read_json(url, method=method, parameters=self._parameters(**constraints))
        try:
            page = parse_search_page(answer)
        except MalformedError as error:
            raise TransientFault(
                "bad_answer", f"{shown_source(url)} gave no list of features: {error}"
            ) from error
        return page.features, page.next_link is not None

    def _parameters(self, **constraints: Any) -> Mapping[str, Any]:
        return ItemSearch(
            self.profile.search_url,
            method=self.profile.method,
            stac_io=self.io,
            collections=[self.collection],
            **constraints,
        ).get_parameters()


def probe(searches: ApiSearches, years: Sequence[int]) -> ApiProfile | None:
    """Looks at samples of a collection, and tries how the API is asked for a tile.

    A page of each year is looked at, because a collection's properties change over the years in which it is filled.
    What no sample shows stays unknown, see docs/sources.md.

    Args:
        searches: Of the collection.
        years: Those that will be asked for.

    Returns:
        How the collection is searched; None where it has no item.

    Raises:
        TransientFault: As `ApiSearches.first_page`.
        PermanentFault: As `ApiSearches.first_page`.
    """
    step = -(-len(years) // _MOST_SAMPLES) or 1
    sampled: list[dict[str, Any]] = []
    page_size = 0
    for constraints in [*({"datetime": str(Window.of_year(year))} for year in years[::step]), {}]:
        if not constraints and sampled:
            continue  # one of any year is asked for only where the years that are wanted are empty
        features, leads_on = searches.first_page(limit=PAGE_SIZE, **constraints)
        sampled += features
        page_size = max(page_size, len(features) if leads_on else 0)
    if not sampled:
        return None
    forms, some_without = choose_forms(sampled)
    profile = dataclasses.replace(searches.profile, some_without=some_without, page_size=page_size)
    if not forms:
        return dataclasses.replace(profile, takes_query=False)
    profile = dataclasses.replace(profile, forms=forms)
    return _with_operators(ApiSearches(searches.io, profile, searches.collection), sampled)


def _with_operators(searches: ApiSearches, sampled: Features) -> ApiProfile:
    """Tries what the query extension takes, by an item that is known to be there."""
    profile = searches.profile
    if not profile.takes_query:
        return profile
    form = profile.forms[0]
    of_form = [item for item in sampled if form in forms_of_item(item)]
    # One in whose zone the leading zero makes two spellings, if there is one.
    item = min(of_form, key=lambda item: tile_of_item(item) or "")
    queries = form.queries(tile_of_item(item) or "", takes_in=False)
    # Of the one or two spellings of a zone: all of them, and then each by itself.
    both: Query = {name: {"in": [query[name]["eq"] for query in queries]} for name in queries[0]}
    # Some APIs break over an operator that they do not know, instead of refusing it.
    with contextlib.suppress(TransientFault):
        if _finds(searches, both, item):
            return dataclasses.replace(profile, takes_in=True)
    takes_query = any(_finds(searches, query, item) for query in queries)
    return dataclasses.replace(profile, takes_query=takes_query, takes_in=False)


def _finds(searches: ApiSearches, query: Query, item: Mapping[str, Any]) -> bool:
    """Tells whether a query is taken, heeded and finds a tile of which there is an item.

    Raises:
        TransientFault: As `ApiSearches.first_page`.
    """
    try:
        features, _ = searches.first_page(limit=_TRIED, query=query)
    except PermanentFault:
        return False
    return bool(features) and all(tile_of_item(found) == tile_of_item(item) for found in features)
