"""The files of the whole of the format `geotiff`: catalogues, mosaics, tables, styles and the project.

What is in memory grows with the number of tiles, of which the Earth has 56,686, not with that of cells.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from xml.etree.ElementTree import Element

import pyproj
from shapely.geometry.base import BaseGeometry

from beam_pipeline.cells.cell import SPLITS, Split
from beam_pipeline.exchange.cell_package import PACKAGE_FILE, PACKAGE_LAYER, package_pieces
from beam_pipeline.exchange.cell_row import CellRow, footprint
from beam_pipeline.exchange.cell_table import PARQUET_FILE, parquet_pieces
from beam_pipeline.exchange.geotiff_layout import (
    STYLES_FOLDER,
    ZONES_FOLDER,
    image_key,
    image_name,
    item_name,
    label_name,
    tile_folder,
)
from beam_pipeline.exchange.label_classes import LabelChannel
from beam_pipeline.exchange.mosaic import REFLECTANCE, MosaicKind, Source, label_kind, mosaic_vrt, union
from beam_pipeline.exchange.narrow_box import NarrowBox
from beam_pipeline.exchange.output import WholeOutput
from beam_pipeline.exchange.qgis_project import PROJECT_FILE, Layer, project_qgz
from beam_pipeline.exchange.qgis_style import cells_style, class_style, style_file, true_colour_style
from beam_pipeline.exchange.sentinel2 import SCENE_CLASSES
from beam_pipeline.exchange.stac import CATALOG_FILE, COLLECTION_FILE, catalog_json, collection_json
from beam_pipeline.records.schema import NONE, REFLECTANCE_SCALE, UNLABELED
from beam_pipeline.runtime.faults import PermanentFault

_MOSAIC_GRID = "gsd_10"
_NO_DATA = 0
_NORTH = 326
_SLOTS = ("earlier", "later")
_MERCATOR_LATITUDE = 85.0
"""Web Mercator ends at 85.06 degrees."""

_PARQUET_TYPE, _PACKAGE_TYPE = "application/vnd.apache.parquet", "application/geopackage+sqlite3"


class _Mosaics:
    """The mosaics of a dataset: each tile's are written as it comes, those of zones at the end.

    Args:
        channels: The channels of the label image.
        output: Takes the files.

    Attributes:
        of_zones: The tiles' mosaics by zone and name.
        images: (year, slot) of the images that there are.
    """

    def __init__(self, channels: Sequence[LabelChannel], output: WholeOutput) -> None:
        self._channels = channels
        self._output = output
        self.of_zones: dict[tuple[int, str], list[Source]] = {}
        self.images: set[tuple[int, int]] = set()
        self._kinds = {it.stem: label_kind(it) for it in channels}

    def add_tile(self, tile: str, rows: Sequence[CellRow]) -> None:
        """Writes the mosaics of a tile."""
        epsg = rows[0].cell.chip.epsg
        for name, sources in self._sources(rows).items():
            path = f"{tile_folder(tile)}/{name}.vrt"
            self._output.write(path, mosaic_vrt(self._kind(name), epsg, sources, of_chips=True))
            whole = union([source.bounds for source in sources])
            self.of_zones.setdefault((epsg, name), []).append(Source(f"../../{path}", whole))

    def write_zones(self) -> None:
        """Writes the mosaics of all zones."""
        for (epsg, name), sources in self.of_zones.items():
            content = mosaic_vrt(self._kind(name), epsg, sources, of_chips=False)
            self._output.write(zone_mosaic(epsg, name), content)

    def _kind(self, name: str) -> MosaicKind:
        return self._kinds.get(name, REFLECTANCE)

    def _sources(self, rows: Sequence[CellRow]) -> dict[str, list[Source]]:
        """Returns the files of each mosaic of a tile by the mosaic's name, relative to the tile's folder."""
        found: dict[str, list[Source]] = {
            it.stem: [
                Source(f"{row.cell.cell_id}/{label_name(it.stem)}", row.cell.chip.bounds) for row in rows
            ]
            for it in self._channels
        }
        for row in rows:
            for image in row.images:
                self.images.add((image.year, image.slot))
                name = image_name(image.year, image.slot, _MOSAIC_GRID)
                offset = image.boa_add_offset / REFLECTANCE_SCALE
                source = Source(f"{row.cell.cell_id}/{name}", row.cell.chip.bounds, offset)
                found.setdefault(image_mosaic(image.year, image.slot), []).append(source)
        return found


def image_mosaic(year: int, slot: int) -> str:
    """Returns the name of the mosaics of a year's earlier or later images."""
    return f"{year}_{image_key(slot, _MOSAIC_GRID)}"


def zone_mosaic(epsg: int, name: str) -> str:
    """Returns the name of a zone's mosaic."""
    return f"{ZONES_FOLDER}/{epsg}/{name}.vrt"


def write_whole_files(
    rows: Callable[[], Iterator[CellRow]],
    channels: Sequence[LabelChannel],
    years: Sequence[int],
    output: WholeOutput,
) -> None:
    """Writes what there is once.

    Args:
        rows: Gives the cells anew, those of a tile one after the other.
        channels: The channels of the label image.
        years: The years of the dataset, ascending.
        output: Takes the files.
    """
    styles = _write_styles(channels, output)
    mosaics = _Mosaics(channels, output)
    tiles: dict[str, str] = {}
    splits: set[Split] = set()
    box, extent = _Box(), NarrowBox()
    for tile, of_tile in itertools.groupby(rows(), lambda row: row.cell.tile):
        there = list(of_tile)
        if tile in tiles:
            raise PermanentFault(
                "scattered_tile", f"the cells of tile {tile} lie in shards that are not next to each other"
            )
        mosaics.add_tile(tile, there)
        items = (
            f"./{it.cell.cell_id}/{item_name(it.cell.cell_id, year)}" for it in there for year in it.years
        )
        output.write(f"{tile_folder(tile)}/{CATALOG_FILE}", catalog_json(tile, items))
        tiles[tile] = f"./{tile_folder(tile)}/{CATALOG_FILE}"
        splits.update(row.cell.split for row in there)
        for row in there:
            shape = footprint(row.cell.chip)
            box.add(shape)
            extent.add(shape)
    if not tiles:
        return  # the closing table says that nothing was exported
    mosaics.write_zones()
    output.write(PARQUET_FILE, parquet_pieces(rows(), channels))
    output.write(PACKAGE_FILE, package_pieces(rows(), channels))
    assets = {
        "cells_parquet": (f"./{PARQUET_FILE}", _PARQUET_TYPE, "The cells, as GeoParquet"),
        "cells_package": (f"./{PACKAGE_FILE}", _PACKAGE_TYPE, "The cells, as a GeoPackage"),
    }
    of_splits = [split for split in SPLITS if split in splits]
    output.write(COLLECTION_FILE, collection_json(tiles.values(), extent.bounds, years, of_splits, assets))
    layers = _layers(mosaics, styles, channels)
    output.write(PROJECT_FILE, project_qgz("OpenSentinelMap", layers, box.web_mercator()))


class _Box:
    """The box around all cells as a flat map has it, which ends at the antimeridian."""

    def __init__(self) -> None:
        self.bounds = (180.0, 90.0, -180.0, -90.0)

    def add(self, shape: BaseGeometry) -> None:
        west, south, east, north = shape.bounds
        mine = self.bounds
        self.bounds = min(mine[0], west), min(mine[1], south), max(mine[2], east), max(mine[3], north)

    def web_mercator(self) -> tuple[float, float, float, float]:
        west, south, east, north = self.bounds
        to_mercator = pyproj.Transformer.from_crs(4326, 3857, always_xy=True)
        x, y = to_mercator.transform(
            [west, east], [max(south, -_MERCATOR_LATITUDE), min(north, _MERCATOR_LATITUDE)]
        )
        return x[0], y[0], x[1], y[1]


_TRUE_COLOUR, _CELLS, _SCL = "true_colour", "cells", "scl"

WHOLE_FILES = (PARQUET_FILE, PACKAGE_FILE, COLLECTION_FILE, PROJECT_FILE, f"{_CELLS}.qml")
"""In the export's folder itself."""


def _write_styles(channels: Sequence[LabelChannel], output: WholeOutput) -> dict[str, list[Element]]:
    """Writes a `.qml` of each style; returns the styles by name."""
    styles = {
        channel.stem: class_style(
            # Land use lies lowest; where another channel has nothing one sees through it.
            channel.classes,
            {UNLABELED} if channel.index == 0 else {NONE, UNLABELED},
        )
        for channel in channels
    }
    named = {_TRUE_COLOUR: true_colour_style(), _SCL: class_style(SCENE_CLASSES, {_NO_DATA})}
    for name, style in (*styles.items(), *named.items()):
        output.write(f"{STYLES_FOLDER}/{name}.qml", style_file(style))
    # QGIS takes a style beside a file, of the same name, of itself.
    output.write(f"{_CELLS}.qml", style_file(cells_style()))
    return {**styles, **named, _CELLS: cells_style()}


def _layers(
    mosaics: _Mosaics, styles: dict[str, list[Element]], channels: Sequence[LabelChannel]
) -> list[Layer]:
    """Returns the layers of the project, the uppermost first: cells, buildings, ... land use, images."""
    cells = f"./{PACKAGE_FILE}|layername={PACKAGE_LAYER}"
    layers = [Layer("cells_by_split", "Cells by split", "", cells, "EPSG:4326", styles[_CELLS], raster=False)]
    groups = [(it.stem, it.name, styles[it.stem], True) for it in reversed(channels)]
    groups += [
        (image_mosaic(year, slot), f"Images of {year}, {_SLOTS[slot]}", styles[_TRUE_COLOUR], place == 0)
        for place, (year, slot) in enumerate(sorted(mosaics.images))
    ]
    for name, title, style, shown in groups:
        layers += [
            Layer(
                id=f"{name}_{epsg}",
                name=f"{title}, zone {epsg % 100}{'N' if epsg // 100 == _NORTH else 'S'}",
                group=title,
                source=f"./{zone_mosaic(epsg, name)}",
                crs=f"EPSG:{epsg}",
                style=style,
                shown=shown,
            )
            for epsg, of_zone in sorted(mosaics.of_zones)
            if of_zone == name
        ]
    return layers
