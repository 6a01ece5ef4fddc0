"""Which images a chip gets: the first two dates, in the scenes' order, that pass the filters.

SCL is read first; the 12 bands only for the chips that pass it. Where a scene cannot be used for good, the earlier
processing of the same granule stands in, before the next date does.
"""

import collections
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.chip_image import make_image, nodata_pixels
from beam_pipeline.imagery.cog import ChipBands, SceneReader
from beam_pipeline.imagery.image import (
    BANDS,
    NUM_SLOTS,
    REFLECTANCE_SCALE,
    SCL,
    Image,
    over_bands,
)
from beam_pipeline.imagery.offset_check import OffsetCheck
from beam_pipeline.imagery.radiometry import CHECKED_DECISIONS, offset_contradicted
from beam_pipeline.imagery.scenes import Scene, SceneNote
from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault

SNOW = 11
"""SCL class of snow and ice. Source: ESA, Sentinel-2 Level-2A Algorithm Theoretical Basis Document."""

MUCH_SNOW = 0.25
"""Fraction of a chip's pixels from which a bright chip counts as "bright_snow", not as cloud SCL missed."""

_VISIBLE = 3  # B02, B03 and B04 come first in gsd_10


@dataclasses.dataclass(frozen=True)
class FilterSettings:
    """The limits beyond which an image of a chip is unusable.

    Attributes:
        max_bad_fraction: Largest fraction of all SCL pixels that may be of `bad_scl`, 0 to 1.
        bad_scl: SCL classes that are unusable: saturated or defective, cloud shadow, cloud of medium and of
            high probability, thin cirrus.
        max_min_reflectance: How bright a chip may be. Its brightness is a low percentile of its valid pixels, of each
            of which the lowest reflectance in B02, B03 and B04 counts.
        min_reflectance_percentile: That percentile, 0 to 100; 0 is the plain minimum, which one dark pixel settles.
        allow_nodata: Whether some pixels may have no data; an image without any is never used.
        checked_decisions: Those of `radiometry.DECISIONS` that a chip's pixels may contradict.
    """

    max_bad_fraction: float = 0.25
    bad_scl: tuple[int, ...] = (1, 3, 8, 9, 10)
    max_min_reflectance: float = 0.2
    min_reflectance_percentile: float = 5.0
    allow_nodata: bool = False
    checked_decisions: tuple[str, ...] = CHECKED_DECISIONS


@dataclasses.dataclass(frozen=True)
class ChipImages:
    """The findings for one chip in one year.

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
    wanted: int = NUM_SLOTS
    images: list[Image] = dataclasses.field(default_factory=list)
    rejections: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    notes: list[SceneNote] = dataclasses.field(default_factory=list)
    failure: tuple[str, str] | None = None

    @property
    def is_over(self) -> bool:
        return self.failure is not None or len(self.images) == self.wanted

    def wants(self, scene: Scene) -> bool:
        return not self.is_over and all(image.date != scene.date for image in self.images)

    def fail(self, scene: Scene, fault: Fault) -> None:
        # The next date must not stand in: an outage would change the dataset.
        self.failure = fault.reason, f"{scene.item_id}: {fault.detail}"

    def result(self) -> ChipImages:
        images = [] if self.failure else sorted(self.images, key=lambda image: image.datetime)
        rejections = dict(sorted(self.rejections.items()))
        return ChipImages(tuple(images), rejections, tuple(self.notes), self.failure)


_Lost: TypeAlias = tuple[_Search, SceneNote]
"""A chip for which a scene is of no use for good, and why."""

_Clear: TypeAlias = tuple[_Search, npt.NDArray[np.uint8]]
"""A chip whose SCL passed, and that."""


def select_images(
    reader: SceneReader,
    scenes: Sequence[Scene],
    chips: Sequence[ChipWindow],
    filters: FilterSettings,
    offsets: OffsetCheck | None = None,
    wanted: int = NUM_SLOTS,
) -> list[ChipImages]:
    """Walks the scenes of a tile and year until every chip has two images, or as many as are wanted.

    What a chip gets depends on nothing but the scenes, the chip and the filters, whatever other chips it
    shares a call with. In memory are the images found and 12 bands of the chips that passed the SCL filter.

    Args:
        reader: Reads the assets.
        scenes: In walking order.
        chips: Chips of the scenes' tile.
        filters: What makes an image unusable.
        offsets: Looks at scenes whose offset the pixels may contradict; by default one that keeps no verdicts.
        wanted: Most images of a chip.

    Returns:
        One answer for each chip, in the order given.

    Raises:
        Fault: A verdict on a scene could not be kept.
    """
    searches = [_Search(chip, wanted) for chip in chips]
    walk = _Walk(reader, filters, offsets or OffsetCheck(reader))
    for scene in scenes:
        if all(search.is_over for search in searches):
            break
        walk.visit(scene, searches)
    return [search.result() for search in searches]


class _Walk:
    """The means of looking at a scene."""

    def __init__(self, reader: SceneReader, filters: FilterSettings, offsets: OffsetCheck) -> None:
        self._reader = reader
        self._filters = filters
        self._offsets = offsets

    def visit(self, scene: Scene, searches: Sequence[_Search]) -> None:
        """Offers a scene to the chips that want it, and its earlier processings to those for which it is of no use."""
        wanting = searches
        processings = (scene, *scene.earlier)
        for processing, next_one in itertools.zip_longest(processings, scene.earlier):
            wanting = [search for search in wanting if search.wants(processing)]
            if not wanting:
                return
            lost = self._offer(processing, wanting)
            stands_in = f"; its earlier processing {next_one.item_id} stands in" if next_one else ""
            for search, note in lost:
                search.notes.append(dataclasses.replace(note, detail=note.detail + stands_in))
            wanting = [search for search, _ in lost]

    def _offer(self, scene: Scene, searches: Sequence[_Search]) -> list[_Lost]:
        """Offers one processing of a scene; returns the chips for which it is of no use for good, and why."""
        lost: list[_Lost] = []
        clear: list[_Clear] = []
        for search, bands in zip(searches, self._read(scene, (SCL,), searches, lost), strict=True):
            if bands is None:
                continue
            scl = np.ma.getdata(bands[SCL]).astype(np.uint8, copy=False)
            reason = scl_rejection(scl, self._filters)
            if reason is None:
                clear.append((search, scl))
            else:
                search.rejections[reason] += 1
        clear = self._without_contradicted(scene, clear, lost)
        answers = self._read(scene, BANDS, [search for search, _ in clear], lost)
        for (search, scl), bands in zip(clear, answers, strict=True):
            if bands is None:
                continue
            image = make_image(scene, scl, bands, bad_fraction(scl, self._filters))
            reason = image_rejection(image, self._filters)
            if reason is None:
                search.images.append(image)
            else:
                search.rejections[reason] += 1
        return lost

    def _without_contradicted(self, scene: Scene, clear: list[_Clear], lost: list[_Lost]) -> list[_Clear]:
        """Looks at the scene as a whole where a chip is about to take it; returns the chips that may."""
        if not clear:
            return []
        try:
            refusal = self._offsets.refusal(scene)
        except TransientFault as fault:
            for search, _ in clear:
                search.fail(scene, fault)
            return []
        if refusal is None:
            return clear
        lost += [(search, refusal) for search, _ in clear]
        return []

    def _read(
        self, scene: Scene, bands: Sequence[str], searches: Sequence[_Search], lost: list[_Lost]
    ) -> list[ChipBands | None]:
        """Reads bands for chips; None for those that got none, which then have failed or are `lost`."""
        answers: list[ChipBands | None] = []
        chips = [search.chip for search in searches]
        for search, answer in zip(searches, self._reader.read(scene.assets, bands, chips), strict=True):
            if isinstance(answer, PermanentFault):
                lost.append((search, SceneNote(scene.item_id, answer.reason, answer.detail)))
            elif isinstance(answer, Fault):
                search.fail(scene, answer)
            answers.append(None if isinstance(answer, Fault) else answer)
        return answers


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
    lowest = over_bands(np.minimum, image.gsd_10[..., :_VISIBLE])[valid]
    # The value at the rank, not one between two pixels.
    brightness = int(np.percentile(lowest, filters.min_reflectance_percentile, method="inverted_cdf"))
    if (brightness + image.boa_add_offset) / REFLECTANCE_SCALE > filters.max_min_reflectance:
        return "bright_snow" if (image.scl == SNOW).mean() >= MUCH_SNOW else "too_bright"
    if image.boa_decision in filters.checked_decisions and offset_contradicted(image.gsd_10, image.scl):
        return "offset_contradicted"
    return None


def bad_fraction(scl: npt.NDArray[np.uint8], filters: FilterSettings) -> float:
    """Returns the fraction, 0 to 1, of an SCL array of any shape that is of an unusable class."""
    return float(np.isin(scl, filters.bad_scl).mean())
