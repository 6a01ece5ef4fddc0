"""A static STAC catalogue whose items look like Earth Search's (v1, `sentinel-2-l2a`)."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pyproj import Transformer

from beam_pipeline.imagery.image import SCL
from beam_pipeline.sample_world.rasters import Frame
from beam_pipeline.sample_world.scenes import GSD
from beam_pipeline.sample_world.weather import Pass, sun

COLLECTION = "sentinel-2-l2a"
CATALOG = "catalog.json"

ASSET_KEYS = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "nir09",
    "B11": "swir16",
    "B12": "swir22",
    SCL: "scl",
}
"""Source: Earth Search v1, items of `sentinel-2-l2a`."""

_EXTENSIONS = [
    "https://stac-extensions.github.io/mgrs/v1.0.0/schema.json",
    "https://stac-extensions.github.io/view/v1.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v1.0.0/schema.json",
    "https://stac-extensions.github.io/eo/v1.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/grid/v1.0.0/schema.json",
]
_COMMON_NAMES = {"rededge1": "rededge", "rededge2": "rededge", "rededge3": "rededge", "nir09": "nir09"}
_CLOUDS = (8, 9, 10)
_TITLE = "A made-up place: no image of the Earth"


def item_id(tile: str, one: Pass) -> str:
    """Returns e.g. "S2A_23SQD_20210421_0_L2A"; Earth Search drops a tile's leading zero."""
    platform = "S2" + one.platform[-1].upper()
    return f"{platform}_{tile.lstrip('0')}_{one.sensed[:10].replace('-', '')}_{one.sequence}_L2A"


def make_item(frame: Frame, one: Pass, seconds_after: float, scl: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Describes a scene.

    Args:
        frame: Its raster.
        one: Its date.
        seconds_after: How much later than the date's first tile this one was sensed.
        scl: (H, W) scene classification, for the cloud cover.

    Returns:
        A STAC item; hrefs are relative to its file.
    """
    tile = frame.grid.tile
    sensed = datetime.datetime.fromisoformat(one.sensed) + datetime.timedelta(seconds=seconds_after)
    stamp = one.sensed.replace("-", "").replace(":", "")
    made = datetime.datetime.fromisoformat(one.sensed) + datetime.timedelta(hours=4, days=90 * one.sequence)
    generated = made.strftime("%Y%m%dT%H%M%S")
    platform, number = "S2" + one.platform[-1].upper(), one.baseline.replace(".", "")
    valid = scl[scl > 0]
    orbit = f"{_orbit(one):06d}"
    ring, bbox = _footprint(frame)
    azimuth, elevation = sun(one)
    created = made.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    properties = {
        "created": created,
        "updated": created,
        "datetime": sensed.strftime("%Y-%m-%dT%H:%M:%S.") + f"{sensed.microsecond // 1000:03d}000Z",
        "platform": one.platform,
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": _percent(valid, _CLOUDS),
        "proj:epsg": frame.grid.epsg,
        "mgrs:utm_zone": int(tile[:2]),
        "mgrs:latitude_band": tile[2],
        "mgrs:grid_square": tile[3:],
        "grid:code": f"MGRS-{tile.lstrip('0')}",
        "view:sun_azimuth": azimuth,
        "view:sun_elevation": elevation,
        "s2:nodata_pixel_percentage": round(100 * float((scl == 0).mean()), 6),
        "s2:saturated_defective_pixel_percentage": _percent(valid, (1,)),
        "s2:cloud_shadow_percentage": _percent(valid, (3,)),
        "s2:vegetation_percentage": _percent(valid, (4,)),
        "s2:not_vegetated_percentage": _percent(valid, (5,)),
        "s2:water_percentage": _percent(valid, (6,)),
        "s2:medium_proba_clouds_percentage": _percent(valid, (8,)),
        "s2:high_proba_clouds_percentage": _percent(valid, (9,)),
        "s2:thin_cirrus_percentage": _percent(valid, (10,)),
        "s2:snow_ice_percentage": _percent(valid, (11,)),
        "s2:product_type": "S2MSI2A",
        "s2:processing_baseline": one.baseline,
        "s2:product_uri": f"{platform}_MSIL2A_{stamp}_N{number}_R038_T{tile}_{generated}.SAFE",
        "s2:generation_time": made.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
        "s2:datatake_id": f"G{platform}_{stamp}_{orbit}_N{one.baseline}",
        "s2:datatake_type": "INS-NOBS",
        "s2:datastrip_id": f"{platform}_OPER_MSI_L2A_DS_XXXX_{generated}_S{stamp}_N{one.baseline}",
        "s2:granule_id": f"{platform}_OPER_MSI_L2A_TL_XXXX_{generated}_A{orbit}_T{tile}_N{one.baseline}",
        "s2:sequence": str(one.sequence),
        "earthsearch:boa_offset_applied": one.offset_flag,
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": _EXTENSIONS,
        "id": item_id(tile, one),
        "collection": COLLECTION,
        "bbox": bbox,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
        "links": [
            {"rel": "root", "href": f"../../{CATALOG}", "type": "application/json"},
            {"rel": "parent", "href": "../collection.json", "type": "application/json"},
            {"rel": "collection", "href": "../collection.json", "type": "application/json"},
        ],
        "assets": {ASSET_KEYS[band]: _asset(frame, band) for band in ASSET_KEYS},
    }


def write_catalog(folder: Path, items: Sequence[Mapping[str, Any]]) -> Path:
    """Writes items, their collection and the catalogue.

    Args:
        folder: Where; each item lies in a folder of its id, beside its assets.
        items: From `make_item`.

    Returns:
        The path of catalog.json.
    """
    boxes = np.array([item["bbox"] for item in items])
    extent = [*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]
    times = sorted(item["properties"]["datetime"] for item in items)
    collection = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": COLLECTION,
        "title": _TITLE,
        "description": "Computed by beam_pipeline.sample_world in the form of Sentinel-2 Level-2A.",
        "license": "Apache-2.0",
        "extent": {"spatial": {"bbox": [extent]}, "temporal": {"interval": [[times[0], times[-1]]]}},
        "links": [
            {"rel": "root", "href": f"../{CATALOG}", "type": "application/json"},
            {"rel": "parent", "href": f"../{CATALOG}", "type": "application/json"},
            *(
                {"rel": "item", "href": f"./{i['id']}/{i['id']}.json", "type": "application/geo+json"}
                for i in items
            ),
        ],
    }
    catalog = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "sample-world",
        "title": _TITLE,
        "description": "Computed by beam_pipeline.sample_world.",
        "links": [
            {"rel": "root", "href": f"./{CATALOG}", "type": "application/json"},
            {"rel": "child", "href": f"./{COLLECTION}/collection.json", "type": "application/json"},
        ],
    }
    for item in items:
        _write(folder / COLLECTION / item["id"] / f"{item['id']}.json", item)
    _write(folder / COLLECTION / "collection.json", collection)
    _write(folder / CATALOG, catalog)
    return folder / CATALOG


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _asset(frame: Frame, band: str) -> dict[str, Any]:
    gsd, key = GSD[band], ASSET_KEYS[band]
    data_type = "uint8" if band == SCL else "uint16"
    raster: dict[str, Any] = {"nodata": 0, "data_type": data_type, "spatial_resolution": gsd}
    asset: dict[str, Any] = {
        "href": f"./{band}.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data", "reflectance"],
        "proj:shape": list(frame.shape(gsd)),
        "proj:transform": list(frame.transform(gsd)),
    }
    if band != SCL:
        # Earth Search advertises an offset everywhere, whether it holds or not.
        raster |= {"bits_per_sample": 15, "scale": 0.0001, "offset": -0.1}
        asset |= {"gsd": gsd, "eo:bands": [{"name": key, "common_name": _COMMON_NAMES.get(key, key)}]}
    return asset | {"raster:bands": [raster]}


def _percent(valid: npt.NDArray[np.uint8], classes: tuple[int, ...]) -> float:
    return round(100 * float(np.isin(valid, classes).mean()), 6) if valid.size else 0.0


def _orbit(one: Pass) -> int:
    """Returns an absolute orbit number that differs between dates."""
    return 20000 + 14 * (one.day + 365 * (one.year - 2021))


def _footprint(frame: Frame) -> tuple[list[list[float]], list[float]]:
    """Returns the file's outline in degrees and its bounding box."""
    right, bottom = frame.left + 60 * frame.columns, frame.top - 60 * frame.rows
    corners = [(frame.left, frame.top), (right, frame.top), (right, bottom), (frame.left, bottom)]
    to_lonlat = Transformer.from_crs(frame.grid.epsg, 4326, always_xy=True)
    ring = [[round(float(v), 9) for v in to_lonlat.transform(*corner)] for corner in corners]
    lons, lats = zip(*ring, strict=True)
    return [*ring, ring[0]], [min(lons), min(lats), max(lons), max(lats)]
