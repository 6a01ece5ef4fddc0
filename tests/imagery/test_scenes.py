import dataclasses
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.imagery.hrefs import readable_href
from beam_pipeline.imagery.image import BANDS, SCL
from beam_pipeline.imagery.scenes import (
    Scene,
    SceneList,
    SceneNote,
    deduplicate,
    order_scenes,
    without_cloudy,
)
from beam_pipeline.imagery.stac_item import parse_item, tile_of_item
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.parsing import MalformedError
from tests.shared_data import shared


def scene(item_id: str, when: str = "2020-06-01T10:00:00.000000Z", **changes) -> Scene:
    made = Scene(
        item_id=item_id,
        tile="33TWN",
        datetime=when,
        datastrip_start="",
        platform="sentinel-2a",
        baseline="02.14",
        generated="2020-06-02T00:00:00.000000Z",
        cloud_cover=10.0,
        assets={band: f"/{item_id}/{band}.tif" for band in (*BANDS, SCL)},
        boa_add_offset=0,
        boa_decision="baseline_before_0400",
    )
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize(
    ("href", "base", "expected"),
    [
        ("https://host/my file.tif", "", "https://host/my%20file.tif"),
        ("my \u00fc.tif?a b=SIG", "https://host/x y/a.json", "https://host/x%20y/my%20%C3%BC.tif?a%20b=SIG"),
        (
            "https://u:p%40 s@host:8443/a%20b;c=(1)+2.tif?x=%2F&y=a/b?c#d",
            "",
            "https://u:p%40%20s@host:8443/a%20b;c=(1)+2.tif?x=%2F&y=a/b?c",
        ),
        ("http://[2001:4860:4860::8888]:80/[a].tif", "", "http://[2001:4860:4860::8888]:80/%5Ba%5D.tif"),
        ("https://xn--bcher-kva.example/a.tif", "", "https://xn--bcher-kva.example/a.tif"),
        ("s3://sentinel-cogs/a b.tif", "", "https://sentinel-cogs.s3.us-west-2.amazonaws.com/a%20b.tif"),
        ("https://host/a/B02.tif?token=1", "", "https://host/a/B02.tif?token=1"),
        ("./B02.tif", "https://host/items/a/a.json", "https://host/items/a/B02.tif"),
        ("../B02.tif", "/data/a/a.json", "/data/B02.tif"),
        ("/data/B02.tif", "/a.json", "/data/B02.tif"),
        ("file:///data/B%2002.tif", "file:///a%20b/a.json", "/data/B 02.tif"),
        ("B02.tif", "file:///a%20b/a.json", "/a b/B02.tif"),
        ("/a/B02.tif", "https://host/items/a.json", "https://host/a/B02.tif"),
        (
            "s3://sentinel-cogs/x/B02.tif",
            "",
            "https://sentinel-cogs.s3.us-west-2.amazonaws.com/x/B02.tif",
        ),
    ],
)
def test_hrefs_become_absolute(href: str, base: str, expected: str) -> None:
    assert readable_href(href, base) == expected


@pytest.mark.parametrize("href", ["B02.tif", "s3://private/B02.tif", "https://host/B02.jp2"])
def test_hrefs_that_cannot_be_read(href: str) -> None:
    with pytest.raises(PermanentFault, match="unreadable_href"):
        readable_href(href, "")


@pytest.mark.parametrize("base", ["", "https://host/a.json", "/data/a.json"])
@pytest.mark.parametrize(
    "place",
    [
        "host:99999",
        "host:0",
        "host:-1",
        "host:8x",
        "h h",
        "b\u00fccher.example",
        "127%2e0%2e0%2e1",
        "a|b",
        "[::1%25lo]",
        "[::1",
        "",
    ],
)
def test_no_host_or_port(place: str, base: str) -> None:
    with pytest.raises(PermanentFault, match="unreadable_href") as caught:
        readable_href(f"http://{place}/a.tif?a b=SIG", base)
    assert "SIG" not in str(caught.value)


def kept(*scenes: Scene) -> dict[str, list[str]]:
    """Ids of the scenes kept, each with those of its earlier processings; the same in whatever order they come."""
    found = deduplicate(scenes)
    assert deduplicate(scenes[::-1]) == found
    assert found == sorted(found, key=lambda one: (one.datetime, one.item_id))
    assert all(not earlier.earlier for one in found for earlier in one.earlier)
    return {one.item_id: [earlier.item_id for earlier in one.earlier] for one in found}


def test_of_reprocessed_scenes_the_last_is_kept() -> None:
    old = scene("S2A_33TWN_20200601_0_L2A", baseline="02.14")
    new = scene("S2A_33TWN_20200601_1_L2A", baseline="05.00", generated="2019-01-01T00:00:00.000000Z")
    newest = scene("S2A_33TWN_20200601_2_L2A", baseline="05.00", generated="2023-01-01T00:00:00.000000Z")
    same = dataclasses.replace(newest, item_id="S2A_33TWN_20200601_3_L2A")
    assert kept(newest, old, new) == {newest.item_id: [new.item_id, old.item_id]}
    assert kept(same, newest) == {same.item_id: [newest.item_id]}
    (found,) = deduplicate([newest, old])
    assert found.earlier == (old,)


def test_other_platforms_and_datastrips_are_other_scenes() -> None:
    one = scene("a", datastrip_start="2020-06-01T10:00:31.000000Z")
    half = scene("b", "2020-06-01T10:00:14.000000Z", datastrip_start="2020-06-01T10:00:50.000000Z")
    twin = scene("c", platform="sentinel-2b")
    again = scene("d", datastrip_start="2020-06-01T10:00:31.000000Z", baseline="05.00")
    assert kept(one, half, twin, again) == {"b": [], "c": [], "d": ["a"]}


def test_granules_of_one_datatake_are_scenes_though_they_have_its_datetime() -> None:
    """As on Planetary Computer: 50HMH of 2019-11-23, both at 02:13:51, with what is in the swath in each."""
    when = "2019-11-23T02:13:51.000000Z"
    halves = [
        scene(name, when, datastrip_start=f"2019-11-23T{start}.000000Z", baseline="02.12")
        for name, start in (("a", "02:26:59"), ("b", "02:21:34"))
    ]
    assert kept(*halves) == {"a": [], "b": []}
    again = [dataclasses.replace(one, item_id=f"{one.item_id}2", baseline="05.00") for one in halves]
    assert kept(*halves, *again) == {"a2": ["a"], "b2": ["b"]}
    # Of what half a scene is that does not say it, nobody knows.
    assert kept(*halves, scene("c", when)) == {"a": [], "b": [], "c": []}


def test_a_reprocessing_may_have_another_datetime() -> None:
    """As of Collection 1: 50HMH of 2019-03-23, four minutes apart."""
    start = "2019-03-23T02:24:44.000000Z"
    old = scene("old", "2019-03-23T02:31:32.000000Z", datastrip_start=start, baseline="02.11")
    new = scene("new", "2019-03-23T02:27:06.000000Z", datastrip_start=start, baseline="05.00")
    assert kept(old, new) == {"new": ["old"]}
    # Up to baseline 02.08 an item's datetime is what its datastrip's id says, or the other way round.
    older = scene("older", start[:19] + ".357000Z", datastrip_start=start, baseline="02.08")
    assert kept(older, new) == {"new": ["older"]}
    other = scene("other", start, datastrip_start="2019-03-23T02:19:00.000000Z", baseline="05.00")
    assert kept(older, other) == {"other": ["older"]}
    assert kept(dataclasses.replace(older, baseline="02.09"), other) == {"older": [], "other": []}


def test_what_does_not_say_its_datastrip_is_told_by_its_second() -> None:
    bare = scene("bare", "2020-06-01T10:00:00.900000Z")
    told = scene("told", datastrip_start="2020-06-01T09:58:00.000000Z", baseline="05.00")
    assert kept(bare, told) == {"told": ["bare"]}
    assert kept(bare, scene("later", "2020-06-01T10:00:01.000000Z")) == {"bare": [], "later": []}


def granule_of(name: str) -> Scene:
    item = json.loads(shared("stac", f"{name}.json").read_text())
    return parse_item(item, str(tile_of_item(item)))


def test_a_real_date_of_two_collections_is_one_scene() -> None:
    one, other = granule_of("S2B_24MUA_20250731_0_L2A"), granule_of("S2B_T24MUA_20250731T130245_L2A")
    (found,) = deduplicate([one, other])
    assert {found.item_id, found.earlier[0].item_id} == {one.item_id, other.item_id}


def test_real_dates_are_scenes_each() -> None:
    paths = shared("stac").glob("*_33TWN_*.json")
    scenes = [granule_of(path.stem) for path in paths]
    assert len(deduplicate(scenes)) == len(scenes) == 8
    # The same pixels, processed anew: the datastrip stays, whatever the item's datetime becomes.
    again = [
        dataclasses.replace(
            one, item_id=f"{one.item_id}-again", baseline="05.10", datetime=f"{one.date}T10:09:40.0Z"
        )
        for one in scenes
    ]
    assert all(len(one.earlier) == 1 for one in deduplicate([*scenes, *again]))


def test_the_limit_of_cloud_holds_for_what_stands_in_too() -> None:
    covers = {"clear": 10.0, "limit": 20.0, "unknown": None, "cloudy": 20.5}
    earlier = tuple(scene(f"{name} before", cloud_cover=cover) for name, cover in covers.items())
    scenes = [scene(name, cloud_cover=cover, earlier=earlier) for name, cover in covers.items()]
    left = without_cloudy(scenes, 20.0)
    assert [one.item_id for one in left] == ["clear", "limit", "unknown"]
    assert all(one.earlier == earlier[:3] for one in left)
    assert without_cloudy(scenes, None) == scenes


dates = st.lists(st.integers(0, 365), min_size=0, max_size=40)


def of_days(days: list[int]) -> list[Scene]:
    import datetime

    first = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    return [
        scene(f"item-{i}", (first + datetime.timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        for i, day in enumerate(days)
    ]


@given(dates, st.integers(0, 5))
def test_the_order_depends_on_nothing_but_the_scenes(days: list[int], seed: int) -> None:
    scenes = of_days(days)
    order = order_scenes(scenes, seed, "33TWN", 2020)
    assert sorted(s.item_id for s in order) == sorted(s.item_id for s in scenes)
    shuffled = list(scenes)
    random.Random(seed).shuffle(shuffled)
    assert order_scenes(shuffled, seed, "33TWN", 2020) == order
    # One of each month in turn: no month comes again before all that have scenes left have come.
    months = [s.datetime[5:7] for s in order]
    position = 0
    left = {month: months.count(month) for month in months}
    while position < len(months):
        in_turn = {month for month, count in left.items() if count}
        assert set(months[position : position + len(in_turn)]) == in_turn
        for month in in_turn:
            left[month] -= 1
        position += len(in_turn)


def test_the_order_differs_by_seed_tile_and_year() -> None:
    scenes = of_days(list(range(0, 360, 5)))
    orders = {
        tuple(s.item_id for s in order_scenes(scenes, *key))
        for key in [(0, "33TWN", 2020), (1, "33TWN", 2020), (0, "33TWP", 2020), (0, "33TWN", 2021)]
    }
    assert len(orders) == 4


def test_a_walk_goes_on_as_it_was_begun() -> None:
    """A dataset that an older version began is completed by a newer one: the order must stay what it was."""
    scenes = of_days(list(range(0, 360, 20)))
    order = [int(it.item_id.removeprefix("item-")) for it in order_scenes(scenes, 7, "33TWN", 2020)]
    assert order == [11, 15, 4, 2, 5, 10, 17, 13, 9, 0, 7, 16, 12, 14, 3, 6, 8, 1]


def test_no_month_is_favoured() -> None:
    scenes = of_days(list(range(0, 360, 3)))
    firsts = [order_scenes(scenes, seed, "33TWN", 2020)[0].datetime[5:7] for seed in range(1200)]
    counts = [firsts.count(f"{month:02d}") for month in range(1, 13)]
    assert min(counts) > 60
    assert max(counts) < 140


def test_lists_round_trip() -> None:
    notes = (SceneNote("x", "no_scl", "é"),)
    scenes = (scene("b", earlier=(scene("b2"), scene("b1"))), scene("a"))
    scene_list = SceneList("33TWN", 2020, scenes, notes, 5, 1, 1)
    assert SceneList.from_json(scene_list.to_json()) == scene_list
    assert SceneList.from_json(scene_list.to_json()).to_json() == scene_list.to_json()


def test_a_stored_list_holds_no_secret_of_what_stands_in() -> None:
    signed = {band: f"https://example.org/{band}.tif?sig=SECRET" for band in (*BANDS, SCL)}
    scene_list = SceneList("33TWN", 2020, (scene("b", earlier=(scene("a", assets=signed),)),), (), 2, 1, 0)
    assert "https://example.org/B02.tif" in scene_list.to_json()
    assert "SECRET" not in scene_list.to_json()
    assert not SceneList.from_json(scene_list.to_json()).is_signed


def test_a_list_is_stored_a_value_a_line() -> None:
    """People compare two runs' lists with diff."""
    lines = SceneList("33TWN", 2020, (scene("b"),), (), 3, 1, 1).to_json().splitlines()
    assert lines[:4] == ["{", ' "dropped_cloud": 1,', ' "duplicates": 1,', ' "found": 3,']
    assert '    "B02": "/b/B02.tif",' in lines


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        (lambda text: text[:100], "JSON"),
        (lambda text: "[]", "the whole"),
        (lambda text: "[" * 100_000, "JSON"),
        (lambda text: text.replace(',\n   "tile": "33TWN"', "", 1), r"scenes\[0\]\.tile: Field required"),
        (lambda text: text.replace("10.0", '"10"', 1), r"scenes\[0\]\.cloud_cover"),
        (lambda text: text.replace('"/b/B02.tif"', "7", 1), r"scenes\[0\]\.assets\.B02"),
        (lambda text: text.replace('"no_scl"', "null"), r"refused\[0\]\.reason"),
        (lambda text: text.replace('"found"', '"lost"'), "found: Field required"),
        (lambda text: text.replace('"year": 2020', '"year": 2020.5'), "year"),
    ],
    ids=[
        "cut",
        "list",
        "deep",
        "no tile",
        "text for a number",
        "number for text",
        "null",
        "other key",
        "half",
    ],
)
def test_a_damaged_list_names_its_field(damage, field: str) -> None:
    whole = SceneList(
        "33TWN", 2020, (scene("b"), scene("a")), (SceneNote("x", "no_scl", ""),), 5, 1, 1
    ).to_json()
    assert damage(whole) != whole
    with pytest.raises(MalformedError, match=field):
        SceneList.from_json(damage(whole))
