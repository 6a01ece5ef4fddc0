import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.cells.cell import SPLITS, Cell, ChipWindow
from beam_pipeline.dataset.units import Unit, make_units, units_text
from beam_pipeline.runtime.parsing import MalformedError

TILES = {"31UFT": "training", "31UFU": "training", "31UGT": "validation", "05QKB": "testing"}


def cell(cell_id: int, tile: str) -> Cell:
    bounds = (1 / 3 + cell_id, 1 / 3 + cell_id + 0.1, -1e-9 * cell_id, 0.1)
    return Cell(cell_id, tile, TILES[tile], ChipWindow(32631, 60 * cell_id, 120), *bounds)  # type: ignore[arg-type]


cells = st.lists(
    st.tuples(st.integers(0, 10**9), st.sampled_from(sorted(TILES))), unique_by=lambda pair: pair[0]
).map(lambda pairs: [cell(*pair) for pair in pairs])


@given(cells, st.integers(1, 5), st.randoms())
def test_units_hold_every_cell_once_whatever_the_order(given_cells, per_shard, random) -> None:
    units = make_units(given_cells, per_shard)
    assert sorted((c for unit in units for c in unit.cells), key=lambda c: c.cell_id) == sorted(
        given_cells, key=lambda c: c.cell_id
    )
    for unit in units:
        assert 1 <= len(unit.cells) <= per_shard
        assert {(c.tile, c.split) for c in unit.cells} == {(unit.tile, unit.split)}
        assert [c.cell_id for c in unit.cells] == sorted(c.cell_id for c in unit.cells)
    shuffled = list(given_cells)
    random.shuffle(shuffled)
    assert make_units(shuffled, per_shard) == units


@given(cells, st.integers(1, 5))
def test_text_round_trips_exactly(given_cells, per_shard) -> None:
    units = make_units(given_cells, per_shard)
    assert [Unit.from_json(line) for line in units_text(units).splitlines()] == units


def test_names_count_within_the_split() -> None:
    units = make_units([cell(i, tile) for i, tile in enumerate(["31UFT"] * 3 + ["31UFU", "05QKB"])], 2)
    assert [unit.name for unit in units] == [
        "opensentinelmap-training.tfrecord-00000-of-00003",
        "opensentinelmap-training.tfrecord-00001-of-00003",
        "opensentinelmap-training.tfrecord-00002-of-00003",
        "opensentinelmap-testing.tfrecord-00000-of-00001",
    ]
    assert [unit.split for unit in units] == [*[SPLITS[0]] * 3, SPLITS[2]]


LINE = {
    "name": "opensentinelmap-training.tfrecord-00000-of-00001",
    "split": "training",
    "tile": "31UFT",
    "cells": [[7, 32631, 60, 120, 4.5, 4.6, 50, 50.1]],
}


def test_a_whole_number_of_degrees_stays_one() -> None:
    unit = Unit.from_json(json.dumps(LINE))
    assert unit.to_json() == json.dumps(LINE)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "../shard"}, "../shard"),
        ({"split": "testing"}, "split 'testing'"),
        ({"split": "holdout"}, "split"),
        ({"tile": "31uft"}, "tile"),
        ({"tile": "31UFT\n"}, "tile"),
        ({"cells": [[7, 32631, 60, 120, 4.5, 4.6, 50]]}, r"cells[0][7]"),
        ({"cells": [[7, 32631, 60.0, 120, 4.5, 4.6, 50, 50.1]]}, r"cells[0][2]"),
        ({"cells": [[7, 32631, 60, 120, 4.5, 4.6, 50, 2**53]]}, r"cells[0][7]"),
        ({"cells": [[7, 32631, 60, 120, 4.5, 4.6, 50, float("nan")]]}, r"cells[0][7]"),
        ({"cells": [[True, 32631, 60, 120, 4.5, 4.6, 50, 50.1]]}, r"cells[0][0]"),
        ({"cells": 3}, "cells"),
    ],
)
def test_what_is_wrong_with_a_line_is_named(change, field) -> None:
    with pytest.raises(MalformedError) as caught:
        Unit.from_json(json.dumps({**LINE, **change}))
    assert field in str(caught.value)
    assert "\n" not in str(caught.value)
