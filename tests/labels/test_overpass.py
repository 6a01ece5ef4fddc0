"""A place with an example of everything that could come out differently from one source and the other."""

import dataclasses
import gzip
import json
import socket
import threading
import time

import numpy as np
import osmnx
import pytest
import requests

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels import overpass_server
from beam_pipeline.labels.extract import features_of_cells
from beam_pipeline.labels.feature import Found, deduplicate
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.overpass import RETRY, features_of_chip
from beam_pipeline.labels.overpass_server import USER_AGENT
from beam_pipeline.labels.rasterize import rasterize
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic
from tests.labels.osm_file import OsmFile, square
from tests.labels.overpass_server import (
    NO_MEMORY,
    NO_PAST,
    PARSE_ERROR,
    RATE_LIMITED,
    TIMED_OUT,
    TOO_BUSY,
    OverpassServer,
)
from tests.shared_data import shared

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
CHIP = ChipWindow(32632, 539_460, 5_220_060)
EMPTY = ChipWindow(32632, 400_020, 5_220_060)
FIJI = ChipWindow(32701, 178_980, 10_000_000 - 60 * 31_000)
LON, LAT = 9.5327, 47.1413  # the middle of CHIP
FIJI_LAT = -16.79


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    file = OsmFile()
    # Around the whole chip, no edge in it: a closed way without a name and a relation with one.
    file.way(1, square(LON, LAT, 0.1), landuse="forest")
    file.way(2, square(LON, LAT, 0.2))
    file.relation(1, [(2, "outer")], type="multipolygon", natural="wetland", name="Ried")
    # A hole with an island, from split ways with roles left out.
    ring = square(LON + 0.004, LAT, 0.003)
    file.way(3, ring[:3])
    file.way(4, ring[2:])
    file.way(5, square(LON + 0.004, LAT, 0.002))
    file.way(6, square(LON + 0.004, LAT, 0.001))
    members = [(3, "outer"), (4, ""), (5, "inner"), (6, "outer")]
    file.relation(2, members, type="multipolygon", landuse="residential")
    # A broken one, an old-style one and a boundary.
    file.relation(3, [(3, "outer")], type="multipolygon", landuse="quarry")
    file.way(7, square(LON - 0.006, LAT, 0.003), landuse="industrial")
    file.way(8, square(LON - 0.006, LAT, 0.001))
    file.relation(4, [(7, "outer"), (8, "inner")], type="multipolygon")
    file.way(9, square(LON, LAT - 0.006, 0.0015))
    file.relation(5, [(9, "outer")], type="boundary", landuse="military")
    # Closed ways that are lines, closed ways that are areas, and one that crosses itself.
    file.way(10, square(LON, LAT + 0.004, 0.002), highway="residential")
    file.way(11, square(LON + 0.006, LAT + 0.005, 0.001), highway="pedestrian", area="yes")
    file.way(12, square(LON - 0.006, LAT + 0.005, 0.001), building="yes", area="no")
    bow_tie = [(0.0, 0.0), (0.003, 0.002), (0.003, 0.0), (0.0, 0.002), (0.0, 0.0)]
    file.way(13, [(round(LON + x, 7), round(LAT - 0.007 + y, 7)) for x, y in bow_tie], leisure="park")
    # A river over the edge, a trunk road beside the chip that dilates into it, towers, a bridge.
    file.way(14, [(LON - 0.05, LAT - 0.001), (LON + 0.05, LAT + 0.002)], waterway="river")
    file.way(15, [(LON + 0.0129, LAT - 0.05), (LON + 0.0129, LAT + 0.05)], highway="trunk")
    file.way(16, [(LON, LAT - 0.02), (LON, LAT + 0.02)], highway="primary", bridge="yes")
    file.node((LON - 0.002, LAT + 0.002), {"man_made": "water_tower"})
    file.node((LON - 0.002, LAT + 0.003), {"highway": "crossing"})
    # Both sides of the antimeridian, south of the equator.
    file.way(20, square(179.995, FIJI_LAT, 0.004), landuse="forest")
    file.way(21, square(-179.995, FIJI_LAT, 0.004), natural="water")
    file.way(22, [(179.98, FIJI_LAT + 0.005), (180.0, FIJI_LAT + 0.005)], highway="trunk")
    file.way(23, [(-180.0, FIJI_LAT + 0.005), (-179.98, FIJI_LAT + 0.005)], highway="trunk")
    path = file.write(tmp_path_factory.mktemp("osm") / "made_up.osm.pbf")
    with OverpassServer(path) as server:
        yield path, server


@pytest.fixture
def server(made_up):
    _, server = made_up
    server.refusals.clear()
    server.queries.clear()
    server.status_text = None
    server.most_at_once = 0
    server.byte_s = None
    return server


class Clock:
    def __init__(self):
        self.waits = []

    def __call__(self, seconds):
        self.waits.append(seconds)


def from_extract(path, chip):
    return deduplicate(one for _, one in Found.all_of(features_of_cells(path, {0: chip}, ONTOLOGY)).features)


@pytest.mark.parametrize("chip", [CHIP, FIJI, ChipWindow(32632, 539_460 + 1920, 5_220_060)])
def test_label_image_is_that_of_the_extract(made_up, server, tmp_path, chip):
    path, _ = made_up
    asked = features_of_chip(chip, ONTOLOGY, server.url, tmp_path).features
    read = from_extract(path, chip)
    assert asked == read
    image, expected = (
        rasterize(features, chip, ONTOLOGY, True, sea_known=False).pixels for features in (asked, read)
    )
    np.testing.assert_array_equal(image, expected)
    assert len(np.unique(image)) > 3
    assert len(server.queries) == (2 if chip == FIJI else 1)


def test_monaco_is_the_same_from_both(tmp_path):
    path = shared("osm", "monaco-2023.osm.pbf")
    with OverpassServer(path) as server:
        for chip in (ChipWindow(32632, 371_220, 4_842_960), ChipWindow(32632, 373_140, 4_842_960)):
            asked = features_of_chip(chip, ONTOLOGY, server.url, tmp_path).features
            assert len(asked) > 100
            assert asked == from_extract(path, chip)


def test_what_is_left_out_of_an_answer_is_counted(tmp_path):
    file = OsmFile()
    corners = np.random.default_rng(0).uniform(-0.005, 0.005, (300, 2)) + np.array([LON, LAT])
    ring = [(lon, lat) for lon, lat in corners.round(7).tolist()]
    file.way(1, [*ring, ring[0]], landuse="forest")
    file.way(2, square(LON, LAT, 0.001), landuse="forest")
    with OverpassServer(file.write(tmp_path / "a.osm.pbf")) as server:
        found = features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path / "cache")
    assert [one.osm_id for one in found.features] == [2]
    assert found.dropped.counts == {"tangled": 1}


def test_areas_around_the_chip_are_found(server, tmp_path):
    asked = features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path)
    found = {(one.osm_type, one.osm_id) for one in asked.features}
    assert {("way", 1), ("relation", 1)} <= found


def test_answers_are_cached(server, tmp_path):
    first = features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path)
    assert features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path) == first
    assert len(server.queries) == 1
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".gz"]
    features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path / "another")
    assert len(server.queries) == 2
    assert set(server.user_agents) == {USER_AGENT}


@pytest.mark.parametrize(
    "damage", [lambda kept: b"", lambda kept: kept[:-9], lambda kept: gzip.compress(b"[1]")]
)
def test_a_damaged_cache_is_asked_for_again(server, tmp_path, damage):
    first = features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path)
    (kept,) = tmp_path.glob("*.json.gz")
    sound = kept.read_bytes()
    kept.write_bytes(damage(sound))
    assert features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path) == first
    assert len(server.queries) == 2
    assert kept.read_bytes() == sound


def test_the_default_cache_is_the_users(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    features_of_chip(EMPTY, ONTOLOGY, server.url)
    assert len(list((tmp_path / "opensentinelmap" / "overpass").glob("*.json.gz"))) == 1


def test_nothing_mapped_is_an_answer(server, tmp_path):
    assert features_of_chip(EMPTY, ONTOLOGY, server.url, tmp_path) == Found([])
    assert features_of_chip(EMPTY, ONTOLOGY, server.url, tmp_path) == Found([])
    assert len(server.queries) == 1


PARTIAL = {"version": 0.6, "elements": [{"type": "node", "id": 1, "lat": LAT, "lon": LON}]}


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ((429, {}, RATE_LIMITED), TransientFault, "throttled"),
        ((504, {}, TOO_BUSY), TransientFault, "server_error"),
        ((500, {}, ""), TransientFault, "server_error"),
        ((408, {}, ""), TransientFault, "server_error"),
        ((425, {}, ""), TransientFault, "server_error"),
        ((200, {}, TOO_BUSY), TransientFault, "malformed_answer"),
        ((200, {}, json.dumps(PARTIAL)[:-9]), TransientFault, "malformed_answer"),
        ((200, {}, "[]"), TransientFault, "malformed_answer"),
        ((200, {}, json.dumps(PARTIAL | {"remark": TIMED_OUT})), TransientFault, "overpass_remark"),
        ((200, {}, json.dumps(PARTIAL | {"remark": NO_MEMORY})), PermanentFault, "overpass_remark"),
        ((400, {}, PARSE_ERROR), PermanentFault, "refused_query"),
        ((403, {}, ""), PermanentFault, "forbidden"),
    ],
)
def test_failed_answers_are_faults_and_never_cached(server, tmp_path, answer, kind, reason):
    getaddrinfo = socket.getaddrinfo
    before = {name: value for name, value in vars(osmnx.settings).items() if not name.startswith("__")}
    clock = Clock()
    server.refusals += [answer] * 3
    with pytest.raises(kind) as caught:
        features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path, retry=RetryPolicy(attempts=3, sleep=clock))
    assert caught.value.reason == reason
    assert "interpreter" not in caught.value.detail
    tries = 3 if kind is TransientFault else 1
    assert (len(server.queries), len(clock.waits)) == (tries, tries - 1)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    # OSMnx's settings are global, and it changes how the whole process finds hosts.
    assert {
        name: value for name, value in vars(osmnx.settings).items() if not name.startswith("__")
    } == before
    assert socket.getaddrinfo is getaddrinfo


def test_the_map_as_of_a_date_is_asked_for_and_kept_apart(server, tmp_path):
    def ask(date):
        return features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path, date=date)

    # A server says as of when its answer is; what is asked for is a matter of the query alone.
    answer = {"version": 0.6, "osm3s": {"timestamp_osm_base": "2019-07-01T00:00:00Z"}, "elements": []}
    server.refusals.append((200, {}, json.dumps(answer)))
    assert ask("2019-07-01T00:00:00Z") == Found([])
    now, earlier = ask(""), ask("2018-01-01T00:00:00Z")
    assert len(now.features) > 10
    assert now == earlier
    settings = [query.partition(";")[0] for query in server.queries]
    assert [text.count("[date:") for text in settings] == [1, 0, 1]
    assert '[date:"2019-07-01T00:00:00Z"]' in settings[0]
    assert '[date:"2018-01-01T00:00:00Z"]' in settings[2]
    # Each is kept under what was asked.
    assert ask("2019-07-01T00:00:00Z") == Found([])
    assert ask("") == now
    assert len(server.queries) == 3


@pytest.mark.parametrize("remark", NO_PAST)
def test_there_is_no_use_in_asking_a_server_again_that_keeps_no_past(server, tmp_path, remark):
    server.refusals.append((200, {}, json.dumps({"version": 0.6, "elements": [], "remark": remark})))
    with pytest.raises(PermanentFault, match="overpass_remark"):
        features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path, date="2019-07-01T00:00:00Z")
    assert len(server.queries) == 1


def test_a_busy_server_is_asked_again(server, tmp_path):
    clock = Clock()
    server.refusals += [(429, {"Retry-After": "37"}, ""), (504, {}, "")]
    found = features_of_chip(
        CHIP, ONTOLOGY, server.url, tmp_path, retry=dataclasses.replace(RETRY, sleep=clock)
    )
    assert len(found.features) > 10
    assert clock.waits[0] == 37.0
    assert len(server.queries) == 3


def test_waits_for_the_slot_that_the_status_names(server, tmp_path):
    server.status_text = (
        "Connected as: 1\nCurrent time: 2024-05-01T10:00:00Z\nRate limit: 2\n"
        "Slot available after: 2024-05-01T10:02:10Z, in 130 seconds.\n"
        "Slot available after: 2024-05-01T10:01:10Z, in 70 seconds.\nCurrently running queries (pid, ...):\n"
    )
    clock = Clock()
    server.refusals.append((429, {}, ""))
    features_of_chip(EMPTY, ONTOLOGY, server.url, tmp_path, retry=dataclasses.replace(RETRY, sleep=clock))
    assert clock.waits == [70.0]


@pytest.mark.parametrize(
    "status",
    [
        "Slot available after: " * 20_000 + "x",
        "Slot available after: a, in " + "9" * 400 + " seconds",
        "Slot available after: a, in  seconds",
        "Slot available after: a, in - seconds",
        "\xff",
    ],
)
def test_a_status_that_says_nothing_is_no_hindrance(server, tmp_path, status):
    server.status_text = status
    clock = Clock()
    server.refusals.append((429, {}, ""))
    started = time.process_time()
    assert features_of_chip(
        EMPTY, ONTOLOGY, server.url, tmp_path, retry=dataclasses.replace(RETRY, sleep=clock)
    ) == Found([])
    assert len(clock.waits) == 1
    assert time.process_time() - started < 5


def test_a_server_out_of_reach_is_a_transient_fault(tmp_path):
    clock = Clock()
    with pytest.raises(TransientFault) as caught:
        features_of_chip(
            CHIP, ONTOLOGY, "http://127.0.0.1:9/api", tmp_path, retry=RetryPolicy(attempts=2, sleep=clock)
        )
    assert caught.value.reason == "unreachable"
    assert len(clock.waits) == 1


@pytest.mark.parametrize("byte_s", [0.05, 30.0], ids=["trickling", "silent"])
def test_an_answer_is_waited_for_within_limits(server, tmp_path, byte_s, monkeypatch):
    monkeypatch.setattr(overpass_server, "ANSWER_S", 0.5)
    adapter = requests.sessions.HTTPAdapter
    traffic = Traffic()
    server.byte_s = byte_s
    started = time.monotonic()
    with pytest.raises(TransientFault) as caught:
        features_of_chip(
            *(CHIP, ONTOLOGY, server.url, tmp_path),
            **{"retry": RetryPolicy(attempts=2, sleep=Clock()), "traffic": traffic},
        )
    assert 1.0 <= time.monotonic() - started < 5
    assert caught.value.reason == "timeout"
    assert traffic.take_retried() == {"timeout": 1}
    assert requests.sessions.HTTPAdapter is adapter
    server.byte_s = None
    assert len(features_of_chip(CHIP, ONTOLOGY, server.url, tmp_path).features) > 10


@pytest.mark.parametrize("url", ["overpass-api.de/api", "ftp://overpass-api.de/api", "http:///api", ""])
def test_what_is_no_address_is_refused(tmp_path, url):
    with pytest.raises(InvalidInputError, match=r"Received: .*https://"):
        features_of_chip(CHIP, ONTOLOGY, url, tmp_path)


def test_queries_go_out_one_at_a_time(server, tmp_path):
    chips = [ChipWindow(32632, 400_020 + 1920 * i, 5_220_060) for i in range(4)]
    threads = [
        threading.Thread(target=features_of_chip, args=(chip, ONTOLOGY, server.url, tmp_path))
        for chip in chips
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.queries) == 4
    assert server.most_at_once == 1
