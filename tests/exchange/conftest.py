"""Made-up datasets that are exported without Beam."""

import dataclasses
from pathlib import Path

import pytest

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.exchange.closing import ExportSummary, close_export, read_summary
from beam_pipeline.exchange.format import Format
from beam_pipeline.exchange.settings import ExportSettings
from beam_pipeline.exchange.shard import export_shard, finished_record
from beam_pipeline.exchange.source import open_source
from beam_pipeline.records.example import CellYear
from beam_pipeline.runtime.disk import Disk
from tests.model_tf.made_dataset import made_cell_years, write_dataset

YEARS = (2020, 2021)
CELLS = {"training": ([1, 2], [3]), "testing": ([4],)}
SINGLES = [(2, 2020), (2, 2021), (3, 2020)]
"""(cell, year) of one image: cell 2 has one in each year, cell 3 three in all."""


def dated(cell_year: CellYear) -> CellYear:
    """Gives each image a date of its year, and the id that Earth Search gives an item."""
    images = [
        dataclasses.replace(
            image,
            datetime=f"{cell_year.year}-0{slot + 3}-19T11:34:25Z",
            item_id=f"S2A_33TWN_{cell_year.year}0{slot + 3}19_0_L2A",
        )
        for slot, image in enumerate(cell_year.images)
    ]
    return dataclasses.replace(cell_year, images=tuple(images))


@pytest.fixture(scope="session")
def made() -> dict[str, list[list[CellYear]]]:
    """The cell-years by split and shard."""
    return {
        split: [[dated(it) for it in made_cell_years(ids, YEARS, split, SINGLES)] for ids in shards]
        for split, shards in CELLS.items()
    }


@pytest.fixture(scope="session")
def dataset(made: dict[str, list[list[CellYear]]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of them. Tests that change files take a copy."""
    return Path(write_dataset(tmp_path_factory.mktemp("made") / "set", made))


def settings_of(dataset: Path, output: Path, chosen: Format, splits: tuple = SPLITS) -> ExportSettings:
    source = open_source(DatasetFolder(Disk(), str(dataset)), splits)
    return ExportSettings(
        dataset=str(dataset),
        output=str(output),
        format=chosen,
        splits=source.splits,
        source_fingerprint=source.fingerprint,
    )


def export(dataset: Path, output: Path, chosen: Format, splits: tuple = SPLITS) -> ExportSummary:
    """Exports a dataset as the job does, in this process."""
    settings, files = settings_of(dataset, output, chosen, splits), Disk()
    source = open_source(DatasetFolder(files, str(dataset)), splits)
    for shard in source.shards:
        if finished_record(files, settings, shard.name) is None:
            export_shard(files, settings, source, shard)
    close_export(files, settings, source)
    return read_summary(files, str(output))


@pytest.fixture(scope="session")
def georeferenced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export as GeoTIFFs, of chips here and there on the map. Tests that change files take a copy."""
    from tests.exchange.georeferenced import export_made

    return export_made(tmp_path_factory.mktemp("georeferenced"))
