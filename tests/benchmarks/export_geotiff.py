"""How fast a dataset is exported as GeoTIFFs, beside rasterio alone, and what writing the rest takes at the end.

    python tests/benchmarks/export_geotiff.py [--check]

The first part exports made-up cells with two images, and then writes the same pixels with the same facts to the same
disk with rasterio, in one process: by the driver for cloud-optimised GeoTIFFs, and by the plain one with the options of
ours. The export also decodes PNG, writes items and names of classes, and waits for the disk. Rates are cells a CPU
second. The second part writes catalogues, mosaics, tables and the project of as many cells as were published, in as
many tiles as they may lie in. Under --check the exit code is 1 when a bound is missed.
"""

import argparse
import itertools
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from beam_pipeline.cells.cell import SPLITS, Cell, ChipWindow
from beam_pipeline.cells.mgrs_tiles import find_tile, tile_table
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.exchange.cell_row import CellRow, ImageFacts
from beam_pipeline.exchange.geotiff_format import GeoTiff
from beam_pipeline.exchange.geotiff_whole import write_whole_files
from beam_pipeline.exchange.label_classes import label_channels
from beam_pipeline.exchange.output import WholeOutput
from beam_pipeline.exchange.settings import ExportSettings
from beam_pipeline.exchange.shard import export_shard
from beam_pipeline.exchange.source import open_source
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.gdal_drivers import gdal_options, rasterio
from tests.model_tf.made_dataset import ONTOLOGY, made_cell_years, table_of, write_dataset

MIN_RATIO = 0.9
"""Least pace of the export, as a share of rasterio's alone."""

MOST_MB = 500
"""Most memory of the whole process after the second part."""

_CELLS = 24
_ROUNDS = 3
_WHOLE_CELLS, _WHOLE_TILES = 137_045, 13_170
_CHIP_M, _A_ROW = 1920, 50


def cpu() -> float:
    """Returns the CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def export_once(dataset: str, output: str) -> None:
    """Exports all shards, without what is written once."""
    source = open_source(DatasetFolder(Disk(), dataset), SPLITS)
    settings = ExportSettings(
        dataset=dataset,
        output=output,
        format=GeoTiff(),
        splits=source.splits,
        source_fingerprint=source.fingerprint,
    )
    for shard in source.shards:
        export_shard(Disk(), settings, source, shard)


def read_all(folder: Path) -> list[tuple[dict[str, Any], Any, dict[str, Any]]]:
    """Returns profile, pixels and facts of every GeoTIFF."""
    found = []
    for path in sorted(folder.rglob("*.tif")):
        with rasterio.open(path) as tiff:
            profile = {**tiff.profile, "tiled": True}
            if tiff.dtypes[0] == "uint16":
                profile.update(predictor=2, zlevel=1)
            facts = {
                "descriptions": tiff.descriptions,
                "scales": tiff.scales,
                "offsets": tiff.offsets,
                "colorinterp": tiff.colorinterp,
            }
            colours = tiff.colormap(1) if tiff.colorinterp[0].name == "palette" else None
            tags = [tiff.tags(number) for number in (0, *tiff.indexes)]
            found.append((profile, tiff.read(), {"facts": facts, "colours": colours, "tags": tags}))
    return found


def write_all(files: Sequence[tuple[dict[str, Any], Any, dict[str, Any]]], folder: Path, driver: str) -> None:
    """Writes GeoTIFFs with rasterio alone."""
    with gdal_options():
        for number, (profile, pixels, more) in enumerate(files):
            if driver == "COG":
                wanted = ("width", "height", "count", "dtype", "nodata", "crs", "transform", "compress")
                smallest = {"driver": driver, "blocksize": max(128, profile["width"])}  # of this driver
                profile = {**{key: profile[key] for key in wanted}, **smallest}
                profile["predictor"] = "YES" if more["facts"]["scales"][0] != 1 else "NO"
            with rasterio.open(folder / f"{number}.tif", "w", **profile) as tiff:
                for name, value in more["facts"].items():
                    setattr(tiff, name, value)
                if more["colours"]:
                    tiff.write_colormap(1, more["colours"])
                for band, tags in enumerate(more["tags"]):
                    tiff.update_tags(band, **tags)
                tiff.write(pixels)


def pace() -> float:
    """Prints and returns the pace of the export as a share of rasterio's."""
    taken: dict[str, list[float]] = {"ours": [], "COG": [], "GTiff": []}
    with tempfile.TemporaryDirectory() as folder:
        cells = made_cell_years(range(_CELLS), [2020])
        dataset = write_dataset(f"{folder}/set", {"training": [cells]})
        for number in range(_ROUNDS):
            before = cpu()
            export_once(dataset, f"{folder}/out{number}")
            taken["ours"].append(cpu() - before)
            files = read_all(Path(folder, f"out{number}"))
            for driver in ("COG", "GTiff"):
                target = Path(folder, f"{driver}{number}")
                target.mkdir()
                before = cpu()
                write_all(files, target, driver)
                taken[driver].append(cpu() - before)
    best = {way: min(times) for way, times in taken.items()}
    print(f"{len(files)} GeoTIFFs of {_CELLS} cells         cells a CPU second  export / it")
    for way, title in (
        ("COG", "rasterio alone, its driver COG"),
        ("GTiff", "rasterio alone, driver GTiff"),
        ("ours", "export"),
    ):
        print(f"  {title:32} {_CELLS / best[way]:14.1f} {best[way] / best['ours']:16.2f}")
    print(f"  bound of export / driver COG: {MIN_RATIO}")
    return best["COG"] / best["ours"]


def made_rows() -> Iterator[CellRow]:
    """Yields as many cells as the published dataset has, over as many tiles."""
    names = [name.decode() for name in tile_table().names[:: len(tile_table().names) // _WHOLE_TILES]]
    per_tile = [
        list(group)
        for _, group in itertools.groupby(range(_WHOLE_CELLS), lambda n: n * _WHOLE_TILES // _WHOLE_CELLS)
    ]
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


def whole() -> float:
    """Prints what the end takes; returns the peak of memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        channels = label_channels(table_of(ONTOLOGY))
        output = WholeOutput(Disk(), folder)
        began, before = time.perf_counter(), cpu()
        write_whole_files(made_rows, channels, [2020], output)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"\nwritten once, for {_WHOLE_CELLS:,} cells in {_WHOLE_TILES:,} tiles: {len(output.sizes):,} files, "
            f"{sum(output.sizes.values()) / 1e6:,.0f} MB\n  {cpu() - before:,.0f} s of CPU, "
            f"{time.perf_counter() - began:,.0f} s, peak of the process {peak:,.0f} MB, bound {MOST_MB}"
        )
        for name in ("collection.json", "cells.parquet", "cells.gpkg", "opensentinelmap.qgz"):
            print(f"  {name:20} {output.sizes[name] / 1e6:8.2f} MB")
        vrts = [size for name, size in output.sizes.items() if name.startswith("zones/")]
        print(f"  {len(vrts)} mosaics of zones, the largest {max(vrts) / 1e6:.2f} MB")
    return peak


def main() -> int:
    """Runs both parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bound is missed")
    parser.add_argument("--skip_whole", action="store_true", help="leave out the second part")
    given = parser.parse_args()
    ratio = pace()
    peak = 0.0 if given.skip_whole else whole()
    return int(given.check and (ratio < MIN_RATIO or peak > MOST_MB))


if __name__ == "__main__":
    sys.exit(main())
