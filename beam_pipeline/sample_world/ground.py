"""The ground of one tile's raster: which materials lie in each pixel, how rough and how steep it is."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from rasterio.features import rasterize

from beam_pipeline.keyed_hash import keyed_hash
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

    def __init__(self, entries: Entries) -> None:
        self._shape = entries.shape
        starts = np.flatnonzero(np.diff(entries.pixels, prepend=-1))
        lengths = np.diff(starts, append=len(entries.pixels))
        total = np.add.reduceat(entries.counts, starts)
        self._plain = entries.materials[starts].astype(np.uint16)
        mixed = lengths > 1
        inside = np.repeat(mixed, lengths)
        self._mixed = np.flatnonzero(mixed)
        self._mixed_materials = entries.materials[inside].astype(np.uint16)
        self._fractions = (entries.counts[inside] / np.repeat(total, lengths)[inside]).astype(np.float32)
        self._starts = np.concatenate(([0], np.cumsum(lengths[mixed])[:-1])).astype(np.int64)

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
    entries = _rasterize(landscape, grid)
    fine = Mixture(entries)
    mixtures = {10: fine, 20: Mixture(entries.pooled(2)), 60: Mixture(entries.pooled(6))}
    x, y = grid.plane_points()
    relief = fractal_noise(keyed_hash(seed, "relief"), x, y, _RELIEF_STEP_M, 4)
    slope_east = np.gradient(relief, axis=1).astype(np.float32) * np.float32(8)
    slope_north = -np.gradient(relief, axis=0).astype(np.float32) * np.float32(8)
    # The plane's coordinates are smooth: interpolating them errs by millimetres.
    east, north = _refined_points(grid, x, y)
    texture = fractal_noise(keyed_hash(seed, "texture"), east, north, _TEXTURE_STEP_M, 3)
    patches = refine(fractal_noise(keyed_hash(seed, "patches"), x, y, _PATCH_STEP_M, 3), 6)
    amplitude = fine.of(textures()[:, 0])
    rough = 1 + amplitude * texture * np.float32(_TEXTURE_GAIN) + np.minimum(amplitude, _PATCHINESS) * patches
    roughness = np.asarray(np.maximum(rough, 0.3), dtype=np.float32)
    return Ground(
        grid,
        mixtures,
        {10: roughness, 20: pool(roughness, 2), 60: pool(roughness, 6)},
        slope_east,
        slope_north,
    )


def _refined_points(
    grid: Grid, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    # Offsets from a corner keep float32 exact to a few millimetres.
    corner = float(x[0, 0]), float(y[0, 0])
    east = refine((x - corner[0]).astype(np.float32), 6).astype(np.float64) + corner[0]
    north = refine((y - corner[1]).astype(np.float32), 6).astype(np.float64) + corner[1]
    return east, north


def _rasterize(landscape: Landscape, grid: Grid) -> Entries:
    """Finds the materials of every 10 m pixel, a strip of rows at a time."""
    surfaces = shapely.transform(landscape.surfaces, lambda points: plane_to_utm(points, grid.epsg))
    left, bottom, right, top = shapely.bounds(surfaces).T
    background = material_number("rough_grass")
    width = grid.shape(10)[1]
    pieces: list[tuple[Int, ...]] = []
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
            rasterize(shapes, out=fine, transform=transform)
        pieces.append(_count(fine, height, width, first_row * 6 * width))
    pixels, materials, counts = (np.concatenate(part) for part in zip(*pieces, strict=True))
    order = np.argsort(pixels, kind="stable")
    return Entries(grid.shape(10), pixels[order], materials[order], counts[order])


def _count(fine: npt.NDArray[np.uint16], height: int, width: int, first_pixel: int) -> tuple[Int, Int, Int]:
    """Counts the subpixels of each material in each pixel: (pixels, materials, counts)."""
    squares = fine.reshape(height, _SUBPIXELS, width, _SUBPIXELS).transpose(0, 2, 1, 3)
    blocks = squares.reshape(height * width, _SUBPIXELS**2)
    mixed = (blocks != blocks[:, :1]).any(axis=1)
    pure = np.flatnonzero(~mixed)
    rows = np.flatnonzero(mixed)
    keys, counts = np.unique(rows[:, None] * COUNT + blocks[rows].astype(np.int64), return_counts=True)
    mixed_pixels, mixed_materials = np.divmod(keys, COUNT)
    return (
        np.concatenate((pure, mixed_pixels)) + first_pixel,
        np.concatenate((blocks[pure, 0].astype(np.int64), mixed_materials)),
        np.concatenate((np.full(len(pure), _SUBPIXELS**2, np.int64), counts.astype(np.int64))),
    )
