"""Faulty answers of an API, and what is made of them."""

import copy
import json
from typing import Any, cast

import pytest

from beam_pipeline.imagery.catalog import find_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.stac_answers import parse_landing_page, parse_next_link, parse_search_page
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.retries import RetryPolicy
from tests.fuzz.test_decoders import ITEM, LANDING
from tests.imagery.stac_server import StacServer

SEARCH = 2
"""The place of the link to the search."""


API: str = LANDING["links"][0]["href"]


def damaged(place: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """The landing page with one place replaced, or removed by `...`."""
    page: Any = copy.deepcopy(LANDING)
    part = page
    for key in place[:-1]:
        part = part[key]
    if value is ...:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    return page


def landing_server(page: dict[str, Any]) -> StacServer:
    """A server that says that of itself; its link to the search leads to itself."""

    class Answering(StacServer):
        def landing_page(self) -> dict[str, Any]:
            return cast(
                dict[str, Any], json.loads(json.dumps(page).replace(f"{API}/search", f"{self.url}/search"))
            )

    return Answering([ITEM])


@pytest.mark.parametrize(
    ("place", "value", "reason", "field"),
    [
        (("links",), ..., "not_stac", "links: Field required"),
        (("links",), {}, "not_stac", "links: .*must be a list"),
        (("links", SEARCH, "href"), None, "not_stac", "href"),
        (("links", SEARCH, "href"), ..., "not_stac", "href: Field required"),
        (("links", SEARCH, "href"), "http://[x", "not_stac", "href: .*Invalid IPv6"),
        (("links", SEARCH, "href"), "", "not_stac", "href"),
        (("links", SEARCH, "href"), "file:///etc/passwd", "refused_link", "must not lead to"),
        (("links", SEARCH, "rel"), "find", "no_item_search", "static catalogue"),
        (("links", SEARCH, "type"), "text/html", "no_item_search", "static catalogue"),
        (("conformsTo",), ["https://api.stacspec.org/v1.0.0/core"], "no_item_search", "static catalogue"),
        (("conformsTo",), {}, "not_stac", "conformsTo"),
    ],
)
def test_a_landing_page_that_is_none_says_why(
    place: tuple[str | int, ...], value: object, reason: str, field: str
) -> None:
    with (
        landing_server(damaged(place, value)) as server,
        pytest.raises(PermanentFault, match=f"(?s){field}") as caught,
    ):
        find_scenes(CatalogSettings(server.url, "sentinel-2-l2a"), "33TWN", 2020, 0, retry=RetryPolicy(1))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("type",), ...),
        (("id",), None),
        (("title",), 7),
        (("description",), ...),
        (("stac_version",), "1.0.0-beta.2"),
        (("links", 0), "x"),
        (("links", 1, "rel"), ...),
        (("links", 1, "href"), None),
        (("links", SEARCH, "method"), None),
        (("links", SEARCH, "method"), 1.5),
        (("links", SEARCH, "type"), ...),
        (("conformsTo",), ...),
        (("conformsTo",), []),
        (("conformsTo", 0), {}),
    ],
)
def test_what_is_not_needed_of_a_landing_page_may_be_anything(
    place: tuple[str | int, ...], value: object
) -> None:
    with landing_server(damaged(place, value)) as server:
        found = find_scenes(
            CatalogSettings(server.url, "sentinel-2-l2a"), "33TWN", 2020, 0, retry=RetryPolicy(1)
        )
    assert found.found == 1


def test_a_search_is_sent_by_post_where_an_api_takes_both_and_to_the_link_that_says_so() -> None:
    links = [
        {"rel": "search", "href": "find", "method": "get"},
        {"rel": "search", "href": "./find/more", "method": "post", "type": "application/geo+json"},
    ]
    page = parse_landing_page({"links": links})
    assert (link := page.search_link()) is not None
    assert (link.href, link.method) == ("./find/more", "POST")
    assert (
        parse_landing_page({"links": links[:1]}).search_link()
        == parse_landing_page({"links": [{**links[0], "method": None}]}).search_link()
    )


def test_a_page_says_how_many_items_there_are() -> None:
    assert parse_search_page({"features": [], "numberMatched": 7}).matched == 7
    assert parse_search_page({"features": [], "context": {"matched": 8}}).matched == 8
    assert (
        parse_search_page({"features": [], "numberMatched": None, "context": {"matched": 8}}).matched is None
    )
    assert parse_search_page({"features": [], "numberMatched": 0}).matched == 0
    wrong = [{"numberMatched": said} for said in ("7", True, -1, 7.5)]
    for answer in (*wrong, {"context": []}, {}):
        assert parse_search_page({"features": [], **answer}).matched is None


@pytest.mark.parametrize("features", [..., None, {}, [None], [[]], ["x"]])
def test_a_page_without_items_is_none(features: object) -> None:
    with pytest.raises(MalformedError, match="features"):
        parse_search_page({} if features is ... else {"features": features})


def test_the_next_page_is_the_first_link_that_leads_there() -> None:
    links = [
        "x",
        {"rel": "prev"},
        {"rel": "next", "href": "a", "headers": None},
        {"rel": "next", "href": "b"},
    ]
    assert parse_search_page({"features": [], "links": links}).next_link == {"rel": "next", "href": "a"}
    for links in ([], None, [None]):
        assert parse_search_page({"features": [], "links": links}).next_link is None


def test_links_to_the_next_page() -> None:
    link = parse_next_link({"rel": "next", "href": 7})
    assert (link.href, link.method, link.headers) == (None, "GET", None)
    for wrong in ({"method": 1}, {"headers": 7}, {"body": "x"}, {"href": "http://[x"}):
        with pytest.raises(MalformedError, match=next(iter(wrong))):
            parse_next_link(wrong)
