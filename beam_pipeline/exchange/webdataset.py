"""The format `webdataset`: tar shards that PyTorch's `webdataset` and Hugging Face's `datasets` stream.

A sample is a cell and year. Its files lie one after the other and share a key, CELL_YEAR. Measurements are .npy and no
PNG: Pillow, with which both libraries decode PNGs, makes 8 bits of 16-bit PNGs of several bands, and says nothing. With
--codec pcodec they need half the bytes, and one line to be decoded. Classes are PNGs of 8 bits.
"""

import argparse
import dataclasses
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from beam_pipeline.exchange.croissant import croissant_json, webdataset_resources
from beam_pipeline.exchange.dataset_card import webdataset_card
from beam_pipeline.exchange.facts import read_facts
from beam_pipeline.exchange.format import Format
from beam_pipeline.exchange.names import CARD_FILE, CODECS, CROISSANT_FILE, NPY, PCODEC, tar_name
from beam_pipeline.exchange.output import ShardOutput, WholeOutput
from beam_pipeline.exchange.record import ShardRecord
from beam_pipeline.exchange.source import SourceDataset, SourceExample
from beam_pipeline.exchange.tar import tar_chunks
from beam_pipeline.imagery.image import Image
from beam_pipeline.records.description import Shard
from beam_pipeline.records.example import CellYear, chip_values
from beam_pipeline.records.png import encode_png
from beam_pipeline.records.schema import FEATURES, GRID_BANDS, NUM_SLOTS, SCL_PIXELS, slot_prefix

_PCODEC_LEVEL = 8
"""The library's own; 12 saves 0.4 % more in three times the time."""

Pixels = npt.NDArray[np.uint16] | npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class WebDataset(Format):
    """Tar shards of .npy, PNG and JSON, a dataset card and a Croissant file."""

    codec: str = NPY
    """Storage of measurements, one of `CODECS`."""

    name = "webdataset"
    help = "tar shards for PyTorch's webdataset and Hugging Face's datasets, with a dataset card and croissant.json"
    whole_files = (CARD_FILE, CROISSANT_FILE)

    @classmethod
    def add_flags(cls, group: argparse._ArgumentGroup) -> None:
        """Adds --codec."""
        group.add_argument(
            "--codec",
            choices=CODECS,
            help=f"how measurements are stored: {NPY}, which every reader decodes ({NPY}); {PCODEC}: half the bytes, "
            "decoded by the package of that name",
        )

    @classmethod
    def from_flags(cls, given: argparse.Namespace) -> Self:
        """Takes --codec."""
        return cls(given.codec or NPY)

    @property
    def packages(self) -> tuple[tuple[str, str, str], ...]:
        """The package that encodes measurements, where one does."""
        return (("pcodec", "--codec pcodec", "pcodec"),) if self.codec == PCODEC else ()

    def check(self, source: SourceDataset) -> None:
        """Refuses a dataset whose description cannot be told."""
        read_facts(source)

    def write_shard(
        self, source: SourceDataset, shard: Shard, examples: Iterator[SourceExample], output: ShardOutput
    ) -> None:
        """Writes the tar of a shard, sample by sample; none of a shard without examples, as readers refuse those."""
        first = next(examples, None)
        if first is None:
            return

        def members() -> Iterator[tuple[str, bytes]]:
            before = None
            for example in itertools.chain([first], examples):
                cell_year = example.cell_year
                if cell_year.cell.cell_id != before:
                    output.wrote_cell(cell_year.cell.cell_id)
                before = cell_year.cell.cell_id
                output.count("samples")
                output.count("images", len(cell_year.images))
                yield from sample_members(cell_year, example.label_png, self.codec)

        output.write(tar_name(shard), tar_chunks(members()))

    def finish(self, source: SourceDataset, records: Iterable[ShardRecord], output: WholeOutput) -> None:
        """Writes the dataset card and the Croissant file."""
        facts = read_facts(source)
        output.write(CARD_FILE, webdataset_card(facts, self.codec).encode())
        output.write(CROISSANT_FILE, croissant_json(facts, webdataset_resources(facts, self.codec)).encode())


def sample_members(cell_year: CellYear, label_png: bytes, codec: str = NPY) -> Iterator[tuple[str, bytes]]:
    """Makes the files of a sample; both image slots always exist, as readers want all samples alike.

    Args:
        cell_year: The example.
        label_png: Its label as it is stored.
        codec: How measurements are stored, one of `CODECS`.

    Yields:
        (name, content) of each file, sorted by name.
    """
    key = f"{cell_year.cell.cell_id}_{cell_year.year}"
    for slot in range(NUM_SLOTS):
        image = cell_year.images[slot] if slot < len(cell_year.images) else None
        for grid in GRID_BANDS:
            yield f"{key}.image_{slot}.{grid}.{CODECS[codec]}", array_file(_pixels(image, grid), codec)
        yield f"{key}.image_{slot}.scl.png", encode_png(_pixels(image, "scl")[..., None])
    yield f"{key}.json", json.dumps(metadata(cell_year), sort_keys=True).encode()
    yield f"{key}.label.png", label_png


def array_file(pixels: Pixels, codec: str = NPY) -> bytes:
    """Returns (H, W, bands) pixels as a file of (bands, H, W), as PyTorch's convolutions take them.

    Args:
        pixels: uint16.
        codec: One of `CODECS`.
    """
    bands_first = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    if codec == PCODEC:
        from pcodec import ChunkConfig, standalone

        packed: bytes = standalone.simple_compress(bands_first.ravel(), ChunkConfig(_PCODEC_LEVEL))
        return packed
    buffer = io.BytesIO()
    np.save(buffer, bands_first, allow_pickle=False)
    return buffer.getvalue()


def metadata(cell_year: CellYear) -> dict[str, Any]:
    """Returns all of an example but its pixels, by the names that its features have; types are always the same."""
    cell = cell_year.cell
    return {
        **chip_values(cell_year),
        "min_lon": float(cell.min_lon),
        "max_lon": float(cell.max_lon),
        "min_lat": float(cell.min_lat),
        "max_lat": float(cell.max_lat),
        "num_images": len(cell_year.images),
        "bounds_exact": int(cell_year.bounds_exact),
        **{
            f"image_{slot}": _image_metadata(cell_year.images[slot] if slot < len(cell_year.images) else None)
            for slot in range(NUM_SLOTS)
        },
    }


def _image_metadata(image: Image | None) -> dict[str, Any]:
    bad_percent = 0.0 if image is None else float(image.bad_percent)
    return {
        "item_id": image.item_id if image else "",
        "datetime": image.datetime if image else "",
        "platform": image.platform if image else "",
        "baseline": image.baseline if image else "",
        "boa_add_offset": image.boa_add_offset if image else 0,
        "boa_decision": image.boa_decision if image else "",
        "bad_pixels": round(bad_percent * SCL_PIXELS),
        "bad_percent": bad_percent,
    }


def _pixels(image: Image | None, name: str) -> Pixels:
    """Returns the pixels of an image; no data in every pixel of one that is missing."""
    if image is None:
        spec = FEATURES[slot_prefix(0) + name]
        return np.zeros(spec.shape, spec.dtype)
    pixels: Pixels = getattr(image, name)
    return pixels
