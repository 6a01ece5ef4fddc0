"""The materials of the ground: reflectances per band, and how they change over a year.

Source: the ECOSTRESS spectral library 1.0 (Meerdink et al. 2019, doi:10.1016/j.rse.2019.05.015) and the USGS
spectral library version 7 (Kokaly et al. 2017, doi:10.3133/ds1035) for minerals, soils, roofs, road surfaces,
snow and water; typical canopies of PROSAIL (Jacquemoud et al. 2009, doi:10.1016/j.rse.2008.01.026) for
vegetation. The values are read off by eye at the centre of each band and rounded: plausible, not measured.
"""

import bisect
import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from beam_pipeline.imagery.image import BANDS
from beam_pipeline.runtime.keyed_hash import keyed_fraction

VARIANTS = 16
"""Every material comes in this many shades, so that no two neighbouring fields are alike."""

_WAVELENGTH_ORDER = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")

_ENDMEMBERS: dict[str, tuple[float, ...]] = {
    "broadleaf": (0.018, 0.024, 0.052, 0.029, 0.085, 0.26, 0.33, 0.355, 0.37, 0.37, 0.165, 0.072),
    "conifer": (0.013, 0.017, 0.032, 0.021, 0.048, 0.140, 0.170, 0.185, 0.195, 0.195, 0.082, 0.037),
    "crop": (0.025, 0.031, 0.068, 0.034, 0.105, 0.33, 0.42, 0.45, 0.46, 0.45, 0.20, 0.10),
    "blossom": (0.040, 0.050, 0.155, 0.130, 0.190, 0.36, 0.43, 0.46, 0.47, 0.46, 0.20, 0.10),
    "grass": (0.030, 0.039, 0.083, 0.052, 0.125, 0.29, 0.35, 0.375, 0.39, 0.385, 0.245, 0.135),
    "straw": (0.060, 0.080, 0.125, 0.165, 0.205, 0.235, 0.255, 0.275, 0.290, 0.30, 0.355, 0.255),
    "litter": (0.035, 0.045, 0.065, 0.085, 0.110, 0.135, 0.150, 0.165, 0.180, 0.19, 0.23, 0.17),
    "brown_soil": (0.055, 0.070, 0.100, 0.135, 0.160, 0.180, 0.195, 0.210, 0.225, 0.235, 0.30, 0.26),
    "dark_soil": (0.038, 0.048, 0.065, 0.085, 0.100, 0.115, 0.125, 0.138, 0.150, 0.155, 0.21, 0.19),
    "reed": (0.030, 0.038, 0.060, 0.055, 0.085, 0.165, 0.195, 0.215, 0.225, 0.22, 0.135, 0.075),
    "scrub": (0.025, 0.033, 0.055, 0.050, 0.085, 0.170, 0.205, 0.230, 0.245, 0.25, 0.185, 0.11),
    "sand": (0.140, 0.180, 0.250, 0.320, 0.350, 0.370, 0.385, 0.400, 0.410, 0.41, 0.47, 0.44),
    "rock": (0.120, 0.140, 0.170, 0.195, 0.205, 0.212, 0.218, 0.225, 0.230, 0.235, 0.26, 0.24),
    "limestone": (0.200, 0.240, 0.290, 0.330, 0.345, 0.355, 0.362, 0.370, 0.375, 0.375, 0.40, 0.36),
    "asphalt": (0.058, 0.068, 0.080, 0.090, 0.095, 0.100, 0.105, 0.110, 0.115, 0.12, 0.135, 0.13),
    "concrete": (0.160, 0.190, 0.230, 0.260, 0.270, 0.280, 0.285, 0.290, 0.295, 0.295, 0.32, 0.30),
    "tile": (0.055, 0.065, 0.090, 0.190, 0.230, 0.250, 0.265, 0.275, 0.285, 0.29, 0.33, 0.30),
    "slate": (0.080, 0.090, 0.100, 0.110, 0.115, 0.118, 0.121, 0.125, 0.130, 0.13, 0.15, 0.15),
    "metal": (0.300, 0.340, 0.360, 0.370, 0.372, 0.374, 0.376, 0.380, 0.380, 0.38, 0.36, 0.33),
    "clear_water": (0.035, 0.032, 0.025, 0.012, 0.009, 0.007, 0.006, 0.005, 0.004, 0.004, 0.002, 0.001),
    "silty_water": (0.048, 0.054, 0.070, 0.050, 0.045, 0.025, 0.022, 0.018, 0.015, 0.012, 0.004, 0.002),
}

SNOW: npt.NDArray[np.float32]
"""(12,) float32 reflectance of clean settled snow, in the order of `BANDS`."""

Mix = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Material:
    """A kind of surface.

    Attributes:
        stages: (day of the year, endmember fractions) pairs, ascending; between them the spectra change
            linearly, and the last leads to the first.
        spread: Largest relative difference in brightness between shades, 0 to 1.
        delay_days: Largest difference in season between shades, in days.
        texture: Relative brightness changes from pixel to pixel, 0 to 1.
        snow: Fraction that lies under snow when it has snowed, 0 to 1.
    """

    stages: tuple[tuple[int, Mix], ...]
    spread: float = 0.1
    delay_days: int = 0
    texture: float = 0.08
    snow: float = 0.85


def _evergreen(texture: float = 0.05, spread: float = 0.1, snow: float = 0.8, **mix: float) -> Material:
    return Material(((1, mix),), spread, 0, texture, snow)


_LEAFY = {"broadleaf": 0.95, "litter": 0.05}
_BARE_TREES = {"litter": 0.75, "conifer": 0.15, "dark_soil": 0.10}
_MEADOW_WINTER = {"grass": 0.45, "straw": 0.30, "dark_soil": 0.25}

MATERIALS: dict[str, Material] = {
    "broadleaf": Material(
        ((95, _BARE_TREES), (140, _LEAFY), (265, _LEAFY), (315, _BARE_TREES)), 0.12, 8, 0.16, 0.35
    ),
    "conifer": _evergreen(0.14, 0.12, 0.3, conifer=0.93, litter=0.07),
    "mixed_wood": Material(
        (
            (95, {"litter": 0.4, "conifer": 0.6}),
            (140, {"broadleaf": 0.5, "conifer": 0.5}),
            (265, {"broadleaf": 0.5, "conifer": 0.5}),
            (315, {"litter": 0.4, "conifer": 0.6}),
        ),
        0.12,
        8,
        0.16,
        0.3,
    ),
    "wheat": Material(
        (
            (45, {"brown_soil": 0.6, "crop": 0.4}),
            (110, {"crop": 0.95, "brown_soil": 0.05}),
            (150, {"crop": 0.9, "straw": 0.1}),
            (185, {"straw": 0.95, "brown_soil": 0.05}),
            (215, {"straw": 0.6, "brown_soil": 0.4}),
            (260, {"brown_soil": 1.0}),
            (310, {"brown_soil": 0.85, "crop": 0.15}),
        ),
        0.14,
        12,
        0.05,
    ),
    "maize": Material(
        (
            (130, {"brown_soil": 1.0}),
            (195, {"crop": 0.95, "brown_soil": 0.05}),
            (245, {"crop": 0.85, "straw": 0.15}),
            (285, {"straw": 0.8, "brown_soil": 0.2}),
            (305, {"brown_soil": 0.8, "straw": 0.2}),
        ),
        0.14,
        12,
        0.05,
    ),
    "rapeseed": Material(
        (
            (60, {"crop": 0.6, "dark_soil": 0.4}),
            (105, {"crop": 0.95, "dark_soil": 0.05}),
            (125, {"blossom": 0.95, "crop": 0.05}),
            (150, {"crop": 1.0}),
            (190, {"straw": 1.0}),
            (230, {"brown_soil": 0.8, "straw": 0.2}),
            (300, {"crop": 0.45, "dark_soil": 0.55}),
        ),
        0.12,
        8,
        0.05,
    ),
    "fallow": Material(
        (
            (60, {"dark_soil": 0.8, "grass": 0.2}),
            (160, {"brown_soil": 0.5, "grass": 0.5}),
            (280, {"brown_soil": 0.8, "straw": 0.2}),
        ),
        0.2,
        15,
        0.06,
    ),
    "meadow": Material(
        (
            (50, _MEADOW_WINTER),
            (120, {"grass": 1.0}),
            (200, {"grass": 0.8, "straw": 0.2}),
            (310, _MEADOW_WINTER),
        ),
        0.12,
        10,
        0.06,
    ),
    "rough_grass": Material(
        (
            (60, {"straw": 0.55, "grass": 0.3, "dark_soil": 0.15}),
            (140, {"grass": 0.75, "straw": 0.25}),
            (230, {"grass": 0.35, "straw": 0.65}),
            (330, {"straw": 0.55, "grass": 0.3, "dark_soil": 0.15}),
        ),
        0.1,
        10,
        0.12,
    ),
    "orchard": Material(
        (
            (85, {"grass": 0.5, "litter": 0.3, "brown_soil": 0.2}),
            (140, {"broadleaf": 0.5, "grass": 0.4, "brown_soil": 0.1}),
            (275, {"broadleaf": 0.45, "grass": 0.35, "straw": 0.2}),
            (320, {"grass": 0.5, "litter": 0.3, "brown_soil": 0.2}),
        ),
        0.1,
        8,
        0.12,
    ),
    "vineyard": Material(
        (
            (110, {"brown_soil": 0.8, "grass": 0.2}),
            (165, {"broadleaf": 0.4, "brown_soil": 0.5, "grass": 0.1}),
            (280, {"broadleaf": 0.35, "brown_soil": 0.5, "straw": 0.15}),
            (320, {"brown_soil": 0.8, "grass": 0.2}),
        ),
        0.12,
        8,
        0.1,
    ),
    "garden": Material(
        (
            (80, {"grass": 0.45, "litter": 0.2, "dark_soil": 0.1, "concrete": 0.25}),
            (140, {"grass": 0.45, "broadleaf": 0.3, "concrete": 0.25}),
            (270, {"grass": 0.35, "broadleaf": 0.3, "straw": 0.1, "concrete": 0.25}),
            (320, {"grass": 0.45, "litter": 0.2, "dark_soil": 0.1, "concrete": 0.25}),
        ),
        0.12,
        5,
        0.25,
    ),
    "lawn": Material(
        (
            (40, {"grass": 0.75, "dark_soil": 0.25}),
            (120, {"grass": 1.0}),
            (330, {"grass": 0.8, "dark_soil": 0.2}),
        ),
        0.06,
        5,
        0.05,
    ),
    "scrub": _evergreen(0.16, 0.12, 0.6, scrub=0.85, straw=0.15),
    "reed": Material(
        (
            (90, {"straw": 0.6, "clear_water": 0.4}),
            (170, {"reed": 0.8, "clear_water": 0.2}),
            (260, {"reed": 0.5, "straw": 0.3, "clear_water": 0.2}),
        ),
        0.1,
        6,
        0.14,
    ),
    "sand": _evergreen(0.05, 0.06, 0.6, sand=0.95, straw=0.05),
    "rock": _evergreen(0.16, 0.12, 0.7, rock=0.9, straw=0.1),
    "scree": _evergreen(0.1, 0.1, 0.75, rock=0.75, brown_soil=0.15, straw=0.1),
    "quarry": _evergreen(0.14, 0.12, 0.6, limestone=0.85, brown_soil=0.15),
    "asphalt": _evergreen(0.05, 0.1, 0.15, asphalt=1.0),
    "gravel": _evergreen(0.08, 0.1, 0.6, concrete=0.45, brown_soil=0.45, grass=0.1),
    "concrete": _evergreen(0.06, 0.1, 0.3, concrete=1.0),
    "yard": _evergreen(0.2, 0.12, 0.35, asphalt=0.45, concrete=0.45, grass=0.1),
    "tile_roof": _evergreen(0.06, 0.15, 0.7, tile=1.0),
    "slate_roof": _evergreen(0.06, 0.15, 0.7, slate=1.0),
    "metal_roof": _evergreen(0.05, 0.15, 0.6, metal=1.0),
    "lake": _evergreen(0.0, 0.1, 0.0, clear_water=0.9, silty_water=0.1),
    "river": _evergreen(0.0, 0.1, 0.0, silty_water=0.8, clear_water=0.2),
}
"""The surfaces by name; their order is the order of the numbers in a material raster."""

_NUMBERS = {name: number for number, name in enumerate(MATERIALS)}
COUNT = len(MATERIALS) * VARIANTS
"""The number of (material, shade) pairs."""


def material_number(name: str, variant: int = 0) -> int:
    """Returns the number in a material raster of a material's shade, in [0, `COUNT`)."""
    return _NUMBERS[name] * VARIANTS + variant % VARIANTS


def _per_band(values: tuple[float, ...]) -> npt.NDArray[np.float64]:
    by_band = dict(zip(_WAVELENGTH_ORDER, values, strict=True))
    return np.array([by_band[band] for band in BANDS])


SNOW = _per_band((0.84, 0.86, 0.86, 0.85, 0.84, 0.83, 0.82, 0.80, 0.78, 0.70, 0.10, 0.08)).astype(np.float32)


def _mix(fractions: Mix) -> npt.NDArray[np.float64]:
    total = np.zeros(len(BANDS))
    for endmember, fraction in fractions.items():
        total = total + fraction * _per_band(_ENDMEMBERS[endmember])
    return total


def _spectrum(material: Material, day: float) -> npt.NDArray[np.float64]:
    days = [stage[0] for stage in material.stages]
    after = bisect.bisect_right(days, day % 365) % len(days)
    first, second = material.stages[after - 1], material.stages[after]
    gap = (second[0] - first[0]) % 365 or 365
    share = ((day - first[0]) % 365) / gap
    return (1 - share) * _mix(first[1]) + share * _mix(second[1])


@functools.lru_cache(maxsize=64)
def reflectances(day: int) -> npt.NDArray[np.float32]:
    """Returns the reflectance of every material and shade on a day, without snow.

    Args:
        day: Day of the year, 1 to 366.

    Returns:
        (COUNT, 12) float32 surface reflectance, bands in the order of `BANDS`. Not to be written to.
    """
    table = np.empty((COUNT, len(BANDS)), np.float32)
    for name, material in MATERIALS.items():
        for variant in range(VARIANTS):
            # The first shade is the plain one.
            sides = [
                2 * keyed_fraction(0, "shade", name, variant, what) - 1 if variant else 0.0 for what in "bd"
            ]
            spectrum = _spectrum(material, day + sides[1] * material.delay_days)
            table[material_number(name, variant)] = spectrum * (1 + sides[0] * material.spread)
    table.flags.writeable = False
    return table


def textures() -> npt.NDArray[np.float32]:
    """Returns (COUNT, 1) float32: the texture of every material and shade."""
    return np.repeat([[m.texture] for m in MATERIALS.values()], VARIANTS, axis=0).astype(np.float32)


def snow_covers() -> npt.NDArray[np.float32]:
    """Returns (COUNT, 1) float32: the fraction of every material and shade that snow hides."""
    return np.repeat([[m.snow] for m in MATERIALS.values()], VARIANTS, axis=0).astype(np.float32)
