"""A raster that names other files, which GDAL would open as soon as an overview or a pixel is asked for."""

from typing import Any

NO_SIDECARS = {
    # No listing of the folder, and no look for .aux.xml, .ovr and .msk: 9 HEADs an asset otherwise.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    # No .tfw and no .tab.
    "GDAL_GEOREF_SOURCES": "INTERNAL",
}
"""GDAL's options by which nothing beside a raster is read."""


def named_elsewhere(dataset: Any) -> str:
    """Returns what a dataset names as the file of its overviews.

    It must be asked for right after opening: this asks for no overview, everything else may.

    Args:
        dataset: An open raster.

    Returns:
        The name that the file holds, or "" where it names none.
    """
    # GDAL's own name for it, in any letters. Source: GDALDefaultOverviews::OverviewScan.
    tags = dataset.tags(ns="OVERVIEWS")
    return next((value or key for key, value in tags.items() if key.upper() == "OVERVIEW_FILE"), "")
