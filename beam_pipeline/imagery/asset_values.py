"""What the numbers of an asset mean: which of them are no data, and that the others are DN."""

import dataclasses
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from rasterio.enums import MaskFlags

from beam_pipeline.imagery.image import REFLECTANCE_SCALE, SCL
from beam_pipeline.runtime.faults import PermanentFault

Pixels: TypeAlias = npt.NDArray[np.uint16] | npt.NDArray[np.uint8]
"""DN or classes; a masked array, with 0 there, where the file itself marks pixels as no data otherwise than by 0."""

PLAIN = (1.0, 0.0)
"""Scale and offset of a file that says nothing of them."""

DN_SCALES = (PLAIN, (1 / REFLECTANCE_SCALE, 0.0), (1 / REFLECTANCE_SCALE, -0.1))
"""(scale, offset) that a band of DN may claim. Whether the last holds is decided elsewhere, see `radiometry`.

Source: the files of Earth Search's collections, and those of hosts that copy ESA's pixels.
"""


@dataclasses.dataclass(frozen=True)
class NoData:
    """How a file marks pixels that are no data, besides by 0.

    Attributes:
        value: The number that stands for no data; None for none but 0.
        has_mask: Whether the file holds a mask.
    """

    value: int | None = None
    has_mask: bool = False

    @property
    def requests(self) -> int:
        """How many requests a host gets for each reading: of the pixels, and of the mask where there is one."""
        return 2 if self.has_mask else 1

    def read(self, dataset: Any, **where: Any) -> Pixels:
        """Reads pixels, with 0 for those that are no data.

        Args:
            dataset: The file, or an overview of it, open.
            where: `window` or `out_shape`, as rasterio has them.

        Returns:
            (H, W), masked where the file marks pixels; a plain array where none of these is.
        """
        pixels: Pixels = dataset.read(1, **where)
        marked = np.zeros(pixels.shape, np.bool_)
        if self.value is not None:
            marked |= pixels == self.value
        if self.has_mask:
            marked |= dataset.read_masks(1, **where) == 0
        if not marked.any():
            return pixels
        pixels[marked] = 0
        return np.ma.MaskedArray(pixels, marked)


def no_data_of(dataset: Any, band: str, name: str) -> NoData:
    """Finds how a file marks pixels that are no data; reads no pixel and no mask.

    It may ask a host where the header is scattered over the file, so it is not for every opening.

    Args:
        dataset: The file, just opened.
        band: Key of `PIXEL_SIZE_M`.
        name: Of the asset, for messages.

    Raises:
        PermanentFault: "wrong_scale": its numbers are no DN.
    """
    known = (PLAIN,) if band == SCL else DN_SCALES
    found = dataset.scales[0], dataset.offsets[0]
    # A text in the file becomes a float.
    if not any(np.allclose(found, scale_and_offset, rtol=1e-6, atol=1e-12) for scale_and_offset in known):
        raise PermanentFault(
            "wrong_scale",
            f"{name} must hold {'classes' if band == SCL else f'DN of 1/{REFLECTANCE_SCALE}'}. "
            f"Received: scale {found[0]:g}, offset {found[1]:g}",
        )
    value = dataset.nodata
    # Such as -9999 or NaN, which no pixel of an unsigned file is.
    is_pixel = value is not None and value in range(np.iinfo(dataset.dtypes[0]).max + 1)
    has_mask = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
    return NoData(int(value) if is_pixel and value else None, has_mask)
