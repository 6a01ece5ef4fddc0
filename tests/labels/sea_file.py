"""Writes small files of water polygons for tests."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from beam_pipeline.runtime.vector_drivers import pyogrio

DRIVERS = {".shp": "ESRI Shapefile", ".gpkg": "GPKG", ".fgb": "FlatGeobuf"}


def write_sea(path: Path, geometries: Sequence[Any], crs: str | None = "EPSG:4326", **layer: Any) -> Path:
    """Writes geometries in degrees as a vector file in another projection, of the format that its name says."""
    if crs == "EPSG:3857":
        geometries = list(shapely.transform(np.array(geometries, dtype=object), to_mercator))
    wkb = np.array([None if it is None else shapely.to_wkb(it) for it in geometries], dtype=object)
    kind = layer.pop("geometry_type", "Polygon")
    pyogrio.raw.write(
        path,
        wkb,
        [],
        [],
        geometry_type=kind,
        crs=crs,
        driver=DRIVERS[path.suffix],
        promote_to_multi=False,
        **layer,
    )
    return path


def to_mercator(lonlat: Any) -> Any:
    """Source: the formula of EPSG:3857."""
    radius = 6_378_137.0
    x = radius * np.radians(lonlat[:, 0])
    y = radius * np.log(np.tan(np.pi / 4 + np.radians(lonlat[:, 1]) / 2))
    return np.column_stack([x, y])


def zipped(path: Path) -> Path:
    """Packs a shapefile as the community does: in a folder, with files that say nothing of the sea."""
    archive = path.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for part in sorted(path.parent.glob(f"{path.stem}.*")):
            if part != archive:
                target.write(part, f"water-polygons-split-4326/{part.name}")
        target.writestr("water-polygons-split-4326/README.txt", "The sea.")
        target.writestr("__MACOSX/water-polygons-split-4326/._water.shp", b"\0" * 100)
    return archive
