"""The format `geotiff`: labels and images as GeoTIFFs, a table of the cells, a STAC catalogue, a QGIS project."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from beam_pipeline.exchange.cell_row import CellRow
from beam_pipeline.exchange.class_names import SUFFIX, names_xml
from beam_pipeline.exchange.format import Format
from beam_pipeline.exchange.geotiff import GRIDS, image_tiff, label_tiff, scl_tiff
from beam_pipeline.exchange.geotiff_layout import cell_folder, image_key, image_name, item_name, label_name
from beam_pipeline.exchange.geotiff_whole import WHOLE_FILES, write_whole_files
from beam_pipeline.exchange.label_classes import LabelChannel, label_channels
from beam_pipeline.exchange.output import ShardOutput, WholeOutput
from beam_pipeline.exchange.record import ShardRecord
from beam_pipeline.exchange.source import SourceDataset, SourceExample
from beam_pipeline.exchange.stac import item_json
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.description import Shard
from beam_pipeline.records.example import CellYear
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.gdal_drivers import gdal_options

INEXACT = "inexact_bounds"
"""Reason of cells that are left out: their chip lies only nearly where its bounds say, and a map must not."""


@dataclasses.dataclass(frozen=True)
class GeoTiff(Format):
    """Cloud-optimised GeoTIFFs, GeoParquet, STAC and QGIS."""

    name = "geotiff"
    help = "cloud-optimised GeoTIFFs with a STAC catalogue, a table of the cells and a QGIS project"
    whole_files = WHOLE_FILES

    def check(self, source: SourceDataset) -> None:
        """Refuses a dataset none of whose chips has exact bounds."""
        counts = source.content.get("splits", {})
        there = [counts.get(split, {}) for split in source.splits]
        cells, inexact = (sum(it.get(key) or 0 for it in there) for key in ("cells", "cells_inexact"))
        if cells and cells == inexact:
            raise InvalidInputError(
                "--format geotiff needs chips that lie where their bounds say, and of this dataset none does: it was "
                "imported from files that say it to some metres. Choose another format. "
                f"Received: {source.folder.path}"
            )

    def write_shard(
        self, source: SourceDataset, shard: Shard, examples: Iterator[SourceExample], output: ShardOutput
    ) -> list[Any]:
        """Writes labels, images and items of each cell; returns the rows of the table of cells."""
        channels = channels_of(source)
        rows = []
        with gdal_options():  # each file would else make its own
            for _, of_cell in itertools.groupby(examples, lambda example: example.cell_year.cell.cell_id):
                years = list(of_cell)
                if not all(it.cell_year.bounds_exact for it in years):
                    output.leave_out(INEXACT)
                elif _differ(years):
                    cell_id = years[0].cell_year.cell.cell_id
                    detail = f"cell {cell_id} has other labels or another chip in one year than in another"
                    output.dead_letter(cell_id, None, "cell_differs", detail)
                else:
                    rows.append(_write_cell([it.cell_year for it in years], channels, output))
        return rows

    def finish(self, source: SourceDataset, records: Iterable[ShardRecord], output: WholeOutput) -> None:
        """Writes catalogues, mosaics, tables and the project."""

        def rows() -> Iterator[CellRow]:
            return (CellRow.from_json(row) for record in records for row in record.content or ())

        write_whole_files(rows, channels_of(source), source.years, output)


def channels_of(source: SourceDataset) -> tuple[LabelChannel, ...]:
    """Returns the channels of a dataset's label images."""
    return label_channels(CategoryTable.from_ontology(source.description.ontology))


def _differ(years: Sequence[SourceExample]) -> bool:
    first = years[0].cell_year
    return any(
        it.cell_year.cell != first.cell or not np.array_equal(it.cell_year.label, first.label)
        for it in years[1:]
    )


def _write_cell(
    years: Sequence[CellYear], channels: Sequence[LabelChannel], output: ShardOutput
) -> list[Any]:
    cell = years[0].cell
    folder = cell_folder(cell.tile, cell.cell_id)

    def write(name: str, content: bytes) -> str:
        output.write(f"{folder}/{name}", content)
        return f"./{name}"

    labels = {it.stem: write(label_name(it.stem), label_tiff(years[0], it)) for it in channels}
    for channel in channels:
        write(label_name(channel.stem) + SUFFIX, names_xml(channel.classes))
    for cell_year in years:
        hrefs = dict(labels)
        for slot in range(len(cell_year.images)):
            for grid in GRIDS:
                name = image_name(cell_year.year, slot, grid)
                hrefs[image_key(slot, grid)] = write(name, image_tiff(cell_year, slot, grid))
            name = image_name(cell_year.year, slot, "scl")
            hrefs[image_key(slot, "scl")] = write(name, scl_tiff(cell_year, slot))
            output.count("images")
        write(item_name(cell.cell_id, cell_year.year), item_json(cell_year, channels, hrefs))
    output.wrote_cell(cell.cell_id)
    return CellRow.of(years, channels).to_json()
