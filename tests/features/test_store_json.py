import dataclasses

import pytest

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.features.footer import ExtractFailure, TileFooter, WrittenFile
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest
from beam_pipeline.features.notices import store_licences_md
from beam_pipeline.features.piece import LeftOut
from beam_pipeline.features.store_json import (
    Store,
    StoreExtract,
    StoreTile,
    store_differences,
    tile_differences,
    tiles_to_compare,
)
from beam_pipeline.labels.feature import Dropped
from beam_pipeline.runtime.parsing import MalformedError

A, B = (ExtractIdentity(f"{name}.osm.pbf", 10, "2023-01-01T00:00:00Z") for name in "ab")
CHIPS = {i: ChipWindow(32632, 540_000 + 1920 * i, 5_220_000) for i in range(4)}
REQUEST = StoreRequest(
    {"32TNT": CHIPS, "32TPT": {9: ChipWindow(32632, 600_000, 5_220_000)}}, ("building", "highway")
)


def store(request=REQUEST, **more):
    written = WrittenFile(rows=3, bytes=100, digest="0" * 64)
    fields = {
        "source": "extracts",
        "extracts": (
            StoreExtract(extract=B, bounds=None, outcome="beyond"),
            StoreExtract(
                extract=A,
                bounds=(9.0, 47.0, 10.0, 48.0),
                outcome="read",
                left_out=LeftOut.of(Dropped({"tangled": 1}, {"tangled": ("way/1",)})),
            ),
        ),
        "keys": request.keys,
        "padding_m": request.padding_m,
        "cells": 5,
        "cells_sha256": request.cells_sha256,
        "tiles": {
            tile: StoreTile.of(written, chips) for tile, chips in sorted(request.cells.items(), reverse=True)
        },
        "failures": (ExtractFailure(extract="c", reason="corrupt_extract", detail="it is", cell_ids=(1,)),),
    }
    return Store(**fields | more)


def test_it_comes_back_and_its_order_is_fixed():
    text = store().to_json()
    back = Store.from_json(text)
    assert back.to_json() == text
    assert [it.extract for it in back.extracts] == [A, B]
    assert list(back.tiles) == ["32TNT", "32TPT"]
    assert back.extracts[0].left_out.dropped() == Dropped({"tangled": 1}, {"tangled": ("way/1",)})
    other = store(extracts=store().extracts[::-1], tiles=dict(reversed(store().tiles.items())))
    assert other.to_json() == text


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema_version": "1"}', "\x00", '{"tiles": 1}'])
def test_other_content_is_refused(text):
    with pytest.raises(MalformedError):
        Store.from_json(text)


def test_a_store_that_has_more_fits():
    fewer = StoreRequest({"32TNT": {1: CHIPS[1]}}, ("building",), padding_m=500)
    assert store_differences(store(), REQUEST, {A, B}) == []
    assert store_differences(store(), fewer) == []
    assert tiles_to_compare(store(), REQUEST) == []
    assert tiles_to_compare(store(), fewer) == ["32TNT"]
    footer = TileFooter.of("32TNT", REQUEST, [A])
    assert tile_differences(footer, "32TNT", fewer, [A]) == []


def test_each_difference_of_a_store_is_named():
    assert store_differences(store(schema_version=7), REQUEST) == [
        "its schema is 7, and this version reads 2"
    ]
    asked = dataclasses.replace(
        REQUEST,
        cells={**REQUEST.cells, "33TWN": {5: CHIPS[0]}},
        keys=("building", "power", "water"),
        padding_m=700,
    )
    c = dataclasses.replace(A, name="c.osm.pbf", timestamp="")
    assert store_differences(store(), asked, [A, c]) == [
        "it lacks 2 keys power, water",
        "it reaches 600 m beyond the chips, and 700 m are needed",
        "it lacks tile 33TWN",
        "it was not made of extract c.osm.pbf (10 bytes, of no stated time)",
        "it was also made of extract b.osm.pbf (10 bytes, 2023-01-01T00:00:00Z)",
    ]


def test_each_difference_of_a_tile_is_named():
    failure = ExtractFailure(extract="c", reason="corrupt_extract", detail="it is", cell_ids=(1,))
    footer = TileFooter.of("32TNT", REQUEST, [A], [failure])
    chips = {**CHIPS, 2: CHIPS[3], **dict.fromkeys(range(20, 40), CHIPS[0])}
    asked = StoreRequest({"32TPT": chips}, ("building",))
    assert tile_differences(footer, "32TPT", asked, [B]) == [
        "it is of tile 32TNT",
        "it lacks 20 cells 20, 21, 22, 23, 24, 25, 26, 27, 28, 29 and 10 more of tile 32TPT",
        "it has elsewhere cell 2 of tile 32TPT",
        "it was not made of extract b.osm.pbf (10 bytes, 2023-01-01T00:00:00Z)",
        "it was also made of extract a.osm.pbf (10 bytes, 2023-01-01T00:00:00Z)",
        "c could not be read (corrupt_extract: it is)",
    ]
    assert TileFooter.from_json(footer.to_json()) == footer


def test_the_digest_of_cells_knows_ids_chips_and_tiles_but_no_order():
    turned = StoreRequest(
        {tile: dict(reversed(chips.items())) for tile, chips in reversed(REQUEST.cells.items())}, ()
    )
    assert turned.cells_sha256 == REQUEST.cells_sha256
    moved = {**CHIPS, 0: ChipWindow(32632, 540_060, 5_220_000)}
    for cells in (
        {"32TNT": CHIPS},
        {**REQUEST.cells, "32TNT": moved},
        {"32TNU": CHIPS, "32TPT": REQUEST.cells["32TPT"]},
    ):
        assert StoreRequest(cells, ()).cells_sha256 != REQUEST.cells_sha256


def test_the_notice_names_source_and_licence():
    text = store_licences_md()
    assert "© OpenStreetMap contributors" in text
    assert "https://opendatacommons.org/licenses/odbl/1-0/" in text
