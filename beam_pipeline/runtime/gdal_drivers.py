"""rasterio with the GDAL drivers that are needed, and no other: import rasterio from here.

Metadata of a raster may name another file, which GDAL opens with every driver that it has. GDAL registers its drivers
once a process, when rasterio first needs them: importing this module has them registered without those of `SKIPPED`.
pyogrio has a GDAL of its own, which is left as it is.
"""

import logging
from typing import Any

from beam_pipeline.runtime.environment import settle_rasters

settle_rasters()  # in workers too, which no command of ours started

import rasterio  # noqa: E402
import rasterio.features  # noqa: E402
from rasterio.session import DummySession  # noqa: E402

KEPT = frozenset({"COG", "GTiff", "HDF5Image", "MEM", "PNG", "netCDF"})
"""COG writes the sample world, MEM holds what is drawn, PNG is how a dataset's images are packed, the others read.

`docs/security.md` says it too.
"""

SKIPPED = """
    AAIGrid ACE2 ADRG AIG AVCBin AVCE00 AirSAR BAG BIGGIF BLX BMP BSB BT BYN CALS CEOS COASP COSAR CPG CTG CTable2 DAAS
    DERIVED DIMAP DIPEx DOQ1 DOQ2 DTED ECRGTOC EEDA EEDAI EHdr EIR ELAS ENVI ERS ESAT ESRI_Shapefile ESRIC ESRIJSON FAST
    FIT GFF GIF GNMDatabase GNMFile GPKG GRASSASCIIGrid GRIB GS7BG GSAG GSBG GSC GTI GTX GXF GenBin GeoJSON GeoJSONSeq
    HDF5 HF2 HFA HTTP ILWIS IRIS ISCE ISG ISIS2 ISIS3 JAXAPALSAR JDEM JP2OpenJPEG JPEG KMLSUPEROVERLAY KRO L1B LAN LCP
    LOSLAS Leveller MAP MBTiles MFF MFF2 MRF MSGN MVT Memory NDF NGSGEOID NITF NOAA_B NSIDCbin NTv2 NWT_GRC NWT_GRD OSM
    OZI PAux PCIDSK PCRaster PDF PDS PDS4 PLMOSAIC PNM PRF R RIK RMF ROI_PAC RPFTOC RRASTER RS2 RST Rasterlite S102
    S104 S111 SAFE SAGA SAR_CEOS SDTS SENTINEL2 SGI SIGDEM SNAP_TIFF SNODAS SQLite SRP SRTMHGT STACIT STACTA TGA TIL TSX
    Terragen TopoJSON USGSDEM VICAR VRT WCS WEBP WMS WMTS XPM XYZ ZMap Zarr
"""
"""All others of rasterio's wheels, version 1.4.4 with GDAL 3.10.3; `_` for the space in a name."""

_WITH_SPACE = {"ESRI_Shapefile": "ESRI Shapefile"}


def gdal_options(**options: Any) -> rasterio.Env:
    """Returns a context in which options of GDAL hold.

    Where AWS keys are in the environment, rasterio's own opens a session of AWS each time, which no file here needs.

    Args:
        options: By GDAL's names.
    """
    return rasterio.Env(session=DummySession(), **options)


def _register() -> None:
    # rasterio's own context: AWS settings that boto3 refuses, on which drawing would fail later, fail here.
    # Names are separated by commas where one has a space. Source: GDAL's documentation of GDAL_SKIP.
    skipped = ",".join(_WITH_SPACE.get(name, name) for name in SKIPPED.split())
    with rasterio.Env(GDAL_SKIP=skipped) as env:
        left = sorted(env.drivers().keys() - KEPT)
    if left:
        logging.getLogger(__name__).warning(
            "GDAL has %d drivers that are not needed, such as %s: rasterio was used before beam_pipeline was "
            "imported, or it is no build that is known. Do not read files of strangers in this process.",
            len(left),
            ", ".join(left[:3]),
        )


_register()

__all__ = ["KEPT", "SKIPPED", "gdal_options", "rasterio"]
