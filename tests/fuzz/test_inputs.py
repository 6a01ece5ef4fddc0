"""Regions, extracts and answers of Overpass: read or refused, whatever they hold."""

import contextlib
import functools
import gzip
import json
import multiprocessing
import multiprocessing.connection
import traceback
from pathlib import Path

import osmium
import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from osmium.osm.mutable import Node, Relation, Way

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.imagery import stac_io
from beam_pipeline.imagery.stac_io import RetryingStacIO
from beam_pipeline.jobs.select import expand
from beam_pipeline.labels.extract import check_extract, read_features
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.overpass import features_of_chip
from beam_pipeline.runtime import http_session
from beam_pipeline.runtime.faults import Fault, InvalidInputError, PermanentFault
from beam_pipeline.runtime.reach import Reach
from beam_pipeline.runtime.retries import RetryPolicy
from tests.fuzz.foreign import damaged, values
from tests.fuzz.test_decoders import damaged_bytes, outcome
from tests.imagery.stac_server import Fault as Answer
from tests.imagery.stac_server import StacServer
from tests.labels.overpass_server import OverpassServer

patient = settings(deadline=60_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
OWN = Reach(own_network=True)
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


@pytest.fixture(
    scope="module", params=["pbf_dense_nodes=true", "pbf_dense_nodes=false,locations_on_ways=true"]
)
def extract(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Of every kind of element; not packed, so that damage comes through to what reads them."""
    path = tmp_path_factory.mktemp("extract") / "sound.osm.pbf"
    header = osmium.io.Header()
    header.add_box(osmium.osm.Box(15.0, 45.0, 15.1, 45.1))
    file = osmium.io.File(str(path), f"pbf,{request.param},pbf_compression=none")
    with osmium.SimpleWriter(file, header=header) as writer:
        for i in range(9):
            tags = {"natural": "tree", "name": "Lärche"} if i % 4 == 0 else {}
            location = (15.0 + 0.01 * (i % 3), 45.0 + 0.01 * (i // 3))
            writer.add_node(Node(id=i + 1, location=location, tags=tags, version=1, user="a"))
        writer.add_way(Way(id=20, nodes=[1, 2, 5, 4, 1], tags={"building": "yes", "name": ""}, version=2))
        writer.add_way(Way(id=21, nodes=[1, 2, 3], tags={"highway": "primary", "bridge": "yes"}))
        writer.add_way(Way(id=22, nodes=[1, 3, 9, 7, 1]))
        wood = {"type": "multipolygon", "natural": "wood"}
        writer.add_relation(Relation(id=30, members=[("w", 22, "outer"), ("w", 20, "inner")], tags=wood))
        park = {"type": "boundary", "leisure": "park"}
        writer.add_relation(Relation(id=31, members=[("w", 22, ""), ("n", 1, "label")], tags=park))
    return path.read_bytes()


def read_in_turn(contents: "multiprocessing.connection.Connection", path: Path) -> None:
    """Reads what comes as an extract, and answers with what is wrong with that: nothing, or a traceback."""
    while True:
        content = contents.recv()
        path.write_bytes(content)
        problem = ""
        for reading in (
            lambda: check_extract(path),
            lambda: list(read_features(path, ONTOLOGY)),
        ):
            try:
                refused = outcome(reading, InvalidInputError, PermanentFault)
                assert not isinstance(refused, Exception) or str(refused).isprintable()
            except Exception:
                problem += traceback.format_exc()
        contents.send(problem)


class Reader:
    """Reads extracts in a process of its own: libosmium is C++, and a crash would take the tests with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.start()

    def start(self) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("forkserver")
        self._process = context.Process(target=read_in_turn, args=(theirs, self._path), daemon=True)
        self._process.start()
        theirs.close()

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def problem(self, content: bytes) -> str:
        self._pipe.send(content)
        try:
            if self._pipe.poll(60):
                return str(self._pipe.recv())
            problem = "the reader hangs"
        except EOFError:
            self._process.join()
            problem = f"the reader died: {self._process.exitcode}"
        self.stop()
        self.start()
        return problem


def test_an_extract_is_read_or_refused(extract: bytes, tmp_path: Path) -> None:
    reader = Reader(tmp_path / "a.osm.pbf")

    @given(damaged_bytes(extract) | st.binary())
    @example(extract)
    @example(extract.replace(b"building", b"buil\0ing"))
    @example(extract.replace(b"bridge", b"bri\xffge"))
    @settings(patient, deadline=None)
    def read(content: bytes) -> None:
        problem = reader.problem(content)
        assert not problem, problem

    try:
        read()
    finally:
        reader.stop()


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
    monkeypatch.setattr(stac_io, "MOST_PAGE_BYTES", 1 << 20)
    text = '{"features": "' + "x" * (1 << 22) + '"}'
    with StacServer([{"collection": "x"}]) as server:
        headers = {"Content-Encoding": "gzip"} if packed else {}
        body = gzip.compress(text.encode()).decode("latin-1") if packed else text
        monkeypatch.setattr(
            server, "_send", lambda handler, status, body, headers: _send(handler, body, headers)
        )
        server.faults += [Answer("/v1", 200, body, headers)]
        with pytest.raises(PermanentFault, match="endless_answer"):
            RetryingStacIO(RetryPolicy(3), OWN).read_json(server.url)
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
        with http_session.bounded_session(5.0, OWN) as session:
            bounded = session.get(server.url, timeout=5)
        assert bounded.json() == plain.json()


def test_a_composite_that_expands_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expand, "MOST_BYTES", 1 << 22)
    path = tmp_path / "vnl.tif.gz"
    path.write_bytes(gzip.compress(bytes(1 << 24)))
    with pytest.raises(InvalidInputError, match="expands to more than"):
        expand.expanded(str(path), str(tmp_path / "expanded"))
    assert not any((tmp_path / "expanded").iterdir())
