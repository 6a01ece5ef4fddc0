"""From the DN of an asset to surface reflectance: the offset of processing baseline 04.00.

From baseline 04.00 on ESA adds 1000 to every L2A DN, so that reflectance = (DN - 1000) / 10000. Some hosts
take the 1000 off again before they publish. What a host did is decided once per item from what the item says,
and, where that is known to be unreliable, checked against the pixels.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from beam_pipeline.imagery.image import MAX_NODATA_DN, REFLECTANCE_SCALE, over_bands
from beam_pipeline.runtime.faults import PermanentFault

BOA_ADD_OFFSET = -1000
"""Offset of an L2A product of baseline 04.00 or later. Source: ESA, Sentinel-2
Products Specification Document, BOA_ADD_OFFSET of every band."""

DECISIONS = ("baseline_before_0400", "host_applied", "not_applied", "no_flag")
"""The grounds on which an offset was decided, see `decide_offset`."""

CHECKED_DECISIONS = ("no_flag", "not_applied")
"""The decisions for -1000, which the pixels may contradict: the flag is known to be wrong for some items, and a host
without a flag may have taken the 1000 off. See `offset_contradicted`."""

MAX_NEGATIVE_FRACTION = 0.05
"""Largest share of an image's clear pixels that may be negative in B02, B03 and B04 at once.

Source: measured on the two real dates of Manila, whose DN hold no offset (tests/imagery/test_radiometry.py):
in their chips 14 % to 81 % of the clear pixels would be negative with 1000 taken off; with 1000 added, none.
"""

_BASELINE_KEYS = ("s2:processing_baseline", "sentinel:processing_baseline")
_VERSION_KEY = "processing:version"
"""Some hosts give the baseline here, others the version of a processor of their own."""

_UNOFFICIAL = "99."
"""Baselines of tests and of what users make with Sen2Cor, which say nothing of the offset.

Source: https://github.com/senbox-org/sen2like/issues/23.
"""

_PRODUCT_KEYS = (
    "s2:product_uri",
    "sentinel:product_id",
    "s2:datastrip_id",
    "s2:granule_id",
    "s2:datatake_id",
)
_FLAG_KEYS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_NUMBER = re.compile(r"N?(\d{1,2})\.?(\d{2})\Z")
_VERSION = re.compile(r"N?(\d{2})(?:\.|(?<=N\d\d))(\d{2})\Z")  # "05.11" or "N0511", and no "2.11"
_IN_PRODUCT_NAME = re.compile(r"_N(\d{2})\.?(\d{2})(?:_|\.|\Z)")
_CLEAR_SCL = (4, 5, 6)  # vegetation, not vegetated, water


def find_baseline(properties: Mapping[str, Any], item_id: str = "") -> str:
    """Finds the processing baseline of an item, wherever it is written.

    Args:
        properties: The item's properties.
        item_id: The item's id, for catalogues that use ESA's product name as id.

    Returns:
        E.g. "05.11"; "" where neither a property nor the product's name says it.
    """
    for key in _BASELINE_KEYS:
        if match := _NUMBER.match(str(properties.get(key, "")).strip()):
            return f"{int(match[1]):02d}.{match[2]}"
    for text in (*(str(properties.get(key, "")) for key in _PRODUCT_KEYS), item_id):
        if match := _IN_PRODUCT_NAME.search(text):
            return f"{match[1]}.{match[2]}"
    match = _VERSION.match(str(properties.get(_VERSION_KEY, "")))
    return f"{match[1]}.{match[2]}" if match else ""


def decide_offset(properties: Mapping[str, Any], item_id: str = "") -> tuple[int, str]:
    """Decides what must be added to an item's DN.

    The advertised `raster:bands` offset is no evidence: items whose host took the 1000 off still advertise
    -0.1.

    Args:
        properties: The item's properties.
        item_id: The item's id, see `find_baseline`.

    Returns:
        (0 or -1000, decision). "host_applied": the host's flag says that the 1000 is off already.
        "baseline_before_0400": there never was an offset. "not_applied": baseline 04.00 or later, and the
        flag says that the 1000 is still there. "no_flag": baseline 04.00 or later from a host without a flag,
        whose DN are ESA's until the pixels say otherwise.

    Raises:
        PermanentFault: "unknown_baseline" where nothing settles it, "unofficial_baseline" of a product that is none of
            ESA's, "bad_offset_flag" where the flag is no boolean.
    """
    baseline = find_baseline(properties, item_id)
    if baseline.startswith(_UNOFFICIAL):
        raise PermanentFault(
            "unofficial_baseline",
            f"the processing baseline {baseline} stands for tests and for what users made themselves",
        )
    flag = next((properties[key] for key in _FLAG_KEYS if properties.get(key) is not None), None)
    if flag is not None and not isinstance(flag, bool):
        raise PermanentFault(
            "bad_offset_flag", f"boa_offset_applied must be true or false. Received: {flag!r}"
        )
    if flag:
        return 0, "host_applied"
    if not baseline:
        keys = (*_BASELINE_KEYS, _VERSION_KEY)
        said = [f"{key} {properties[key]!r}" for key in keys if properties.get(key) is not None]
        raise PermanentFault(
            "unknown_baseline",
            "no property and no product name gives the processing baseline as ESA writes it, e.g. 05.11. Received: "
            + (", ".join(said) or "none"),
        )
    if baseline < "04.00":
        return 0, "baseline_before_0400"
    return BOA_ADD_OFFSET, "no_flag" if flag is None else "not_applied"


def offset_contradicted(gsd_10: npt.NDArray[np.uint16], scl: npt.NDArray[np.uint8]) -> bool:
    """Tells whether the pixels contradict an item whose 1000 are said to be in them.

    A clear pixel of vegetation, soil or water whose B02, B03 and B04 would all be negative after taking 1000
    off is hardly seen in real data, while in data without the 1000 it is the rule over vegetation, water and
    dark roofs. So a share of more than `MAX_NEGATIVE_FRACTION` such pixels contradicts. Bright desert without
    a dark pixel cannot contradict anything.

    Args:
        gsd_10: (2H, 2W, 4) DN of B02, B03, B04, B08; 0 = no data.
        scl: (H, W) scene classification at 20 m.

    Returns:
        True where the item must not be used for this image.
    """
    share = dark_share(gsd_10[..., :3], scl.repeat(2, axis=0).repeat(2, axis=1))
    return share is not None and share > MAX_NEGATIVE_FRACTION


def dark_share(visible: npt.NDArray[np.uint16], scl: npt.NDArray[np.uint8]) -> float | None:
    """Returns the share of clear pixels that would be negative in all visible bands after taking 1000 off.

    Args:
        visible: (H, W, 3) DN of B02, B03 and B04; `MAX_NODATA_DN` or less in all three = no data.
        scl: (H, W) scene classification of the same pixels.

    Returns:
        0 to 1; None where no pixel is clear.
    """
    brightest = over_bands(np.maximum, visible)
    clear = np.isin(scl, _CLEAR_SCL) & (brightest > MAX_NODATA_DN)
    if not clear.any():
        return None
    return float((brightest[clear] < -BOA_ADD_OFFSET).mean())


def to_reflectance(dn: npt.NDArray[np.uint16], boa_add_offset: int) -> npt.NDArray[np.float32]:
    """Converts DN to surface reflectance.

    Args:
        dn: DN of any shape; 0 = no data is converted like any other.
        boa_add_offset: 0 or -1000.

    Returns:
        float32 of the same shape, (DN + offset) / 10000; it may be negative or above 1.
    """
    # uint16 must be widened first: 500 - 1000 would wrap around.
    return (dn.astype(np.float32) + np.float32(boa_add_offset)) / np.float32(REFLECTANCE_SCALE)
