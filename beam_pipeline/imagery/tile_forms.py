"""In which properties items say of what tile they are, and how an API is asked for a tile by them."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from beam_pipeline.imagery.stac_item import tile_of_item

Query = dict[str, dict[str, Any]]
"""Of the query extension: operators and operands by property."""

_PARTED = ("mgrs", "sentinel")
_PARTS = ("utm_zone", "latitude_band", "grid_square")


@dataclasses.dataclass(frozen=True, order=True)
class TileForm:
    """One form in which items say of what tile they are, e.g. "MGRS-9VWK" in `grid:code`.

    Whether a zone has a leading zero is no part of it: collections mix both.

    Attributes:
        name: The property "grid:code" or "s2:mgrs_tile"; or "mgrs" or "sentinel", which begin the names of three
            properties.
        prefix: What stands before the zone: "MGRS-", "T" or "".
        is_number: Whether the zone is a number; of the three properties only.
    """

    name: str
    prefix: str = ""
    is_number: bool = False

    def queries(self, tile: str, takes_in: bool) -> list[Query]:
        """Returns queries that together find the tile's items of this form, however its zone is written.

        Args:
            tile: Five characters.
            takes_in: Whether the API takes the operator `in`, so that one query does; the others know `eq` alone.
        """
        zone, rest = int(tile[:2]), tile[2:]
        zones: list[str] | list[int] = [zone] if self.is_number else sorted({str(zone), f"{zone:02d}"})
        if self.name in _PARTED:
            name, values = f"{self.name}:{_PARTS[0]}", list(zones)
            others = {
                f"{self.name}:{part}": {"eq": text}
                for part, text in zip(_PARTS[1:], (rest[0], rest[1:]), strict=True)
            }
        else:
            name, values, others = self.name, [f"{self.prefix}{zone}{rest}" for zone in zones], {}
        if takes_in and len(values) > 1:
            return [{name: {"in": values}, **others}]
        return [{name: {"eq": value}, **others} for value in values]


EARTH_SEARCH_V1_FORM = TileForm("grid:code", "MGRS-")
EARTH_SEARCH_V0_FORM = TileForm("sentinel", is_number=True)
"""Those of the known collections. Source: https://earth-search.aws.element84.com/v1 and /v0."""

_FORMS = (
    *(TileForm("grid:code", prefix) for prefix in ("MGRS-", "")),
    *(TileForm("s2:mgrs_tile", prefix) for prefix in ("", "T")),
    *(TileForm(name, is_number=is_number) for name in _PARTED for is_number in (True, False)),
)


def forms_of_item(item: Mapping[str, Any]) -> set[TileForm]:
    """Returns the forms by which a query for its tile would find an item; none of an item without a tile."""
    properties = item.get("properties")
    tile = tile_of_item(item)
    if tile is None or not isinstance(properties, Mapping):
        return set()
    return {form for form in _FORMS if any(_holds(properties, query) for query in form.queries(tile, False))}


def choose_forms(items: Iterable[Mapping[str, Any]]) -> tuple[tuple[TileForm, ...], bool]:
    """Chooses the forms that find a sample of items.

    Args:
        items: Of one collection.

    Returns:
        (forms, whether some items have none): as few forms as find all others, e.g. `grid:code` alone where each item
        has it, whatever else it has.
    """
    of_items = [forms_of_item(item) for item in items]
    ahead = [forms for forms in of_items if forms]
    chosen: list[TileForm] = []
    while ahead:
        best = max(sorted(set().union(*ahead)), key=lambda form: sum(form in forms for forms in ahead))
        chosen.append(best)
        ahead = [forms for forms in ahead if best not in forms]
    return tuple(chosen), not all(of_items)


def tile_queries(forms: Iterable[TileForm], tile: str, takes_in: bool) -> list[Query]:
    """Returns queries that together find the tile's items of all forms.

    Args:
        forms: Those of the collection.
        tile: Five characters.
        takes_in: Whether the API takes the operator `in`.
    """
    return list(itertools.chain.from_iterable(form.queries(tile, takes_in) for form in forms))


def _holds(properties: Mapping[str, Any], query: Query) -> bool:
    """Tells whether an API would find properties by a query; a number is no text to it."""
    values = [(properties.get(name), test["eq"]) for name, test in query.items()]
    return all(type(value) is type(asked) and value == asked for value, asked in values)
