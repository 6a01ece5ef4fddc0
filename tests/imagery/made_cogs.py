"""Small COGs for the tests of reading, what no honest writer makes of them, and a server for them."""

import struct
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
    nodata: float | None = None,
    mask: np.ndarray | None = None,
    scale: tuple[float, float] | None = None,
) -> np.ndarray:
    """Writes a COG, textured unless its pixels are given, and returns its pixels.

    Where a mask is given, it is false where there is no data. A scale is (scale, offset).
    """
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
        nodata=nodata,
    ) as dataset:
        for index in range(count):
            dataset.write(pixels, index + 1)
        if mask is not None:
            dataset.write_mask(mask)
        if scale is not None:
            dataset.scales, dataset.offsets = (scale[0],) * count, (scale[1],) * count
    return pixels


def write_sparse(path: Path, side: int, block: int) -> None:
    """Writes a tiled GeoTIFF of no data alone, on the grid of `write_cog`: a few hundred bytes, whatever it claims."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=1,
        dtype="uint16",
        crs=f"EPSG:{EPSG}",
        transform=from_origin(LEFT, TOP, 10, 10),
        compress="deflate",
        tiled=True,
        blockxsize=block,
        blockysize=block,
        SPARSE_OK=True,
    ):
        pass


SAMPLES_PER_PIXEL, TILE_WIDTH, TILE_LENGTH, TILE_BYTE_COUNTS = 277, 322, 323, 325
"""Tags of a TIFF. Source: TIFF 6.0, appendix A."""


def set_tag(path: Path, tag: int, value: int, directory: int = 0) -> None:
    """Overwrites the first value of a tag of a little-endian TIFF; its overviews are the directories from 1 on."""
    content = bytearray(path.read_bytes())
    assert content[:4] == b"II*\0"
    (place,) = struct.unpack_from("<I", content, 4)
    for _ in range(directory):
        (entries,) = struct.unpack_from("<H", content, place)
        (place,) = struct.unpack_from("<I", content, place + 2 + 12 * entries)
    (entries,) = struct.unpack_from("<H", content, place)
    for entry in range(place + 2, place + 2 + 12 * entries, 12):
        found, kind, count = struct.unpack_from("<HHI", content, entry)
        if found == tag:
            code = {3: "<H", 4: "<I"}[kind]
            inline = count * struct.calcsize(code) <= 4
            where = entry + 8 if inline else struct.unpack_from("<I", content, entry + 8)[0]
            struct.pack_into(code, content, where, value)
            path.write_bytes(content)
            return
    raise AssertionError(f"no tag {tag}")
