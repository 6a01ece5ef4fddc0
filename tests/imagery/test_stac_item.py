"""The properties that are read of STAC items, and why some items cannot be used."""

import json
from typing import Any

import pystac
import pytest

from beam_pipeline.imagery.image import BANDS, SCL
from beam_pipeline.imagery.scenes import Scene
from beam_pipeline.imagery.stac_item import (
    normalise_tile,
    parse_item,
    sensing_time,
    tile_of_item,
)
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.reach import Reach
from tests.fuzz.test_decoders import ITEM
from tests.shared_data import shared


def real_items() -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(shared("stac").glob("*.json"))]


@pytest.mark.parametrize("name", ["5QKB", "05QKB", "T05QKB", "MGRS-5QKB", "mgrs-05qkb"])
def test_tile_names_with_and_without_zero(name: str) -> None:
    assert normalise_tile(name) == "05QKB"


@pytest.mark.parametrize("name", ["", "QKB", "61QKB", "05IKB", "05QKBX", "00QKB"])
def test_no_tile_names(name: str) -> None:
    with pytest.raises(ValueError, match="Received"):
        normalise_tile(name)


def test_real_items_of_every_profile_are_read() -> None:
    for item in real_items():
        tile = tile_of_item(item)
        assert tile is not None
        assert tile in item["id"]
        parsed = parse_item(item, tile)
        assert parsed == parse_item(pystac.Item.from_dict(item), tile)
        assert parsed.tile == tile
        assert parsed.date.replace("-", "") in item["id"]
        assert parsed.assets.keys() == {*BANDS, SCL}
        assert all(href.startswith("https://") and href.endswith(".tif") for href in parsed.assets.values())
        # Of each band just its own file: B08 is no B8A, and nothing is JPEG 2000.
        assert all(f"/{band}.tif" in href for band, href in parsed.assets.items())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda item: item["assets"].pop("scl"), "no_scl"),
        (lambda item: item["assets"].pop("nir08"), "missing_asset"),
        (lambda item: item["assets"]["red"].update(href="s3://sentinel-s2-l2a/B04.jp2"), "unreadable_href"),
        (lambda item: item["assets"]["red"].update(href="ftp://host/B04.tif"), "unreadable_href"),
        (lambda item: item["properties"].update(datetime=None), "no_datetime"),
        (lambda item: item["properties"].update({"grid:code": "MGRS-34TWN"}), "other_tile"),
        (lambda item: item["properties"].update({"s2:processing_baseline": "99.99"}), "unofficial_baseline"),
        (lambda item: item["properties"].update({"earthsearch:boa_offset_applied": 1}), "bad_offset_flag"),
        (lambda item: item.update(properties=None), "bad_item"),
        (lambda item: item.update(assets=None), "bad_item"),
        (lambda item: item.update(id=None), "bad_item"),
        (lambda item: item["properties"].update(platform=2), "bad_item"),
        (lambda item: item.update(assets=[]), "bad_item"),
    ],
)
def test_unusable_items_say_why(change, reason: str) -> None:
    item = json.loads(shared("stac", "S2B_33TWN_20220226_0_L2A.json").read_text())
    change(item)
    with pytest.raises(PermanentFault) as caught:
        parse_item(item, "33TWN")
    assert caught.value.reason == reason


def test_cloud_cover_that_is_not_valid_is_none() -> None:
    item = {**ITEM, "properties": {**ITEM["properties"], "eo:cloud_cover": 0}}
    assert parse_item(item, "33TWN").cloud_cover == 0.0
    for valid, cover in ((True, 0.0), (None, 0.0), (False, None)):
        item["properties"]["sentinel:valid_cloud_cover"] = valid
        assert parse_item(item, "33TWN").cloud_cover == cover


def changed(**properties: Any) -> dict[str, Any]:
    """The item with other properties; None stands for one that is not there."""
    merged = {**ITEM["properties"], **{key.replace("__", ":"): it for key, it in properties.items()}}
    return {**ITEM, "properties": {key: it for key, it in merged.items() if it is not None}}


@pytest.mark.parametrize(
    ("properties", "item_id", "tile"),
    [
        ({"grid:code": "MGRS-5QKB"}, "", "05QKB"),
        ({"s2:mgrs_tile": "05QKB"}, "", "05QKB"),
        ({"mgrs:utm_zone": 5, "mgrs:latitude_band": "Q", "mgrs:grid_square": "KB"}, "", "05QKB"),
        ({"sentinel:utm_zone": 5, "sentinel:latitude_band": "Q", "sentinel:grid_square": "KB"}, "", "05QKB"),
        ({"mgrs:utm_zone": 5, "sentinel:latitude_band": "Q", "mgrs:grid_square": "KB"}, "", None),
        ({}, "S2B_5QKB_20200601_0_L2A", "05QKB"),
        ({}, "S2B_T05QKB_20200601T100029_L2A", "05QKB"),
        ({}, "S2B_20200601", None),
        ({"grid:code": 7, "s2:mgrs_tile": "61QKB"}, "S2B_5QKB_20200601_0_L2A", "05QKB"),
        ({"grid:code": "MGRS-33TWN", "s2:mgrs_tile": "05QKB"}, "S2B_5QKB_20200601_0_L2A", "33TWN"),
    ],
)
def test_the_tile_is_found_wherever_it_is(properties: dict[str, Any], item_id: str, tile: str | None) -> None:
    assert tile_of_item({"id": item_id, "properties": properties}) == tile


def test_what_says_nothing_has_no_tile() -> None:
    for item in ({}, {"properties": None}, {"properties": ["grid:code"]}, {"id": None}):
        assert tile_of_item(item) is None
        assert sensing_time(item) == ""


@pytest.mark.parametrize(
    ("properties", "time"),
    [
        ({"datetime": "2020-06-01T10:00:31.123Z"}, "2020-06-01T10:00:31.123000Z"),
        ({"datetime": None, "start_datetime": "2020-06-01T10:00:31Z"}, "2020-06-01T10:00:31.000000Z"),
        ({"datetime": "2020-06-01T01:00:00+02:30"}, "2020-05-31T22:30:00.000000Z"),
        ({"datetime": "2020-06-01T10:00:31"}, "2020-06-01T10:00:31.000000Z"),
        ({"datetime": "0999-06-01T10:00:31Z"}, "0999-06-01T10:00:31.000000Z"),
        ({"datetime": "0001-01-01T00:00:00+01:00"}, ""),
        ({"datetime": "yesterday"}, ""),
        ({"datetime": "2020-06-01t10:00:31.5z"}, "2020-06-01T10:00:31.500000Z"),
        ({"datetime": " 2020-06-01 10:00:31Z\n"}, "2020-06-01T10:00:31.000000Z"),
        ({"datetime": "2020-06-01T10:00:31.1234567Z"}, "2020-06-01T10:00:31.123456Z"),
        ({"datetime": "unknown", "start_datetime": "2020-06-01T10:00:31Z"}, "2020-06-01T10:00:31.000000Z"),
        ({"datetime": 20200601}, ""),
        ({"datetime": None, "start_datetime": None}, ""),
    ],
)
def test_times_are_in_utc(properties: dict[str, Any], time: str) -> None:
    assert sensing_time({"properties": properties}) == time


def test_an_item_becomes_a_scene() -> None:
    item = {**ITEM, "properties": {**ITEM["properties"], "platform": "Sentinel-2B"}}
    hrefs = {band: f"https://example.org/{band}.tif?sig=1" for band in (*BANDS, SCL)}
    assert parse_item(item, "33TWN") == Scene(
        item_id="S2B_33TWN_20200601_0_L2A",
        tile="33TWN",
        datetime="2020-06-01T10:00:31.123000Z",
        datastrip_start="2020-06-01T10:00:29.000000Z",
        platform="sentinel-2b",
        baseline="05.00",
        generated="2022-12-01T00:00:00.000000Z",
        cloud_cover=12.5,
        assets=hrefs,
        boa_add_offset=-1000,
        boa_decision="not_applied",
    )


def test_what_an_item_does_not_say_is_empty() -> None:
    bare = changed(
        **dict.fromkeys(("platform", "s2__generation_time", "s2__datastrip_id", "eo__cloud_cover"))
    )
    scene = parse_item(bare, "33TWN")
    assert (scene.platform, scene.generated, scene.datastrip_start, scene.cloud_cover) == (
        "sentinel-2b",
        "",
        "",
        None,
    )


@pytest.mark.parametrize(
    "said",
    [
        "platform",
        "eo__cloud_cover",
        "s2__datastrip_id",
        "s2__generation_time",
        "earthsearch__boa_offset_applied",
    ],
)
def test_null_is_as_good_as_nothing(said: str) -> None:
    missing = changed(**{said: None})
    null = {**missing, "properties": {**missing["properties"], said.replace("__", ":"): None}}
    assert parse_item(null, "33TWN") == parse_item(missing, "33TWN")


@pytest.mark.parametrize(
    ("properties", "item_id", "platform"),
    [
        ({}, "S2B_33TWN_20200601_0_L2A", "sentinel-2b"),
        ({}, "33TWN_20200601_S2B_0_L2A", ""),
        (
            {"s2:product_uri": "S2C_MSIL2A_20250731T130249_N0511_R095_T33TWN_20250731T132745.SAFE"},
            "a_33TWN_b",
            "sentinel-2c",
        ),
        (
            {"sentinel:product_id": "S2A_MSIL2A_20190524T100031_N0212_R122"},
            "S2B_33TWN_20200601_0_L2A",
            "sentinel-2a",
        ),
    ],
)
def test_a_platform_that_no_property_gives_is_that_of_the_name(
    properties: dict[str, Any], item_id: str, platform: str
) -> None:
    """Two processings of one sensing are told by it."""
    item = {
        **changed(platform=None, **{key.replace(":", "__"): it for key, it in properties.items()}),
        "id": item_id,
    }
    assert parse_item(item, "33TWN").platform == platform


def test_the_baseline_may_stand_in_the_id_alone() -> None:
    item_id = "S2B_MSIL2A_20200601T100029_N0214_R122_T33TWN_20200601T120000"
    item = {**changed(s2__processing_baseline=None, s2__datastrip_id=None), "id": item_id}
    assert parse_item(item, "33TWN").baseline == "02.14"
    assert parse_item(item, "33TWN").boa_decision == "baseline_before_0400"


def test_when_a_product_was_made_is_said_by_one_of_four_keys() -> None:
    keys = ("s2__generation_time", "processing__datetime", "created", "updated")
    times = {key: f"202{number}-01-01T00:00:00Z" for number, key in enumerate(keys)}
    for number in range(len(keys)):
        assert parse_item(changed(**times), "33TWN").generated == f"202{number}-01-01T00:00:00.000000Z"
        times[keys[number]] = "unknown"
    assert parse_item(changed(**times), "33TWN").generated == ""


@pytest.mark.parametrize(
    ("said", "item_id", "start"),
    [
        (
            {"s2__datastrip_id": "S2B_OPER_MSI_L2A_DS_S2RP_20230624T053545_S20200401T175716_N05.00"},
            "a",
            "17:57:16",
        ),
        ({"s2__granule_id": "L2A_T13SDV_A016040_20200401T175716"}, "a", "17:57:16"),
        ({"s2__tile_id": "L2A_T13SDV_A016040_20200401T175716"}, "a", "17:57:16"),
        ({}, "S2B_T13SDV_20200401T175716_L2A", "17:57:16"),
        # The datastrip comes first; these other times are of processing, of the datatake, or of none.
        (
            {"s2__datastrip_id": "S2B_OPER_MSI_L2A_DS_EPAE_20200401T220155_S20200401T175716_N02.14"},
            "S2B_T13SDV_20200401T180000_L2A",
            "17:57:16",
        ),
        ({"s2__granule_id": "S2B_OPER_MSI_L2A_TL_S2RP_20230624T053545_A016040_T13SDV_N05.00"}, "a", ""),
        ({}, "S2B_MSIL2A_20200401T174909_N0500_R141_T13SDV_20230624T053545", ""),
        ({"s2__datastrip_id": "S2B_OPER_MSI_L2A_DS_EPAE_20200401T220155_S20209901T175716_N02.14"}, "a", ""),
        ({"s2__datastrip_id": 7, "s2__granule_id": None}, "a", ""),
    ],
)
def test_the_start_of_a_datastrip_is_told_by_ids(said: dict[str, Any], item_id: str, start: str) -> None:
    item = {**changed(**{"s2__datastrip_id": None, **said}), "id": item_id}
    expected = f"2020-04-01T{start}.000000Z" if start else ""
    assert parse_item(item, "33TWN").datastrip_start == expected


@pytest.mark.parametrize(
    ("said", "cover"),
    [(0, 0.0), (100, 100.0), (0.5, 0.5), (-0.1, None), (100.1, None), (True, None), ("12", None)],
)
def test_cloud_cover_is_a_percentage_or_not_known(said: object, cover: float | None) -> None:
    assert parse_item(changed(eo__cloud_cover=said), "33TWN").cloud_cover == cover


def with_relative_red(*links: object) -> dict[str, Any]:
    return {**ITEM, "assets": {**ITEM["assets"], "red": {"href": "./B04.tif"}}, "links": list(links)}


def test_relative_hrefs_start_from_the_item() -> None:
    links = [
        None,
        {"rel": "parent", "href": "https://example.org/parent.json"},
        {"rel": "self"},
        {"rel": "self", "href": "items/a.json"},
        {"rel": "self", "href": "http://example.org/items/a.json"},
        {"rel": "self", "href": "https://example.org/other/a.json"},
    ]
    item = with_relative_red(*links)
    assert parse_item(item, "33TWN").assets["B04"] == "http://example.org/items/B04.tif"
    assert parse_item(item, "33TWN", "/data/a.json").assets["B04"] == "/data/B04.tif"
    secure = with_relative_red(links[-1])
    assert parse_item(secure, "33TWN").assets["B04"] == "https://example.org/other/B04.tif"
    with pytest.raises(PermanentFault, match="does not say where it is"):
        parse_item(with_relative_red(*links[:4]), "33TWN")


def test_neighbours_of_an_api_are_welcome() -> None:
    item = {**ITEM, "assets": {**ITEM["assets"], "red": {"href": "http://10.0.0.7/B04.tif"}}}
    assert (
        parse_item(item, "33TWN", reach=Reach("http://10.0.0.1/v1")).assets["B04"]
        == "http://10.0.0.7/B04.tif"
    )
    with pytest.raises(PermanentFault, match="inner network"):
        parse_item(item, "33TWN")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": b"S2B_33TWN"}, "bad_item: id: "),
        ({"id": "S2B_33TWN\n"}, "bad_item: id: .*must be printable text"),
        ({"id": "a" * 501}, "bad_item: id: .*500"),
        ({"properties": {**ITEM["properties"], "platform": 2}}, "bad_item: properties.platform: "),
        ({"properties": {**ITEM["properties"], "grid:code": "MGRS-34TWN"}}, "of tile 34TWN, not 33TWN"),
        ({"assets": {"visual": {}, "blue": {}}}, "no_scl: there is no scl asset among: blue, visual$"),
        ({"assets": {**ITEM["assets"], "red": {"href": b"a.tif"}}}, "bad_item: the asset red has no href"),
    ],
)
def test_an_item_that_cannot_be_used_says_what_is_wrong(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PermanentFault, match=message):
        parse_item({**ITEM, **change}, "33TWN")


def test_missing_assets_are_named() -> None:
    assets = {key: asset for key, asset in ITEM["assets"].items() if key not in ("red", "nir08")}
    with pytest.raises(PermanentFault, match=r"missing_asset: assets that are missing: red, nir08$"):
        parse_item({**ITEM, "assets": assets}, "33TWN")


def test_the_longest_id_that_is_stored() -> None:
    item_id = "S2B_33TWN_" + "a" * 490
    assert parse_item({**ITEM, "id": item_id}, "33TWN").item_id == item_id


def test_the_older_profile_names_its_assets_by_band() -> None:
    assets = {band: {"href": f"https://example.org/v0/{band}.tif"} for band in (*BANDS, SCL)}
    parsed = parse_item({**ITEM, "assets": assets}, "33TWN").assets
    assert parsed == {band: asset["href"] for band, asset in assets.items()}
