"""Made-up tiles in EuroSAT's form: a class has its own brightness of every band, and texture."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from beam_pipeline.places.eurosat_tile import BANDS, CLASSES
from model_tf.downstream_tasks.patch_set import Patch, PatchSet, Pixels

EPSG = 32633


def write_tile(
    path: Path,
    dn: np.ndarray,
    *,
    epsg: int | None = EPSG,
    left: float = 400_000,
    top: float = 5_500_000,
    pixel: float = 10.0,
) -> None:
    """Writes (bands, H, W) as a GeoTIFF whose upper left corner is at (left, top) in metres of the CRS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": dn.shape[0], "height": dn.shape[1], "width": dn.shape[2]}
    crs = None if epsg is None else f"EPSG:{epsg}"
    transform = from_origin(left, top, pixel, pixel)
    with rasterio.open(path, "w", dtype=dn.dtype, crs=crs, transform=transform, **profile) as tile:
        tile.write(dn)


def made_dn(class_index: int, number: int) -> np.ndarray:
    """(13, 64, 64) uint16 of a tile; B10 is dark, as it is at the top of the atmosphere."""
    draw = np.random.default_rng(1000 * class_index + number)
    spectrum = np.random.default_rng(class_index).uniform(500, 3000, len(BANDS))
    dn = spectrum[:, None, None] * (1 + 0.1 * draw.standard_normal((len(BANDS), 64, 64)))
    dn[BANDS.index("B10")] = draw.uniform(5, 15, (64, 64))
    return np.clip(dn, 1, 65535).astype(np.uint16)


def write_tiles(folder: Path, a_class: int = 3, classes: tuple[str, ...] = CLASSES) -> Path:
    """Writes so many tiles a class, each 40 km east of the one before."""
    for index, name in enumerate(classes):
        for number in range(1, a_class + 1):
            write_tile(
                folder / name / f"{name}_{number}.tif", made_dn(index, number), left=200_000 + 40_000 * number
            )
    return folder


def made_chips(crop: int = 16, side: int = 24) -> PatchSet:
    """49 chips of noise whose places lie -3 to 3 rows and columns off the middle; half of them have holes."""
    draw = np.random.default_rng(7)
    ten = draw.uniform(0, 1, (49, side, side, 4)).astype(np.float32)
    twenty = draw.uniform(0, 1, (49, side // 2, side // 2, 6)).astype(np.float32)
    twenty[::2, 5, 2:] = np.nan
    ten[::2, 10:12, 4:] = np.nan
    offsets = [(row, column) for row in range(-3, 4) for column in range(-3, 4)]
    patches = tuple(Patch(f"p{index}", index % 2, 0.0, 0.0, offset=it) for index, it in enumerate(offsets))

    def read(which: range) -> Pixels:
        return Pixels(ten[which.start : which.stop], twenty[which.start : which.stop])

    return PatchSet("made", "L2A", ("a", "b"), patches, side, crop, "made", (), read)


def made_set(labels: list[int], places: list[tuple[float, float]], num_classes: int = 3) -> PatchSet:
    """A set without pixels, for splits."""

    def read(_: range) -> Pixels:
        raise AssertionError

    patches = tuple(
        Patch(f"p{index}", label, *place)
        for index, (label, place) in enumerate(zip(labels, places, strict=True))
    )
    names = tuple(f"class {index}" for index in range(num_classes))
    return PatchSet("made", "L2A", names, patches, 64, 64, "made", ("Made up.",), read)
