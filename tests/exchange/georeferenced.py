"""A made-up dataset of chips here and there on the map, exported as GeoTIFFs once for all tests."""

import dataclasses
from pathlib import Path

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.exchange.geotiff_format import GeoTiff
from beam_pipeline.records.example import CellYear
from tests.exchange.conftest import YEARS, dated, export
from tests.model_tf.made_dataset import made_cell_years, write_dataset

ACROSS = 5
"""The cell whose chip crosses the antimeridian."""

CHIPS = {
    1: ("33TWN", ChipWindow(32633, 300_000, 5_000_040)),
    2: ("33TWN", ChipWindow(32633, 301_920, 5_000_040)),
    3: ("33TWN", ChipWindow(32633, 303_780, 5_001_900)),  # lies over a corner of 2
    4: ("34TBT", ChipWindow(32634, 300_000, 5_000_040)),
    ACROSS: ("60KXF", ChipWindow(32760, 818_520, 8_117_020)),
}
SPLITS = {"training": ([1, 2, 3], [4]), "testing": ([ACROSS],)}
SINGLES = [(2, 2020), (ACROSS, 2021)]


def cell_years() -> dict[str, list[list[CellYear]]]:
    """By split and shard; every cell has its own chip."""
    return {
        split: [[_placed(dated(it)) for it in made_cell_years(ids, YEARS, split, SINGLES)] for ids in shards]
        for split, shards in SPLITS.items()
    }


def _placed(cell_year: CellYear) -> CellYear:
    tile, chip = CHIPS[cell_year.cell.cell_id]
    cell = dataclasses.replace(cell_year.cell, tile=tile, chip=chip)
    return dataclasses.replace(cell_year, cell=cell)


def export_made(folder: Path) -> Path:
    """Writes the dataset and its export below a folder; returns the export's."""
    dataset = write_dataset(folder / "set", cell_years())
    assert export(Path(dataset), folder / "out", GeoTiff()).complete
    return folder / "out"
