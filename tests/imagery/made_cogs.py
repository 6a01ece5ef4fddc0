"""Small COGs for the tests of reading, and a server for them."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from beam_pipeline.imagery.asset_grid import PIXEL_SIZE_M
from beam_pipeline.imagery.image import SCL
from tests.imagery.range_server import Injected, RangeServer

EPSG, LEFT, TOP = 32633, 300_000, 4_900_020
SIDE_M = 12_000


class FolderServer(RangeServer):
    """Serves one folder under URLs that name it: GDAL remembers a URL for as long as the process lives.

    pytest's folders have a name of their own for each test, whereas a free port may come again.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.parent)
        self._prefix = f"{folder.name}/"

    def url(self, path: str) -> str:
        return super().url(self._prefix + path)

    def inject(self, path: str, fault: Injected) -> None:
        super().inject(self._prefix + path, fault)


def write_cog(
    path: Path,
    band: str = "B02",
    *,
    epsg: int = EPSG,
    left: float = LEFT,
    top: float = TOP,
    side_m: int = SIDE_M,
    dtype: str | None = None,
    pixel_m: float | None = None,
    count: int = 1,
    block: int = 128,
    pixels: np.ndarray | None = None,
) -> np.ndarray:
    """Writes a COG, textured unless its pixels are given, and returns its pixels."""
    pixel_m = pixel_m or PIXEL_SIZE_M[band]
    side = int(side_m / pixel_m)
    rng = np.random.default_rng([*band.encode(), side])
    pixels = rng.integers(1, 12 if band == SCL else 4000, (side, side)) if pixels is None else pixels
    dtype = dtype or ("uint8" if band == SCL else "uint16")
    pixels = pixels.astype(dtype)
    with rasterio.open(
        path,
        "w",
        driver="COG",
        width=side,
        height=side,
        count=count,
        dtype=dtype,
        crs=f"EPSG:{epsg}",
        transform=from_origin(left, top, pixel_m, pixel_m),
        compress="deflate",
        predictor=2,
        blocksize=block,
    ) as dataset:
        for index in range(count):
            dataset.write(pixels, index + 1)
    return pixels
