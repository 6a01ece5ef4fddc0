"""Cells as a table: our `spatial_cell_info.csv`, and the published one."""

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from beam_pipeline.cells.cell import SPLITS, Cell, ChipWindow, Split
from beam_pipeline.cells.mgrs_tiles import Tile, chip_in_tile, find_tile
from beam_pipeline.faults import InvalidInputError

PUBLISHED_COLUMNS = ("cell_id", "MGRS_tile", "min_lon", "max_lon", "min_lat", "max_lat", "split")
"""Source: the README of the published dataset."""

CHIP_COLUMNS = ("epsg", "left", "bottom")
COLUMNS = PUBLISHED_COLUMNS + CHIP_COLUMNS


def format_cells_csv(cells: Iterable[Cell]) -> str:
    """Returns cells as CSV: the published columns, then the chip's exact window.

    Args:
        cells: In any order.

    Returns:
        The text, sorted by cell id; the same cells give the same text. Reading it gives the same doubles.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell in sorted(cells, key=lambda cell: cell.cell_id):
        bounds = (cell.min_lon, cell.max_lon, cell.min_lat, cell.max_lat)
        chip = (cell.chip.epsg, cell.chip.left, cell.chip.bottom)
        writer.writerow((cell.cell_id, cell.tile, *map(repr, map(float, bounds)), cell.split, *chip))
    return buffer.getvalue()


def write_cells_csv(cells: Iterable[Cell], path: str | Path) -> None:
    """Writes `format_cells_csv` to a local file."""
    Path(path).write_text(format_cells_csv(cells), encoding="utf-8")


def read_cells_csv(path: str | Path) -> list[Cell]:
    """Reads a local file; see `parse_cells_csv`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"A cells file cannot be read: {error}. Received: {path}") from error
    return parse_cells_csv(text, str(path))


def parse_cells_csv(text: str, name: str) -> list[Cell]:
    """Reads cells from CSV: ours, with the chips' windows, or the published one, without.

    Without a window, a chip is derived from the centre of the bounds: centred there in the zone of the tile,
    snapped to the 60 m lattice, and moved by at most one step of it to lie inside of the tile.

    Args:
        text: The file's content.
        name: The file's name, for messages.

    Returns:
        Cells in order of the file; tile, split and bounds as they stand there.

    Raises:
        InvalidInputError: Something is missing, malformed, unknown or double; names line and field.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    present = reader.fieldnames or ()
    missing = [column for column in PUBLISHED_COLUMNS if column not in present]
    if missing:
        raise InvalidInputError(
            f"{name}, line 1: columns are missing: {', '.join(missing)}. A cells file begins with the "
            f"line {','.join(PUBLISHED_COLUMNS)} (and {','.join(CHIP_COLUMNS)}). Received: {','.join(present)[:200]}"
        )
    with_chips = [column in present for column in CHIP_COLUMNS]
    if any(with_chips) and not all(with_chips):
        raise InvalidInputError(f"{name}, line 1: {', '.join(CHIP_COLUMNS)} come together or not at all")
    cells: list[Cell] = []
    line_of: dict[int, int] = {}
    tiles: dict[str, Tile] = {}
    for row in reader:
        parser = _Row(name, reader.line_num, row)
        cell = parser.cell(tiles, all(with_chips))
        first = line_of.setdefault(cell.cell_id, reader.line_num)
        if first != reader.line_num:
            raise parser.error("cell_id", f"is on line {first} too")
        cells.append(cell)
    if not cells:
        raise InvalidInputError(f"{name} holds no cell: there is nothing below its first line")
    return cells


class _Row:
    """One line of the file."""

    def __init__(self, name: str, line: int, row: dict[str, str]) -> None:
        self._name = name
        self._line = line
        self._row = row

    def error(self, field: str, problem: str) -> InvalidInputError:
        """Returns the error of a field."""
        received = self._row.get(field)
        return InvalidInputError(
            f"{self._name}, line {self._line}, {field}: {problem}. Received: {received!r}"
        )

    def cell(self, tiles: dict[str, Tile], with_chip: bool) -> Cell:
        """Reads and checks the line."""
        if None in self._row or None in self._row.values():
            raise InvalidInputError(
                f"{self._name}, line {self._line}: it has more or fewer fields than line 1"
            )
        tile = self._tile(tiles)
        min_lon, max_lon = self._number("min_lon", 180), self._number("max_lon", 180)
        min_lat, max_lat = self._number("min_lat", 90), self._number("max_lat", 90)
        if min_lat >= max_lat:
            raise self.error("max_lat", "must be above min_lat")
        if min_lon == max_lon:
            raise self.error("max_lon", "must differ from min_lon")
        if with_chip:
            chip = self._given_chip(tile)
        else:
            # West above east: the cell crosses the antimeridian.
            centre = (min_lon + max_lon + (360.0 if max_lon < min_lon else 0.0)) / 2
            found = chip_in_tile(centre, (min_lat + max_lat) / 2, tile)
            if found is None:
                raise self.error("MGRS_tile", "the tile does not hold the chip at the centre of the bounds")
            chip = found
        return Cell(
            cell_id=self._integer("cell_id"),
            tile=tile.name,
            split=self._split(),
            chip=chip,
            min_lon=min_lon,
            max_lon=max_lon,
            min_lat=min_lat,
            max_lat=max_lat,
        )

    def _tile(self, tiles: dict[str, Tile]) -> Tile:
        text = self._row["MGRS_tile"]
        if text not in tiles:
            try:
                tiles[text] = find_tile(text)
            except ValueError as error:
                raise self.error("MGRS_tile", str(error).partition(" Received")[0].rstrip(".")) from error
        return tiles[text]

    def _given_chip(self, tile: Tile) -> ChipWindow:
        chip = ChipWindow(self._integer("epsg"), self._integer("left", -1), self._integer("bottom", -1))
        if chip.epsg != tile.epsg:
            raise self.error("epsg", f"tile {tile.name} lies in EPSG:{tile.epsg}")
        for field, value, origin in (("left", chip.left, tile.left), ("bottom", chip.bottom, tile.top)):
            if (value - origin) % 60:
                raise self.error(field, "is not on the 60 m lattice of its tile")
        if not tile.holds(chip):
            raise self.error("left", f"tile {tile.name} does not hold the chip; its bounds are {tile.bounds}")
        return chip

    def _split(self) -> Split:
        text = self._row["split"].strip()
        for split in SPLITS:
            if text == split:
                return split
        raise self.error("split", f"must be one of {', '.join(SPLITS)}")

    def _integer(self, field: str, low: int = 0) -> int:
        try:
            value = int(self._row[field])
        except ValueError:
            raise self.error(field, "must be a whole number") from None
        if low == 0 and not 0 <= value < 2**63:
            raise self.error(field, "must be 0 or more, and below 2**63")
        return value

    def _number(self, field: str, limit: float) -> float:
        try:
            value = float(self._row[field])
        except ValueError:
            value = math.nan
        if not -limit <= value <= limit:
            raise self.error(field, f"must be a number from {-limit:g} to {limit:g}")
        return value
