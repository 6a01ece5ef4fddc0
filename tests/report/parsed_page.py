"""A page as a browser's parser sees it: which elements there are, what they load, and what text is shown."""

import itertools
import re
from html.parser import HTMLParser

_VOID = {"meta", "img", "br", "link", "input", "hr"}
_LOADING = ("src", "href", "xlink:href", "data", "poster", "srcset", "action", "formaction", "background")


class Page(HTMLParser):
    """The elements of a page.

    Attributes:
        elements: (tag, attributes) of each, in order.
        texts: By tag of the innermost element, the texts in it.
        links: What attributes that load or lead elsewhere hold.
        ids: Every id.
    """

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.links: list[str] = []
        self.ids: list[str] = []
        self.styles: list[str] = []
        self._open: list[str] = []
        self.feed(html.decode())
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        assert len(attributes) == len(attrs), f"an attribute twice: {attrs}"
        self.elements.append((tag, attributes))
        self.links += [attributes[name] for name in _LOADING if name in attributes]
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.styles += [attributes["style"]] if "style" in attributes else []
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of all elements of a tag."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """All that is shown, white space apart."""
        return " ".join(" ".join(one for texts in self.texts.values() for one in texts).split())


def check_page(html: bytes) -> Page:
    """Checks what holds for every page: it loads nothing, runs nothing, and says all in words."""
    page = Page(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "link", "base", "form", "foreignobject"}
    assert [it for it in page.links if not it.startswith(("#", "data:image/png;base64,"))] == []
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    for style in (*page.styles, *page.texts.get("style", ())):
        assert not re.search(r"url\((?!#)|@import|expression", style), style
    (policy,) = (it["content"] for it in page.all("meta") if "http-equiv" in it)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.ids) == len({*page.ids}), "an id twice"
    for _, attributes in page.elements:
        for place in attributes.get("aria-labelledby", "").split():
            assert place in page.ids
    assert {it[1:] for it in page.links if it.startswith("#")} <= {*page.ids}
    # One first heading, and none is left out on the way down.
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(image["alt"] for image in page.all("img"))
    pictures = [it for it in page.all("svg") if it.get("aria-hidden") != "true"]
    assert all(it["role"] == "img" and it["aria-labelledby"] for it in pictures)
    assert len(page.all("details")) >= len(pictures)
    assert all(it["scope"] in ("col", "row") for it in page.all("th"))
    return page
