"""Reads EuroSAT's tiles as places: where each lies, and its class.

Source: P. Helber, B. Bischke, A. Dengel, D. Borth: EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use
and Land Cover Classification, 2019; EuroSAT_MS.zip.
"""

import functools
import os

import pyproj
from rasterio.errors import RasterioError

from beam_pipeline.places.place_list import GivenPlace, PlaceList, checked_degrees, checked_name, refused
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.foreign_text import shown
from beam_pipeline.runtime.gdal_drivers import gdal_options, rasterio
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.raster_walls import NO_SIDECARS
from beam_pipeline.runtime.regular_files import read_regular

CLASSES = (
    *("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"),
    *("Pasture", "PermanentCrop", "Residential", "River", "SeaLake"),
)
"""Source: Helber et al. 2019, figure 3."""

_MOST_BYTES = 4 << 20
"""Of a tile; one of 64 x 64 pixels and 13 bands has 107 kB."""


def read_eurosat_places(folder: str) -> PlaceList:
    """Reads where the tiles of a folder lie; their pixels are not looked at.

    Args:
        folder: Local; holds folders named after classes, which hold GeoTIFFs.

    Returns:
        A place for each tile, named CLASS/FILE.

    Raises:
        InvalidInputError: The folder holds other folders or no tile, or a tile is no GeoTIFF with a CRS.
    """
    if not os.path.isdir(folder):
        raise refused("--eurosat", "it", "be a folder on this machine", folder)
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")
    strange = [name for name in names if name not in CLASSES]
    if strange:
        raise InvalidInputError(
            f"--eurosat takes folders named after EuroSAT's classes, {', '.join(CLASSES)}: places of other classes are "
            f"a table, --places. Received: {folder} with {strange[0]}"
        )
    files = [
        (name, file)
        for name in names
        for file in sorted(os.listdir(os.path.join(folder, name)))
        if file.lower().endswith((".tif", ".tiff"))
    ]
    if not files:
        raise InvalidInputError(
            f"--eurosat must hold GeoTIFFs in a folder for each class. Received: {folder} without any"
        )
    places = []
    with Progress(len(files), "looking at tiles", "tiles") as progress, gdal_options(**NO_SIDECARS):
        for class_name, file in files:
            path = os.path.join(folder, class_name, file)
            longitude, latitude = _centre(path)
            name = checked_name(f"{class_name}/{file}", path, "its name")
            places.append(GivenPlace(name, class_name, longitude, latitude, path))
            progress.update()
    return PlaceList("eurosat", tuple(places), {})


def _centre(path: str) -> tuple[float, float]:
    """Returns longitude and latitude of the middle of a tile's bounds."""
    try:
        content = read_regular(path, _MOST_BYTES)
        if not content:  # which GDAL would take for a file to be written
            raise InvalidInputError(f"{path} is no GeoTIFF that can be read: it is empty")
        # No other driver: a VRT in a .tif would have GDAL open whatever it names.
        with rasterio.MemoryFile(content) as file, file.open(driver="GTiff") as tile:
            crs, bounds = tile.crs, tile.bounds
        if crs is None:
            raise refused(path, "crs", "be given", None)
        x, y = (bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2
        longitude, latitude = _to_degrees(crs.to_wkt()).transform(x, y)
    except Fault as fault:
        raise InvalidInputError(f"{path} is no tile: {fault.detail}") from fault
    except (RasterioError, OSError, pyproj.exceptions.ProjError) as error:
        raise InvalidInputError(f"{path} is no GeoTIFF that can be read: {shown(str(error))}") from error
    return checked_degrees(
        longitude, latitude, path, ("its bounds, in longitude,", "its bounds, in latitude,")
    )


@functools.lru_cache(64)
def _to_degrees(wkt: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(wkt, "EPSG:4326", always_xy=True)
