"""The parts of a STAC API's answers that are read: its landing page, and the pages of a search."""

import urllib.parse
from typing import Annotated, Any

import pydantic
from pystac_client.conformance import ConformanceClasses

from beam_pipeline.runtime.parsing import parse_object

_Anything = dict[Any, Any]


def _url(href: Any) -> Any:
    if isinstance(href, str):
        urllib.parse.urlsplit(href)  # ValueError where brackets hold no address
    return href


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _dicts(value: object) -> list[Any]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


class _Answer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, strict=True)


def _method(value: object) -> str:
    return value.upper() if isinstance(value, str) else "GET"


def _link_dicts(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("must be a list of links")
    return _dicts(value)


class LandingPage(_Answer):
    """The needed part of a STAC API's landing page; the rest of it may be anything.

    Attributes:
        links: Those links that are links.
        conforms_to: What the API says that it offers. Earth Search v0 and others of its age say nothing.
    """

    links: Annotated[list[_Anything], pydantic.BeforeValidator(_link_dicts)]
    conforms_to: list[Any] | None = pydantic.Field(None, alias="conformsTo")

    def offers(self, kind: ConformanceClasses) -> bool:
        """Tells whether the API has something, as far as it says; one that says nothing may have everything."""
        said = [uri for uri in self.conforms_to or () if isinstance(uri, str)]
        return not said or any(kind.pattern.match(uri) for uri in said)

    def search_link(self) -> "SearchLink | None":
        """Returns how searches are sent, by POST where the API takes both; None where there is no such link.

        Raises:
            MalformedError: The link cannot be followed.
        """
        found = [
            parse_object(_SEARCH_LINK, link)
            for link in self.links
            if link.get("rel") == "search" and "json" in str(link.get("type") or "json")
        ]
        return next((link for link in found if link.method == "POST"), found[0] if found else None)

    def collections_href(self) -> str | None:
        """Returns where the collections are listed, None where the page does not say."""
        hrefs = [link.get("href") for link in self.links if link.get("rel") == "data"]
        return next((href for href in hrefs if isinstance(href, str)), None)


class SearchLink(_Answer):
    """Where and how searches are sent.

    Attributes:
        href: Maybe relative to the landing page.
        method: "GET" where the link does not say.
    """

    href: Annotated[str, pydantic.Field(min_length=1), pydantic.AfterValidator(_url)]
    method: Annotated[str, pydantic.BeforeValidator(_method)] = "GET"


class NextLink(_Answer):
    """The request for the next page.

    Attributes:
        href: Where; None where the link does not say.
        method: "GET", "POST" or whatever the API wants.
        headers: To be sent with the request.
        body: To be sent in a POST.
    """

    href: Annotated[str | None, pydantic.BeforeValidator(_text), pydantic.AfterValidator(_url)] = None
    method: str = "GET"
    headers: _Anything | None = None
    body: _Anything | None = None


class SearchPage(_Answer):
    """A page of items.

    Attributes:
        features: The items as they came; each is looked at by itself, so that one that is malformed costs no other.
        number_matched: How many items there are, as the API says it.
        context: Where older APIs say so.
        links: Those links that are links.
    """

    features: list[_Anything]
    number_matched: Any = pydantic.Field(None, alias="numberMatched")
    context: Any = None
    links: Annotated[list[_Anything], pydantic.BeforeValidator(_dicts)] = []

    @property
    def ids(self) -> set[str]:
        """The ids of the items."""
        return {str(feature.get("id")) for feature in self.features}

    @property
    def matched(self) -> int | None:
        """The number of items that the API says there are, None where it does not say."""
        said = self.number_matched
        if "number_matched" not in self.model_fields_set and isinstance(self.context, dict):
            said = self.context.get("matched")
        return said if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else None

    @property
    def next_link(self) -> _Anything | None:
        """The link to the next page, without what it leaves empty; None on the last page."""
        for link in self.links:
            if link.get("rel") == "next":
                return {key: value for key, value in link.items() if value is not None}
        return None


_LANDING_PAGE = pydantic.TypeAdapter(LandingPage)
_SEARCH_LINK = pydantic.TypeAdapter(SearchLink)
_SEARCH_PAGE = pydantic.TypeAdapter(SearchPage)
_NEXT_LINK = pydantic.TypeAdapter(NextLink)


def parse_landing_page(answer: object) -> LandingPage:
    """Reads a landing page.

    Raises:
        MalformedError: It is none; the message names the field.
    """
    return parse_object(_LANDING_PAGE, answer)


def parse_search_page(answer: object) -> SearchPage:
    """Reads a page of a search.

    Raises:
        MalformedError: It is none; the message names the field.
    """
    return parse_object(_SEARCH_PAGE, answer)


def parse_next_link(link: object) -> NextLink:
    """Reads a link to the next page.

    Raises:
        MalformedError: It cannot be followed; the message names the field.
    """
    return parse_object(_NEXT_LINK, link)
