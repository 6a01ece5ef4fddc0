"""Which images a chip gets: the first two dates, in the scenes' order, that pass the filters.

SCL is read first; the 12 bands only for the chips that pass it.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.cog import ChipBands, SceneReader
from beam_pipeline.imagery.image import (
    BANDS,
    BANDS_10,
    BANDS_20,
    BANDS_60,
    NUM_SLOTS,
    REFLECTANCE_SCALE,
    SCL,
    Image,
)
from beam_pipeline.imagery.radiometry import offset_contradicted
from beam_pipeline.imagery.scenes import Scene, SceneNote
from beam_pipeline.runtime.faults import Fault, PermanentFault

SNOW = 11
"""SCL class of snow and ice. Source: ESA, Sentinel-2 Level-2A Algorithm Theoretical Basis Document."""

MUCH_SNOW = 0.25
"""Fraction of a chip's pixels from which a bright chip counts as "bright_snow", not as cloud SCL missed."""

_VISIBLE = 3  # B02, B03 and B04 come first in gsd_10


@dataclasses.dataclass(frozen=True)
class FilterSettings:
    """What makes an image of a chip unusable.

    Attributes:
        max_bad_fraction: Largest fraction of all SCL pixels that may be of `bad_scl`, 0 to 1.
        bad_scl: SCL classes that are unusable: saturated or defective, cloud shadow, cloud of medium and of
            high probability, thin cirrus.
        max_min_reflectance: Largest value of the chip's lowest reflectance in B02, B03 and B04.
        allow_nodata: Whether some pixels may have no data; an image without any is never used.
    """

    max_bad_fraction: float = 0.25
    bad_scl: tuple[int, ...] = (1, 3, 8, 9, 10)
    max_min_reflectance: float = 0.2
    allow_nodata: bool = False


@dataclasses.dataclass(frozen=True)
class ChipImages:
    """What was found for one chip in one year.

    Attributes:
        images: 0 to 2 images of different dates, in order of time; none where there is a failure.
        rejections: Number of scenes passed over because of what they show of this chip, by reason: "nodata",
            "unusable", "too_bright", "bright_snow", "offset_contradicted".
        notes: Scenes that could not be used for this chip, and why, in walking order.
        failure: (reason, detail) of a transient fault that outlasted its retries: a dead letter.
    """

    images: tuple[Image, ...]
    rejections: Mapping[str, int]
    notes: tuple[SceneNote, ...]
    failure: tuple[str, str] | None


@dataclasses.dataclass
class _Search:
    """A chip's walk through the scenes, so far."""

    chip: ChipWindow
    images: list[Image] = dataclasses.field(default_factory=list)
    rejections: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    notes: list[SceneNote] = dataclasses.field(default_factory=list)
    failure: tuple[str, str] | None = None

    @property
    def is_over(self) -> bool:
        return self.failure is not None or len(self.images) == NUM_SLOTS

    def wants(self, scene: Scene) -> bool:
        return not self.is_over and all(image.date != scene.date for image in self.images)

    def note(self, scene: Scene, fault: Fault) -> None:
        if isinstance(fault, PermanentFault):
            self.notes.append(SceneNote(scene.item_id, fault.reason, fault.detail))
        else:
            # The next date must not stand in: an outage would change the dataset.
            self.failure = fault.reason, f"{scene.item_id}: {fault.detail}"

    def result(self) -> ChipImages:
        images = [] if self.failure else sorted(self.images, key=lambda image: image.datetime)
        rejections = dict(sorted(self.rejections.items()))
        return ChipImages(tuple(images), rejections, tuple(self.notes), self.failure)


def select_images(
    reader: SceneReader, scenes: Sequence[Scene], chips: Sequence[ChipWindow], filters: FilterSettings
) -> list[ChipImages]:
    """Walks the scenes of a tile and year until every chip has two images.

    What a chip gets depends on nothing but the scenes, the chip and the filters, whatever other chips it
    shares a call with. In memory are the images found and 12 bands of the chips that passed the SCL filter.

    Args:
        reader: Reads the assets.
        scenes: In walking order.
        chips: Chips of the scenes' tile.
        filters: What makes an image unusable.

    Returns:
        One answer for each chip, in the order given.
    """
    searches = [_Search(chip) for chip in chips]
    for scene in scenes:
        if all(search.is_over for search in searches):
            break
        wanting = [search for search in searches if search.wants(scene)]
        passed: list[tuple[_Search, npt.NDArray[np.uint8]]] = []
        for search, bands in zip(wanting, _read(reader, scene, (SCL,), wanting), strict=True):
            if isinstance(bands, Fault):
                search.note(scene, bands)
                continue
            scl = bands[SCL].astype(np.uint8, copy=False)
            reason = scl_rejection(scl, filters)
            if reason is None:
                passed.append((search, scl))
            else:
                search.rejections[reason] += 1
        clear = [search for search, _ in passed]
        for (search, scl), bands in zip(passed, _read(reader, scene, BANDS, clear), strict=True):
            if isinstance(bands, Fault):
                search.note(scene, bands)
                continue
            image = _image(scene, scl, bands, filters)
            reason = image_rejection(image, filters)
            if reason is None:
                search.images.append(image)
            else:
                search.rejections[reason] += 1
    return [search.result() for search in searches]


def scl_rejection(scl: npt.NDArray[np.uint8], filters: FilterSettings) -> str | None:
    """Judges an image by its scene classification alone.

    Args:
        scl: (96, 96) scene classification, 0 = no data.
        filters: What makes an image unusable.

    Returns:
        "nodata", "unusable", or None when it passes.
    """
    empty = scl == 0
    if empty.all() or (empty.any() and not filters.allow_nodata):
        return "nodata"
    if bad_fraction(scl, filters) > filters.max_bad_fraction:
        return "unusable"
    return None


def image_rejection(image: Image, filters: FilterSettings) -> str | None:
    """Judges an image, whose SCL passed, by its bands.

    Args:
        image: The image.
        filters: What makes an image unusable.

    Returns:
        "nodata", "too_bright", "bright_snow", "offset_contradicted", or None when it passes.
    """
    empty = nodata_pixels(image)
    if empty.all() or (empty.any() and not filters.allow_nodata):
        return "nodata"
    valid = ~(empty | (image.scl == 0).repeat(2, axis=0).repeat(2, axis=1))
    if not valid.any():
        return "nodata"
    darkest = int(image.gsd_10[..., :_VISIBLE][valid].min())
    if (darkest + image.boa_add_offset) / REFLECTANCE_SCALE > filters.max_min_reflectance:
        return "bright_snow" if (image.scl == SNOW).mean() >= MUCH_SNOW else "too_bright"
    if offset_contradicted(image.gsd_10, image.scl, image.boa_decision):
        return "offset_contradicted"
    return None


def bad_fraction(scl: npt.NDArray[np.uint8], filters: FilterSettings) -> float:
    """Returns the fraction, 0 to 1, of an SCL array of any shape that is of an unusable class."""
    return float(np.isin(scl, filters.bad_scl).mean())


def nodata_pixels(image: Image) -> npt.NDArray[np.bool_]:
    """Finds where every one of the 12 bands is 0; a 0 in some bands only may be dark water.

    Args:
        image: The image.

    Returns:
        (192, 192), at 10 m.
    """
    empty_10, empty_20, empty_60 = (
        (pixels == 0).all(axis=-1) for pixels in (image.gsd_10, image.gsd_20, image.gsd_60)
    )
    empty: npt.NDArray[np.bool_] = empty_10 & empty_20.repeat(2, axis=0).repeat(2, axis=1)
    empty &= empty_60.repeat(6, axis=0).repeat(6, axis=1)
    return empty


def _read(
    reader: SceneReader, scene: Scene, bands: Sequence[str], searches: Sequence[_Search]
) -> list[ChipBands | Fault]:
    return reader.read(scene.assets, bands, [search.chip for search in searches])


def _image(scene: Scene, scl: npt.NDArray[np.uint8], bands: ChipBands, filters: FilterSettings) -> Image:
    def stacked(keys: Sequence[str]) -> npt.NDArray[np.uint16]:
        return np.stack([bands[key] for key in keys], axis=-1).astype(np.uint16, copy=False)

    return Image(
        item_id=scene.item_id,
        datetime=scene.datetime,
        platform=scene.platform,
        baseline=scene.baseline,
        boa_add_offset=scene.boa_add_offset,
        boa_decision=scene.boa_decision,
        bad_percent=bad_fraction(scl, filters),
        gsd_10=stacked(BANDS_10),
        gsd_20=stacked(BANDS_20),
        gsd_60=stacked(BANDS_60),
        scl=scl,
    )
