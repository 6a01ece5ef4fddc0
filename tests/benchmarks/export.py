"""Pace of exporting a dataset in a format, beside writing the same files by the bare library.

    python tests/benchmarks/export.py [--format published] [--check] [--data out/sample]

An export reads shards, checks and decodes them, writes each file whole and leaves records. Its bare counterpart has
the pixels in memory and only encodes and writes them, with the function that people would use; that of webdataset
decodes the examples too, which is most of the work. Both run in this
process without Beam, and in turn; the pace is in images a CPU second, and the best of the rounds counts. Then an export
of the same dataset with its shards many times over tells whether memory grows with the number of cells. Under --check
the exit code is 1 when a bound is missed.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from rasterio.transform import from_origin

from beam_pipeline.build_dataset import main as build_dataset
from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.exchange.closing import close_export
from beam_pipeline.exchange.label_classes import LabelClass, label_channels
from beam_pipeline.exchange.registry import FORMATS
from beam_pipeline.exchange.sentinel2 import SCENE_CLASSES
from beam_pipeline.exchange.settings import ExportSettings
from beam_pipeline.exchange.shard import export_shard
from beam_pipeline.exchange.source import open_source, read_examples
from beam_pipeline.exchange.webdataset import metadata
from beam_pipeline.imagery.image import Image
from beam_pipeline.imagery.radiometry import to_reflectance
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.description import Ontology
from beam_pipeline.records.example import CellYear, decode, encode
from beam_pipeline.records.png import encode_png
from beam_pipeline.records.schema import GRID_BANDS
from beam_pipeline.records.stored_example import stored_label
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.gdal_drivers import gdal_options, rasterio
from tests.benchmarks.peak_memory import peak_bytes
from tests.model_tf.made_dataset import ONTOLOGY

MIN_PACE = 0.9
"""Least pace of an export, as a share of the bare counterpart's."""

MOST_GROWTH = 1.1
"""Most memory of an export of `_TIMES` as many shards, as a share of that of one."""

_TIMES = 8
_ROUNDS = 3


def bare_published(cell_years: list[CellYear], folder: Path) -> int:
    """Writes the images by `np.savez_compressed`."""
    images = [image for it in cell_years for image in it.images]
    for number, image in enumerate(images):
        np.savez_compressed(
            folder / f"{number}.npz",
            gsd_10=to_reflectance(image.gsd_10, image.boa_add_offset),
            gsd_20=to_reflectance(image.gsd_20, image.boa_add_offset),
            gsd_60=to_reflectance(image.gsd_60, image.boa_add_offset),
            scl=image.scl,
            bad_percent=image.bad_percent,
        )
    return len(images)


_payloads: dict[tuple[int, int], bytes] = {}


def bare_webdataset(cell_years: list[CellYear], folder: Path) -> int:
    """Decodes the examples, and writes them by webdataset's `TarWriter`; writing a .npy alone takes no time."""
    import webdataset

    images = 0
    with webdataset.TarWriter(str(folder / "bare.tar")) as writer:
        for it in cell_years:
            key = (it.cell.cell_id, it.year)
            if key not in _payloads:  # in the first round only, and the best one counts
                _payloads[key] = encode(it)
            cell_year = decode(_payloads[key])
            sample = {"__key__": f"{key[0]}_{key[1]}", "json": metadata(cell_year)}
            for slot, image in enumerate(cell_year.images):
                for grid in ("gsd_10", "gsd_20", "gsd_60"):
                    sample[f"image_{slot}.{grid}.npy"] = np.ascontiguousarray(
                        np.moveaxis(getattr(image, grid), -1, 0)
                    )
                sample[f"image_{slot}.scl.png"] = encode_png(image.scl[..., None])
            sample["label.png"] = stored_label(_payloads[key])
            writer.write(sample)
            images += len(cell_year.images)
    return images


def bare_geotiff(cell_years: list[CellYear], folder: Path) -> int:
    """Writes labels and images by rasterio's driver for cloud-optimised GeoTIFFs, with their facts and colours."""
    channels = label_channels(CategoryTable.from_ontology(Ontology.model_validate_json(json.dumps(ONTOLOGY))))
    written = set()
    with gdal_options():
        for number, it in enumerate(cell_years):
            if it.cell.cell_id not in written:
                written.add(it.cell.cell_id)
                for channel in channels:
                    pixels = it.label[..., channel.index : channel.index + 1]
                    bare_cog(
                        folder / f"{number}_{channel.stem}.tif", it, pixels, 255, classes=channel.classes
                    )
            for slot, image in enumerate(it.images):
                for grid in ("gsd_10", "gsd_20", "gsd_60"):
                    bare_cog(folder / f"{number}_{slot}_{grid}.tif", it, getattr(image, grid), 0, image=image)
                scl = image.scl[..., np.newaxis]
                bare_cog(folder / f"{number}_{slot}_scl.tif", it, scl, 0, image=image, classes=SCENE_CLASSES)
    return sum(len(it.images) for it in cell_years)


def bare_cog(
    path: Path,
    it: CellYear,
    pixels: np.ndarray,
    nodata: int,
    image: Image | None = None,
    classes: Sequence[LabelClass] = (),
) -> None:
    """Writes (side, side, bands) pixels as people do; 128 is the driver's smallest block."""
    side, _, bands = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="COG",
        width=side,
        height=side,
        count=bands,
        dtype=pixels.dtype,
        nodata=nodata,
        crs=f"EPSG:{it.cell.chip.epsg}",
        transform=from_origin(it.cell.chip.left, it.cell.chip.top, 1920 / side, 1920 / side),
        blocksize=max(128, side),
        compress="deflate",
        predictor="NO" if classes else "YES",
    ) as tiff:
        tiff.write(np.moveaxis(pixels, -1, 0))
        tiff.update_tags(cell_id=it.cell.cell_id, year=it.year, tile=it.cell.tile, split=it.cell.split)
        if image is not None:
            tiff.update_tags(item_id=image.item_id, datetime=image.datetime, platform=image.platform)
        if classes:
            tiff.write_colormap(1, {each.value: each.colour for each in classes})
        elif image is not None:
            tiff.scales = (0.0001,) * bands
            tiff.offsets = (image.boa_add_offset / 10_000,) * bands
            tiff.descriptions = GRID_BANDS[f"gsd_{1920 // side}"]


BARE: dict[str, Callable[[list[CellYear], Path], int]] = {
    "published": bare_published,
    "webdataset": bare_webdataset,
    "geotiff": bare_geotiff,
}
"""By format: writes the images of cell-years into a folder, and returns their number."""


def settings_of(name: str, data: str, output: Path) -> ExportSettings:
    """Returns the settings of an export with the format's defaults."""
    source = open_source(DatasetFolder(Disk(), data), SPLITS)
    return ExportSettings(
        dataset=data,
        output=str(output),
        format=FORMATS[name](),
        splits=source.splits,
        source_fingerprint=source.fingerprint,
    )


def export(name: str, data: str, output: Path, times: int = 1) -> int:
    """Exports a dataset as the job does, its shards so many times over; returns the number of images."""
    settings = settings_of(name, data, output)
    source = open_source(DatasetFolder(Disk(), data), SPLITS)
    images = 0
    for _ in range(times):
        for shard in source.shards:
            images += export_shard(Disk(), settings, source, shard).counts.get("images", 0)
    close_export(Disk(), settings, source)
    return images


def cpu() -> float:
    """Returns the seconds of CPU until now, of this process."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def paces(name: str, data: str, scratch: Path) -> list[tuple[float, float]]:
    """Returns (images a CPU second, bytes an image) of the export and of its bare counterpart."""
    source = open_source(DatasetFolder(Disk(), data), SPLITS)
    # One shard: all would not fit into memory.
    largest = max(source.shards, key=lambda shard: shard.examples)
    cell_years = [it.cell_year for it in read_examples(source, largest, [])]
    best = [(0.0, 0.0)] * 2
    for number in range(_ROUNDS):
        ways = (lambda to: export(name, data, to), lambda to: BARE[name](cell_years, to))
        for index, way in enumerate(ways):
            folder = scratch / f"{index}_{number}"
            folder.mkdir()
            started = cpu()
            images = way(folder)
            pace = images / (cpu() - started)
            written = (path for path in folder.rglob("*") if path.is_file() and "export" not in path.parts)
            best[index] = max(best[index], (pace, sum(path.stat().st_size for path in written) / images))
            shutil.rmtree(folder)
    return best


def memory(name: str, data: str, times: int) -> int:
    """Returns the most bytes that a process holds that exports a dataset so many times over."""
    command = [sys.executable, __file__, "--format", name, "--data", data, "--times", str(times)]
    return int(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--format", choices=tuple(BARE), default="published")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--data", help="a dataset (a sample, which is built first)")
    parser.add_argument(
        "--times", type=int, help=argparse.SUPPRESS
    )  # of the process whose memory is measured
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if given.times:
            export(given.format, given.data, scratch / "out", given.times)
            print(peak_bytes())
            return 0
        data = given.data or str(scratch / "set")
        if not os.path.exists(data) and build_dataset(["--sample", "--output", data]):
            sys.exit("the sample could not be built")
        (ours, size), (bare, bare_size) = paces(given.format, data, scratch)
        once, often = memory(given.format, data, 1), memory(given.format, data, _TIMES)
    print(f"{'':24}{'images a CPU s':>16}{'kB an image':>16}")
    print(f"{'export':24}{ours:16.1f}{size / 1e3:16.1f}")
    print(f"{'bare':24}{bare:16.1f}{bare_size / 1e3:16.1f}")
    print(f"{'pace':24}{ours / bare:16.2f}  (at least {MIN_PACE})")
    print(f"{'memory, MB':24}{once / 1e6:16.0f}")
    print(f"{f'of {_TIMES} x the shards':24}{often / 1e6:16.0f}  (at most {MOST_GROWTH} x)")
    met = ours / bare >= MIN_PACE and often / once <= MOST_GROWTH
    return 0 if met or not given.check else 1


if __name__ == "__main__":
    sys.exit(main())
