"""A raster as the sensor saw it on a date: DN of the 12 bands and the scene classification."""

import math

import numpy as np
import numpy.typing as npt

from beam_pipeline.imagery.image import BANDS, BANDS_10, BANDS_20, REFLECTANCE_SCALE, SCL
from beam_pipeline.runtime.keyed_hash import keyed_hash
from beam_pipeline.sample_world.ground import COARSE_M, Ground, pool, refine
from beam_pipeline.sample_world.materials import SNOW, reflectances, snow_covers
from beam_pipeline.sample_world.noise import Array, fractal_noise, sensor_noise
from beam_pipeline.sample_world.weather import SPECTRUM, Pass, Sky, make_sky, sun

GSD = {band: 10 if band in BANDS_10 else 20 if band in (*BANDS_20, SCL) else 60 for band in (*BANDS, SCL)}
"""Ground sample distance in metres of each asset."""

_OFFSET = 1000
_NOISE_DN = 7.0
_NOISE_SHARE = 0.006
"""Deviation of the noise in DN, and as a share of the signal. Source: the SNR of 50 to 170 that ESA gives for
the bands of MSI at reference radiance."""

_HAZE_FALL = {"B01": 1.3, "B02": 1.0, "B03": 0.6, "B04": 0.35, "B05": 0.25, "B06": 0.15, "B07": 0.12}
_SHADE_LEFT = 0.38  # of the light, in a cloud's shadow: the sky's
_SATURATED_FROM = -0.12  # of the noise: rather more than half of the area
_SATURATED = 1.8  # reflectance that a saturated pixel gets
_SWATH_LEAN = 0.21  # of a descending orbit, eastings per northing at this latitude
_RELIEF_GAIN = 0.35
_NO_DATA, _DEFECTIVE, _SHADOW, _VEGETATION, _BARE, _WATER, _UNCLASSIFIED = 0, 1, 3, 4, 5, 6, 7
_MEDIUM, _HIGH, _CIRRUS, _SNOW = 8, 9, 10, 11  # Source: Sen2Cor's scene classification

Scene = dict[str, npt.NDArray[np.uint16] | npt.NDArray[np.uint8]]


def render(ground: Ground, one: Pass, seed: int) -> Scene:
    """Renders all assets of a scene.

    Args:
        ground: The raster's ground.
        one: The date.
        seed: The world's seed.

    Returns:
        By band name, and "SCL": (H, W) arrays at native resolution, uint16 DN and uint8 classes, 0 = no data.
    """
    grid = ground.grid
    x, y = ground.points
    sky = make_sky(one, x, y, seed)
    light = _light(ground, one)
    snow = _snow(ground, one, seed)
    cloud_texture = 0.92 + 0.12 * fractal_noise(keyed_hash(seed, "cloud tops", one.sensed), x, y, 300.0, 2)
    if one.missed_cloud:
        sky = Sky(np.full_like(sky.cloud, 0.88) + 0.1 * (cloud_texture - 0.92), np.zeros_like(sky.shadow))
    # The fields of the sky are refined once per resolution.
    fields = {
        gsd: [refine(field, COARSE_M // gsd) for field in (sky.cloud, sky.shadow, light, cloud_texture)]
        for gsd in (10, 20, 60)
    }
    lit = {band: _ground_reflectance(ground, one, band, fields[GSD[band]][2], snow) for band in BANDS}
    scl = _classify(lit, fields[20][0], fields[20][1], snow)
    if one.missed_cloud:
        scl[scl != _WATER] = _BARE
    assets: Scene = {}
    defective = _defective(ground, one, seed)
    scl[defective[20]] = _DEFECTIVE
    seen = _swath(ground, one)
    for index, band in enumerate(BANDS):
        gsd = GSD[band]
        cloud, shadow, _, texture = fields[gsd]
        image = lit[band] * (1 - np.float32(1 - _SHADE_LEFT) * shadow)
        image += np.float32(one.haze * _HAZE_FALL.get(band, 0.05))
        image = image * (1 - cloud) + cloud * texture * np.float32(SPECTRUM[index])
        image[defective[gsd]] = _SATURATED
        dn = image * np.float32(REFLECTANCE_SCALE)
        key = keyed_hash(seed, "noise", grid.tile, one.sensed, one.sequence, band)
        dn += sensor_noise(key, grid.shape(gsd)) * (np.float32(_NOISE_DN) + np.float32(_NOISE_SHARE) * dn)
        # A host that takes the offset off clips at 0, so that dark water may be 0 in one band.
        lowest, offset = (1, _OFFSET) if one.offset_kept else (0 if one.offset_flag else 1, 0)
        dn = np.clip(np.rint(dn) + offset, lowest, 65535)
        dn[~seen[gsd]] = 0
        assets[band] = dn.astype(np.uint16)
    scl[~seen[20]] = _NO_DATA
    assets[SCL] = scl
    return assets


def _light(ground: Ground, one: Pass) -> Array:
    """Returns on the padded 60 m points how much more light a slope gets than flat ground, as a factor."""
    azimuth, elevation = (math.radians(angle) for angle in sun(one))
    east, north = (round(part / math.tan(elevation), 4) for part in (math.sin(azimuth), math.cos(azimuth)))
    tilt = -(ground.slope_east * np.float32(east) + ground.slope_north * np.float32(north))
    return np.asarray(np.clip(1 + np.float32(_RELIEF_GAIN) * 0.1 * tilt, 0.75, 1.2), dtype=np.float32)


def _snow(ground: Ground, one: Pass, seed: int) -> Array | None:
    """Returns on the padded 60 m points how much snow lies, 0 to 1; None where none does."""
    if not one.snow:
        return None
    x, y = ground.points
    depth = fractal_noise(keyed_hash(seed, "snow", one.sensed), x, y, 4000.0, 3)
    return np.asarray(np.clip(0.3 + 1.6 * depth, 0, 1), dtype=np.float32)


def _ground_reflectance(ground: Ground, one: Pass, band: str, light: Array, snow: Array | None) -> Array:
    mixture = ground.mixtures[GSD[band]]
    index = BANDS.index(band)
    image = mixture.of(np.ascontiguousarray(reflectances(one.day)[:, index])) * ground.roughness[GSD[band]]
    if snow is not None:
        cover = mixture.of(snow_covers()[:, 0]) * refine(snow, COARSE_M // GSD[band])
        image = image * (1 - cover) + cover * SNOW[index]
    return np.asarray(image * light, dtype=np.float32)


def _classify(
    lit: dict[str, Array], cloud: Array, shadow: Array, snow: Array | None
) -> npt.NDArray[np.uint8]:
    """Classifies at 20 m by simple spectral rules, as Sen2Cor does, with clouds and shadows as they are."""
    green, red = pool(lit["B03"], 2), pool(lit["B04"], 2)
    near, short = lit["B8A"], lit["B11"]
    scl = np.full(green.shape, _BARE, np.uint8)
    scl[(near - red) > 0.4 * (near + red)] = _VEGETATION
    scl[(near < 0.09) & (near < 1.3 * green) & (short < 0.07)] = _WATER
    grey = np.abs(near - 1.9 * red) < 0.015 * near  # what no rule fits well
    scl[grey & (scl == _BARE)] = _UNCLASSIFIED
    if snow is not None:
        scl[((green - short) > 0.42 * (green + short)) & (green > 0.25)] = _SNOW
    scl[shadow > 0.35] = _SHADOW
    scl[cloud > 0.06] = _CIRRUS
    scl[cloud > 0.25] = _MEDIUM
    scl[cloud > 0.6] = _HIGH
    return scl


def _defective(ground: Ground, one: Pass, seed: int) -> dict[int, npt.NDArray[np.bool_]]:
    """Returns what is saturated, by ground sample distance."""
    if not one.saturated:
        return {gsd: np.zeros(ground.grid.shape(gsd), np.bool_) for gsd in (10, 20, 60)}
    field = fractal_noise(keyed_hash(seed, "saturated", one.sensed), *ground.points, 5200.0, 2)
    coarse = refine(field, 1) > _SATURATED_FROM
    return {gsd: coarse.repeat(60 // gsd, axis=0).repeat(60 // gsd, axis=1) for gsd in (10, 20, 60)}


def _swath(ground: Ground, one: Pass) -> dict[int, npt.NDArray[np.bool_]]:
    """Returns what lies in the swath, by ground sample distance."""
    if one.swath_edge_m is None:
        return {gsd: np.ones(ground.grid.shape(gsd), np.bool_) for gsd in (10, 20, 60)}
    x, y = ground.points
    beyond = (x - _SWATH_LEAN * y - one.swath_edge_m).astype(np.float32)
    middle = refine(beyond, 3) > 0
    fine = middle.repeat(2, axis=0).repeat(2, axis=1)  # as the classification has it
    return {10: fine, 20: middle, 60: refine(beyond, 1) > 0}
