"""The meaning of an asset's numbers: which of them are no data, and that the others are DN."""

import math
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


def check_scale(dataset: Any, band: str, name: str) -> None:
    """Checks that the numbers of an asset are what they are taken for.

    Args:
        dataset: The asset, open.
        band: One of `BANDS`, or "SCL".
        name: Of the asset, for messages.

    Raises:
        PermanentFault: "wrong_scale".
    """
    known = (PLAIN,) if band == SCL else DN_SCALES
    found = dataset.scales[0], dataset.offsets[0]
    # Some writers keep them as float32.
    if not any(
        all(math.isclose(*pair, rel_tol=1e-6) for pair in zip(found, one, strict=True)) for one in known
    ):
        raise PermanentFault(
            "wrong_scale",
            f"{name} must hold {'classes' if band == SCL else f'DN of 1/{REFLECTANCE_SCALE}'}. "
            f"Received: scale {found[0]:g}, offset {found[1]:g}",
        )


def nodata_value(dataset: Any) -> int | None:
    """Returns the number, other than 0, by which an open file of unsigned integers says that a pixel is no data."""
    value = dataset.nodata
    # It may be one that no pixel can have, such as -9999 or NaN.
    is_pixel = value is not None and value in range(1, np.iinfo(dataset.dtypes[0]).max + 1)
    return int(value) if is_pixel else None


class PixelReader:
    """Reads pixels of one file, with 0 for those that the file marks as no data.

    Whether it holds a mask is found out once, after pixels have been read: a header that did not come whole seems to
    have none. To ask has GDAL look at every directory of the file, after which it must not be asked where a block
    lies: of one that it cannot find it then says that it is not stored.

    Args:
        nodata: As `nodata_value` gives it.
    """

    def __init__(self, nodata: int | None) -> None:
        self._nodata = nodata
        self._has_mask: bool | None = None

    @property
    def requests(self) -> int:
        """The number of requests that a host gets for a reading: of the pixels, and of the mask where there is one."""
        return 2 if self._has_mask else 1

    def read(self, dataset: Any, **where: Any) -> Pixels:
        """Reads a part of the file.

        Args:
            dataset: The file, or an overview of it, open.
            where: `window` or `out_shape`, as rasterio has them.

        Returns:
            (H, W), masked where the file marks pixels; a plain array where it marks none of these.
        """
        pixels: Pixels = dataset.read(1, **where)
        if self._has_mask is None:
            self._has_mask = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
        if self._nodata is None and not self._has_mask:
            return pixels
        marked = np.zeros(pixels.shape, np.bool_) if self._nodata is None else pixels == self._nodata
        if self._has_mask:
            marked |= dataset.read_masks(1, **where) == 0
        if not marked.any():
            return pixels
        pixels[marked] = 0
        return np.ma.MaskedArray(pixels, marked)
