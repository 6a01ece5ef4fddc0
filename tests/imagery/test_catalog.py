import copy
import dataclasses
import json
import shutil
import time
from pathlib import Path

import pytest

from beam_pipeline.cells.mgrs_tiles import tile_lonlat_bounds
from beam_pipeline.imagery.catalog import check_catalog, find_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.stac_io import RetryingStacIO
from beam_pipeline.imagery.tile_forms import TileForm
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.reach import Reach
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic
from tests.imagery.range_server import Injected, RangeServer
from tests.imagery.stac_server import Fault, StacServer
from tests.shared_data import shared

QUICK = RetryPolicy(attempts=3, base_s=0.0)
V1 = "sentinel-2-l2a"


def real(name: str) -> dict:
    return json.loads(shared("stac", f"{name}.json").read_text())


@pytest.fixture
def items() -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(shared("stac").glob("*.json"))]


def many(count: int, year: int = 2020) -> list[dict]:
    """Copies of a real item on different days."""
    made = []
    for number in range(count):
        item = copy.deepcopy(real("S2A_33TWN_20200202_0_L2A"))
        when = f"{year}-{number % 12 + 1:02d}-{number // 12 + 1:02d}"
        item["id"] = f"S2A_33TWN_{when.replace('-', '')}_0_L2A"
        item["properties"]["datetime"] = f"{when}T10:00:00Z"
        item["properties"].pop("s2:datastrip_id", None)
        made.append(item)
    return made


@pytest.mark.parametrize("query", ["honoured", "absent", "empty", "ignored"])
@pytest.mark.parametrize("methods", [("GET", "POST"), ("GET",)])
def test_every_kind_of_api_gives_the_tile_and_year(items, query, methods) -> None:
    with StacServer(items + many(30), query=query, methods=methods, page_size=7) as server:
        found = find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)
    assert found.found == 30  # the real one of 2020-02-02 is among the copies, by its id
    assert {scene.tile for scene in found.scenes} == {"33TWN"}
    assert {scene.date[:4] for scene in found.scenes} == {"2020"}
    assert len(found.scenes) == 30


def test_an_api_that_queries_is_asked_once(items) -> None:
    with StacServer(items) as server:
        find_scenes(CatalogSettings(server.url, V1), "33TWN", 2022, 0, retry=QUICK)
        (search,) = server.searches
    assert search["query"] == {"grid:code": {"eq": "MGRS-33TWN"}}
    assert search["datetime"].startswith("2022-01-01")
    assert search["limit"] <= 100


def test_tile_names_lose_their_zero_at_earth_search() -> None:
    item = copy.deepcopy(real("S2A_33TWN_20200202_0_L2A"))
    item["id"] = "S2A_5QKB_20200202_0_L2A"
    item["properties"]["grid:code"] = "MGRS-5QKB"
    with StacServer([item]) as server:
        found = find_scenes(CatalogSettings(server.url, V1), "05QKB", 2020, 0, retry=QUICK)
    assert [scene.tile for scene in found.scenes] == ["05QKB"]


def test_v0_and_c1(items) -> None:
    with StacServer(items) as server:
        v0 = find_scenes(CatalogSettings(server.url, "sentinel-s2-l2a-cogs"), "20EPT", 2025, 0, retry=QUICK)
        c1 = find_scenes(CatalogSettings(server.url, "sentinel-2-c1-l2a"), "24MUA", 2025, 0, retry=QUICK)
    assert [scene.item_id for scene in v0.scenes] == ["S2B_20EPT_20250731_0_L2A"]
    assert [scene.boa_decision for scene in c1.scenes] == ["no_flag"]


def test_the_turn_of_the_year_is_utc() -> None:
    edges = [
        "2019-12-31T23:59:59.999Z",
        "2020-01-01T00:00:00Z",
        "2020-12-31T23:59:59Z",
        "2021-01-01T00:00:00Z",
    ]
    made = many(4)
    for number, (item, when) in enumerate(zip(made, edges, strict=True)):
        item["id"], item["properties"]["datetime"] = f"S2A_33TWN_x_{number}_L2A", when
    with StacServer(made) as server:
        found = find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)
    assert {scene.item_id for scene in found.scenes} == {"S2A_33TWN_x_1_L2A", "S2A_33TWN_x_2_L2A"}


def test_bounds_across_the_antimeridian_are_asked_in_halves() -> None:
    with StacServer(many(1), query="absent") as server:
        find_scenes(CatalogSettings(server.url, V1), "01CCV", 2020, 0, retry=QUICK)
        boxes = [search["bbox"] for search in server.searches]
    west, south, east, north = tile_lonlat_bounds("01CCV")
    assert west > east
    assert boxes == [[west, south, 180.0, north], [-180.0, south, east, north]]


def test_cloudy_and_broken_items_are_counted() -> None:
    made = many(4)
    for item, cover in zip(made, (5, 50, 95, 20), strict=True):
        item["properties"]["eo:cloud_cover"] = cover
    del made[3]["assets"]["scl"]
    with StacServer(made) as server:
        found = find_scenes(
            CatalogSettings(server.url, V1), "33TWN", 2020, 0, max_scene_cloud=60, retry=QUICK
        )
    assert (len(found.scenes), found.dropped_cloud, found.found) == (2, 1, 4)
    assert [(note.item_id, note.reason) for note in found.refused] == [(made[3]["id"], "no_scl")]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/search", 403, '{"message":"Forbidden"}'),
        Fault("/search", 429, "{}", {"Retry-After": "0"}),
        Fault("/search", 500),
        Fault("/search", 502, "<html>bad gateway</html>"),
        Fault("/search", 200, "<html>maintenance</html>"),
        Fault("/search", 200, '{"message": "Internal server error"}'),
        Fault("/search", 408),
        Fault("/search", 425),
        Fault("/v1", 200, '{"message": "Internal server error"}'),
        Fault("/search", 0),
        Fault("/v1", 503),
    ],
)
def test_passing_troubles_pass(fault: Fault) -> None:
    with StacServer(many(12), page_size=5) as server:
        server.faults += [copy.copy(fault), copy.copy(fault)]
        found = find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)
    assert len(found.scenes) == 12


@pytest.mark.parametrize("matched", ['"numberMatched": 12', '"context": {"matched": 12}'])
def test_a_search_that_ends_too_early_is_begun_again(matched: str) -> None:
    # As when a node of the API fails behind the first page.
    early = Fault("/search", 200, f'{{"type": "FeatureCollection", "features": [], {matched}}}', passing=1)
    traffic = Traffic()
    with StacServer(many(12), page_size=5) as server:
        server.faults.append(early)
        found = find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK, traffic=traffic)
        assert found == find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)
    assert found.found == 12
    assert traffic.take_retried() == {"short_search": 1}


def test_an_empty_page_is_not_the_last() -> None:
    with StacServer(many(12), page_size=5) as server:
        server.empty_pages = True
        assert find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK).found == 12


def test_a_page_that_comes_again_and_again_is_a_transient_fault() -> None:
    with StacServer(many(12), page_size=5) as server:
        server.repeat_pages = True
        with pytest.raises(TransientFault, match="the same page again") as caught:
            find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)
    assert caught.value.reason == "paging_loop"


def answer(url: str, number: int, next_link: dict, filled: bool) -> Fault:
    """A page that leads on."""
    features = [{"type": "Feature", "id": f"S2A_33TWN_{number}", "properties": {}}] if filled else []
    link = {"rel": "next", "href": f"{url}/search", "method": "POST", "body": {}, **next_link}
    return Fault("/search", 200, json.dumps({"features": features, "links": [link]}))


@pytest.mark.parametrize("filled", [False, True])
def test_a_search_without_end_is_given_up(filled: bool) -> None:
    with StacServer(many(1)) as server:
        server.faults += [answer(server.url, number, {}, filled) for number in range(2000)]
        with pytest.raises(PermanentFault) as caught:
            find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)
        assert len(server.searches) <= (1000 if filled else 20)
    assert caught.value.reason == "endless_search"


@pytest.mark.parametrize(
    "link", [{"method": "DELETE"}, {"headers": {"Host": "inner"}}, {"headers": {"cookie": "a"}}]
)
def test_a_next_page_is_asked_for_by_a_plain_search(link: dict) -> None:
    with StacServer(many(1)) as server:
        server.faults.append(answer(server.url, 0, link, filled=True))
        with pytest.raises(PermanentFault) as caught:
            find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)
        assert len(server.searches) == 1
    assert caught.value.reason == "refused_link"


def test_a_redirect_that_loses_the_search_is_refused() -> None:
    with StacServer(many(1)) as server:
        server.faults.append(Fault("/search", 302, "", {"Location": server.url}))
        with pytest.raises(PermanentFault) as caught:
            find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)
    assert caught.value.reason == "redirected"


def test_a_search_that_always_ends_too_early_is_a_transient_fault() -> None:
    early = Fault("/search", 200, '{"type": "FeatureCollection", "features": [], "numberMatched": 3}')
    with StacServer(many(12), page_size=5) as server:
        server.faults += [early] * 50
        with pytest.raises(TransientFault, match="0 of 3 items") as caught:
            find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)
    assert caught.value.reason == "short_search"


def test_troubles_that_stay_are_transient_faults() -> None:
    with StacServer(many(1)) as server:
        server.faults += [Fault("/search", 503)] * 50
        with pytest.raises(TransientFault):
            find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)
        server.faults[:] = [Fault("/search", 400, '{"description": "no"}')] * 50
        with pytest.raises(PermanentFault):
            find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)


@pytest.mark.parametrize(
    "fault",
    [
        Injected("trickle", seconds=0.02),
        Injected("trickle header", seconds=0.02),
        Injected("stall", seconds=30.0),
    ],
    ids=lambda fault: fault.kind,
)
def test_an_answer_is_waited_for_within_limits(tmp_path: Path, fault: Injected) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"type": "Catalog", "id": "x" * 1000}))
    traffic = Traffic()
    io = RetryingStacIO(
        RetryPolicy(attempts=2, base_s=0.0), Reach(own_network=True), answer_s=0.4, traffic=traffic
    )
    with RangeServer(tmp_path) as server:
        server.inject("a.json", fault)
        started = time.monotonic()
        with pytest.raises(TransientFault) as caught:
            io.read_json(server.url("a.json"))
        assert 0.8 <= time.monotonic() - started < 4
        assert caught.value.reason == "timeout"
        assert traffic.take_retried() == {"timeout": 1}
        server.heal()
        assert io.read_json(server.url("a.json"))["id"] == "x" * 1000


def test_every_request_has_its_turn_and_what_is_sent_again_is_counted() -> None:
    class Told(Traffic):
        turns = 0

        def turn(self, requests: int = 1) -> None:
            self.turns += requests

    told = Told()
    quick = RetryPolicy(attempts=4, base_s=0.0)
    with StacServer(many(30), page_size=7) as server:
        server.faults += [Fault("/search", 429), Fault("/search", 502), Fault("/v1", 503)]
        found = find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, None, quick, told)
    assert found.found == 30
    assert told.turns == len(server.requests)
    assert told.take_retried() == {"throttled": 2, "server_error": 1}


def test_nothing_found_is_an_empty_list() -> None:
    with StacServer(many(3)) as server:
        found = find_scenes(CatalogSettings(server.url, V1), "33TWN", 2018, 0, retry=QUICK)
    assert (found.scenes, found.found, found.refused) == ((), 0, ())


def test_check_says_what_is_wrong_with_an_api() -> None:
    with StacServer(many(1)) as server:
        info = check_catalog(CatalogSettings(server.url + "/", V1), QUICK)
        assert info.kind == "api"
        assert info.identity == f"{server.url} {V1}"
        with pytest.raises(InvalidInputError, match="no such collection"):
            check_catalog(CatalogSettings(server.url, "landsat"), QUICK)
        server.faults += [Fault("/search", 401)]
        with pytest.raises(InvalidInputError, match="cannot be searched: refused"):
            check_catalog(CatalogSettings(server.url, V1), QUICK)
        server.faults += [Fault("/v1", 200, '{"hello": "world"}')] * 10
        with pytest.raises(InvalidInputError, match="no STAC API"):
            check_catalog(CatalogSettings(server.url, V1), QUICK)
    with pytest.raises(TransientFault):
        check_catalog(CatalogSettings("http://127.0.0.1:9/v1", V1), QUICK)


class Old(StacServer):
    """Answers as Earth Search v0: its landing page says nothing of what it offers, and is no catalogue by type."""

    def landing_page(self) -> dict:
        links = [
            {"rel": "child", "href": f"{self.url}/collections/sentinel-s2-l2a-cogs"},
            {"rel": "conformance", "type": "application/json", "href": f"{self.url}/conformance"},
            {"rel": "self", "type": "application/json", "href": f"{self.url}/"},
            {"rel": "search", "type": "application/json", "href": f"{self.url}/search"},
        ]
        of_its_age = {"stac_version": "1.0.0-beta.2", "stac_api_version": "0.9.0"}
        return {**of_its_age, "id": "earth-search", "title": "x", "description": "x", "links": links}

    def collection(self, name: str) -> dict:
        return {
            "id": name,
            "stac_version": "1.0.0-beta.2",
            "description": "x",
            "stac_extensions": ["item-assets"],
        }


@pytest.mark.parametrize("takes", [{"eq", "in"}, set()])
def test_an_api_that_says_nothing_of_what_it_offers_is_tried(items, takes: set[str]) -> None:
    v0 = "sentinel-s2-l2a-cogs"
    with Old(items) as server:
        server.operators = takes
        settings = CatalogSettings(f"{server.url}/", v0)
        info = check_catalog(settings, QUICK, years=(2025,))
        for profile in (None, info.profile):
            known = dataclasses.replace(settings, profile=profile)
            found = find_scenes(known, "20EPT", 2025, 0, retry=QUICK)
            assert [scene.item_id for scene in found.scenes] == ["S2B_20EPT_20250731_0_L2A"]
        assert {method for method, path, _ in server.requests} == {"GET"}
    assert info.profile is not None
    assert info.profile.forms == (TileForm("sentinel", is_number=True),)


@pytest.mark.parametrize(
    "change",
    [
        {"extent": None},
        {"extent": ...},
        {"extent": {"spatial": {"bbox": [None]}, "temporal": {"interval": [["yesterday", 7]]}}},
        {"extent": {"spatial": {}, "temporal": {"interval": None}}},
        {"license": ...},
        {"description": ...},
        {"links": ...},
        {"links": [None]},
        {"type": "Feature"},
        {"type": ...},
        {"stac_version": 7},
        {"id": "another"},
    ],
    ids=str,
)
def test_an_invalid_document_of_a_collection_is_used(change: dict) -> None:
    class Odd(StacServer):
        def collection(self, name: str) -> dict:
            changed = {**super().collection(name), **change}
            return {key: value for key, value in changed.items() if value is not ...}

    with Odd(many(1)) as server:
        assert check_catalog(CatalogSettings(server.url, V1), QUICK).kind == "api"


@pytest.mark.parametrize("text", ["[]", "null", "{}", "<html>", '{"id": 1e999}'])
def test_an_answer_that_is_no_collection_is_passed_over(text: str) -> None:
    with StacServer(many(1)) as server:
        server.faults += [Fault(f"/collections/{V1}", 200, text)] * 3
        assert check_catalog(CatalogSettings(server.url, V1), QUICK).kind == "api"


def test_an_api_without_pages_of_collections_is_used_and_one_that_refuses_them_is_not() -> None:
    with StacServer(many(1)) as server:
        server.faults += [Fault(f"/collections/{V1}", 404)]
        assert check_catalog(CatalogSettings(server.url, V1), QUICK).kind == "api"
        server.faults += [Fault(f"/collections/{V1}", 401)]
        with pytest.raises(InvalidInputError, match="cannot be asked for: refused"):
            check_catalog(CatalogSettings(server.url, V1), QUICK)
        # As stac-fastapi may say it of a search.
        server.faults += [Fault("/search", 404)]
        with pytest.raises(InvalidInputError, match=r"no such collection\. Received: 'landsat'"):
            check_catalog(CatalogSettings(server.url, "landsat"), QUICK)
        with pytest.raises(InvalidInputError, match=r"no such collection\. Received: ''"):
            check_catalog(CatalogSettings(server.url, ""), QUICK)


@pytest.mark.parametrize("count", [12, 13])
@pytest.mark.parametrize("query", ["honoured", "absent"])
def test_counts_that_are_estimates(count: int, query: str) -> None:
    for estimate in (3 * count, count // 3, 1):
        with StacServer(many(count), query=query, page_size=5) as server:
            server.count = lambda found, start, estimate=estimate: estimate
            assert find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK).found == count


def test_an_api_that_finds_nothing_ever_is_found_out(items) -> None:
    with StacServer(many(1), query="empty") as server:
        check_catalog(CatalogSettings(server.url, V1), QUICK)  # the launch does not ask by query
        server.faults += [Fault("/search", 200, '{"type": "FeatureCollection", "features": []}')]
        with pytest.raises(InvalidInputError, match="finds no item of that collection"):
            check_catalog(CatalogSettings(server.url, V1), QUICK)


@pytest.mark.parametrize("query", ["absent", "ignored"])
def test_items_of_other_tiles_and_footprints_of_the_whole_world(query) -> None:
    mine, others = many(12), many(12)
    for item in others:
        item["id"] = item["id"].replace("33TWN", "01CCV")
        item["properties"]["grid:code"] = "MGRS-1CCV"
        item["bbox"] = [-180.0, -90.0, 180.0, 90.0]
    with StacServer([*others, *mine], query=query, page_size=5) as server:
        found = find_scenes(CatalogSettings(server.url, V1), "33TWN", 2020, 0, retry=QUICK)
        antarctic = find_scenes(
            CatalogSettings(server.url, V1), "01CCV", 2020, 0, retry=QUICK
        )  # both halves find all
    assert {scene.item_id for scene in found.scenes} == {item["id"] for item in mine}
    assert sorted(scene.item_id for scene in antarctic.scenes) == sorted(item["id"] for item in others)
    assert (found.found, antarctic.found, found.refused) == (12, 12, ())


@pytest.mark.parametrize("url", ["http://", "ftp://host/stac", "no/such/folder", ""])
def test_malformed_urls(url: str) -> None:
    with pytest.raises(InvalidInputError, match="Received"):
        check_catalog(CatalogSettings(url, V1), QUICK)


def test_static_catalogues_of_every_shape(tmp_path: Path) -> None:
    made = many(5)
    folder = tmp_path / "items" / "deep"
    folder.mkdir(parents=True)
    for item in made:
        (folder / f"{item['id']}.json").write_text(json.dumps(item))
    collection = tmp_path / "collection.geojson"
    collection.write_text(json.dumps({"type": "FeatureCollection", "features": made}))
    catalogue = tmp_path / "items" / "root.json"
    links = [{"rel": "item", "href": f"./deep/{item['id']}.json"} for item in made]
    content = {"type": "Catalog", "id": "mine", "stac_version": "1.0.0", "description": "", "links": links}
    catalogue.write_text(json.dumps(content))
    answers = [
        find_scenes(CatalogSettings(str(path), V1), "33TWN", 2020, 0)
        for path in (folder, collection, catalogue)
    ]
    assert len(answers[0].scenes) == 5
    assert answers[0] == answers[1] == answers[2]
    single = find_scenes(CatalogSettings(str(folder / f"{made[0]['id']}.json"), V1), "33TWN", 2020, 0)
    assert [scene.item_id for scene in single.scenes] == [made[0]["id"]]

    info = check_catalog(CatalogSettings(str(catalogue), V1))
    assert info.identity.startswith(f"static:mine:{V1}:")
    shutil.copytree(tmp_path / "items", tmp_path / "elsewhere")
    assert check_catalog(CatalogSettings(str(tmp_path / "elsewhere" / "root.json"), V1)) == info
    path = folder / f"{made[0]['id']}.json"
    path.write_text(path.read_text().replace("02.13", "02.14"))
    assert check_catalog(CatalogSettings(str(catalogue), V1)) != info
    with pytest.raises(InvalidInputError, match="of that collection"):
        check_catalog(CatalogSettings(str(catalogue), "landsat"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": "Polygon"}', '{"type": "FeatureCollection"}'])
def test_broken_files_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=r"broken\.json"):
        check_catalog(CatalogSettings(str(path), V1))


def test_a_folder_among_items_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(InvalidInputError, match=r"^A STAC file is a file of at most .* Received: .*a\.json"):
        check_catalog(CatalogSettings(str(tmp_path), V1))
