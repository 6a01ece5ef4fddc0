"""Regions, extracts and answers of Overpass: read or refused, whatever they hold."""

import collections
import contextlib
import functools
import gzip
import json
from pathlib import Path

import osmium
import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from beam_pipeline import http_session
from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.faults import Fault, InvalidInputError, PermanentFault
from beam_pipeline.imagery.stac_io import RetryingStacIO
from beam_pipeline.labels.extract import check_extract, read_features
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.overpass import features_of_chip
from beam_pipeline.retries import RetryPolicy
from beam_pipeline.selection import expand
from tests.fuzz.foreign import damaged, values
from tests.fuzz.test_decoders import damaged_bytes, outcome
from tests.imagery.stac_server import Fault as Answer
from tests.imagery.stac_server import StacServer
from tests.labels.overpass_server import OverpassServer

patient = settings(deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
CHIP = ChipWindow(32633, 500_000, 5_000_040)
RING = [[14.0, 46.0], [14.1, 46.0], [14.1, 46.1], [14.0, 46.0]]
REGION = {
    "type": "FeatureCollection",
    "crs": {"type": "name", "properties": {"name": "EPSG:4326"}},
    "features": [
        {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [RING]}},
        {"type": "Feature", "properties": {}, "geometry": {"type": "MultiPolygon", "coordinates": [[RING]]}},
    ],
}
ELEMENTS = [
    {"type": "node", "id": 1, "lat": 45.15, "lon": 15.01},
    {"type": "node", "id": 2, "lat": 45.16, "lon": 15.01, "tags": {"natural": "tree"}},
    {"type": "node", "id": 3, "lat": 45.16, "lon": 15.02},
    {"type": "way", "id": 4, "nodes": [1, 2, 3, 1], "tags": {"natural": "wood", "name": "\x1b[31m"}},
    {
        "type": "relation",
        "id": 5,
        "members": [{"type": "way", "ref": 4, "role": "outer"}],
        "tags": {"type": "multipolygon", "natural": "water"},
    },
]


@given(damaged(REGION).map(json.dumps) | values.map(json.dumps) | st.text())
@example("0\x1f")
@example(
    json.dumps(
        {
            "type": "FeatureCollection",
            "features": [],
            "crs": {"type": "name", "properties": {"name": "\ud800"}},
        }
    )
)
@patient
def test_a_region_is_read_or_refused(text: str) -> None:
    refused = outcome(lambda: cells_in_region(text, 3, 0), InvalidInputError)
    assert not isinstance(refused, InvalidInputError) or str(refused).isprintable()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"features":' * 100_000, '{"type":"Polygon","coordinates":' + "[" * 9999]
)
def test_a_region_that_is_nested_without_end_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        cells_in_region(text, 3, 0)


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("extract") / "sound.osm.pbf"
    with osmium.SimpleWriter(str(path)) as writer:
        writer.add_node(osmium.osm.mutable.Node(id=1, location=(15.0, 45.0), tags={"natural": "tree"}))
        writer.add_node(osmium.osm.mutable.Node(id=2, location=(15.1, 45.0), tags={}))
        writer.add_way(osmium.osm.mutable.Way(id=3, nodes=[1, 2], tags={"highway": "primary"}))
    return path.read_bytes()


def test_an_extract_is_read_or_refused(extract: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.osm.pbf"

    @given(damaged_bytes(extract) | st.binary())
    @patient
    def read(content: bytes) -> None:
        path.write_bytes(content)
        for reading in (
            lambda: check_extract(path),
            lambda: list(read_features(path, ONTOLOGY, collections.Counter())),
        ):
            refused = outcome(reading, InvalidInputError, PermanentFault)
            assert not isinstance(refused, Exception) or str(refused).isprintable()

    read()


@given(damaged({"version": 0.6, "elements": ELEMENTS}) | values)
@settings(patient, max_examples=15)
def test_an_answer_of_overpass_is_understood_or_refused(
    tmp_path_factory: pytest.TempPathFactory, overpass: OverpassServer, answer: object
) -> None:
    overpass.refusals[:] = [(200, {}, json.dumps(answer))]
    cache = tmp_path_factory.mktemp("cache")
    ask = functools.partial(features_of_chip, CHIP, ONTOLOGY, overpass.url, cache, retry=RetryPolicy(1))
    refused = outcome(ask, Fault)
    # What is not understood is not kept: the next run would trip over it again.
    assert isinstance(refused, Fault) == (not list(cache.glob("*.json.gz")))


@pytest.fixture(scope="module")
def overpass(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("overpass") / "empty.osm.pbf"
    osmium.SimpleWriter(str(path)).close()
    with OverpassServer(path) as server:
        yield server


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_end_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, overpass: OverpassServer, packed: bool
) -> None:
    monkeypatch.setattr(http_session, "MOST_BYTES", 1 << 20)
    text = '{"features": "' + "x" * (1 << 22) + '"}'
    with StacServer([{"collection": "x"}]) as server:
        headers = {"Content-Encoding": "gzip"} if packed else {}
        body = gzip.compress(text.encode()).decode("latin-1") if packed else text
        monkeypatch.setattr(
            server, "_send", lambda handler, status, body, headers: _send(handler, body, headers)
        )
        server.faults += [Answer("/v1", 200, body, headers)]
        with pytest.raises(PermanentFault, match="endless_answer"):
            RetryingStacIO(RetryPolicy(3)).read_json(server.url)
        assert len(server.requests) == 1
    overpass.refusals[:] = [(200, {}, text)]
    with pytest.raises(PermanentFault, match="endless_answer"):
        features_of_chip(CHIP, ONTOLOGY, overpass.url, tmp_path, retry=RetryPolicy(3))


def _send(handler, body: str, headers: dict[str, str]) -> None:
    content = body.encode("latin-1")
    handler.send_response(200)
    for name, value in {**headers, "Content-Length": str(len(content))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        handler.wfile.write(content)


def test_an_answer_is_what_requests_would_have_read() -> None:
    with StacServer([{"collection": "x"}]) as server:
        plain = requests.get(server.url, timeout=5)
        hooked = requests.get(server.url, timeout=5, hooks={"response": http_session.read_body})
        assert hooked.json() == plain.json()


def test_a_composite_that_expands_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expand, "MOST_BYTES", 1 << 22)
    path = tmp_path / "vnl.tif.gz"
    path.write_bytes(gzip.compress(bytes(1 << 24)))
    with pytest.raises(InvalidInputError, match="expands to more than"):
        expand.expanded(str(path), str(tmp_path / "expanded"))
    assert not any((tmp_path / "expanded").iterdir())
