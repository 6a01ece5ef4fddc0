"""Cloud-optimised GeoTIFFs as Earth Search has them."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine

from beam_pipeline.imagery.image import SCL
from beam_pipeline.runtime.gdal_drivers import rasterio
from beam_pipeline.sample_world.ground import Grid
from beam_pipeline.sample_world.noise import sensor_noise
from beam_pipeline.sample_world.scenes import GSD

Pixels = npt.NDArray[np.uint16] | npt.NDArray[np.uint8]

FULL_TILE_M = 109_800
"""Side of a Sentinel-2 tile in metres. Source: ESA, Sentinel-2 Products Specification Document."""

_FULL_BLOCK_PX = 1024  # Source: Earth Search's COGs
_SMALL_BLOCK_PX = 512
_STRIP_ROWS = 512  # bounds the memory of the noise
_FILL_NOISE_DN = 14.0  # about that of the rendered ground


@dataclasses.dataclass(frozen=True)
class Frame:
    """Where a raster lies in its file.

    Attributes:
        grid: What was rendered.
        left: Easting of the file's west edge in metres.
        top: Northing of the file's north edge in metres.
        columns: Width of the file in pixels of 60 m.
        rows: Height of the file in pixels of 60 m.
    """

    grid: Grid
    left: int
    top: int
    columns: int
    rows: int

    @property
    def full(self) -> bool:
        """Whether the file holds the whole tile."""
        return self.columns * 60 == FULL_TILE_M

    def shape(self, gsd: int) -> tuple[int, int]:
        """Returns (H, W) of the file in pixels of `gsd` metres."""
        return self.rows * 60 // gsd, self.columns * 60 // gsd

    def transform(self, gsd: int) -> tuple[float, ...]:
        """Returns `proj:transform`: six numbers, row-major."""
        return gsd, 0, self.left, 0, -gsd, self.top


def write_cog(path: Path, image: Pixels, frame: Frame, band: str, key: int) -> None:
    """Writes one asset.

    Outside of the rendered raster a full-size file repeats it with fresh noise, so that blocks compress as real
    ones do.

    Args:
        path: The file to write.
        image: (H, W) DN or classes of the rendered grid.
        frame: Where it lies.
        band: Band name or "SCL".
        key: Names the noise of a full-size file, from `keyed_hash`.
    """
    gsd = GSD[band]
    height, width = frame.shape(gsd)
    if image.shape != (height, width):
        image = _fill(image, frame, gsd, key)
    profile = {
        "driver": "COG",
        "width": width,
        "height": height,
        "count": 1,
        "dtype": image.dtype.name,
        "crs": f"EPSG:{frame.grid.epsg}",
        "transform": Affine(*frame.transform(gsd)),
        "nodata": 0,
        "compress": "DEFLATE",
        "predictor": "STANDARD",
        "level": 6 if frame.full else 1,
        "blocksize": _FULL_BLOCK_PX if frame.full else _SMALL_BLOCK_PX,
        "overview_resampling": "NEAREST" if band == SCL else "AVERAGE",
        "num_threads": "1",
    }
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(image, 1)
        # By Python, which says why a disk takes no more; GDAL does not.
        path.write_bytes(memory.getbuffer())


def _fill(image: Pixels, frame: Frame, gsd: int, key: int) -> Pixels:
    """Repeats a rendered raster over its whole file; DN, but not classes, get noise outside of it."""
    height, width = frame.shape(gsd)
    above, before = (frame.top - frame.grid.top) // gsd, (frame.grid.left - frame.left) // gsd
    full: Pixels = image[(np.arange(height) - above) % image.shape[0]][
        :, (np.arange(width) - before) % image.shape[1]
    ]
    if image.dtype == np.uint8:
        return full
    for first in range(0, height, _STRIP_ROWS):
        strip = full[first : first + _STRIP_ROWS]
        noise = sensor_noise((key + first) % 2**64, (len(strip), width)) * np.float32(_FILL_NOISE_DN)
        strip[:] = np.where(strip > 0, np.clip(strip + np.rint(noise), 1, 65535), 0)
    full[above : above + image.shape[0], before : before + image.shape[1]] = image
    return full
