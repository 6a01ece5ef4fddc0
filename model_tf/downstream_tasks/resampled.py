"""Reads a dataset of labelled places, which `beam_pipeline.resample_patches` wrote: Level-2A, with context around."""

import dataclasses
import functools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from beam_pipeline.cells.cell import ChipWindow, Place
from beam_pipeline.cells.chips import from_middle
from beam_pipeline.records.description import COPY_AGAIN, DATASET_FILE
from beam_pipeline.records.example import decode_some, to_place
from beam_pipeline.records.schema import PLACE_FEATURES, REFLECTANCE_SCALE
from beam_pipeline.records.shards import parse_shard, record_places
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.foreign_text import one_line
from beam_pipeline.runtime.parsing import MalformedError, parse_json
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.regular_files import open_regular
from model_tf.data.info import load_info
from model_tf.data.storage import read_bytes
from model_tf.downstream_tasks.inputs import BANDS
from model_tf.downstream_tasks.patch_set import Patch, PatchSet, Pixels

LEVEL = "L2A"

SIDE = 192
"""Pixels at 10 m of a chip."""

_PIXEL_M = 10

_MOST_OFF = 3
"""Pixels from the middle of a chip to its place in each direction: half a step of the lattice, on which chips lie."""

_UTM_ZONES = (*range(32601, 32661), *range(32701, 32761))

_Source = Literal["eurosat", "fmow", "table"]

_TITLES: Mapping[_Source, str] = {
    "eurosat": "EuroSAT resampled",
    "fmow": "fMoW resampled",
    "table": "Resampled places",
}
_MOST_CHARS = 500
_WHERE = ("epsg", "chip_left", "chip_bottom", "split")
_PIXELS = ("image_0/boa_add_offset", "image_0/gsd_10", "image_0/gsd_20", "image_0/scl")


class _Places(pydantic.BaseModel):
    source: _Source  # it becomes the title
    classes: tuple[str, ...]


class _Fingerprint(pydantic.BaseModel):
    places: _Places | None = None


class _Moments(pydantic.BaseModel):
    mean: float | None = None
    mean_dn: float | None = None


class _Description(pydantic.BaseModel):
    fingerprint: _Fingerprint
    bands: dict[str, _Moments]
    licences: dict[str, str]


_DESCRIPTION = pydantic.TypeAdapter(_Description)


@dataclasses.dataclass(frozen=True)
class _Record:
    """Where an example lies: its shard, its number there, and the byte at which its record begins."""

    path: str
    number: int
    start: int


def is_resampled(folder: str) -> bool:
    """Tells whether a folder is that of a dataset."""
    return os.path.lexists(join(folder, DATASET_FILE))


def read_resampled(folder: str, source: str | None, crop: int) -> PatchSet:
    """Goes through the examples of a dataset of places.

    Args:
        folder: Of the dataset, local.
        source: The kind of places that are meant, "eurosat" or "fmow"; None for any.
        crop: Side of a patch in 10 m pixels, even. Its middle is the corner of pixels that is nearest to the place.

    Returns:
        A patch for each example, in the order of the shards.

    Raises:
        InvalidInputError: It is no such dataset, of other places, or damaged: the file and the field are named.
    """
    info = load_info(folder)
    path = join(folder, DATASET_FILE)
    try:
        described = parse_json(_DESCRIPTION, read_bytes(path))
    except MalformedError as error:
        raise InvalidInputError(f"{path}: {error}. {COPY_AGAIN}") from error
    places = described.fingerprint.places
    if places is None:
        raise InvalidInputError(
            f"{path}: fingerprint.places must be there, as where beam_pipeline.resample_patches made the dataset. "
            "Received: none"
        )
    if source not in (None, places.source):
        raise InvalidInputError(
            f"{path}: fingerprint.places.source must be {source} for --task {source}. Received: {places.source}"
        )
    _require_bands(path, described.bands)
    patches, records = [], []
    shards = [shard for of_split in info.shards.values() for shard in of_split]
    with Progress(sum(info.examples.values()), "looking at patches", "patches") as progress:
        for record, patch in _patches(shards, places.classes):
            records.append(record)
            patches.append(patch)
            progress.update()
    found = {patch.class_index for patch in patches}
    if len(found) < 2:
        raise InvalidInputError(f"{folder} must hold patches of at least two classes. Received: {len(found)}")
    return PatchSet(
        title=_TITLES[places.source],
        level=LEVEL,
        classes=places.classes,
        patches=tuple(patches),
        side=SIDE,
        crop=crop,
        fingerprint=info.fingerprint,
        notices=tuple(one_line(notice, _MOST_CHARS) + "." for notice in described.licences.values()),
        read=functools.partial(_read, records),
    )


def _require_bands(path: str, bands: Mapping[str, _Moments]) -> None:
    """Checks that pixels are of the bands and on the scale by which they are standardised."""
    missing = [band for band in BANDS if band not in bands]
    if missing:
        raise InvalidInputError(
            f"{path}: bands must hold {', '.join(BANDS)}. Received: {one_line(', '.join(bands), 100) or 'none'}, "
            f"without {', '.join(missing)}. Resample the places with this version"
        )
    for band in BANDS:
        mean, mean_dn = bands[band].mean, bands[band].mean_dn
        if mean is None or mean_dn is None:  # a dataset without a training split has none
            continue
        if not math.isclose(mean * REFLECTANCE_SCALE, mean_dn, rel_tol=1e-6, abs_tol=1e-6):
            raise InvalidInputError(
                f"{path}: bands.{band}.mean_dn must be {REFLECTANCE_SCALE:,} times bands.{band}.mean, which is "
                f"reflectance. Received: {mean_dn:g} and {mean:g}. Resample the places with this version"
            )


def _patches(shards: Sequence[str], classes: Sequence[str]) -> Iterator[tuple[_Record, Patch]]:
    """Yields every example's place; no pixel is decoded."""
    index_of = {name: index for index, name in enumerate(classes)}
    seen: set[str] = set()
    for path in shards:
        for record in _records(path):
            values = _values(record, (*PLACE_FEATURES, *_WHERE))
            try:
                place = to_place(values)
                offset = _offset(place, values)
            except ValueError as error:
                raise _damaged(record, str(error)) from error
            if place.class_name not in index_of or place.name in seen:
                raise _damaged(
                    record, f"place {place.name!r}, class {place.class_name!r}: doubled, or of no class"
                )
            seen.add(place.name)
            of_class = index_of[place.class_name]
            yield (
                record,
                Patch(place.name, of_class, place.longitude, place.latitude, values["split"], offset),
            )


def _offset(place: Place, values: Mapping[str, Any]) -> tuple[int, int]:
    """Returns rows south and columns east from the middle of a chip to the corner of pixels nearest to its place."""
    if values["epsg"] not in _UTM_ZONES:
        raise ValueError(f"epsg must be that of a UTM zone. Received: {values['epsg']}")
    chip = ChipWindow(values["epsg"], values["chip_left"], values["chip_bottom"])
    east, north = from_middle(place.longitude, place.latitude, chip)
    pixels = -north / _PIXEL_M, east / _PIXEL_M
    if not max(map(abs, pixels)) < _MOST_OFF + 0.5:
        raise ValueError(
            f"the place must lie within {_MOST_OFF * _PIXEL_M} m of the chip's middle in each direction. "
            f"Received: {east:.0f} m east and {north:.0f} m north of it"
        )
    row, column = (math.floor(it + 0.5) for it in pixels)
    return row, column


def _records(path: str) -> Iterator[_Record]:
    try:
        with open_regular(path) as file:
            for place in record_places(file, path):
                yield _Record(path, place.record, place.start)
    except (Fault, OSError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}. Copy it again") from error


def _values(record: _Record, names: Sequence[str]) -> dict[str, Any]:
    try:
        with open_regular(record.path) as file:
            file.seek(record.start)
            payload = next(parse_shard(file, record.path, record.number, record.start))
        return decode_some(payload, names)
    except (Fault, OSError, StopIteration) as error:
        raise _damaged(record, str(error)) from error


def _damaged(record: _Record, what: str) -> InvalidInputError:
    return InvalidInputError(
        f"{record.path}, record {record.number}, is damaged: {one_line(what, 300)}. Copy it again"
    )


def _read(records: Sequence[_Record], which: range) -> Pixels:
    pixels = [_reflectance(_values(records[index], _PIXELS)) for index in which]
    return Pixels(*(np.stack(grids) for grids in zip(*pixels, strict=True)))


def _reflectance(
    values: dict[str, Any],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns (192, 192, 4) and (96, 96, 6), NaN where there is no data: all bands are 0, or the SCL is."""
    no_data = values["image_0/scl"] == 0
    offset, ten, twenty = (values[name] for name in _PIXELS[:3])
    return (
        _scaled(ten, offset, no_data.repeat(2, axis=0).repeat(2, axis=1)),
        _scaled(twenty, offset, no_data),
    )


def _scaled(
    dn: npt.NDArray[np.uint16], offset: int, no_data: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    reflectance: npt.NDArray[np.float32] = (dn.astype(np.float32) + np.float32(offset)) / np.float32(
        REFLECTANCE_SCALE
    )
    reflectance[no_data | (dn.max(axis=-1) == 0)] = np.nan
    return reflectance
