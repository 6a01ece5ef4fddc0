"""The cells that an extract costs which cannot be read, within its stated bounds and beyond them."""

from pathlib import Path

import pytest

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.identity import ExtractIdentity, StoreRequest
from beam_pipeline.features.piece import PieceRecord
from beam_pipeline.features.plan import TileCells
from beam_pipeline.features.read_process import ReadLimits
from beam_pipeline.jobs.extract.pieces import PieceRead
from beam_pipeline.jobs.extract.settings import ExtractSettings, GivenExtract
from beam_pipeline.jobs.extract.tiles import make_tile
from beam_pipeline.labels.chip_boxes import Bounds
from beam_pipeline.labels.feature import Dropped
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.traffic import Share

TILE = "32TNT"
KEYS = ("building",)

# At 47 degrees north, 3840 m are 0.05 degrees of longitude: the cells begin at 9.0, 9.05, 9.1 and 9.15.
CELLS = TileCells(TILE, tuple((n, ChipWindow(32632, 500_040 + 3840 * n, 5_205_000)) for n in range(4)))

OF_0: Bounds = (8.9, 46.0, 9.03, 48.0)
OF_1: Bounds = (9.04, 46.0, 9.08, 48.0)
OF_0_AND_1: Bounds = (8.9, 46.0, 9.08, 48.0)
OF_NONE: Bounds = (8.7, 46.0, 8.9, 48.0)


def cells_lost(
    folder: Path, broken: dict[str, Bounds | None], read: dict[str, Bounds | None]
) -> dict[str, tuple[int, ...]]:
    """Makes the file of the tile; returns the cells that each broken extract costs, as the file says."""
    bounds = {**broken, **read}
    extracts = {name: GivenExtract(name, ExtractIdentity(name, 1, ""), bounds[name]) for name in bounds}
    settings = ExtractSettings(
        output=str(folder),
        store=str(folder),
        extracts=tuple(extracts.values()),
        overpass=None,
        keys=KEYS,
        make_all=True,
        limits=ReadLimits(),
        api=Share(),
        files=Share(),
    )
    request = StoreRequest({TILE: CELLS.chips}, KEYS)
    nothing = Dropped({}, {})
    pieces = [PieceRead(extracts[name].identity, None, ("corrupt_extract", name)) for name in broken]
    pieces += [
        PieceRead(it.identity, PieceRecord.of(it.identity, it.bounds, request, {}, nothing))
        for it in (extracts[name] for name in read)
    ]
    state = make_tile(DatasetFolder(Disk(), str(folder)), CELLS, pieces, settings)
    return {it.extract: it.cell_ids for it in state.failures}


@pytest.mark.parametrize(
    ("broken", "read", "lost"),
    [
        ({"a": OF_0}, {"b": OF_0_AND_1}, {"a": (0, 2, 3)}),
        ({"a": OF_0}, {"b": OF_1}, {"a": (0, 2, 3)}),
        # Its bounds may be too small: what of it lies in the cells that nothing else holds is not known.
        ({"a": OF_0}, {}, {"a": (0, 1, 2, 3)}),
        ({"a": OF_NONE}, {}, {"a": (0, 1, 2, 3)}),
        ({"a": OF_NONE}, {"b": OF_0_AND_1}, {"a": (2, 3)}),
        ({"a": OF_NONE}, {"b": (8.0, 46.0, 10.0, 48.0)}, {"a": ()}),
        # An extract that does not say where it lies may hold all of them, which the launch warns of.
        ({"a": OF_0}, {"b": None}, {"a": (0,)}),
        ({"a": None}, {"b": (8.0, 46.0, 10.0, 48.0)}, {"a": (0, 1, 2, 3)}),
        ({"a": OF_0, "b": OF_1}, {}, {"a": (0, 1, 2, 3), "b": (0, 1, 2, 3)}),
        ({"a": OF_0, "b": OF_1}, {"c": OF_0}, {"a": (0, 1, 2, 3), "b": (1, 2, 3)}),
        # More than a degree away it is not read, broken or not.
        ({"a": OF_0}, {"b": OF_0_AND_1, "far": (12.0, 46.0, 13.0, 48.0)}, {"a": (0, 2, 3)}),
        ({}, {"b": OF_0}, {}),
    ],
)
def test_a_broken_extract_costs_the_cells_within_its_bounds_and_those_that_no_other_holds(
    tmp_path: Path,
    broken: dict[str, Bounds | None],
    read: dict[str, Bounds | None],
    lost: dict[str, tuple[int, ...]],
) -> None:
    assert cells_lost(tmp_path, broken, read) == lost
