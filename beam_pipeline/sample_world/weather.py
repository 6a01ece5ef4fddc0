"""When the satellites pass, and what the sky and the processing do to each image."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.keyed_hash import keyed_hash
from beam_pipeline.sample_world.noise import Array, fractal_noise

_CLOUD_STEP_M = 3600.0
_CLOUD_OCTAVES = 5
_CLOUD_EDGE = 0.22  # of the noise: how softly a cloud begins
_CLOUD_HEIGHT_M = 1100.0
_REACH_M = 7000.0  # cloud fractions are those of the square that far around the place


@dataclasses.dataclass(frozen=True)
class Pass:
    """One date.

    Attributes:
        sensed: Sensing time in UTC, ISO 8601 without fraction and zone.
        platform: "sentinel-2a" or "sentinel-2b".
        baseline: Processing baseline.
        clouds: Fraction of the area under cloud, 0 to 1.
        haze: Reflectance added to the blue.
        snow: Whether snow lies.
        swath_edge_m: Where the swath ends in the west, in metres of the plane at northing 0; None: not
            in sight.
        saturated: Whether a large part is saturated.
        missed_cloud: Whether a bright cloud covers all that the scene classification takes for bare ground.
        offset_kept: Whether 1000 is still in the DN.
        offset_flag: What `earthsearch:boa_offset_applied` says.
        sequence: 0, or 1 for a reprocessing of the same data.
    """

    sensed: str
    platform: str
    baseline: str
    clouds: float
    haze: float = 0.006
    snow: bool = False
    swath_edge_m: float | None = None
    saturated: bool = False
    missed_cloud: bool = False
    offset_kept: bool = False
    offset_flag: bool = False
    sequence: int = 0

    @property
    def year(self) -> int:
        """The year."""
        return int(self.sensed[:4])

    @property
    def day(self) -> int:
        """Day of the year, 1 to 366."""
        date = np.datetime64(self.sensed[:10])
        return int((date - np.datetime64(self.sensed[:4] + "-01-01")).astype(int)) + 1


PASSES = (
    Pass("2021-01-16T13:42:11", "sentinel-2b", "02.14", 0.12, snow=True),
    Pass("2021-03-07T13:42:09", "sentinel-2a", "02.14", 0.55),
    Pass("2021-04-21T13:42:12", "sentinel-2a", "03.00", 0.05, haze=0.012),
    Pass("2021-05-26T13:42:10", "sentinel-2b", "03.00", 0.25),
    Pass("2021-06-20T13:42:10", "sentinel-2a", "03.00", 0.04, swath_edge_m=-900.0),
    Pass("2021-07-20T13:42:13", "sentinel-2b", "03.00", 0.02),
    Pass("2021-07-20T13:42:13", "sentinel-2b", "03.01", 0.02, sequence=1),
    Pass("2021-08-24T13:42:10", "sentinel-2a", "03.01", 0.35),
    Pass("2021-09-18T13:42:08", "sentinel-2b", "03.01", 0.0, missed_cloud=True),
    Pass("2021-10-13T13:42:12", "sentinel-2a", "03.01", 0.10, haze=0.010),
    Pass("2021-12-02T13:42:11", "sentinel-2b", "03.01", 0.08, saturated=True),
    Pass("2022-02-10T13:42:09", "sentinel-2a", "04.00", 0.18, snow=True, offset_flag=True),
    Pass("2022-03-17T13:42:11", "sentinel-2b", "04.00", 0.07, offset_flag=True),
    Pass("2022-04-16T13:42:10", "sentinel-2a", "04.00", 0.80, offset_flag=True),
    Pass("2022-05-11T13:42:12", "sentinel-2b", "04.00", 0.06, haze=0.012, offset_kept=True),
    Pass("2022-06-30T13:42:10", "sentinel-2a", "04.00", 0.20, offset_flag=True),
    Pass("2022-07-25T13:42:13", "sentinel-2b", "04.00", 0.45, offset_flag=True),
    Pass("2022-08-14T13:42:09", "sentinel-2a", "04.00", 0.03, offset_flag=True),
    Pass("2022-09-28T13:42:11", "sentinel-2b", "04.00", 0.10, offset_flag=True, swath_edge_m=-5200.0),
    Pass("2022-11-07T13:42:10", "sentinel-2a", "04.00", 0.15, haze=0.010),
)
"""The dates of both years, ascending.

One of 2021 comes twice, reprocessed. In 2022 the host has mostly taken the offset off; on 2022-05-11 the 1000
is still there and the flag says so; on 2022-11-07 the flag says so too, but the 1000 is gone: such items
exist, and a reader must find out.
"""

FULL_TILE_PASSES = tuple(one for one in PASSES if one.sensed[:10] in ("2021-04-21", "2022-08-14"))
"""The dates of full-size tiles: one a year, or they would fill a disk."""

_CAPS = ((2300.0, 1900.0, 1700.0, 2022, ""), (-2600.0, 3300.0, 1500.0, 2021, "2021-07-20"))
"""(x, y, radius in metres of the plane, year, date): hills under a cloud all year but for that date."""

SPECTRUM = (0.58, 0.60, 0.62, 0.66, 0.63, 0.645, 0.655, 0.665, 0.47, 0.36, 0.56, 0.45)
"""Reflectance of thick cloud, bands in the order of `BANDS`. Source: as the materials."""


@dataclasses.dataclass(frozen=True)
class Sky:
    """Clouds and sun over a raster, on its padded 60 m points.

    Attributes:
        cloud: (rows + 2, columns + 2) float32 opacity, 0 to 1.
        shadow: The same shape: how much of the sun a cloud takes, 0 to 1.
    """

    cloud: Array
    shadow: Array


def sun(one: Pass) -> tuple[float, float]:
    """Returns (azimuth, elevation) of the sun in degrees.

    Source: the declination of Cooper (1969), at 10:50 local solar time and the place's latitude.
    """
    latitude = math.radians(38.8)
    declination = math.radians(23.45 * math.sin(2 * math.pi * (284 + one.day) / 365))
    hour = math.radians(15 * -1.15)
    sine = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(
        hour
    )
    elevation = math.asin(sine)
    east = -math.cos(declination) * math.sin(hour)
    north = math.cos(latitude) * math.sin(declination) - math.sin(latitude) * math.cos(
        declination
    ) * math.cos(hour)
    return round(math.degrees(math.atan2(east, north)) % 360, 6), round(math.degrees(elevation), 6)


def make_sky(one: Pass, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], seed: int) -> Sky:
    """Draws the clouds of a date over given points; every tile sees the same ones.

    Args:
        one: The date.
        x: Eastings in metres of the plane, any shape.
        y: Northings, of the same shape.
        seed: The world's seed.

    Returns:
        Clouds and their shadows on the ground.
    """
    azimuth, elevation = (math.radians(angle) for angle in sun(one))
    length = _CLOUD_HEIGHT_M / math.tan(elevation)
    threshold = _threshold(one, seed)
    cloud = _opacity(one, x, y, threshold, seed)
    # The cloud that shades a point stands between it and the sun. Rounded: the last digits of `sin` differ.
    east, north = round(length * math.sin(azimuth), 2), round(length * math.cos(azimuth), 2)
    shade = _opacity(one, x + east, y + north, threshold, seed)
    return Sky(cloud, shade * (1 - cloud))


def _noise(one: Pass, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], seed: int) -> Array:
    key = keyed_hash(seed, "clouds", one.sensed)
    return fractal_noise(key, x, y, _CLOUD_STEP_M, _CLOUD_OCTAVES)


def _threshold(one: Pass, seed: int) -> float:
    if one.clouds <= 0:
        return math.inf
    axis = np.arange(-_REACH_M, _REACH_M, 200.0)
    x, y = np.meshgrid(axis, axis + _REACH_M / 2)
    field = np.sort(_noise(one, x, y, seed), axis=None)
    return float(field[int((1 - one.clouds) * (len(field) - 1))])


def _opacity(
    one: Pass, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], threshold: float, seed: int
) -> Array:
    field = _noise(one, x, y, seed)
    opacity = np.clip((field - np.float32(threshold)) / np.float32(_CLOUD_EDGE), 0, 1)
    for centre_x, centre_y, radius, year, clear_date in _CAPS:
        if one.year == year and one.sensed[:10] != clear_date:
            distance = np.sqrt((x - centre_x) ** 2 + (y - centre_y) ** 2).astype(np.float32)
            edge = np.float32(radius) * (1 + np.float32(0.15) * field)
            opacity = np.maximum(opacity, np.clip((edge - distance) / np.float32(250), 0, 1))
    return np.asarray(opacity, dtype=np.float32)
