"""The ground of one tile's raster: which materials lie in each pixel, how rough and how steep it is."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine

from beam_pipeline.runtime.gdal_drivers import rasterio
from beam_pipeline.runtime.keyed_hash import keyed_hash
from beam_pipeline.sample_world.landscape import Landscape
from beam_pipeline.sample_world.materials import COUNT, material_number, textures
from beam_pipeline.sample_world.noise import fractal_noise
from beam_pipeline.sample_world.place import plane_to_utm, utm_to_plane

COARSE_M = 60
_SUBPIXELS = 3  # a side of a 10 m pixel, so that mixed pixels know ninths
_STRIP_ROWS = 20  # of 60 m: bounds the memory, whatever the size of the raster
_RELIEF_STEP_M = 2600.0
_TEXTURE_STEP_M = 70.0
_PATCH_STEP_M = 420.0
_PATCHINESS = 0.05  # relative brightness within a field
_TEXTURE_GAIN = 1.6  # brings the fractal noise to about unit deviation

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Grid:
    """A raster on the lattice that all bands of a tile share.

    Attributes:
        tile: MGRS tile name, five characters.
        epsg: The tile's UTM zone.
        left: Easting of the west edge in metres.
        top: Northing of the north edge in metres.
        columns: Width in pixels of 60 m.
        rows: Height in pixels of 60 m.
    """

    tile: str
    epsg: int
    left: int
    top: int
    columns: int
    rows: int

    def shape(self, gsd: int) -> tuple[int, int]:
        """Returns (H, W) in pixels of `gsd` metres: 10, 20 or 60."""
        return self.rows * COARSE_M // gsd, self.columns * COARSE_M // gsd

    def plane_points(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Returns eastings and northings in the plane of the 60 m pixel centres, with one more all around.

        Returns:
            (x, y), each (rows + 2, columns + 2) float64 metres of the plane.
        """
        east = self.left + COARSE_M * (np.arange(-1, self.columns + 1) + 0.5)
        north = self.top - COARSE_M * (np.arange(-1, self.rows + 1) + 0.5)
        points = np.stack(np.meshgrid(east, north), axis=-1).reshape(-1, 2)
        plane = utm_to_plane(points, self.epsg).reshape(self.rows + 2, self.columns + 2, 2)
        return plane[..., 0], plane[..., 1]


class Entries(NamedTuple):
    """Which materials lie in which pixels.

    Attributes:
        shape: (H, W).
        pixels: (N,) flat pixel numbers, ascending; each pixel has an entry.
        materials: (N,) material numbers, each once a pixel.
        counts: (N,) how many subpixels of that material the pixel has.
    """

    shape: tuple[int, int]
    pixels: Int
    materials: Int
    counts: Int

    def pooled(self, factor: int) -> "Entries":
        """Returns the entries of pixels that are `factor` times as wide."""
        height, width = self.shape[0] // factor, self.shape[1] // factor
        row, column = np.divmod(self.pixels, self.shape[1])
        keys = (row // factor * width + column // factor) * COUNT + self.materials
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], self.counts[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        pixels, materials = np.divmod(keys[starts], COUNT)
        return Entries((height, width), pixels, materials, np.add.reduceat(counts, starts))


class Mixture:
    """Mixes values of materials: pure pixels are looked up, mixed ones summed by their fractions."""

    def __init__(self, shape: tuple[int, int], parts: Sequence[tuple[npt.NDArray[Any], ...]]) -> None:
        """Joins strips of rows.

        Args:
            shape: (H, W).
            parts: What `_split_mixed` returns for each strip, from north to south.
        """
        self._shape = shape
        plain, mixed, lengths, materials, fractions = (np.concatenate(of) for of in zip(*parts, strict=True))
        self._plain, self._mixed, self._mixed_materials, self._fractions = plain, mixed, materials, fractions
        self._starts = np.cumsum(lengths) - lengths

    def of(self, values: Float) -> Float:
        """Mixes a value per material linearly.

        Args:
            values: (COUNT,) float32.

        Returns:
            (H, W) float32.
        """
        image = values[self._plain]
        if len(self._mixed):
            image[self._mixed] = np.add.reduceat(
                values[self._mixed_materials] * self._fractions, self._starts
            )
        return np.asarray(image.reshape(self._shape), dtype=np.float32)


def _split_mixed(strip: Entries, first_pixel: int) -> tuple[npt.NDArray[Any], ...]:
    """Returns what `Mixture` keeps of a strip.

    Args:
        strip: The entries.
        first_pixel: Number of the strip's first pixel in the whole raster.

    Returns:
        (a material of each pixel, numbers of the mixed pixels, how many materials each of these has, those
        materials, their fractions).
    """
    starts = np.flatnonzero(np.diff(strip.pixels, prepend=-1))
    lengths = np.diff(starts, append=len(strip.pixels))
    total = np.add.reduceat(strip.counts, starts)
    mixed = lengths > 1
    inside = np.repeat(mixed, lengths)
    fractions = strip.counts[inside] / np.repeat(total, lengths)[inside]
    return (
        strip.materials[starts].astype(np.uint16),
        np.flatnonzero(mixed) + first_pixel,
        lengths[mixed],
        strip.materials[inside].astype(np.uint16),
        fractions.astype(np.float32),
    )


def pool(image: Float, factor: int) -> Float:
    """Averages blocks of `factor` x `factor` pixels."""
    total = np.zeros((image.shape[0] // factor, image.shape[1] // factor), np.float32)
    for row in range(factor):
        for column in range(factor):
            total += image[row::factor, column::factor]
    return np.asarray(total / (factor * factor), dtype=np.float32)


def refine(coarse: Float, factor: int) -> Float:
    """Interpolates a padded 60 m field linearly.

    Args:
        coarse: (rows + 2, columns + 2) values at pixel centres, one more all around.
        factor: 60 divided by the wanted ground sample distance.

    Returns:
        (rows * factor, columns * factor) float32 at the centres of the finer pixels.
    """
    for axis in (0, 1):
        size = coarse.shape[axis] - 2
        position = (np.arange(size * factor) + 0.5) / factor + 0.5
        low = position.astype(np.int64)
        share = (position - low).astype(np.float32)
        share = share[:, None] if axis == 0 else share
        coarse = coarse.take(low, axis) * (1 - share) + coarse.take(low + 1, axis) * share
    return np.asarray(coarse, dtype=np.float32)


@dataclasses.dataclass(frozen=True)
class Ground:
    """The unchanging ground of a raster.

    Attributes:
        grid: The raster.
        mixtures: By ground sample distance: 10, 20 and 60.
        roughness: By ground sample distance, (H, W) float32: a factor of the reflectance, about 1.
        slope_east: (rows + 2, columns + 2) float32: how steeply the ground rises eastwards, about -1 to 1.
        slope_north: The same northwards.
    """

    grid: Grid
    mixtures: dict[int, Mixture]
    roughness: dict[int, Float]
    slope_east: Float
    slope_north: Float

    @functools.cached_property
    def points(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Eastings and northings of `Grid.plane_points`."""
        return self.grid.plane_points()


def make_ground(landscape: Landscape, grid: Grid, seed: int) -> Ground:
    """Rasterises the scene on a tile's lattice.

    Args:
        landscape: The scene; it covers the grid.
        grid: The raster.
        seed: The world's seed.

    Returns:
        The ground; where two grids overlap they show the same one.
    """
    mixtures = _rasterize(landscape, grid)
    x, y = grid.plane_points()
    relief = fractal_noise(keyed_hash(seed, "relief"), x, y, _RELIEF_STEP_M, 4)
    slope_east = np.gradient(relief, axis=1).astype(np.float32) * np.float32(8)
    slope_north = -np.gradient(relief, axis=0).astype(np.float32) * np.float32(8)
    texture = _texture(x, y, seed)
    patches = refine(fractal_noise(keyed_hash(seed, "patches"), x, y, _PATCH_STEP_M, 3), 6)
    amplitude = mixtures[10].of(textures()[:, 0])
    rough = 1 + amplitude * texture * np.float32(_TEXTURE_GAIN) + np.minimum(amplitude, _PATCHINESS) * patches
    roughness = np.asarray(np.maximum(rough, 0.3), dtype=np.float32)
    return Ground(
        grid,
        mixtures,
        {10: roughness, 20: pool(roughness, 2), 60: pool(roughness, 6)},
        slope_east,
        slope_north,
    )


def _texture(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], seed: int) -> Float:
    """Returns the fine noise of the 10 m pixels from the padded 60 m points, a strip of rows at a time."""
    strips = []
    for first_row in range(0, len(x) - 2, _STRIP_ROWS):
        # The plane's coordinates are smooth: interpolating them errs by millimetres. Offsets from a corner
        # keep float32 as exact.
        fine_x, fine_y = (
            _refined(coordinates[first_row : first_row + _STRIP_ROWS + 2]) for coordinates in (x, y)
        )
        strips.append(fractal_noise(keyed_hash(seed, "texture"), fine_x, fine_y, _TEXTURE_STEP_M, 3))
    return np.concatenate(strips)


def _refined(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    corner = float(coordinates[0, 0])
    return refine((coordinates - corner).astype(np.float32), 6).astype(np.float64) + corner


def _rasterize(landscape: Landscape, grid: Grid) -> dict[int, Mixture]:
    """Finds the materials of every pixel, a strip of rows at a time, by ground sample distance."""
    surfaces = shapely.transform(landscape.surfaces, lambda points: plane_to_utm(points, grid.epsg))
    left, bottom, right, top = shapely.bounds(surfaces).T
    background = material_number("rough_grass")
    width = grid.shape(10)[1]
    # Kept of a strip is only what a mixture needs: the entries of a whole tile take a gigabyte.
    parts: dict[int, list[tuple[npt.NDArray[Any], ...]]] = {10: [], 20: [], 60: []}
    for first_row in range(0, grid.rows, _STRIP_ROWS):
        rows = min(_STRIP_ROWS, grid.rows - first_row)
        north = grid.top - first_row * COARSE_M
        seen = np.flatnonzero(
            (bottom < north)
            & (top > north - rows * COARSE_M)
            & (left < grid.left + grid.columns * COARSE_M)
            & (right > grid.left)
        )
        height = rows * 6
        fine = np.full((height * _SUBPIXELS, width * _SUBPIXELS), background, np.uint16)
        if len(seen):
            shapes = zip(surfaces[seen].tolist(), landscape.materials[seen].tolist(), strict=True)
            size = 10 / _SUBPIXELS
            transform = Affine(size, 0, grid.left, 0, -size, north)
            rasterio.features.rasterize(shapes, out=fine, transform=transform)
        entries = _count(fine, height, width)
        for gsd, of_gsd in parts.items():
            first_pixel = first_row * (COARSE_M // gsd) * grid.shape(gsd)[1]
            of_gsd.append(_split_mixed(entries.pooled(gsd // 10), first_pixel))
    return {gsd: Mixture(grid.shape(gsd), of_gsd) for gsd, of_gsd in parts.items()}


def _count(fine: npt.NDArray[np.uint16], height: int, width: int) -> Entries:
    """Counts the subpixels of each material in each pixel of a strip."""
    squares = fine.reshape(height, _SUBPIXELS, width, _SUBPIXELS).transpose(0, 2, 1, 3)
    blocks = squares.reshape(height * width, _SUBPIXELS**2)
    mixed = (blocks != blocks[:, :1]).any(axis=1)
    pure = np.flatnonzero(~mixed)
    rows = np.flatnonzero(mixed)
    keys, counts = np.unique(rows[:, None] * COUNT + blocks[rows].astype(np.int64), return_counts=True)
    mixed_pixels, mixed_materials = np.divmod(keys, COUNT)
    pixels = np.concatenate((pure, mixed_pixels))
    order = np.argsort(pixels, kind="stable")
    of_pure = blocks[pure, 0].astype(np.int64)
    return Entries(
        (height, width),
        pixels[order],
        np.concatenate((of_pure, mixed_materials))[order],
        np.concatenate((np.full(len(pure), _SUBPIXELS**2), counts))[order],
    )
