"""Makes STAC GeoParquet of items, as rustac writes it, or damaged."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import rustac
from pyarrow import parquet

from beam_pipeline.cells.mgrs_tiles import tile_lonlat_bounds
from beam_pipeline.imagery.catalog import find_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.scenes import SceneList
from beam_pipeline.imagery.stac_item import EARTH_SEARCH_V1_KEYS
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.retries import RetryPolicy

QUICK = RetryPolicy(attempts=3, base_s=0.0)


def write_items(path: Path, items: Sequence[dict[str, Any]], rows: int | None = None) -> str:
    """Writes items, `rows` in each row group; returns the path."""
    rustac.write_sync(str(path), list(items))
    if rows:
        parquet.write_table(parquet.read_table(path), path, row_group_size=rows)
    return str(path)


def change(path: Path, edit: Callable[[pa.Table], pa.Table], **options: Any) -> str:
    """Writes a file anew after its table was changed; returns the path."""
    parquet.write_table(edit(parquet.read_table(path)), path, **options)
    return str(path)


def catalogue(url: str, collection: str = "sentinel-2-l2a") -> CatalogSettings:
    """Returns the settings of a catalogue in STAC GeoParquet."""
    return CatalogSettings(url, collection, files=BeamFiles())


def find(url: str, tile: str = "33TWN", year: int = 2020, collection: str = "sentinel-2-l2a") -> SceneList:
    """Searches a catalogue in STAC GeoParquet."""
    return find_scenes(catalogue(url, collection), tile, year, 0, retry=QUICK)


def year_of(tile: str, count: int, year: int = 2020) -> list[dict[str, Any]]:
    """Makes items of a tile and year, of dates of their own."""
    return [
        made(tile, f"{year}-{number % 12 + 1:02d}-{number // 12 + 1:02d}T10:00:00.123Z")
        for number in range(count)
    ]


def made(tile: str, when: str, number: int = 0, **properties: Any) -> dict[str, Any]:
    """Makes a small item of Earth Search's profile."""
    item_id = f"S2A_{tile.lstrip('0')}_{when[:10].replace('-', '')}_{number}_L2A"
    root = f"https://sentinel-cogs.s3.us-west-2.amazonaws.com/{tile}/{item_id}"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item_id,
        "collection": "sentinel-2-l2a",
        "geometry": {"type": "Point", "coordinates": [15.5, 47.5]},
        "bbox": list(tile_lonlat_bounds(tile)),
        "properties": {
            "datetime": when,
            "platform": "sentinel-2a",
            "grid:code": f"MGRS-{tile.lstrip('0')}",
            "eo:cloud_cover": 12.5,
            "s2:processing_baseline": "05.00",
            "earthsearch:boa_offset_applied": True,
            **properties,
        },
        "links": [{"rel": "self", "href": f"https://api.example/items/{item_id}"}],
        "assets": {
            key: {"href": f"{root}/{key}.tif", "type": "image/tiff"} for key in EARTH_SEARCH_V1_KEYS.values()
        },
    }
