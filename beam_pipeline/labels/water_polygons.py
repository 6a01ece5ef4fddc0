"""Reads water polygons: the sea, of which OpenStreetMap itself has the coastline only.

The community assembles them of the coastline and splits them into pieces of about a thousand nodes, which overlap a
little (`water-polygons-split` of https://osmdata.openstreetmap.de). A file is read once and in parts, so that one of
the whole planet takes little memory, and to its end, whatever the cells: a spatial filter of GDAL says nothing of what
is damaged.
"""

import contextlib
import logging
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.cell_index import CellIndex
from beam_pipeline.labels.clipping import clip_margin
from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.geometries import Geometries
from beam_pipeline.labels.ontology import SEA_KEY, Ontology
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.foreign_text import shown

FORMATS = (".shp", ".gpkg", ".fgb", ".parquet")
"""The endings of vector files that are read: shapefile, GeoPackage, FlatGeobuf, GeoParquet; also one in a .zip."""

BESIDE_SHAPEFILE = (".shx", ".prj")
"""The endings of the files that a shapefile cannot be read without. The attributes, in .dbf, are not read."""

SEA_TAGS = ((SEA_KEY, "sea"),)
"""The tags of a feature that is sea."""

_POLYGONS_READ = 512  # at once; split ones of the planet take 16 kB each
_DEGREES, _MERCATOR = "EPSG:4326", "EPSG:3857"
_AREAS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_MOST_SAID = 300  # characters of GDAL's
_MOST_LON, _MOST_LAT = 360.0, 90.0

_log = logging.getLogger(__name__)


def check_name(path: str | os.PathLike[str]) -> str:
    """Returns the ending of a file's name, in small letters.

    Raises:
        InvalidInputError: It is none that is read.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in (*FORMATS, ".zip"):
        raise _refused(path, f"its name ends in none of {' '.join((*FORMATS, '.zip'))}")
    return ending


def sea_of_cells(
    path: str | os.PathLike[str],
    chips: Mapping[int, ChipWindow],
    ontology: Ontology,
    on_read: Callable[[int], object] = lambda _: None,
) -> dict[int, bytes]:
    """Cuts water polygons to chips.

    Args:
        path: A local vector file of one of `FORMATS`, in EPSG:4326 or EPSG:3857, or a .zip that holds one.
        chips: Cell id -> chip. What is kept reaches as far outside of it as other features do.
        ontology: Says how far that is.
        on_read: Is called with the number of polygons, each time that some more were read.

    Returns:
        Cell id -> the sea in the cell's chip and around it as one area, WKB in metres of the chip's UTM zone; the same
        however the file splits it, to the rounding of the last digits. Cells without sea are not there.

    Raises:
        InvalidInputError: The file is missing, damaged, empty, in another projection or format, or holds something else
            than polygons.
    """
    index = CellIndex(chips, clip_margin(ontology.reach_m))
    pieces: dict[int, list[bytes]] = {}
    count = 0
    for geometries in _polygons(path):
        read = [
            Feature("sea", count + row, SEA_TAGS, geometry)
            for row, geometry in enumerate(shapely.to_wkb(geometries))
        ]
        found = index.clip(read)
        if found.dropped.counts:
            raise _refused(path, "a polygon crosses itself too often to be repaired")
        for cell_id, piece in found.features:
            pieces.setdefault(cell_id, []).append(piece.geometry)
        count += len(read)
        on_read(len(read))
    if not count:
        raise _refused(path, "it holds no polygon")
    return {cell_id: _as_one(path, pieces[cell_id]) for cell_id in sorted(pieces)}


def _as_one(path: str | os.PathLike[str], pieces: list[bytes]) -> bytes:
    """Returns the union of areas as WKB."""
    geometries = shapely.from_wkb(pieces)
    if not shapely.is_valid(geometries).all():
        raise _refused(path, "a polygon crosses itself too often to be cut")
    return bytes(shapely.to_wkb(shapely.normalize(shapely.union_all(geometries))))


def _polygons(path: str | os.PathLike[str]) -> Iterator[Geometries]:
    """Yields the polygons of a file in longitude and latitude, some hundred at once."""
    with _opened(path) as (layer, to_degrees):
        first = 0
        for batch in layer:
            # The geometry is the last column, whatever the format calls it; no other is asked for.
            geometries = shapely.from_wkb(batch.column(batch.num_columns - 1), on_invalid="ignore")
            wrong = np.flatnonzero(~np.isin(shapely.get_type_id(geometries), _AREAS))
            if len(wrong):
                kind = "nothing" if (it := geometries[wrong[0]]) is None else f"a {it.geom_type}"
                raise _refused(path, f"feature {first + wrong[0] + 1} is {kind} and no polygon")
            if to_degrees is not None:
                geometries = shapely.transform(geometries, to_degrees)
            _check_coordinates(path, geometries, first)
            first += len(geometries)
            yield geometries


def _check_coordinates(path: str | os.PathLike[str], geometries: Geometries, first: int) -> None:
    coordinates, rows = shapely.get_coordinates(geometries, return_index=True)
    with np.errstate(invalid="ignore"):
        beyond = ~(np.abs(coordinates) <= (_MOST_LON, _MOST_LAT + 1e-6)).all(axis=1)  # and what is no number
    if beyond.any():
        lon, lat = coordinates[beyond][0]
        raise _refused(
            path, f"feature {first + rows[beyond][0] + 1} has a point that is not on Earth ({lon:g}, {lat:g})"
        )


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[Iterator[Any], Any]]:
    """Yields the batches of a file's one layer, and what brings their coordinates to degrees, or None."""
    from beam_pipeline.runtime.vector_drivers import drivers_left, pyogrio

    if check_name(path) == ".parquet" and "Parquet" not in pyogrio.list_drivers():
        raise _refused(path, "the GDAL that pyogrio brings here does not read GeoParquet")
    if left := drivers_left():
        _log.warning("GDAL cannot be made to forget drivers that could follow links: %s", ", ".join(left[:3]))
    with _linked(path) as source, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            layers = pyogrio.list_layers(source)
            if len(layers) != 1:
                names = ", ".join(shown(str(name)) for name, _ in layers[:3])
                raise _refused(path, f"it holds {len(layers)} layers ({names}), and must hold one")
            with pyogrio.raw.open_arrow(source, columns=[], batch_size=_POLYGONS_READ, use_pyarrow=True) as (
                meta,
                reader,
            ):
                yield reader, _to_degrees(path, meta["crs"])
        except InvalidInputError:
            raise
        except Exception as error:
            # Of GDAL, of Arrow and of NumPy, e.g. an IndexError for a file that breaks off early.
            raise _refused(path, _said(error, source, path)) from error
        finally:
            for text in dict.fromkeys(_said(warning.message, source, path) for warning in said):
                _log.warning("%s: %s", os.fspath(path), text)


def _said(by: Warning | Exception | str, source: str, path: str | os.PathLike[str]) -> str:
    """Returns what GDAL says on one line, with the name that a person gave, and without its advice."""
    text = str(by).replace(source, os.fspath(path)).partition("; It might help")[0]
    # Of some damage GDAL's own text is mostly blanks.
    return shown(" ".join(text.split()), _MOST_SAID).rstrip(".")


def _to_degrees(path: str | os.PathLike[str], given: str | None) -> Any:
    """Returns what brings (N, 2) coordinates to degrees, None where they are in degrees."""
    crs = pyproj.CRS(given) if given else None
    if crs is not None and crs.equals(pyproj.CRS(_DEGREES), ignore_axis_order=True):
        return None
    if crs is not None and crs.equals(pyproj.CRS(_MERCATOR), ignore_axis_order=True):
        transformer = pyproj.Transformer.from_crs(_MERCATOR, _DEGREES, always_xy=True)
        return lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))
    name = "does not say its projection" if crs is None else f"is in {shown(crs.name)}"
    raise InvalidInputError(
        f"--water_polygons {name}; {_DEGREES} and {_MERCATOR} are read. Bring it to degrees, e.g. "
        f"ogr2ogr -t_srs {_DEGREES} NEW.gpkg FILE. Received: {os.fspath(path)}"
    )


@contextlib.contextmanager
def _linked(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yields a name for GDAL: a link in a folder of its own, so that no sign in a name and no file beside it counts."""
    ending = check_name(path)
    source = Path(path).absolute()
    if not source.is_file():
        raise _refused(path, "it is a folder" if source.is_dir() else "there is no such file")
    inner = _member(path) if ending == ".zip" else ""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, f"water{ending}")
        link.symlink_to(source)
        for beside in BESIDE_SHAPEFILE if ending == ".shp" else ():
            if not source.with_suffix(beside).is_file():
                raise _refused(path, f"there is no {beside} file beside it")
            link.with_suffix(beside).symlink_to(source.with_suffix(beside))
        yield f"/vsizip/{{{link}}}/{inner}" if inner else str(link)


def _member(path: str | os.PathLike[str]) -> str:
    """Returns the name of the one vector file in a .zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if _is_read(name)]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise _refused(path, shown(str(error))) from error
    if len(names) != 1:
        raise _refused(
            path, f"it holds {len(names)} files that end in {' '.join(FORMATS)}, and must hold one"
        )
    return names[0]


def _is_read(name: str) -> bool:
    """Tells whether a file in an archive is a vector file; Macs put a hidden one of no use beside each."""
    return name.lower().endswith(FORMATS) and not name.rpartition("/")[2].startswith(".")


def _refused(path: str | os.PathLike[str], why: str) -> InvalidInputError:
    return InvalidInputError(
        f"--water_polygons cannot be used: {why}. Give the water-polygons-split of "
        f"https://osmdata.openstreetmap.de, as it was packed or its .shp. Received: {os.fspath(path)}"
    )
