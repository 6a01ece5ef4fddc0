"""The place on global maps: night lights of each year, and land cover. Around it there is sea, and dark.

They are windows of the real products' grids, so that cells are chosen from them as from the real ones.
"""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine

from beam_pipeline.maps.raster_grid import LAND_COVER, NIGHT_LIGHTS, Lattice, RasterWindow
from beam_pipeline.runtime.gdal_drivers import rasterio
from beam_pipeline.runtime.keyed_hash import keyed_hash
from beam_pipeline.sample_world.landscape import Landscape
from beam_pipeline.sample_world.materials import MATERIALS, VARIANTS
from beam_pipeline.sample_world.place import plane_to_lonlat

Degrees = tuple[float, float, float, float]

_RADIANCE: Mapping[str, float] = {
    "tile_roof": 40.0,
    "slate_roof": 40.0,
    "metal_roof": 40.0,
    "yard": 20.0,
    "concrete": 15.0,
    "asphalt": 6.0,
}
"""nW/cm2/sr of the ground that people light. Guessed: a town of one third roofs is as bright as real ones, about 15."""

_MASKED_BELOW = 0.6
"""The masked product calls less light dark. Source: of the order of VNL's thresholds, which vary over the Earth."""

_YEAR_TO_YEAR = 0.25  # relative spread of a pixel's radiance

_CLASSES: Mapping[str, int] = {
    **dict.fromkeys(("wheat", "maize", "rapeseed", "fallow"), 10),
    **dict.fromkeys(("orchard", "vineyard"), 12),
    "broadleaf": 60,
    "conifer": 70,
    "mixed_wood": 90,
    "scrub": 120,
    **dict.fromkeys(("meadow", "rough_grass", "lawn"), 130),
    "reed": 180,
    **dict.fromkeys(("garden", "yard", "asphalt", "concrete", "tile_roof", "slate_roof", "metal_roof"), 190),
    **dict.fromkeys(("sand", "rock", "scree", "quarry", "gravel"), 200),
    **dict.fromkeys(("lake", "river"), 210),
}
"""Material -> land-cover class. Source of the classes: ESA Land Cover CCI Product User Guide v2.0, table 3-1."""

LAND_COVER_NAME = "land_cover.tif"

_SEA = 210
_MARGIN_PX = 16
_PARTS = 8  # of a pixel, in each direction: about 30 m


def night_lights_name(year: int) -> str:
    """Returns the file name of a year's composite."""
    return f"vnl_{year}.average_masked.tif.gz"


def write_surveys(
    folder: Path, landscape: Landscape, bounds: Degrees, years: Sequence[int], seed: int
) -> None:
    """Writes the maps.

    Args:
        folder: Where to.
        landscape: The place.
        bounds: (west, south, east, north) in degrees; beyond it there is sea.
        years: One composite each.
        seed: Of the differences between years.
    """
    surfaces = shapely.transform(landscape.surfaces, plane_to_lonlat)
    # One more than the number of the material, so that 0 is the sea.
    numbers = (landscape.materials // VARIANTS + 1).astype(np.int64)
    shapes = list(zip(surfaces, numbers.tolist(), strict=True))
    window = _window(NIGHT_LIGHTS, bounds)
    radiance = _mean(_parts(shapes, window, bounds), np.array([0.0, *map(_radiance_of, MATERIALS)]))
    for year in years:
        rng = np.random.Generator(np.random.Philox(key=keyed_hash(seed, "night lights", year)))
        of_year = radiance * (1 + _YEAR_TO_YEAR * rng.uniform(-1, 1, radiance.shape))
        masked = np.where(of_year < _MASKED_BELOW, 0, of_year.round(3)).astype(np.float32)
        # The time of the file would make two worlds differ.
        (folder / night_lights_name(year)).write_bytes(gzip.compress(_tif(masked, window), mtime=0))
    window = _window(LAND_COVER, bounds)
    classes = _most_common(
        _parts(shapes, window, bounds), np.array([_SEA, *(_CLASSES[name] for name in MATERIALS)])
    )
    (folder / LAND_COVER_NAME).write_bytes(_tif(classes, window))


def _radiance_of(material: str) -> float:
    return _RADIANCE.get(material, 0.0)


def _window(lattice: Lattice, bounds: Degrees) -> RasterWindow:
    """Returns the window around some bounds, with a margin."""
    west, south, east, north = bounds
    scale = lattice.pixels_per_degree
    column = int((west + 180) * scale - lattice.left / 2) - _MARGIN_PX
    row = int(lattice.top / 2 - north * scale) - _MARGIN_PX
    columns, rows = int((east - west) * scale), int((north - south) * scale)
    return RasterWindow(lattice, column, row, columns + 1 + 2 * _MARGIN_PX, rows + 1 + 2 * _MARGIN_PX)


def _parts(
    shapes: Sequence[tuple[shapely.Geometry, int]], window: RasterWindow, bounds: Degrees
) -> npt.NDArray[np.uint8]:
    """Returns what lies in the middle of each part of each pixel: (rows, columns, parts), 0 for sea."""
    place = _transform(window) @ Affine.scale(1 / _PARTS)
    size = window.rows * _PARTS, window.columns * _PARTS
    drawn = rasterio.features.rasterize(shapes, size, transform=place, dtype=np.uint8)
    drawn *= rasterio.features.rasterize([shapely.box(*bounds)], size, transform=place, dtype=np.uint8)
    pixels = drawn.reshape(window.rows, _PARTS, window.columns, _PARTS).swapaxes(1, 2)
    parts: npt.NDArray[np.uint8] = pixels.reshape(window.rows, window.columns, -1)
    return parts


def _mean(parts: npt.NDArray[np.uint8], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = values[parts].mean(axis=2)
    return mean


def _most_common(parts: npt.NDArray[np.uint8], classes: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Returns each pixel's most frequent class, of equal ones the smaller."""
    kinds = np.unique(classes)
    counts = np.stack([(classes[parts] == kind).sum(axis=2) for kind in kinds.tolist()], axis=2)
    found: npt.NDArray[np.uint8] = kinds[counts.argmax(axis=2)].astype(np.uint8)
    return found


def _transform(window: RasterWindow) -> Affine:
    west, _, _, north = window.bounds
    step = 1 / window.lattice.pixels_per_degree
    return Affine(step, 0, west, 0, -step, north)


def _tif(pixels: npt.NDArray[np.float32] | npt.NDArray[np.uint8], window: RasterWindow) -> bytes:
    profile = {
        "driver": "GTiff",
        "width": window.columns,
        "height": window.rows,
        "count": 1,
        "dtype": pixels.dtype.name,
        "crs": "EPSG:4326",
        "transform": _transform(window),
        "compress": "LZW",
        "blockysize": 1,
    }
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(pixels, 1)
        content: bytes = memory.read()
        return content
