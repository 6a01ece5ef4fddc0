"""An image of a chip, put together of its bands: DN as they are, and 0 in all bands where there is no data."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from beam_pipeline.imagery.cog import ChipBands
from beam_pipeline.imagery.image import BANDS_10, BANDS_20, BANDS_60, MAX_NODATA_DN, Image, over_bands
from beam_pipeline.imagery.scenes import Scene


def make_image(scene: Scene, scl: npt.NDArray[np.uint8], bands: ChipBands, bad_percent: float) -> Image:
    """Puts an image together.

    No data is where no band has more than `MAX_NODATA_DN`, and a whole pixel of 60 m in which any band is marked as
    no data by its file: were it less, some bands would have 0 beside others with data, as dark water has.

    Args:
        scene: Where it comes from.
        scl: (96, 96) scene classification, 0 = no data.
        bands: The 12 bands, as `SceneReader.read` gives them.
        bad_percent: Fraction of SCL pixels that are unusable, 0 to 1.
    """
    image = Image(
        item_id=scene.item_id,
        datetime=scene.datetime,
        platform=scene.platform,
        baseline=scene.baseline,
        boa_add_offset=scene.boa_add_offset,
        boa_decision=scene.boa_decision,
        bad_percent=bad_percent,
        gsd_10=_stacked(bands, BANDS_10),
        gsd_20=_stacked(bands, BANDS_20),
        gsd_60=_stacked(bands, BANDS_60),
        scl=scl,
    )
    empty = nodata_pixels(image, MAX_NODATA_DN)
    for pixels in bands.values():
        if np.ma.is_masked(pixels):
            factor = len(pixels) // len(image.gsd_60)
            empty |= _finer(_any_within(np.ma.getmaskarray(pixels), factor), 6)
    if empty.any():
        image.gsd_10[empty] = 0
        image.gsd_20[_any_within(empty, 2)] = 0
        image.gsd_60[_any_within(empty, 6)] = 0
    return image


def nodata_pixels(image: Image, most: int = 0) -> npt.NDArray[np.bool_]:
    """Finds where none of the 12 bands has more than a DN; where some have not, it may be dark water.

    Args:
        image: The image.
        most: The DN; an image that was put together has 0 where there is no data.

    Returns:
        (192, 192), at 10 m.
    """
    empty: npt.NDArray[np.bool_] = np.ones(image.gsd_10.shape[:2], np.bool_)
    for pixels, factor in ((image.gsd_10, 1), (image.gsd_20, 2), (image.gsd_60, 6)):
        empty &= _finer(over_bands(np.maximum, pixels) <= most, factor)
    return empty


def _stacked(bands: ChipBands, keys: Sequence[str]) -> npt.NDArray[np.uint16]:
    return np.stack([np.ma.getdata(bands[key]) for key in keys], axis=-1).astype(np.uint16, copy=False)


def _finer(pixels: npt.NDArray[np.bool_], factor: int) -> npt.NDArray[np.bool_]:
    """Repeats each pixel of (H, W) in a square of factor by factor."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _any_within(pixels: npt.NDArray[np.bool_], factor: int) -> npt.NDArray[np.bool_]:
    """Tells of each square of factor by factor pixels of (H, W) whether one of them is true."""
    height, width = (length // factor for length in pixels.shape)
    found: npt.NDArray[np.bool_] = np.any(pixels.reshape(height, factor, width, factor), axis=(1, 3))
    return found
