"""What an API may get wrong in its answers, and what is made of it."""

import copy
from typing import Any

import pytest

from beam_pipeline.imagery.catalog import find_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.stac_answers import check_landing_page, parse_next_link, parse_search_page
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.retries import RetryPolicy
from tests.fuzz.test_decoders import ITEM, LANDING
from tests.imagery.stac_server import StacServer

SEARCH = 2
"""The place of the link to the search."""


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


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        (("id",), None, "id"),
        (("description",), ..., "description: Field required"),
        (("stac_version",), 1, "stac_version"),
        (("links",), {}, "links"),
        (("links", 1), "x", r"links\[1\]"),
        (("links", 1, "rel"), ..., r"links\[1\]\.rel: Field required"),
        (("links", 1, "href"), None, r"links\[1\]"),
        (("links", 1, "href"), ..., r"links\[1\].*needs an href"),
        (("links", SEARCH, "href"), "http://[x", r"links\[2\].*Invalid IPv6"),
        (("links", SEARCH, "href"), "", r"links\[2\].*leads nowhere"),
        (("links", SEARCH, "method"), 1.5, r"links\[2\].*method"),
        (("conformsTo", 0), {}, r"conformsTo\[0\]"),
    ],
)
def test_a_landing_page_that_is_none_names_its_field(
    place: tuple[str | int, ...], value: object, field: str
) -> None:
    page = damaged(place, value)
    with pytest.raises(MalformedError, match=field):
        check_landing_page(page)

    class Answering(StacServer):
        def landing_page(self) -> dict[str, Any]:
            return page

    with Answering([ITEM]) as server, pytest.raises(PermanentFault, match=f"(?s)no STAC.*{field}") as caught:
        find_scenes(CatalogSettings(server.url, "sentinel-2-l2a"), "33TWN", 2020, 0, retry=RetryPolicy(1))
    assert caught.value.reason == "not_stac"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("title",), 7),
        (("description",), None),
        (("links", 0, "href"), ...),
        (("links", SEARCH, "method"), None),
        (("links", SEARCH, "title"), None),
        (("conformsTo",), ...),
    ],
)
def test_what_is_not_needed_may_be_anything(place: tuple[str | int, ...], value: object) -> None:
    check_landing_page(damaged(place, value))


def test_a_page_says_how_many_items_there_are() -> None:
    assert parse_search_page({"features": [], "numberMatched": 7}).matched == 7
    assert parse_search_page({"features": [], "context": {"matched": 8}}).matched == 8
    assert parse_search_page({"features": [], "numberMatched": None, "context": {"matched": 8}}).matched == 0
    for answer in ({"numberMatched": "7"}, {"context": []}, {}):
        assert parse_search_page({"features": [], **answer}).matched == 0


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
