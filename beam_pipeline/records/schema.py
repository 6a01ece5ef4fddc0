"""The schema of an example: every feature with its type, shape, unit and meaning, in one table.

An example is a `tf.train.Example` of one cell and year. Its features have TFDS's nested names:
`image_0/gsd_10` is the feature `gsd_10` of the first image. Both image slots always exist. A missing second
image is an empty one (no data in every pixel, empty texts, zeros) and `num_images` is 1: it costs about 2 kB,
and every reader, TFDS and batched tf.data among them, decodes all examples alike.

TFRecord floats have 32 bits. What needs more is stored as text (`min_lon` ...: the shortest decimal that
reads back as the same float64) or as an integer (`bad_pixels`, of which `bad_percent` is the fraction).

A PNG has at most 4 channels, and TFDS and `tf.image.decode_image` refuse 2. So the 6 bands of `gsd_20` lie in
a PNG of 3 channels and twice the width, those of `gsd_60` in a gray one of twice the width: the samples of a
row are in the same order, and a reshape, which moves nothing, gives the shape in the table.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from beam_pipeline.imagery.image import BANDS_10, BANDS_20, BANDS_60
from beam_pipeline.imagery.image import NUM_SLOTS as NUM_SLOTS
from beam_pipeline.imagery.image import REFLECTANCE_SCALE as REFLECTANCE_SCALE
from beam_pipeline.labels.label_image import CHANNELS as CHANNELS
from beam_pipeline.labels.label_image import NONE as NONE
from beam_pipeline.labels.label_image import UNLABELED as UNLABELED

SCHEMA_VERSION = "1.1.0"
"""Major: readers must change. Minor: something was added. Patch: meanings were made clearer."""

GRID_BANDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"gsd_10": BANDS_10, "gsd_20": BANDS_20, "gsd_60": BANDS_60}
)
"""The grids of an image by ground sample distance in metres, with the bands of each in the order of their samples."""

SCL_PIXELS = 96 * 96
"""Pixels of a chip at 20 m, the denominator of `bad_percent`."""

Kind = Literal["png", "text", "int64", "float32"]


@dataclasses.dataclass(frozen=True)
class FeatureSpec:
    """One feature of an example; exactly one value of it is stored.

    Attributes:
        name: Its key in the example.
        kind: How it is stored: "png" and "text" (UTF-8) in a bytes list, the others in a list of that type.
        shape: Of the decoded value, () for scalars.
        png_shape: Of the PNG, to be reshaped to `shape`; () where it is no PNG.
        dtype: Of the decoded value.
        unit: Of the decoded value, "" where there is none.
        meaning: What it is, and what stands for no data.
        since: The minor version 1.x that added it.
        default: What it is in examples of versions before that; None of what every version stores.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    png_shape: tuple[int, ...]
    dtype: str
    unit: str
    meaning: str
    since: int = 0
    default: int | None = None


def _text(name: str, meaning: str, unit: str = "") -> FeatureSpec:
    return FeatureSpec(name, "text", (), (), "string", unit, meaning)


def _int(name: str, meaning: str, unit: str = "") -> FeatureSpec:
    return FeatureSpec(name, "int64", (), (), "int64", unit, meaning)


def _dn(name: str, side: int) -> FeatureSpec:
    bands = GRID_BANDS[name]
    meaning = f"{' '.join(bands)}, untouched; 0 = no data. Reflectance = (DN + boa_add_offset) / 10000"
    channels = {4: 4, 6: 3, 2: 1}[len(bands)]
    png_shape = (side, side * len(bands) // channels, channels)
    return FeatureSpec(name, "png", (side, side, len(bands)), png_shape, "uint16", "DN", meaning)


def _degrees(name: str, meaning: str) -> FeatureSpec:
    return _text(name, f"{meaning} of the cell, WGS84, a float64 as decimal text", "degree")


IMAGE_FEATURES: tuple[FeatureSpec, ...] = (
    _text("item_id", 'Id of the STAC item; "" = no image in this slot'),
    _text("datetime", "Sensing start, ISO 8601, UTC"),
    _text("platform", "E.g. sentinel-2a"),
    _text("baseline", 'Processing baseline, e.g. 05.11; "" = the item does not say'),
    _int("boa_add_offset", "0 or -1000, to be added to a DN before the division by 10000", "DN"),
    _text("boa_decision", "How boa_add_offset was decided"),
    _int("bad_pixels", f"Unusable pixels of the {SCL_PIXELS} of scl", "pixel"),
    FeatureSpec(
        "bad_percent",
        "float32",
        (),
        (),
        "float32",
        "fraction",
        f"bad_pixels / {SCL_PIXELS}, 0 to 1, rounded to float32. The published name; it is no percentage",
    ),
    _dn("gsd_10", 192),
    _dn("gsd_20", 96),
    _dn("gsd_60", 32),
    FeatureSpec(
        "scl", "png", (96, 96), (96, 96, 1), "uint8", "class", "Scene classification at 20 m; 0 = no data"
    ),
)
"""The features of one image slot, without the slot's prefix."""

CELL_FEATURES: tuple[FeatureSpec, ...] = (
    _int("cell_id", "The cell's number in its grid, which dataset.json names"),
    _int("year", "Year of the images"),
    _text("tile", "MGRS tile, five characters, e.g. 05QKB"),
    _text("split", "training, validation or testing"),
    _int("epsg", "326zz or 327zz, the UTM zone of the tile"),
    _int("chip_left", "Easting of the chip's west edge", "metre"),
    _int("chip_bottom", "Northing of the chip's south edge", "metre"),
    _int("chip_right", "Easting of the chip's east edge", "metre"),
    _int("chip_top", "Northing of the chip's north edge", "metre"),
    _degrees("min_lon", "West edge"),
    _degrees("max_lon", "East edge"),
    _degrees("min_lat", "South edge"),
    _degrees("max_lat", "North edge"),
    FeatureSpec(
        "label",
        "png",
        (192, 192, 3),
        (192, 192, 3),
        "uint8",
        "class",
        "OSM labels at 10 m: land use; water and roads; buildings. 254 = known and none of the channel's "
        "categories, 255 = unknown",
    ),
    _int("num_images", "1 or 2 images, in the order of their dates"),
    dataclasses.replace(
        _int("bounds_exact", "1 = the chip lies just where its bounds say; 0 = only nearly, as of an import"),
        since=1,
        default=1,
    ),
)
"""The features that an example has once."""


PLACE_FEATURES: dict[str, FeatureSpec] = {
    spec.name: spec
    for spec in (
        _text("place", "The name of the place, which no other of the dataset has"),
        _text("class", "The class of the place"),
        _text("place_lon", "Longitude of the place, WGS84, a float64 as decimal text", "degree"),
        _text("place_lat", "Latitude of the place, likewise", "degree"),
        _text("place_date", 'YYYY-MM-DD, near which the image was asked for; "" = any date'),
    )
}
"""The features, by key, that examples of labelled places have beside those of all examples."""


def slot_prefix(slot: int) -> str:
    """Returns the prefix of an image slot's features, e.g. "image_0/"."""
    return f"image_{slot}/"


FEATURES: dict[str, FeatureSpec] = {
    spec.name: spec
    for spec in (
        *CELL_FEATURES,
        *(
            dataclasses.replace(spec, name=slot_prefix(slot) + spec.name)
            for slot in range(NUM_SLOTS)
            for spec in IMAGE_FEATURES
        ),
    )
}
"""Every feature of an example by its key."""


def features_since(minor: int, *, of_places: bool = False) -> dict[str, FeatureSpec]:
    """Returns the features, by key, that examples of a version 1.x have.

    Args:
        minor: Its x; of what a later version than this one adds, nothing is known.
        of_places: Whether they are those of labelled places.
    """
    features = {name: spec for name, spec in FEATURES.items() if spec.since <= minor}
    return {**PLACE_FEATURES, **features} if of_places else features
