"""A cell's images and labels of one year <-> a serialised `tf.train.Example`."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Set
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from beam_pipeline.cells.cell import SPLITS, Cell, ChipWindow, Place
from beam_pipeline.imagery.image import Image
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.png import decode_png, encode_png
from beam_pipeline.records.schema import (
    FEATURES,
    IMAGE_FEATURES,
    NUM_SLOTS,
    PLACE_FEATURES,
    SCL_PIXELS,
    FeatureSpec,
    slot_prefix,
)
from beam_pipeline.runtime.faults import PermanentFault

Value = bytes | str | int | float | npt.NDArray[Any]

_ALWAYS = frozenset(name for name, spec in FEATURES.items() if spec.default is None)
"""The features that an example of every version has."""

_SPECS = {**FEATURES, **PLACE_FEATURES}


@dataclasses.dataclass(frozen=True)
class CellYear:
    """The content of one example.

    Attributes:
        cell: The cell.
        year: The year of the images.
        images: One or two images, in the order of their dates.
        label: (192, 192, 3) uint8, the values of the ontology, 254 none, 255 unlabelled.
        bounds_exact: Whether the chip lies where its bounds say.
    """

    cell: Cell
    year: int
    images: tuple[Image, ...]
    label: npt.NDArray[np.uint8]
    bounds_exact: bool = True

    def __eq__(self, other: Any) -> bool:
        """Equal when every field and every pixel is."""
        if not isinstance(other, CellYear):
            return NotImplemented
        mine, theirs = ((it.cell, it.year, it.images, it.bounds_exact) for it in (self, other))
        return mine == theirs and np.array_equal(self.label, other.label)

    __hash__ = None  # type: ignore[assignment]


def encode(cell_year: CellYear) -> bytes:
    """Serialises an example; equal cell-years give equal bytes.

    Args:
        cell_year: What to store.

    Returns:
        A serialised `tf.train.Example` with the features of `schema.FEATURES`, and those of `schema.PLACE_FEATURES`
        where the cell has a place.

    Raises:
        ValueError: A value is none that the schema holds; the message names the feature.
    """
    if not 1 <= len(cell_year.images) <= NUM_SLOTS:
        raise ValueError(
            f"An example holds 1 to {NUM_SLOTS} images. Received: {len(cell_year.images)} for cell "
            f"{cell_year.cell.cell_id} in {cell_year.year}"
        )
    values = _cell_values(cell_year)
    for slot in range(NUM_SLOTS):
        image = _image_values(cell_year.images[slot]) if slot < len(cell_year.images) else _NO_IMAGE
        values |= {slot_prefix(slot) + name: value for name, value in image.items()}
    specs = FEATURES
    if cell_year.cell.place is not None:
        values |= _place_values(cell_year.cell.place)
        specs = _SPECS
    message = Example()
    features = message.features.feature
    for name, spec in specs.items():
        value = values[name]
        if spec.kind == "int64":
            features[name].int64_list.value.append(value)
        elif spec.kind == "float32":
            features[name].float_list.value.append(value)
        else:
            features[name].bytes_list.value.append(encode_value(spec, value))
    # Protobuf maps have no order of their own; deterministic=True sorts their keys.
    return cast(bytes, message.SerializeToString(deterministic=True))


def decode(payload: bytes, exactly: Set[str] | None = None) -> CellYear:
    """Reads an example of any 1.x, the exact inverse of `encode`.

    Args:
        payload: A serialised example.
        exactly: The features that it must have, and no other. By default what it lacks has the default of the
            schema, and what a later version adds is passed over.

    Returns:
        What was stored.

    Raises:
        PermanentFault: "corrupt_example" or "corrupt_png": damaged, or of another schema.
    """
    try:
        features = Example.FromString(payload).features.feature
        wrong = _ALWAYS - set(features) if exactly is None else exactly ^ set(features)
        if wrong:
            raise ValueError(f"features missing or unknown: {sorted(wrong)}")
        values: dict[str, Any] = {
            name: _from_feature(spec, features[name]) if name in features else spec.default
            for name, spec in FEATURES.items()
        }
        chip = ChipWindow(values["epsg"], values["chip_left"], values["chip_bottom"])
        if (chip.right, chip.top) != (values["chip_right"], values["chip_top"]):
            raise ValueError(f"chip_right and chip_top do not belong to {chip}")
        split = SPLITS[SPLITS.index(values["split"])]
        min_lon, max_lon, min_lat, max_lat = (
            float(values[name]) for name in ("min_lon", "max_lon", "min_lat", "max_lat")
        )
        place = _read_place(features)
        if not 1 <= values["num_images"] <= NUM_SLOTS:
            raise ValueError(f"num_images is {values['num_images']}")
        if values["bounds_exact"] not in (0, 1):
            raise ValueError(f"bounds_exact is {values['bounds_exact']}")
        for slot in range(NUM_SLOTS):
            _check_slot(values, slot_prefix(slot), filled=slot < values["num_images"])
    except (DecodeError, ValueError) as error:
        raise PermanentFault("corrupt_example", f"{len(payload)} bytes are no example: {error}") from error
    return CellYear(
        cell=Cell(values["cell_id"], values["tile"], split, chip, min_lon, max_lon, min_lat, max_lat, place),
        year=values["year"],
        images=tuple(_to_image(values, slot_prefix(slot)) for slot in range(values["num_images"])),
        label=values["label"],
        bounds_exact=bool(values["bounds_exact"]),
    )


def decode_some(payload: bytes, names: Iterable[str]) -> dict[str, Any]:
    """Reads some features of an example; what else it holds is passed over.

    Args:
        payload: A serialised example.
        names: Keys of `schema.FEATURES` or `schema.PLACE_FEATURES`.

    Returns:
        Their values by key, images decoded.

    Raises:
        PermanentFault: "corrupt_example" or "corrupt_png": damaged, or one is missing.
    """
    try:
        features = Example.FromString(payload).features.feature
        missing = {*names} - {*features}
        if missing:
            raise ValueError(f"features missing: {sorted(missing)}")
        return {name: _from_feature(_SPECS[name], features[name]) for name in names}
    except (DecodeError, ValueError) as error:
        raise PermanentFault("corrupt_example", f"{len(payload)} bytes are no example: {error}") from error


def _read_place(features: Any) -> Place | None:
    """Reads the place of an example, None where there is none; raises ValueError at what `encode` does not write."""
    there = PLACE_FEATURES.keys() & set(features)
    if not there:
        return None
    missing = PLACE_FEATURES.keys() - there
    if missing:
        raise ValueError(f"features of a place are missing: {sorted(missing)}")
    return to_place({name: _from_feature(spec, features[name]) for name, spec in PLACE_FEATURES.items()})


def to_place(values: Mapping[str, Any]) -> Place:
    """Returns the place of which values are; their keys are those of `schema.PLACE_FEATURES`.

    Raises:
        ValueError: A number is none.
    """
    degrees = (float(values["place_lon"]), float(values["place_lat"]))
    if not all(map(math.isfinite, degrees)):
        raise ValueError(f"place_lon and place_lat must be finite. Received: {degrees}")
    return Place(values["place"], values["class"], *degrees, values["place_date"])


def _place_values(place: Place) -> dict[str, Value]:
    return {
        "place": place.name,
        "class": place.class_name,
        "place_lon": _float_text("place_lon", place.longitude),
        "place_lat": _float_text("place_lat", place.latitude),
        "place_date": place.date,
    }


def chip_values(cell_year: CellYear) -> dict[str, int | str]:
    """Returns an example's cell, year and chip, by the names of the features that hold them."""
    cell = cell_year.cell
    return {
        "cell_id": cell.cell_id,
        "year": cell_year.year,
        "tile": cell.tile,
        "split": cell.split,
        "epsg": cell.chip.epsg,
        "chip_left": cell.chip.left,
        "chip_bottom": cell.chip.bottom,
        "chip_right": cell.chip.right,
        "chip_top": cell.chip.top,
    }


def _cell_values(cell_year: CellYear) -> dict[str, Value]:
    cell = cell_year.cell
    return {
        **chip_values(cell_year),
        "min_lon": _float_text("min_lon", cell.min_lon),
        "max_lon": _float_text("max_lon", cell.max_lon),
        "min_lat": _float_text("min_lat", cell.min_lat),
        "max_lat": _float_text("max_lat", cell.max_lat),
        "label": cell_year.label,
        "num_images": len(cell_year.images),
        "bounds_exact": int(cell_year.bounds_exact),
    }


def _image_values(image: Image) -> dict[str, Value]:
    bad_pixels = round(image.bad_percent * SCL_PIXELS)
    if bad_pixels / SCL_PIXELS != image.bad_percent or not 0 <= bad_pixels <= SCL_PIXELS:
        raise ValueError(
            f"bad_percent must be a number of pixels / {SCL_PIXELS}. Received: {image.bad_percent!r} in "
            f"{image.item_id}"
        )
    return {
        "item_id": image.item_id,
        "datetime": image.datetime,
        "platform": image.platform,
        "baseline": image.baseline,
        "boa_add_offset": image.boa_add_offset,
        "boa_decision": image.boa_decision,
        "bad_pixels": bad_pixels,
        "bad_percent": image.bad_percent,
        "gsd_10": image.gsd_10,
        "gsd_20": image.gsd_20,
        "gsd_60": image.gsd_60,
        "scl": image.scl,
    }


def _check_slot(values: Mapping[str, Any], prefix: str, *, filled: bool) -> None:
    """Checks what is stored twice, and that nothing lies in the slot of a missing image."""
    bad_percent = np.float32(values[prefix + "bad_pixels"] / SCL_PIXELS)
    if values[prefix + "bad_percent"] != bad_percent:
        raise ValueError(
            f"{prefix}bad_percent is {values[prefix + 'bad_percent']}, of bad_pixels {bad_percent}"
        )
    if not filled:
        for spec in IMAGE_FEATURES:
            value = values[prefix + spec.name]
            if value.any() if isinstance(value, np.ndarray) else value:
                raise ValueError(f"{prefix}{spec.name} is not empty, and there is no such image")


def _to_image(values: Mapping[str, Any], prefix: str) -> Image:
    return Image(
        item_id=values[prefix + "item_id"],
        datetime=values[prefix + "datetime"],
        platform=values[prefix + "platform"],
        baseline=values[prefix + "baseline"],
        boa_add_offset=values[prefix + "boa_add_offset"],
        boa_decision=values[prefix + "boa_decision"],
        bad_percent=values[prefix + "bad_pixels"] / SCL_PIXELS,
        gsd_10=values[prefix + "gsd_10"],
        gsd_20=values[prefix + "gsd_20"],
        gsd_60=values[prefix + "gsd_60"],
        scl=values[prefix + "scl"],
    )


def encode_value(spec: FeatureSpec, value: Value) -> bytes:
    """Returns what an example stores of a text or an image.

    Args:
        spec: The feature.
        value: Of its shape and dtype, or bytes that are stored already.

    Raises:
        ValueError: It is of another shape or dtype.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    assert isinstance(value, np.ndarray)
    if value.shape != spec.shape or value.dtype != spec.dtype:
        raise ValueError(
            f"{spec.name} must be {spec.shape} {spec.dtype}. Received: {value.shape} {value.dtype}"
        )
    return encode_png(value.reshape(spec.png_shape))


def _from_feature(spec: FeatureSpec, feature: Any) -> Any:
    stored = {"int64": feature.int64_list, "float32": feature.float_list}.get(spec.kind, feature.bytes_list)
    if len(stored.value) != 1:
        raise ValueError(f"{spec.name} holds {len(stored.value)} values of kind {spec.kind}")
    value = stored.value[0]
    if spec.kind == "text":
        return value.decode()
    if spec.kind == "png":
        pixels = decode_png(value)
        if pixels.shape != spec.png_shape or pixels.dtype != spec.dtype:
            raise ValueError(f"{spec.name} is {pixels.shape} {pixels.dtype}")
        return pixels.reshape(spec.shape)
    return value


def _float_text(name: str, value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite. Received: {value}")
    return repr(float(value))  # the shortest decimal that reads back as the same float64


def _no_image() -> dict[str, Value]:
    """Returns what stands in the slot of a missing image; its pixels are encoded once."""
    empty: dict[str, Value] = {"png": b"", "text": "", "int64": 0, "float32": 0.0}
    return {
        spec.name: encode_png(np.zeros(spec.png_shape, spec.dtype))
        if spec.kind == "png"
        else empty[spec.kind]
        for spec in IMAGE_FEATURES
    }


_NO_IMAGE = _no_image()
