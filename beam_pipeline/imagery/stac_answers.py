"""What is read of a STAC API's answers: its landing page, and the pages of a search."""

import urllib.parse
from typing import Annotated, Any, Literal, Self

import pydantic

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


class _ApiLink(_Answer):
    """A link of a landing page: pystac follows none, but makes an address of each, save that of the page itself."""

    rel: Any
    href: Any = None
    method: Any = None

    @pydantic.model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.rel != "self" and not isinstance(_url(self.href), str):
            raise ValueError("a link needs an href")
        if self.rel in ("root", "search") and not self.href:
            raise ValueError("it leads nowhere")
        if self.rel == "search" and not isinstance(self.method, str | None):
            raise ValueError("a method is text")
        return self


class _LandingPage(_Answer):
    """What pystac needs of a landing page; without it, it fails in many ways that it does not document."""

    type: Literal["Catalog"]
    id: str
    description: Any
    stac_version: str
    links: list[_ApiLink]
    conforms_to: list[str] = pydantic.Field([], alias="conformsTo")
    stac_extensions: list[Any] | None = None


class NextLink(_Answer):
    """How the next page is to be asked for.

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
    def matched(self) -> int:
        """The number of items that the API says there are, 0 where it does not say."""
        said = self.number_matched
        if "number_matched" not in self.model_fields_set and isinstance(self.context, dict):
            said = self.context.get("matched")
        return said if isinstance(said, int) else 0

    @property
    def next_link(self) -> _Anything | None:
        """The link to the next page, without what it leaves empty; None on the last page."""
        for link in self.links:
            if link.get("rel") == "next":
                return {key: value for key, value in link.items() if value is not None}
        return None


_LANDING_PAGE = pydantic.TypeAdapter(_LandingPage)
_SEARCH_PAGE = pydantic.TypeAdapter(SearchPage)
_NEXT_LINK = pydantic.TypeAdapter(NextLink)


def check_landing_page(answer: object) -> None:
    """Checks that pystac can make a catalogue of an answer.

    Raises:
        MalformedError: It cannot; the message names the field.
    """
    parse_object(_LANDING_PAGE, answer)


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
