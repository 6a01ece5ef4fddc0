"""A self-contained STAC catalogue: a collection, a catalogue of each tile, an item of each cell and year.

Hrefs are relative. A collection that linked to every item would be megabytes large, so it links to tiles.
Source: https://github.com/radiantearth/stac-spec/tree/v1.1.0 and the extensions below.
"""

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pystac
from shapely.geometry import MultiPolygon, mapping
from shapely.geometry.base import BaseGeometry

from beam_pipeline.cells.cell import CHIP_SIZE_M, ChipWindow, Split
from beam_pipeline.exchange.cell_row import footprint
from beam_pipeline.exchange.geotiff import NO_DN, SCL_GSD, sensing_time, sides
from beam_pipeline.exchange.label_classes import LabelChannel, LabelClass
from beam_pipeline.exchange.sentinel2 import BANDS, SCENE_CLASSES
from beam_pipeline.imagery.image import Image
from beam_pipeline.labels.label_image import PIXEL_M
from beam_pipeline.records.example import CellYear
from beam_pipeline.records.schema import GRID_BANDS, REFLECTANCE_SCALE, UNLABELED

COLLECTION_FILE = "collection.json"
CATALOG_FILE = "catalog.json"
COLLECTION_ID = "opensentinelmap"

_EXTENSION = "https://stac-extensions.github.io/{}/schema.json".format
EXTENSIONS = [
    _EXTENSION(name)
    for name in ("classification/v2.0.0", "eo/v2.0.0", "ml-aoi/v0.2.0", "projection/v2.0.0", "raster/v2.0.0")
]
"""The extensions of an item."""

ML_AOI_SPLITS: Mapping[Split, str] = {"training": "train", "validation": "validate", "testing": "test"}
"""The names that ml-aoi has for our splits."""

_COG = str(pystac.MediaType.COG)
_NO_DATA = frozenset({UNLABELED})


def item_json(cell_year: CellYear, channels: Sequence[LabelChannel], hrefs: Mapping[str, str]) -> bytes:
    """Returns the item of a cell-year.

    Args:
        cell_year: The cell-year, with exact bounds.
        channels: The channels of the label image.
        hrefs: Of the assets, by their keys: a channel's stem, "image_0_gsd_10", ..., "image_0_scl", ...
    """
    cell = cell_year.cell
    shape = footprint(cell.chip)
    times = [when for image in cell_year.images if (when := sensing_time(image)) is not None]
    first, last = _extent(times, cell_year.year)
    item = pystac.Item(
        id=f"{cell.cell_id}-{cell_year.year}",
        geometry=mapping(shape),
        bbox=_bbox(shape),
        datetime=first if first == last else None,
        start_datetime=first,
        end_datetime=last,
        properties={
            "title": f"Cell {cell.cell_id} in {cell_year.year}",
            "ml-aoi:split": ML_AOI_SPLITS[cell.split],
            "proj:code": f"EPSG:{cell.chip.epsg}",
            "proj:bbox": list(cell.chip.bounds),
            "opensentinelmap:cell_id": cell.cell_id,
            "opensentinelmap:tile": cell.tile,
        },
        stac_extensions=EXTENSIONS,
        collection=COLLECTION_ID,
    )
    for channel in channels:
        item.add_asset(channel.stem, _label_asset(channel, cell.chip, hrefs[channel.stem]))
    for slot, image in enumerate(cell_year.images):
        for grid, gsd in sides():
            key = f"image_{slot}_{grid}"
            item.add_asset(key, _image_asset(image, grid, gsd, cell.chip, hrefs[key]))
        key = f"image_{slot}_scl"
        item.add_asset(key, _scl_asset(image, cell.chip, hrefs[key]))
    item.add_links(
        [
            pystac.Link("root", f"../../../{COLLECTION_FILE}", pystac.MediaType.JSON),
            pystac.Link("parent", f"../{CATALOG_FILE}", pystac.MediaType.JSON),
            pystac.Link("collection", f"../../../{COLLECTION_FILE}", pystac.MediaType.JSON),
        ]
    )
    return _text(item.to_dict(include_self_link=False, transform_hrefs=False))


def catalog_json(tile: str, items: Iterable[str]) -> bytes:
    """Returns the catalogue of a tile.

    Args:
        tile: The tile's name.
        items: Hrefs of its items, relative to the catalogue.
    """
    catalog = pystac.Catalog(tile, f"Cells of the MGRS tile {tile}", catalog_type=_SELF_CONTAINED)
    catalog.clear_links()
    catalog.add_links(
        [
            pystac.Link("root", f"../../{COLLECTION_FILE}", pystac.MediaType.JSON),
            pystac.Link("parent", f"../../{COLLECTION_FILE}", pystac.MediaType.JSON),
            *(pystac.Link("item", href, pystac.MediaType.GEOJSON) for href in items),
        ]
    )
    return _text(catalog.to_dict(include_self_link=False, transform_hrefs=False))


_SELF_CONTAINED = pystac.CatalogType.SELF_CONTAINED


def collection_json(
    tiles: Iterable[str],
    bbox: Sequence[float],
    years: Sequence[int],
    splits: Sequence[Split],
    assets: Mapping[str, tuple[str, str, str]],
) -> bytes:
    """Returns the collection.

    Args:
        tiles: Hrefs of the catalogues of tiles.
        bbox: West, south, east and north of all cells in degrees; west is above east across the antimeridian.
        years: The years of the images, ascending.
        splits: Those that have cells.
        assets: (href, media type, title) of files of the whole, by key.
    """
    first, last = _extent([], years[0])[0], _extent([], years[-1])[1]
    collection = pystac.Collection(
        id=COLLECTION_ID,
        title="Sentinel-2 images with OpenStreetMap labels",
        description=(
            "Chips of 1920 m with the categories of OpenStreetMap and Sentinel-2 L2A images of one or two dates a year."
        ),
        extent=pystac.Extent(pystac.SpatialExtent([list(bbox)]), pystac.TemporalExtent([[first, last]])),
        license="other",
        keywords=["Sentinel-2", "OpenStreetMap", "land use", "segmentation"],
        providers=[
            pystac.Provider(
                "OpenStreetMap contributors",
                roles=[pystac.ProviderRole.PRODUCER],
                url="https://www.openstreetmap.org/copyright",
            ),
            pystac.Provider(
                "European Union, Copernicus programme",
                roles=[pystac.ProviderRole.PRODUCER],
                url="https://dataspace.copernicus.eu",
            ),
        ],
        summaries=pystac.Summaries(
            {"gsd": [10, 20, 60], "ml-aoi:split": [ML_AOI_SPLITS[split] for split in splits]}
        ),
        assets={
            key: pystac.Asset(href, title=title, media_type=kind, roles=["metadata"])
            for key, (href, kind, title) in assets.items()
        },
        catalog_type=_SELF_CONTAINED,
        stac_extensions=[_EXTENSION("ml-aoi/v0.2.0")],
    )
    collection.clear_links()
    collection.add_links(
        [
            pystac.Link("root", f"./{COLLECTION_FILE}", pystac.MediaType.JSON),
            pystac.Link("license", "./LICENSES.md", "text/markdown"),
            *(pystac.Link("child", href, pystac.MediaType.JSON) for href in tiles),
        ]
    )
    return _text(collection.to_dict(include_self_link=False, transform_hrefs=False))


def _label_asset(channel: LabelChannel, chip: ChipWindow, href: str) -> pystac.Asset:
    return _asset(
        href,
        f"{channel.name} of OpenStreetMap",
        ["labels", "labels-raster"],
        PIXEL_M,
        chip,
        {
            "ml-aoi:role": "label",
            "data_type": "uint8",
            "nodata": UNLABELED,
            "classification:classes": _classes(channel.classes, UNLABELED),
        },
    )


def _image_asset(image: Image, grid: str, gsd: int, chip: ChipWindow, href: str) -> pystac.Asset:
    bands = [
        {
            "name": band,
            "eo:common_name": BANDS[band].common_name,
            "eo:center_wavelength": BANDS[band].center_um,
            "eo:full_width_half_max": BANDS[band].width_um,
        }
        for band in GRID_BANDS[grid]
    ]
    return _asset(
        href,
        f"Digital numbers at {gsd} m",
        ["data", "reflectance"],
        gsd,
        chip,
        {
            "ml-aoi:role": "feature",
            **_image_facts(image),
            "data_type": "uint16",
            "nodata": NO_DN,
            "raster:scale": 1 / REFLECTANCE_SCALE,
            "raster:offset": image.boa_add_offset / REFLECTANCE_SCALE,
            "bands": bands,
        },
    )


def _scl_asset(image: Image, chip: ChipWindow, href: str) -> pystac.Asset:
    return _asset(
        href,
        "Scene classification",
        ["data"],
        SCL_GSD,
        chip,
        {
            **_image_facts(image),
            "data_type": "uint8",
            "nodata": NO_DN,
            "classification:classes": _classes(SCENE_CLASSES, NO_DN),
        },
    )


def _image_facts(image: Image) -> dict[str, Any]:
    when = sensing_time(image)
    return {
        **({"datetime": _rfc3339(when)} if when else {}),
        **({"platform": image.platform} if image.platform else {}),
        **({"opensentinelmap:processing_baseline": image.baseline} if image.baseline else {}),
        "opensentinelmap:item_id": image.item_id,
        "opensentinelmap:bad_fraction": image.bad_percent,
    }


def _asset(
    href: str, title: str, roles: list[str], gsd: int, chip: ChipWindow, more: Mapping[str, Any]
) -> pystac.Asset:
    side = CHIP_SIZE_M // gsd
    return pystac.Asset(
        href,
        title=title,
        media_type=_COG,
        roles=roles,
        extra_fields={
            "gsd": gsd,
            "proj:shape": [side, side],
            "proj:transform": [gsd, 0, chip.left, 0, -gsd, chip.top],
            **more,
        },
    )


def _classes(classes: Iterable[LabelClass], nodata: int) -> list[dict[str, Any]]:
    return [
        {
            "value": it.value,
            "name": it.key,
            "title": it.name,
            "color_hint": "{:02X}{:02X}{:02X}".format(*it.colour),
            **({"nodata": True} if it.value == nodata else {}),
        }
        for it in classes
    ]


def _extent(times: Sequence[datetime.datetime], year: int) -> tuple[datetime.datetime, datetime.datetime]:
    """Returns the first and last of times; those of the year where there are none."""
    if times:
        return min(times), max(times)
    first = datetime.datetime(year, 1, 1, tzinfo=datetime.UTC)
    return first, datetime.datetime(year, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


def _bbox(shape: BaseGeometry) -> list[float]:
    """Returns west, south, east and north; west is above east across the antimeridian, as GeoJSON has it."""
    if isinstance(shape, MultiPolygon):
        east_half, west_half = sorted(shape.geoms, key=lambda part: part.bounds[0], reverse=True)
        _, south, _, north = shape.bounds
        return [east_half.bounds[0], south, west_half.bounds[2], north]
    return list(shape.bounds)


def _rfc3339(when: datetime.datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")


def _text(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
