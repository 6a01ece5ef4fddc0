"""The encoder's input: reflectance looked over, standardised, and mirrored outwards where context is wanted."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from beam_pipeline.records.statistics import INPUT_BANDS, BandStatistics
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.foreign_text import one_line
from beam_pipeline.runtime.progress import Progress
from model_tf.downstream_tasks.patch_set import PatchSet, Pixels

Context = Literal["none", "mirror"]
CONTEXTS: tuple[Context, ...] = get_args(Context)

TRAINING_SIDE = 192
"""Pixels at 10 m of the images that encoders are trained on."""

BANDS = tuple(band for bands in INPUT_BANDS.values() for band in bands)
"""The ten bands in the order of `Survey`."""

_READ_AT_ONCE = 64

Images = Mapping[str, npt.NDArray[np.float32]]


@dataclasses.dataclass(frozen=True)
class Survey:
    """Mean and deviation of each band over each patch, without context: the baseline "image statistics".

    Attributes:
        mean: (N, 10) float32 reflectance, the bands of `BANDS`.
        deviation: (N, 10) float32 reflectance.
        without_data: Pixels at 10 m that have no data, of all patches.
    """

    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    without_data: int

    def statistics(self) -> BandStatistics:
        """Returns mean and variance of each band over all pixels of all patches, by which they can be standardised."""
        mean = self.mean.mean(axis=0, dtype=np.float64)
        square = (np.square(self.mean, dtype=np.float64) + np.square(self.deviation, dtype=np.float64)).mean(
            axis=0
        )
        variance = square - mean**2
        flat = [band for band, value in zip(BANDS, variance, strict=True) if not value > 0]
        if flat:
            raise InvalidInputError(
                f"--patches must hold bands that vary. Received: {', '.join(flat)} with one value in all patches"
            )
        return BandStatistics(
            dict(zip(BANDS, mean.tolist(), strict=True)), dict(zip(BANDS, variance.tolist(), strict=True))
        )


def survey(patches: PatchSet) -> Survey:
    """Reads all patches once.

    Raises:
        InvalidInputError: A file is damaged, or a patch has no data.
    """
    means, deviations, without_data = [], [], 0
    count, offsets = len(patches.patches), patches.offsets
    in_middle = not offsets.any()
    with Progress(count, "looking at pixels", "patches") as progress:
        for start in range(0, count, _READ_AT_ONCE):
            which = range(start, min(start + _READ_AT_ONCE, count))
            here = None if in_middle else offsets[which.start : which.stop]
            grids = [cropped(grid, patches.crop, here) for grid in _grids(patches.read(which))]
            missing = np.isnan(grids[0]).any(axis=-1).sum(axis=(1, 2))
            without_data += int(missing.sum())
            no_data = np.any(
                [np.isnan(grid).any(axis=-1).reshape(len(grid), -1).all(axis=1) for grid in grids], axis=0
            )
            for index in np.flatnonzero(no_data)[:1]:
                raise InvalidInputError(
                    f"{one_line(patches.patches[which[index]].name)} must hold data. Received: no pixel of 20 m with "
                    "data. Leave it out"
                )
            means.append(np.concatenate([np.nanmean(grid, axis=(1, 2)) for grid in grids], axis=1))
            deviations.append(np.concatenate([np.nanstd(grid, axis=(1, 2)) for grid in grids], axis=1))
            progress.update(len(which))
    return Survey(
        np.concatenate(means).astype(np.float32), np.concatenate(deviations).astype(np.float32), without_data
    )


@dataclasses.dataclass(frozen=True)
class Preparation:
    """Makes an encoder's inputs of pixels.

    Attributes:
        statistics: By which reflectance is standardised; a pixel without data becomes 0, the mean.
        margin: 10 m pixels that are mirrored outwards on each side; a multiple of 4.
    """

    statistics: BandStatistics
    margin: int

    def images(self, pixels: Pixels) -> dict[str, npt.NDArray[np.float32]]:
        """Returns {"gsd_10": (N, S, S, 4), "gsd_20": (N, S / 2, S / 2, 6)} with the margins added to S."""
        grids = zip(INPUT_BANDS, _grids(pixels), (self.margin, self.margin // 2), strict=True)
        return {name: self._prepared(name, grid, margin) for name, grid, margin in grids}

    def _prepared(self, name: str, grid: npt.NDArray[np.float32], margin: int) -> npt.NDArray[np.float32]:
        bands = INPUT_BANDS[name]
        mean = np.array([self.statistics.mean[band] for band in bands], np.float32)
        deviation = np.sqrt([self.statistics.variance[band] for band in bands]).astype(np.float32)
        # Whole rows at once: numpy is slow over so few bands.
        rows = grid.reshape(*grid.shape[:2], -1)
        standard = rows - np.tile(mean, grid.shape[2])
        standard /= np.tile(deviation, grid.shape[2])
        missing = np.isnan(standard)
        if missing.any():
            standard[missing] = 0
        standard = standard.reshape(grid.shape)
        if margin:
            standard = np.pad(
                standard, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="symmetric"
            )
        return standard


def margin_of(patches: PatchSet, context: Context) -> int:
    """Returns the margin that brings patches to the side of the training images; 0 without a wish for context."""
    return max(0, TRAINING_SIDE - patches.side) // 2 if context == "mirror" else 0


def cropped(
    grid: npt.NDArray[np.float32], crop: int, offsets: npt.NDArray[np.int32] | None = None
) -> npt.NDArray[np.float32]:
    """Takes the patches out of images.

    Args:
        grid: (N, S, S, bands) at 10 or 20 m; the bands tell which.
        crop: Side of a patch in 10 m pixels.
        offsets: (N, 2) of `PatchSet.offsets`; None where all patches lie in the middle.

    Returns:
        (N, crop, crop, bands); of 20 m without offsets (N, crop / 2, crop / 2, bands). With offsets a pixel of 20 m
        stands four times, as a patch may have half of it.
    """
    size = 1 if grid.shape[-1] == len(INPUT_BANDS["gsd_10"]) else 2
    if offsets is None:
        side = crop // size
        first = (grid.shape[1] - side) // 2
        return grid[:, first : first + side, first : first + side]
    firsts = (size * grid.shape[1] - crop) // 2 + offsets
    patches = np.empty((len(grid), crop, crop, grid.shape[-1]), grid.dtype)
    for patch, image, (top, left) in zip(patches, grid, firsts.tolist(), strict=True):
        rows, columns = np.arange(top, top + crop) // size, np.arange(left, left + crop) // size
        patch[:] = image[np.ix_(rows, columns)]
    return patches


def _grids(pixels: Pixels) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    return pixels.gsd_10, pixels.gsd_20
