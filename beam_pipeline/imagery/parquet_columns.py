"""The columns of a STAC GeoParquet file: which are read, and of what types they must be.

Source of the layout: https://github.com/radiantearth/stac-geoparquet-spec. Properties are columns; assets are a struct
of structs, links a list of them.
"""

from collections.abc import Callable

import pyarrow as pa

from beam_pipeline.imagery.parquet_tile_year import BBOX, TIME
from beam_pipeline.imagery.stac_item import PROFILES, TILE_PROPERTIES

HREFS = frozenset(f"assets.{key}.href" for keys in PROFILES for key in keys.values())
"""Paths of the columns that say where files of images lie."""

_LINKS = frozenset(f"links.list.{name}.{field}" for name in ("item", "element") for field in ("rel", "href"))
_WHO_PAYS = ("storage:", *(f"assets.{key}.storage:" for keys in PROFILES for key in keys.values()))
KEYS = frozenset(
    ("id", "collection", TIME, "start_datetime", *BBOX, *(key for keys in TILE_PROPERTIES for key in keys))
)
"""Paths of the columns by which rows are chosen."""

NO_PROPERTIES = frozenset(("type", "stac_version", "id", "collection", "bbox", "geometry", "assets", "links"))
"""Names of the columns that are no properties."""


def is_text(kind: pa.DataType) -> bool:
    """Tells whether a column holds texts."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_needed(path: str, properties: frozenset[str]) -> bool:
    """Tells whether a column of this path is read of the items that were chosen.

    Args:
        path: Of the column.
        properties: The names of those for which `is_property` holds.
    """
    return path in ("id", "collection") or path in properties | HREFS | _LINKS or path.startswith(_WHO_PAYS)


def is_property(field: pa.Field) -> bool:
    """Tells whether a column is a property that may be needed: a text, a number, a time, or a yes or no."""
    kind = field.type
    is_plain = pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return field.name not in NO_PROPERTIES and (is_plain or is_text(kind) or pa.types.is_timestamp(kind))


def column_problem(schema: pa.Schema) -> str:
    """Says what is wrong with the columns by which items are found, "" where nothing is."""
    for name, wanted, is_it in _REQUIRED:
        if schema.get_field_index(name) < 0:
            return f"it has no column {name!r}, or two of them"
        if not is_it(schema.field(name).type):
            return f"its column {name!r} must be {wanted}, and is {schema.field(name).type}"
    bounds = schema.field("bbox").type if schema.get_field_index("bbox") >= 0 else pa.null()
    known = {field.name: field.type for field in schema}
    known |= {f"bbox.{field.name}": field.type for field in bounds} if pa.types.is_struct(bounds) else {}
    for path, wanted, is_it in _OPTIONAL:
        kind = known.get(path, pa.null())
        if not (is_it(kind) or pa.types.is_null(kind)):
            return f"its column {path!r} must be {wanted}, and is {kind}"
    return ""


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _names_tile(kind: pa.DataType) -> bool:
    return is_text(kind) or _is_number(kind)


_Kind = tuple[str, str, Callable[[pa.DataType], bool]]
"""Path of a column, what it must be, and what tells whether it is."""

_REQUIRED: tuple[_Kind, ...] = (
    ("id", "text", is_text),
    (TIME, "a timestamp", pa.types.is_timestamp),
    ("assets", "a struct of the assets", pa.types.is_struct),
)
_OPTIONAL: tuple[_Kind, ...] = (
    ("collection", "text", is_text),
    *((path, "a number", _is_number) for path in BBOX),
    *((key, "text or a number", _names_tile) for keys in TILE_PROPERTIES for key in keys),
)
