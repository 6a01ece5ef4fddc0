"""The properties by which items say of what tile they are: all of them are asked for."""

import copy
import dataclasses
import itertools
import json
from typing import Any

import pytest

from beam_pipeline.imagery.catalog import check_catalog, find_scenes
from beam_pipeline.imagery.catalog_settings import ApiProfile, CatalogSettings
from beam_pipeline.imagery.scenes import SceneList
from beam_pipeline.imagery.tile_forms import TileForm, choose_forms, forms_of_item, tile_queries
from beam_pipeline.runtime.retries import RetryPolicy
from tests.fuzz.test_decoders import ITEM
from tests.imagery.stac_server import StacServer
from tests.shared_data import shared

QUICK = RetryPolicy(attempts=3, base_s=0.0)
COLLECTION = "sentinel-2-l2a"
TILE = "09VWK"
BOX = [-128.9, 62.2, -126.9, 63.1]
PARTS = ("utm_zone", "latitude_band", "grid_square")

FORMS: dict[str, dict[str, Any]] = {
    "grid:code": {"grid:code": "MGRS-9VWK"},
    "grid:code padded": {"grid:code": "MGRS-09VWK"},
    "grid:code bare": {"grid:code": "9VWK"},
    "s2:mgrs_tile": {"s2:mgrs_tile": "9VWK"},
    "s2:mgrs_tile padded": {"s2:mgrs_tile": "09VWK"},
    "s2:mgrs_tile T": {"s2:mgrs_tile": "T09VWK"},
    "mgrs": dict(zip((f"mgrs:{part}" for part in PARTS), (9, "V", "WK"), strict=True)),
    "mgrs text": dict(zip((f"mgrs:{part}" for part in PARTS), ("09", "V", "WK"), strict=True)),
    "sentinel": dict(zip((f"sentinel:{part}" for part in PARTS), (9, "V", "WK"), strict=True)),
    "none": {},
    "odd": {"grid:code": "mgrs-9vwk"},
}
"""Properties of an item of 09VWK; the last two are found by no query."""


def made(form: str, number: int, year: int = 2020) -> dict[str, Any]:
    """An item that says of what tile it is by one form, and by its id."""
    item = copy.deepcopy(ITEM)
    day = f"{year}-{number % 12 + 1:02d}-{number // 12 + 1:02d}"
    properties = {k: v for k, v in item["properties"].items() if k not in ("grid:code", "s2:mgrs_tile")}
    del properties["s2:datastrip_id"]
    properties |= {"datetime": f"{day}T20:00:00Z", **FORMS[form]}
    return {
        **item,
        "id": f"S2B_T09VWK_{day.replace('-', '')}T200000_L2A",
        "bbox": BOX,
        "properties": properties,
    }


def launched(server: StacServer, years: tuple[int, ...] = (2020,)) -> tuple[CatalogSettings, ApiProfile]:
    """The settings as workers get them."""
    settings = CatalogSettings(server.url, COLLECTION)
    profile = check_catalog(settings, QUICK, years=years).profile
    assert profile is not None
    return dataclasses.replace(settings, profile=profile), profile


def found_in(settings: CatalogSettings, tile: str = TILE) -> SceneList:
    return find_scenes(settings, tile, 2020, 0, retry=QUICK)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_told_and_asked_for(form: str) -> None:
    item = made(form, 0)
    forms = forms_of_item(item)
    assert len(forms) == (0 if form in ("none", "odd") else 1)
    assert choose_forms([item, item]) == (tuple(forms), not forms)
    for takes_in in (True, False):
        (asked,) = [tile_queries(forms, TILE, takes_in)]
        passes = [
            query
            for query in asked
            if all(
                item["properties"][name] in test.get("in", [test.get("eq")]) for name, test in query.items()
            )
        ]
        assert len(passes) == len(forms)


def test_both_spellings_of_a_zone_go_into_one_query() -> None:
    form = TileForm("grid:code", "MGRS-")
    assert form.queries("09VWK", takes_in=True) == [{"grid:code": {"in": ["MGRS-09VWK", "MGRS-9VWK"]}}]
    assert form.queries("09VWK", takes_in=False) == [
        {"grid:code": {"eq": "MGRS-09VWK"}},
        {"grid:code": {"eq": "MGRS-9VWK"}},
    ]
    assert form.queries("33TWN", takes_in=True) == [{"grid:code": {"eq": "MGRS-33TWN"}}]
    assert TileForm("mgrs", is_number=True).queries("09VWK", takes_in=True) == [
        {"mgrs:utm_zone": {"eq": 9}, "mgrs:latitude_band": {"eq": "V"}, "mgrs:grid_square": {"eq": "WK"}}
    ]


def test_as_few_forms_as_find_all_are_asked_for() -> None:
    real = [json.loads(path.read_text()) for path in sorted(shared("stac").glob("*.json"))]
    v1 = [item for item in real if item["collection"] == "sentinel-2-l2a"]
    assert len(v1) > 5
    assert choose_forms(v1) == ((TileForm("grid:code", "MGRS-"),), False)
    v0 = [item for item in real if item["collection"] == "sentinel-s2-l2a-cogs"]
    assert choose_forms(v0) == ((TileForm("sentinel", is_number=True),), False)
    mixed = [made("grid:code", 0), made("grid:code padded", 1), made("s2:mgrs_tile", 2), made("none", 3)]
    assert choose_forms(mixed) == ((TileForm("grid:code", "MGRS-"), TileForm("s2:mgrs_tile")), True)
    assert choose_forms([]) == ((), False)


PAIRS = [*itertools.pairwise(FORMS), *((form, "none") for form in FORMS)]
"""Each form beside another one, and beside items that have none."""


@pytest.mark.parametrize("operators", ["in", "in refused", "in passed over", "none"])
def test_a_collection_may_mix_all_forms(operators: str) -> None:
    """Six items of one form beside six of another: all twelve, however the API is to be asked."""
    with StacServer([]) as server:
        server.operators = {"in": {"eq", "in"}, "none": set()}.get(operators, {"eq"})
        server.refuses_others = operators == "in refused"
        for pair in PAIRS:
            two_forms = [made(form, 6 * half + n) for half, form in enumerate(pair) for n in range(6)]
            server.items = [{**ITEM, "bbox": BOX}, *two_forms]  # the first is of another tile
            settings, profile = launched(server)
            assert found_in(settings).found == 12, (pair, profile)
            assert profile.takes_in == (operators == "in" and profile.takes_query)


@pytest.mark.parametrize("change", [1, 7, 13])
def test_a_zone_is_written_with_and_without_zero_without_a_look_at_launch(change: int) -> None:
    with StacServer([]) as server:
        forms = ["grid:code" if number + 1 < change else "grid:code padded" for number in range(12)]
        server.items = [made(form, number) for number, form in enumerate(forms)]
        assert found_in(CatalogSettings(server.url, COLLECTION)).found == 12


def test_planetary_computer_is_asked_by_its_own_property() -> None:
    """It gives no count, knows no `in`, and says nothing of `grid:code`."""
    with StacServer([made("s2:mgrs_tile padded", number) for number in range(12)], page_size=10) as server:
        server.count = lambda found, start: None
        server.operators, server.refuses_others = {"eq"}, True
        settings, profile = launched(server)
        assert profile.forms == (TileForm("s2:mgrs_tile"),)
        server.requests.clear()
        assert found_in(settings).found == 12
        assert [search["query"] for search in server.searches] == [
            {"s2:mgrs_tile": {"eq": "09VWK"}},
            {"s2:mgrs_tile": {"eq": "09VWK"}},
            {"s2:mgrs_tile": {"eq": "9VWK"}},
        ]


def test_items_of_earlier_years_count_too() -> None:
    """The property came in 2021; a look at the newest items alone would not tell."""
    old = [made("none", number, year=2020) for number in range(12)]
    new = [made("grid:code", number, year=2021) for number in range(12)]
    with StacServer([*new, *old]) as server:
        settings, profile = launched(server, years=(2021,))
        assert not profile.some_without
        settings, profile = launched(server, years=(2020, 2021))
        assert profile.some_without
        assert found_in(settings).found == 12


def test_a_launch_looks_at_a_few_years_and_at_any_where_those_are_empty() -> None:
    with StacServer([made("grid:code", number) for number in range(12)]) as server:
        launched(server, years=tuple(range(2010, 2030)))
        asked = [it for _, path, it in server.requests if path == "/v1/search"]
    years = ["2010", "2014", "2018", "2022", "2026"]
    assert [it.get("datetime", "any")[:4] for it in asked[:-1]] == [*years, "any"]
    assert [it["limit"] for it in asked] == [100] * 6 + [10]


def test_the_requests_of_a_build_are_no_more_than_before() -> None:
    """Of Earth Search: a count, next links and `in`. Before, each search asked for the landing page too."""
    items = [made("grid:code", number, year) for year in (2019, 2020, 2021) for number in range(12)]
    with StacServer(items) as server:
        settings, _ = launched(server, years=(2019, 2020, 2021))
        at_launch = len(server.requests)
        assert at_launch <= 6  # landing page, collection, a page a year, a query
        for tile in (TILE, "33TWN"):
            for year in (2019, 2020, 2021):
                server.requests.clear()
                find_scenes(settings, tile, year, 0, retry=QUICK)
                before = 2 if tile == TILE else 3  # the bounds where the tile has nothing
                assert len(server.requests) == before - 1
