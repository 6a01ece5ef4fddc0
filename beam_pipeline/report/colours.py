"""The colours in which reflectance and label categories are drawn."""

import colorsys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

BRIGHTEST = 0.25
"""The reflectance that is drawn white; most land is darker."""

COLOURS = {
    "wooded": (30, 106, 48),
    "agricultural": (222, 200, 92),
    "residential": (214, 112, 94),
    "industrial": (146, 104, 170),
    "commercial": (232, 120, 190),
    "recreation": (140, 214, 100),
    "airport": (118, 128, 210),
    "quarry": (150, 116, 84),
    "military": (120, 128, 84),
    "desert_sand": (244, 226, 170),
    "mountain_rock": (168, 160, 154),
    "other_natural": (120, 176, 140),
    "water": (48, 112, 200),
    "road": (40, 40, 40),
    "building": (178, 34, 34),
}
"""RGB of the default ontology's categories; those of another ontology get hues in turn."""

SPLIT_COLOURS = {"training": "#3d7cc8", "validation": "#c47a10", "testing": "#b5449a"}
"""Seen on white and on the dark page alike, and by the colour-blind; maps in a page are pixels, of one scheme."""

NONE_COLOUR = (236, 236, 236)
UNLABELED_COLOUR = (255, 255, 255)


def true_colour(reflectance: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Returns an image in true colour.

    Args:
        reflectance: (H, W, 3) of B04, B03 and B02.

    Returns:
        (H, W, 3) uint8 RGB: 0 to `BRIGHTEST` of reflectance, gamma 1/1.6.
    """
    scaled = np.clip(reflectance / BRIGHTEST, 0.0, 1.0) ** (1 / 1.6)
    pixels: npt.NDArray[np.uint8] = np.rint(scaled * 255).astype(np.uint8)
    return pixels


def category_colours(names: Sequence[str]) -> list[tuple[int, int, int]]:
    """Chooses a colour for every category.

    Args:
        names: All categories of an ontology, in order of their values.

    Returns:
        RGB of each.
    """
    chosen = []
    for index, name in enumerate(names):
        red, green, blue = colorsys.hsv_to_rgb(index / len(names), 0.6, 0.8)
        fallback = (round(255 * red), round(255 * green), round(255 * blue))
        chosen.append(COLOURS.get(name.lower(), fallback))
    return chosen
