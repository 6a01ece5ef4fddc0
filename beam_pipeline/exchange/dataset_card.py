"""The dataset card that Hugging Face shows: a README with YAML in front, told from the facts of a dataset.

Source of the keys: https://github.com/huggingface/hub-docs/blob/main/datasetcard.md.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beam_pipeline.cells.cell import Split
from beam_pipeline.dataset.folder import CITATION_FILE, LICENSES_FILE
from beam_pipeline.dataset.notices import ATTRIBUTION, PAPER, copernicus_notice
from beam_pipeline.exchange.facts import LATITUDE_STEP, Facts, Published
from beam_pipeline.exchange.names import CODECS, CROISSANT_FILE, NPY, tar_glob
from beam_pipeline.labels.attribution import ODBL_DUTIES
from beam_pipeline.records.schema import (
    CELL_FEATURES,
    GRID_BANDS,
    IMAGE_FEATURES,
    NONE,
    UNLABELED,
    FeatureSpec,
)
from beam_pipeline.runtime.foreign_text import in_markdown

TITLE = "Sentinel-2 image pairs with OpenStreetMap labels"

HUB_SPLITS: Mapping[Split, str] = {"training": "train", "validation": "validation", "testing": "test"}
"""Names of splits that users of Hugging Face expect."""

_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
)
_TAGS = ("remote-sensing", "earth-observation", "geospatial", "sentinel-2", "openstreetmap", "land-use")


def webdataset_card(facts: Facts, codec: str = NPY) -> str:
    """Returns the card of an export as WebDataset.

    Args:
        facts: Of the dataset.
        codec: How its measurements are stored, one of `names.CODECS`.
    """
    data_files = [
        {"split": HUB_SPLITS[split], "path": tar_glob(split)}
        for split, counts in facts.splits.items()
        if counts.examples
    ]
    configs = [{"config_name": "default", "data_files": data_files}]
    front = {"tags": [*_TAGS, "webdataset"], "configs": configs}
    return _card(facts, front, _reading(codec, _first_split(facts)), _members(codec))


def tfrecord_card(facts: Facts) -> str:
    """Returns the card of a dataset as it was built; the Hub's viewer knows no TFRecords."""
    reading = _TFRECORD_READING.replace("SPLIT", _first_split(facts))
    return _card(facts, {"tags": [*_TAGS, "tfrecord"], "viewer": False}, reading, _features())


def _card(facts: Facts, front: Mapping[str, Any], reading: str, fields: str) -> str:
    front = {
        "pretty_name": TITLE,
        "license": ["odbl", "other"],
        "license_name": "copernicus-sentinel-data",
        "license_link": LICENSES_FILE,
        "task_categories": ["image-segmentation"],
        "size_categories": [_size(facts.examples)],
        **front,
    }
    # JSON in ASCII is YAML, and nothing in it can be taken for something else.
    lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items())
    first, last = facts.years[0], facts.years[-1]
    years = str(first) if first == last else f"{first} to {last}"
    return f"""---
{lines}---
# {TITLE}

Chips of 1.92 km x 1.92 km. Each sample is a cell and a year: two Sentinel-2 L2A images of different dates, with one
label image of what OpenStreetMap says of the cell. Bands and labels are those of OpenSentinelMap (Johnson et al.,
2022). Images are of {years}.{"" if facts.complete else _INCOMPLETE}

{_splits(facts)}

## Reading

{reading}

## Fields

{fields}

Reflectance is (DN + boa_add_offset) / 10000; it may be negative or above 1. A pixel is no data where every band is 0.

## Labels

A label has three channels. {NONE} means "known, and none of this channel's categories", {UNLABELED} "unknown": a pixel
without a category is no proof that there is nothing.

{_labels(facts)}

## Making

{_making(facts)}

## Limits

{_limits(facts)}

## Licences

- Labels: {ATTRIBUTION["labels"]}. They are a Derivative Database: {_indented(ODBL_DUTIES)}
- Imagery: {copernicus_notice(facts.years)}.

`{LICENSES_FILE}` and `{CITATION_FILE}` go with whatever is passed on; `{CROISSANT_FILE}` says the same to programs.

## Citation

{PAPER}
"""


_INCOMPLETE = " Something that was planned is missing, as `complete` of `dataset.json` says."

_WEBDATASET_READING = """```python
import glob

import webdataset as wds
IMPORTS

shards = sorted(glob.glob("TARS"))
for sample in wds.WebDataset(shards, shardshuffle=False).decode():
    metadata = sample["json"]
    dn = DECODED  # (4, 192, 192) uint16
    reflectance = (dn.astype("float32") + metadata["image_0"]["boa_add_offset"]) / 10_000
    label_png = sample["label.png"]  # bytes; .decode("rgb8") makes an array of it
```

```python
from datasets import load_dataset

for sample in load_dataset("webdataset", data_files="TARS", split="train", streaming=True):
    label = sample["label.png"]  # a PIL image
```

A shard without examples has no tar. Two images always exist; where `num_images` is 1, the second holds no data."""

_TFRECORD_READING = """The shards are plain TFRecords of `tf.train.Example`. TFDS reads the folder:

```python
import tensorflow_datasets as tfds

dataset = tfds.builder_from_directory(".").as_dataset(split="SPLIT")
```

TFDS gives images in the shape of their PNG: reshape `gsd_20` to (96, 96, 6) and `gsd_60` to (32, 32, 2). Do not decode
the 16-bit PNGs with Pillow, which makes 8 bits of them. Two images always exist; where `num_images` is 1, the second
holds no data."""


def _first_split(facts: Facts) -> Split:
    """Returns the split that the card's code reads: the first that has examples, as far as the dataset says."""
    return next((split for split, it in facts.splits.items() if it.examples), next(iter(facts.splits)))


def _reading(codec: str, split: Split) -> str:
    """Tells how samples are read."""
    first, decoded = (
        ("", 'sample["image_0.gsd_10.npy"]')
        if codec == NPY
        else (
            "from pcodec import standalone\n",
            'standalone.simple_decompress(sample["image_0.gsd_10.pco"]).reshape(4, 192, 192)',
        )
    )
    text = _WEBDATASET_READING.replace("IMPORTS\n", first).replace("DECODED", decoded)
    return text.replace("TARS", tar_glob(split))


def _members(codec: str) -> str:
    """Tells the files of a sample of a WebDataset."""
    rows = [
        (
            f"`image_0.{spec.name}.{CODECS[codec]}`",
            f"({spec.shape[2]}, {spec.shape[0]}, {spec.shape[1]}) uint16",
            spec.meaning,
        )
        for spec in IMAGE_FEATURES
        if spec.name in GRID_BANDS
    ]
    rows += [
        (f"`{name}.png`", _decoded(spec), spec.meaning)
        for name, spec in (
            *((f"image_0.{it.name}", it) for it in IMAGE_FEATURES if it.name == "scl"),
            *((it.name, it) for it in CELL_FEATURES if it.name == "label"),
        )
    ]
    texts = [spec.name for spec in CELL_FEATURES if spec.kind != "png"]
    of_image = [spec.name for spec in IMAGE_FEATURES if spec.kind != "png"]
    rows.append(("`json`", "object", f"{', '.join(texts)}; image_0 and image_1: {', '.join(of_image)}"))
    table = _table(("file", "holds", "meaning"), rows)
    return f"The key of a sample is `CELL_YEAR`. `image_1` has the files of `image_0`.\n\n{table}"


def _decoded(spec: FeatureSpec) -> str:
    return f"{' x '.join(map(str, spec.shape)) or 'scalar'} {spec.dtype}"


def _features() -> str:
    """Tells the features of an example."""
    rows = [
        (
            f"`{prefix}{spec.name}`",
            _decoded(spec),
            in_markdown(spec.meaning),
        )
        for prefix, specs in (("", CELL_FEATURES), ("image_0/", IMAGE_FEATURES))
        for spec in specs
    ]
    table = _table(("feature", "decoded", "meaning"), rows)
    return f"`image_1/` has the features of `image_0/`.\n\n{table}"


def _splits(facts: Facts) -> str:
    tiles = facts.extent.tiles if facts.extent else {}
    rows = [
        (
            split,
            *(f"{number:,}" for number in (it.cells, it.examples, it.pairs, it.images)),
            str(tiles.get(split, "")),
        )
        for split, it in facts.splits.items()
    ]
    return _table(("split", "cells", "samples", "pairs", "images", "MGRS tiles"), rows)


def _labels(facts: Facts) -> str:
    counts = {of_channel.channel: of_channel for of_channel in facts.labels}
    rows = []
    for channel in facts.ontology.channels:
        held = counts.get(channel.name)
        pixels = held.pixels if held else {}
        total = sum(pixels.values())
        for name, value in sorted(channel.labels.items(), key=lambda item: item[1]):
            share = f"{pixels.get(name, 0) / total:.2%}" if total else ""
            cells = [of_split.get(name, 0) for of_split in held.cells_by_split.values()] if held else []
            number = f"{sum(cells):,}" if cells else ""
            rows.append((in_markdown(channel.name), str(value), in_markdown(name), share, number))
    return _table(("channel", "value", "category", "pixels", "cells"), rows)


def _making(facts: Facts) -> str:
    version = f"- Version {in_markdown(facts.schema_version)} of the data format."
    if facts.imported:
        return "\n".join(
            [*(f"- {in_markdown(sentence)}" for sentence in imported_from(facts.imported)), version]
        )
    origin, filters = facts.origin, facts.origin.filters
    told = ["- Cells are split by MGRS tile, so that no two splits share a tile."]
    if origin.collection:
        told.append(
            f"- Images are of the STAC collection {in_markdown(origin.collection)}, two random dates of a year."
        )
    if filters.max_bad_fraction is not None:
        told.append(
            f"- Images with more than {filters.max_bad_fraction:.0%} unusable pixels (clouds, their shadows, defects) "
            "are left out."
        )
    if facts.map_dates:
        told.append(f"- Labels are drawn of OpenStreetMap as of {', '.join(facts.map_dates)}.")
    if origin.seed is not None:
        told.append(f"- Everything random is drawn with seed {origin.seed}.")
    told.append(version)
    return "\n".join(told)


def imported_from(published: Published) -> list[str]:
    """Says, in sentences, what an import is made of."""
    told = [
        "Images, labels, cells and splits are those of the published OpenSentinelMap (Johnson et al., 2022). Nothing "
        "was drawn or filtered anew.",
        "Of each cell and year it has the first and the last date that could be read.",
        "DN are the published reflectance times 10,000. bad_pixels counts the classes 8 and 9 of the scene "
        "classification.",
        "Chips lie within 5 m of their bounds, and their grids of 10, 20 and 60 m may lie apart (bounds_exact is 0). "
        "Lay nothing over them by coordinates.",
    ]
    if count := len(published.tiles_in_two_splits):
        told.append(f"{count:,} MGRS {'tile lies' if count == 1 else 'tiles lie'} in two splits.")
    return told


def _indented(text: str) -> str:
    """Returns lines as they stand in an item of a list."""
    return text.rstrip().replace("\n", "\n  ")


def _limits(facts: Facts) -> str:
    return "\n".join(f"- {sentence}" for sentence in limits(facts))


def limits(facts: Facts) -> list[str]:
    """Says, in sentences, where the dataset does not stand for the Earth's land."""
    told = []
    if facts.extent:
        total = sum(facts.extent.belts.values())
        belts = ", ".join(
            f"{count / total:.0%} from {_latitude(south)} to {_latitude(south + LATITUDE_STEP)}"
            for south, count in facts.extent.belts.items()
        )
        told.append(
            f"The planned cells lie in {sum(facts.extent.tiles.values()):,} MGRS tiles: {belts}. Other places are not "
            "in it."
        )
    if facts.labelled_shares:
        sparse, dense = facts.labelled_shares
        told.append(
            "OpenStreetMap is more complete in some places than in others: "
            f"{sparse:.0%} of the cells have categories on less than 1 % of their pixels, {dense:.0%} on 90 % or more."
        )
    planned = sum(split.cell_years_planned for split in facts.splits.values())
    rejected = sum(split.rejected_cell_years for split in facts.splits.values())
    if planned and facts.imported:
        told.append(f"{rejected / planned:.0%} of the cells and years have no image that could be imported.")
    elif planned:
        told.append(
            f"Cloudy and snowy places and seasons are rarer than on the Earth: {rejected / planned:.0%} of the planned "
            "cells and years had too few clear dates and are left out."
        )
    return told


def _latitude(degrees: int) -> str:
    return f"{abs(degrees)}° {'S' if degrees < 0 else 'N'}" if degrees else "the equator"


def _size(examples: int) -> str:
    return next((name for most, name in _SIZES if examples < most), "n>10M")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
