"""pyogrio with the GDAL drivers that are needed, and no other: import pyogrio from here.

It is of the extra `sea`, which the launcher of a build needs for `--water_polygons` and no worker does. Of pyogrio,
fiona and geopandas it alone reads a layer in parts, as Arrow's batches, and brings a GDAL along.
"""

from beam_pipeline.runtime import gdal_drivers
from beam_pipeline.runtime.driver_registry import keep_drivers

import pyogrio  # isort: skip - rasterio's drivers are taken away first: some builds share one GDAL
import pyogrio._io  # isort: skip
import pyogrio.errors  # isort: skip

KEPT = frozenset({"ESRI Shapefile", "FlatGeobuf", "GPKG", "Parquet"})
"""The formats of vector files that are read; pyogrio's wheels have no Parquet. `docs/security.md` says it too."""


def drivers_left() -> list[str]:
    """Returns the drivers that could not be taken away, sorted."""
    return sorted(pyogrio.list_drivers().keys() - KEPT - gdal_drivers.KEPT)


keep_drivers(pyogrio._io.__file__, KEPT | gdal_drivers.KEPT)

__all__ = ["KEPT", "drivers_left", "pyogrio"]
