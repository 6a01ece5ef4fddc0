"""Whatever a foreign file holds, reading it ends in success or in the error that is meant for it."""

import dataclasses
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_pipeline.audit.examples import Expected
from beam_pipeline.audit.shards import UnitAudit
from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.cells.table import format_cells_csv, parse_cells_csv
from beam_pipeline.dataset.commits import committed_summary
from beam_pipeline.dataset.folder import DatasetFolder, description_json
from beam_pipeline.dataset.summary import UnitSummary, summarise
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery import catalog
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.imagery.image import BANDS, SCL
from beam_pipeline.imagery.scenes import SceneList
from beam_pipeline.imagery.stac_io import RetryingStacIO
from beam_pipeline.imagery.stac_item import EARTH_SEARCH_V1_KEYS, parse_item
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.ontology_json import KINDS
from beam_pipeline.records.example import CellYear, decode, encode
from beam_pipeline.records.png import decode_png, encode_png
from beam_pipeline.records.schema import FEATURES
from beam_pipeline.records.shards import parse_shard, shard_name, summary_path
from beam_pipeline.records.version import CURRENT
from beam_pipeline.runtime.faults import Fault, InvalidInputError, PermanentFault
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.retries import RetryPolicy
from tests.fuzz.foreign import NASTY, damaged, values
from tests.records.builders import make_assembled, make_cell, make_cell_year

# A hang is a failure: no input may take a minute, however busy the machine is.
patient = settings(deadline=60_000, suppress_health_check=[HealthCheck.function_scoped_fixture])

ITEM = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "id": "S2B_33TWN_20200601_0_L2A",
    "collection": "sentinel-2-l2a",
    "bbox": [14.9, 46.8, 16.5, 47.9],
    "geometry": None,
    "properties": {
        "datetime": "2020-06-01T10:00:31.123Z",
        "platform": "sentinel-2b",
        "grid:code": "MGRS-33TWN",
        "s2:mgrs_tile": "33TWN",
        "s2:processing_baseline": "05.00",
        "s2:datastrip_id": "S2B_OPER_MSI_L2A_DS_VGS2_20200601T120000_S20200601T100029_N05.00",
        "s2:generation_time": "2022-12-01T00:00:00Z",
        "earthsearch:boa_offset_applied": False,
        "eo:cloud_cover": 12.5,
    },
    "links": [{"rel": "self", "href": "https://example.org/items/a.json"}],
    "assets": {
        EARTH_SEARCH_V1_KEYS[band]: {"href": f"https://example.org/{band}.tif?sig=1"}
        for band in (*BANDS, SCL)
    },
}
CELLS = format_cells_csv([make_cell(tile="56HLH")])
ONTOLOGY = json.loads(DEFAULT_ONTOLOGY.read_text())
PAYLOAD = encode(make_cell_year())
NAME = shard_name("training", 0, 1)
UNIT = Unit(NAME, "training", "56HLH", (make_cell(1),))
SUMMARY = json.loads(
    summarise(make_assembled(UNIT, 2, rejections={"no_items": [(1, 2019), (1, 2020)]})).to_json()
)

WITH_CONTENTS = {
    **SUMMARY,
    "coastal_cells": [1],
    "contents": [{"cell_id": 1, "labels": [[0, 254, 255, 36863], [11, 13, 14, 1]], "images": [[2019, 2, 5]]}],
}


def outcome(call: Callable[[], object], *meant: type[Exception]) -> object:
    """Returns the result of a call, or the error of the kind that is meant for it; any other is raised."""
    try:
        return call()
    except meant as error:
        return error


@pytest.mark.parametrize("asset", [None, "x.tif", [], 7, {}, {"href": None}, {"href": 7}])
def test_an_asset_that_is_none_makes_a_bad_item(asset: object) -> None:
    item = {**ITEM, "assets": {**ITEM["assets"], "red": asset}}
    with pytest.raises(PermanentFault) as raised:
        parse_item(item, "33TWN")
    assert raised.value.reason == "bad_item"


@pytest.mark.parametrize("href", ["http://[x/a.tif", "http://[::1/a.tif", "a\0.tif", "a\n.tif", "\ud800.tif"])
def test_an_href_that_is_no_url_is_unreadable(href: str) -> None:
    item = {**ITEM, "assets": {**ITEM["assets"], "red": {"href": href}}}
    with pytest.raises(PermanentFault) as raised:
        parse_item(item, "33TWN")
    assert raised.value.reason == "unreadable_href"


@given(damaged(ITEM) | values)
@patient
def test_a_stac_item_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, item: object) -> None:
    if isinstance(item, dict):
        outcome(lambda: parse_item(item, "33TWN"), PermanentFault)
    folder = tmp_path_factory.mktemp("items")
    (folder / "a.json").write_text(json.dumps(item))
    (folder / "b.json").write_text(json.dumps(ITEM))
    try:
        catalog.check_catalog(CatalogSettings(str(folder), "sentinel-2-l2a"))
        found = catalog.find_scenes(CatalogSettings(str(folder), "sentinel-2-l2a"), "33TWN", 2020, seed=0)
    except InvalidInputError:
        return
    assert SceneList.from_json(found.to_json()) == found.without_secrets()
    assert "sig=1" not in found.to_json()
    assert len(found.scenes) + len(found.refused) + found.duplicates == found.found
    # What is noted of an item goes into dataset.json, and what is stored of it into records.
    description_json({"notes": [[note.item_id, note.reason, note.detail] for note in found.refused]}).encode()
    for scene in found.scenes:
        "".join((scene.item_id, scene.platform, scene.baseline, *scene.assets.values())).encode()


_API = "https://example.org/v1"
_CONFORMS = [
    f"https://api.stacspec.org/v1.0.0/{part}" for part in ("core", "item-search", "item-search#query")
]
LANDING = {
    "type": "Catalog",
    "stac_version": "1.0.0",
    "id": "x",
    "description": "x",
    "conformsTo": _CONFORMS,
    "links": [
        {"rel": "self", "href": _API},
        {"rel": "root", "href": _API},
        {"rel": "search", "href": f"{_API}/search", "type": "application/geo+json", "method": "POST"},
    ],
}
PAGE = {
    "type": "FeatureCollection",
    "features": [ITEM],
    "links": [{"rel": "next", "href": f"{_API}/search?2"}],
}
LAST = {"type": "FeatureCollection", "features": [{**ITEM, "id": "other"}], "links": []}


@given(st.sampled_from(["landing", "page", "last"]), st.data())
@patient
def test_a_stac_api_is_understood_or_refused(
    monkeypatch: pytest.MonkeyPatch, which: str, data: st.DataObject
) -> None:
    answers = {"landing": LANDING, "page": PAGE, "last": LAST}
    answers[which] = data.draw(damaged(answers[which]) | values)

    def answer(self: RetryingStacIO, href: str, *_: object, **__: object) -> str:
        kind = "last" if href.endswith("?2") else "page" if "search" in href else "landing"
        return json.dumps(answers[kind])

    monkeypatch.setattr(RetryingStacIO, "request", answer)
    settings = CatalogSettings(_API, "sentinel-2-l2a")
    for launched in (False, True):
        try:
            if launched:
                info = catalog.check_catalog(settings, RetryPolicy(1), years=(2020,))
                settings = dataclasses.replace(settings, profile=info.profile)
            found = catalog.find_scenes(settings, "33TWN", 2020, 0, None, RetryPolicy(1))
        except (InvalidInputError, Fault):
            continue
        assert SceneList.from_json(found.to_json()) == found.without_secrets()


@given(damaged(ONTOLOGY) | values)
@patient
def test_an_ontology_is_loaded_or_refused(document: object) -> None:
    ontology = outcome(lambda: Ontology.load(json.dumps(document)), InvalidInputError)
    if isinstance(ontology, InvalidInputError):
        assert "Received" in str(ontology)
        return
    assert isinstance(ontology, Ontology)
    assert ontology.sha256
    assert ontology.reach_m >= 0
    for kind in KINDS:
        ontology.layers_of(kind, [("natural", "wood;scrub"), ("\0", "")])
    description_json({label.name: label.value for label in ontology.labels}).encode()


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
@patient
def test_an_ontology_may_be_any_text(text: str) -> None:
    with pytest.raises(InvalidInputError):
        Ontology.load(text)


@st.composite
def damaged_csv(draw: st.DrawFn, table: str = CELLS) -> str:
    rows = [line.split(",") for line in table.splitlines()]
    rows += [list(rows[1])] * draw(st.integers(0, 1))
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.sampled_from(rows))
        texts = st.sampled_from([str(value) for value in NASTY] + ["nan", "1e400", "1_0", '"', "\r", "-0"])
        row[draw(st.integers(0, len(row) - 1))] = draw(texts | st.integers().map(str) | st.text(max_size=8))
    if draw(st.booleans()):
        rows[0] = rows[0][: draw(st.integers(1, len(rows[0])))]
    return "\n".join(map(",".join, rows))


@given(damaged_csv() | st.text())
@patient
def test_a_cells_file_is_read_or_refused(text: str) -> None:
    cells = outcome(lambda: parse_cells_csv(text, "cells.csv"), InvalidInputError)
    if isinstance(cells, InvalidInputError):
        assert str(cells).startswith("cells.csv")
        return
    assert isinstance(cells, list)
    assert parse_cells_csv(format_cells_csv(cells), "again") == sorted(cells, key=lambda cell: cell.cell_id)
    assert all(cell.split in SPLITS for cell in cells)


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    raw = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(raw)))
        action = draw(st.sampled_from(["flip", "cut", "insert", "drop"]))
        if action == "flip" and place < len(raw):
            raw[place] ^= draw(st.integers(1, 255))
        elif action == "cut":
            del raw[place:]
        elif action == "insert":
            raw[place:place] = draw(st.binary(max_size=8))
        else:
            del raw[place : place + draw(st.integers(1, 8))]
    return bytes(raw)


@given(damaged_bytes(PAYLOAD) | st.binary())
@patient
def test_an_example_is_decoded_or_corrupt(payload: bytes) -> None:
    example = outcome(lambda: decode(payload), PermanentFault)
    if isinstance(example, PermanentFault):
        assert example.reason in ("corrupt_example", "corrupt_png")
    else:
        assert isinstance(example, CellYear)
    with pytest.raises(PermanentFault) as raised:  # a shard is no example, nor is an example a shard
        list(parse_shard(io.BytesIO(payload or b"x"), "x"))
    assert raised.value.reason == "corrupt_shard"


@given(damaged_bytes(encode_png(np.arange(24, dtype=np.uint16).reshape(3, 4, 2))) | st.binary())
@patient
def test_a_png_is_decoded_or_corrupt(content: bytes) -> None:
    pixels = outcome(lambda: decode_png(content), PermanentFault)
    if isinstance(pixels, PermanentFault):
        assert pixels.reason == "corrupt_png"
    else:
        assert isinstance(pixels, np.ndarray)
        assert pixels.ndim == 3


@pytest.mark.parametrize("side", [16, 192, 60_000])
def test_a_png_that_unpacks_to_more_than_it_says_is_refused(side: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        )

    header = side.to_bytes(4, "big") * 2 + bytes([16, 0, 0, 0, 0])
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    bomb += chunk(b"IDAT", zlib.compress(bytes(1 << 26))) + chunk(b"IEND", b"")
    with pytest.raises(PermanentFault, match="corrupt_png"):
        decode_png(bomb)


@given(damaged(SUMMARY) | values)
@patient
def test_a_damaged_summary_makes_a_unit_that_is_not_done(
    tmp_path_factory: pytest.TempPathFactory, summary: object
) -> None:
    folder, files = tmp_path_factory.mktemp("set"), BeamFiles()
    (folder / NAME).write_bytes(b"")
    path = Path(summary_path(str(folder), NAME))
    path.parent.mkdir()
    path.write_text(json.dumps(summary))
    if committed_summary(DatasetFolder(files, str(folder)), NAME, "") is not None:
        assert UnitSummary.from_json(path.read_text()).num_bytes == 0
    features = frozenset(FEATURES)
    expected = Expected((2019, 2020), None, True, "", CURRENT, features, FilterSettings())
    part = UnitAudit(DatasetFolder(files, str(folder)), expected)(UNIT)
    if not part.findings.kinds:
        assert part.totals.summaries == Totals.of([UnitSummary.from_json(path.read_text())]).summaries


@given(damaged(WITH_CONTENTS))
@patient
def test_whatever_a_summary_says_of_cells_is_added_up_or_refused(summary: object) -> None:
    read = outcome(lambda: UnitSummary.from_json(json.dumps(summary)), MalformedError)
    if isinstance(read, UnitSummary):
        cells = len(read.contents or ()) if read.status == "written" else 0
        counts = Totals.of([read]).labelled_cells()["cells_by_split"]
        assert sum(map(sum, counts.values())) == cells
        assert UnitSummary.from_json(read.to_json()) == read
