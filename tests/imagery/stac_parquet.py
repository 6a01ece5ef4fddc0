"""Makes STAC GeoParquet of items, as rustac writes it, or damaged."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import rustac
from pyarrow import parquet

from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.jobs.storage import BeamFiles


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
