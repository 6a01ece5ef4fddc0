"""Cells as a table: our `spatial_cell_info.csv`, and the published one."""

import csv
import dataclasses
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from beam_pipeline.cells.cell import LATTICE_M, SPLITS, Cell, ChipWindow, Split
from beam_pipeline.cells.chips import centred_chips, chips_in_tiles
from beam_pipeline.cells.mgrs_tiles import Tile, find_tile
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.whole_files import write_whole

PUBLISHED_COLUMNS = ("cell_id", "MGRS_tile", "min_lon", "max_lon", "min_lat", "max_lat", "split")
"""Source: the README of the published dataset."""

CHIP_COLUMNS = ("epsg", "left", "bottom")
COLUMNS = PUBLISHED_COLUMNS + CHIP_COLUMNS

CSV_HEADER = ",".join(COLUMNS) + "\n"

CELLS_FILE = "spatial_cell_info.csv"
"""The published name."""

# Python's numbers may have underscores and the digits of any script; a table's may not.
_NUMBER = re.compile(r"\s*[-+.0-9eE]+\s*")


def format_cells_csv(cells: Iterable[Cell]) -> str:
    """Returns cells as CSV: the published columns, then the chip's exact window.

    Args:
        cells: In any order.

    Returns:
        The text, sorted by cell id; the same cells give the same text. Reading it gives the same doubles.
    """
    return CSV_HEADER + format_cells_rows(sorted(cells, key=lambda cell: cell.cell_id))


def format_cells_rows(cells: Iterable[Cell]) -> str:
    """Returns the lines of cells, in the order given, without the header."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for cell in cells:
        bounds = (cell.min_lon, cell.max_lon, cell.min_lat, cell.max_lat)
        chip = (cell.chip.epsg, cell.chip.left, cell.chip.bottom)
        writer.writerow((cell.cell_id, cell.tile, *map(repr, map(float, bounds)), cell.split, *chip))
    return buffer.getvalue()


def write_cells_csv(cells: Iterable[Cell], path: str | Path) -> None:
    """Writes `format_cells_csv` to a local file."""
    write_whole(str(path), [format_cells_csv(cells).encode()])


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
        InvalidInputError: Something is missing, malformed, unknown or double, or a tile is in two splits; names
            line and field.
    """
    rows = list(_rows(text, name, _raise))
    if not rows:
        raise InvalidInputError(f"{name} holds no cell: there is nothing below its first line")
    line_of: dict[int, int] = {}
    first_of: dict[str, _Row] = {}
    for row in rows:
        line = line_of.setdefault(row.cell_id, row.line)
        if line != row.line:
            raise row.error("cell_id", f"is on line {line} too", str(row.cell_id))
        # Neighbours look alike, so a tile is never split.
        first = first_of.setdefault(row.tile.name, row)
        if first.split != row.split:
            problem = f"tile {row.tile.name} is {first.split} on line {first.line}, and a tile has one split"
            raise row.error("split", problem, row.split)
    lons, lats = zip(*(row.centre for row in rows), strict=True)
    derived = chips_in_tiles(lons, lats, [row.tile for row in rows])
    return [row.cell(chip) for row, chip in zip(rows, derived, strict=True)]


class RowError(InvalidInputError):
    """A line of a cells file that cannot be used.

    Attributes:
        field: The column at fault, "fields" where their number is, "doubled" where the cell is on an earlier line.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def parse_published_csv(text: str, name: str, refuse: Callable[[RowError], None]) -> Iterator[Cell]:
    """Reads the published table line by line, and goes on behind lines that cannot be used.

    The published chips lie on no lattice. Each is put where the middle of its bounds is, to the metre.

    Args:
        text: The file's content.
        name: The file's name, for messages.
        refuse: Takes what is wrong with a line.

    Yields:
        The cells in order of the file; tile, split and bounds are the file's. Of lines of one cell the first counts.

    Raises:
        InvalidInputError: The first line lacks a column, or has one twice.
    """
    line_of: dict[int, int] = {}
    for row in _rows(text, name, refuse):
        line = line_of.setdefault(row.cell_id, row.line)
        if line != row.line:
            refuse(RowError("doubled", str(row.error("cell_id", f"is on line {line} too", str(row.cell_id)))))
            continue
        (lon, lat), tile = row.centre, row.tile
        (chip,) = centred_chips([lon], [lat], [tile])
        if chip is None:
            refuse(row.error("MGRS_tile", "the tile does not hold the middle of the bounds", tile.name))
            continue
        yield Cell(row.cell_id, tile.name, row.split, chip, *row.bounds)


def _raise(error: RowError) -> None:
    raise error


def _rows(text: str, name: str, refuse: Callable[[RowError], None]) -> Iterator["_Row"]:
    """Yields the lines below the first, each value checked on its own."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    try:
        present = reader.fieldnames or ()
        missing = [column for column in PUBLISHED_COLUMNS if column not in present]
        if missing:
            raise InvalidInputError(
                f"{name}, line 1: columns are missing: {', '.join(missing)}. A cells file begins with the line "
                f"{','.join(PUBLISHED_COLUMNS)} (and {','.join(CHIP_COLUMNS)}). "
                f"Received: {','.join(present)[:200]}"
            )
        double = [column for column in COLUMNS if present.count(column) > 1]
        if double:
            raise InvalidInputError(f"{name}, line 1: columns are there twice: {', '.join(double)}")
        with_chips = [column in present for column in CHIP_COLUMNS]
        if any(with_chips) and not all(with_chips):
            raise InvalidInputError(f"{name}, line 1: {', '.join(CHIP_COLUMNS)} come together or not at all")
        tiles: dict[str, Tile] = {}
        for fields in reader:
            if None in fields or None in fields.values():
                message = f"{name}, line {reader.line_num}: it has more or fewer fields than line 1"
                refuse(RowError("fields", message))
                continue
            try:
                row = _Fields(name, reader.line_num, fields).row(tiles, all(with_chips))
            except RowError as error:
                refuse(error)
            else:
                yield row
    except csv.Error as error:
        raise InvalidInputError(f"{name}, line {reader.line_num}: it is no CSV: {error}") from error


def _error(name: str, line: int, field: str, problem: str, received: str) -> RowError:
    return RowError(field, f"{name}, line {line}, {field}: {problem}. Received: {received!r}")


@dataclasses.dataclass(frozen=True)
class _Row:
    """One line of the file, its values read.

    Attributes:
        name: The file's name.
        line: The line's number.
        cell_id: As in `Cell`, like split and bounds.
        tile: The tile.
        split: The split.
        bounds: (min_lon, max_lon, min_lat, max_lat) in degrees.
        chip: The given window; None in the published file.
    """

    name: str
    line: int
    cell_id: int
    tile: Tile
    split: Split
    bounds: tuple[float, float, float, float]
    chip: ChipWindow | None

    @property
    def centre(self) -> tuple[float, float]:
        """(lon, lat) of the middle of the bounds in degrees."""
        min_lon, max_lon, min_lat, max_lat = self.bounds
        lon = (min_lon + max_lon) / 2
        # No cell is half the world wide, nor is its east edge west of the other: it crosses the antimeridian.
        if abs(max_lon - min_lon) > 180:
            lon += -180 if lon > 0 else 180
        return lon, (min_lat + max_lat) / 2

    def error(self, field: str, problem: str, received: str) -> RowError:
        """Returns the error of a field."""
        return _error(self.name, self.line, field, problem, received)

    def cell(self, derived: ChipWindow | None) -> Cell:
        """Makes the cell, given the chip at the centre of the bounds, if the tile holds it."""
        if derived is None:
            problem = "the tile does not hold the chip at the centre of the bounds"
            raise self.error("MGRS_tile", problem, self.tile.name)
        chip = derived if self.chip is None else self.chip
        for field, given, expected in (
            ("left", chip.left, derived.left),
            ("bottom", chip.bottom, derived.bottom),
        ):
            # One step of the lattice is left to the rounding of other programs.
            if abs(given - expected) > LATTICE_M:
                problem = f"the chip is not at the centre of the bounds, where it would be {expected}"
                raise self.error(field, problem, str(given))
        return Cell(self.cell_id, self.tile.name, self.split, chip, *self.bounds)


class _Fields:
    """The text of one line, by column."""

    def __init__(self, name: str, line: int, fields: dict[str, str]) -> None:
        self._name = name
        self._line = line
        self._fields = fields

    def error(self, field: str, problem: str) -> RowError:
        """Returns the error of a field."""
        return _error(self._name, self._line, field, problem, self._fields[field])

    def row(self, tiles: dict[str, Tile], with_chip: bool) -> _Row:
        """Reads and checks the line; `tiles` keeps those found before."""
        tile = self._tile(tiles)
        min_lon, max_lon = self._number("min_lon", 180), self._number("max_lon", 180)
        min_lat, max_lat = self._number("min_lat", 90), self._number("max_lat", 90)
        if min_lat >= max_lat:
            raise self.error("max_lat", "must be above min_lat")
        if not (min_lon < max_lon or min_lon - max_lon > 180):
            raise self.error("max_lon", "must be east of min_lon")
        return _Row(
            name=self._name,
            line=self._line,
            cell_id=self._integer("cell_id", 0),
            tile=tile,
            split=self._split(),
            bounds=(min_lon, max_lon, min_lat, max_lat),
            chip=self._chip(tile) if with_chip else None,
        )

    def _tile(self, tiles: dict[str, Tile]) -> Tile:
        text = self._fields["MGRS_tile"]
        if text not in tiles:
            try:
                tiles[text] = find_tile(text)
            except ValueError as error:
                raise self.error("MGRS_tile", str(error).partition(" Received")[0].rstrip(".")) from error
        return tiles[text]

    def _chip(self, tile: Tile) -> ChipWindow:
        chip = ChipWindow(self._integer("epsg"), self._integer("left"), self._integer("bottom"))
        if chip.epsg != tile.epsg:
            raise self.error("epsg", f"tile {tile.name} lies in EPSG:{tile.epsg}")
        for field, value, origin in (("left", chip.left, tile.left), ("bottom", chip.bottom, tile.top)):
            if (value - origin) % LATTICE_M:
                raise self.error(field, f"is not on the {LATTICE_M} m lattice of its tile")
        if not tile.holds(chip):
            raise self.error("left", f"tile {tile.name} does not hold the chip; its bounds are {tile.bounds}")
        return chip

    def _split(self) -> Split:
        text = self._fields["split"].strip()
        for split in SPLITS:
            if text == split:
                return split
        raise self.error("split", f"must be one of {', '.join(SPLITS)}")

    def _integer(self, field: str, low: int = -(2**63)) -> int:
        try:
            value = int(self._digits(field))
        except ValueError:
            raise self.error(field, "must be a whole number") from None
        if not low <= value < 2**63:
            raise self.error(
                field, f"must be {'0 or more' if low == 0 else '-2**63 or more'}, and below 2**63"
            )
        return value

    def _digits(self, field: str) -> str:
        text = self._fields[field]
        if _NUMBER.fullmatch(text) is None:
            raise ValueError
        return text

    def _number(self, field: str, limit: float) -> float:
        try:
            value = float(self._digits(field))
        except ValueError:
            value = math.nan
        if not -limit <= value <= limit:
            raise self.error(field, f"must be a number from {-limit:g} to {limit:g}")
        return value
