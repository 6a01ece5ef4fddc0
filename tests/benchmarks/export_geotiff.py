"""Cost of what is written once at the end of an export as GeoTIFFs, for as many cells as were published.

    python tests/benchmarks/export_geotiff.py [--check] [--cells 137045] [--tiles 13170]

Catalogues, mosaics, tables and the project are written of made-up facts of cells, in as many tiles as they may lie in.
Under --check the exit code is 1 when the bound of memory is missed. `export.py` measures the pace of GeoTIFFs.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.cells.mgrs_tiles import find_tile, tile_table
from beam_pipeline.exchange.cell_row import CellRow, ImageFacts
from beam_pipeline.exchange.geotiff_whole import write_whole_files
from beam_pipeline.exchange.label_classes import label_channels
from beam_pipeline.exchange.output import WholeOutput
from beam_pipeline.runtime.disk import Disk
from tests.benchmarks.export import cpu
from tests.benchmarks.peak_memory import peak_bytes
from tests.model_tf.made_dataset import ONTOLOGY, table_of

MOST_MB = 500
"""Most memory of the process."""

_CHIP_M, _A_ROW = 1920, 50


def made_rows(cells: int, tiles: int) -> Iterator[CellRow]:
    """Yields so many cells, tile by tile."""
    names = [name.decode() for name in tile_table().names[:: len(tile_table().names) // tiles]]
    per_tile = [list(group) for _, group in itertools.groupby(range(cells), lambda n: n * tiles // cells)]
    for name, numbers in zip(names, per_tile, strict=False):
        tile = find_tile(name)
        for place, number in enumerate(numbers):
            left = tile.left + 1200 + place % _A_ROW * _CHIP_M
            bottom = tile.top - 6000 - place // _A_ROW * _CHIP_M
            cell = Cell(number, name, "training", ChipWindow(tile.epsg, left, bottom), 0.0, 1.0, 0.0, 1.0)
            images = [ImageFacts(2020, slot, f"2020-0{slot + 1}-01T00:00:00Z", "x", 0) for slot in (0, 1)]
            yield CellRow(
                cell, tuple(images), {(0, 0): 30_000, (0, 255): 6_864, (1, 255): 36_864, (2, 255): 36_864}
            )


def whole(cells: int, tiles: int) -> float:
    """Prints what the end takes; returns the peak of memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        channels = label_channels(table_of(ONTOLOGY))
        output = WholeOutput(Disk(), folder)
        began, before = time.perf_counter(), cpu()
        write_whole_files(lambda: made_rows(cells, tiles), channels, [2020], output)
        peak = peak_bytes() / 1e6
        print(
            f"written once, for {cells:,} cells in {tiles:,} tiles: {len(output.sizes):,} files, "
            f"{sum(output.sizes.values()) / 1e6:,.0f} MB\n  {cpu() - before:,.0f} s of CPU, "
            f"{time.perf_counter() - began:,.0f} s, peak {peak:,.0f} MB, bound {MOST_MB}"
        )
        for name in ("collection.json", "cells.parquet", "cells.gpkg", "opensentinelmap.qgz"):
            print(f"  {name:20} {output.sizes[name] / 1e6:8.2f} MB")
        vrts = [size for name, size in output.sizes.items() if name.startswith("zones/")]
        print(f"  {len(vrts)} mosaics of zones, the largest {max(vrts) / 1e6:.2f} MB")
    return peak


def main() -> int:
    """Prints what it takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when the bound is missed")
    parser.add_argument("--cells", type=int, default=137_045)
    parser.add_argument("--tiles", type=int, default=13_170)
    given = parser.parse_args()
    return int(whole(given.cells, given.tiles) > MOST_MB and given.check)


if __name__ == "__main__":
    sys.exit(main())
