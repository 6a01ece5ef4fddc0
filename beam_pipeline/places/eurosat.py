"""Reads EuroSAT's tiles as places: where each lies, and its class."""

import os

from beam_pipeline.places.eurosat_tile import CLASSES, centre_of_tile, class_folders, read_tile, tile_files
from beam_pipeline.places.place_list import GivenPlace, PlaceList, checked_name, require_folder
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.gdal_drivers import gdal_options
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.raster_walls import NO_SIDECARS


def read_eurosat_places(folder: str) -> PlaceList:
    """Reads where the tiles of a folder lie; their pixels are not looked at.

    Args:
        folder: Local; holds folders named after classes, which hold GeoTIFFs.

    Returns:
        A place for each tile, named CLASS/FILE.

    Raises:
        InvalidInputError: The folder holds other folders or no tile, or a tile is not as published.
    """
    require_folder("--eurosat", folder)
    names = class_folders(folder)
    strange = [name for name in names if name not in CLASSES]
    if strange:
        raise InvalidInputError(
            f"--eurosat takes folders named after EuroSAT's classes, {', '.join(CLASSES)}: places of other classes are "
            f"a table, --places. Received: {folder} with {strange[0]}"
        )
    files = [(name, path) for name in names for path in tile_files(os.path.join(folder, name))]
    if not files:
        raise InvalidInputError(
            f"--eurosat must hold GeoTIFFs in a folder for each class. Received: {folder} without any"
        )
    places = []
    with Progress(len(files), "looking at tiles", "tiles") as progress, gdal_options(**NO_SIDECARS):
        for class_name, path in files:
            longitude, latitude = centre_of_tile(path, read_tile(path))
            name = checked_name(f"{class_name}/{os.path.basename(path)}", path, "its name")
            places.append(GivenPlace(name, class_name, longitude, latitude, path))
            progress.update()
    return PlaceList("eurosat", tuple(places), {})
