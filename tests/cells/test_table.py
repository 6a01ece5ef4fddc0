"""Cells as a table: what is written is read again, and what is wrong is named with its line."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.chips import chips_in_tiles
from beam_pipeline.cells.mgrs_tiles import find_tile
from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.cells.table import (
    COLUMNS,
    PUBLISHED_COLUMNS,
    format_cells_csv,
    parse_cells_csv,
    read_cells_csv,
    write_cells_csv,
)
from beam_pipeline.runtime.faults import InvalidInputError

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def cells() -> tuple[Cell, ...]:
    """Two tiles in the north; across the antimeridian in the south; at 84 N."""
    regions = ("9.5,47.1,9.6,47.2", "179.95,-16.6,-179.95,-16.5", "10,83.9,10.5,84")
    found = [cell for region in regions for cell in cells_in_region(region, None, 0).cells]
    return tuple(sorted(found, key=lambda cell: cell.cell_id))


def table(rows: Rows, columns: tuple[str, ...] = COLUMNS) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def rows_of(cells: tuple[Cell, ...]) -> Rows:
    return list(csv.DictReader(io.StringIO(format_cells_csv(cells))))


def test_round_trip(cells: tuple[Cell, ...], tmp_path: Path) -> None:
    assert len({cell.tile for cell in cells}) > 2
    assert {cell.chip.epsg // 100 for cell in cells} == {326, 327}
    assert any(cell.min_lon > 179.9 for cell in cells)
    assert any(cell.max_lon < -179.9 for cell in cells)
    write_cells_csv(reversed(cells), tmp_path / "cells.csv")
    assert read_cells_csv(tmp_path / "cells.csv") == list(cells)
    assert (tmp_path / "cells.csv").read_text() == format_cells_csv(cells)


def test_the_published_columns_give_the_same_chips(cells: tuple[Cell, ...]) -> None:
    assert parse_cells_csv(table(rows_of(cells), PUBLISHED_COLUMNS), "cells.csv") == list(cells)


def test_a_spreadsheet_has_been_at_it(cells: tuple[Cell, ...]) -> None:
    """A byte order mark, CRLF, quotes, other order, a column of its own, blank lines."""
    buffer = io.StringIO()
    columns = ["remark", *reversed(COLUMNS)]
    writer = csv.DictWriter(buffer, columns, restval="a, b", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows_of(cells))
    assert parse_cells_csv("\ufeff" + buffer.getvalue() + "\r\n\r\n", "cells.csv") == list(cells)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cell_id", "1.0", "must be a whole number"),
        ("cell_id", "1_0", "must be a whole number"),
        ("cell_id", "\uff11", "must be a whole number"),
        ("cell_id", "", "must be a whole number"),
        ("cell_id", "-1", "must be 0 or more"),
        ("cell_id", str(2**63), "must be 0 or more, and below"),
        ("MGRS_tile", "32SQX9", "Tile names look like"),
        ("MGRS_tile", "50SMK", "no such tile"),
        ("min_lon", "nan", "must be a number from -180 to 180"),
        ("min_lon", "-180.5", "must be a number from -180 to 180"),
        ("max_lon", "0x9", "must be a number"),
        ("max_lon", "9_1.5", "must be a number"),
        ("max_lon", "-90", "must be east of min_lon"),
        ("min_lat", "ninety", "must be a number from -90 to 90"),
        ("max_lat", "inf", "must be a number from -90 to 90"),
        ("max_lat", "-89", "must be above min_lat"),
        ("split", "Training", "must be one of training, validation, testing"),
        ("epsg", "4326", "lies in EPSG"),
        ("left", "500001", "is not on the 60 m lattice"),
        ("bottom", "1", "is not on the 60 m lattice"),
        ("left", "0", "does not hold the chip"),
    ],
)
def test_a_malformed_field_is_named_with_its_line(
    cells: tuple[Cell, ...], field: str, value: str, message: str
) -> None:
    rows = rows_of(cells)
    index = next(index for index, cell in enumerate(cells) if cell.tile == "32TNT")
    rows[index][field] = value
    with pytest.raises(InvalidInputError) as caught:
        parse_cells_csv(table(rows), "my.csv")
    assert str(caught.value).startswith(f"my.csv, line {index + 2}, {field}: ")
    assert message in str(caught.value)
    assert "Received: " in str(caught.value)
    assert ".." not in str(caught.value)


def test_a_chip_must_lie_at_the_centre_of_its_cell(cells: tuple[Cell, ...]) -> None:
    for field in ("left", "bottom"):
        for metres, refused in ((60, False), (120, True)):
            rows = rows_of(cells)
            index = next(i for i, cell in enumerate(cells) if cell.tile == "32TNT")
            rows[index][field] = str(int(rows[index][field]) + metres)
            if not refused:
                assert parse_cells_csv(table(rows), "my.csv")[index] != cells[index]
                continue
            with pytest.raises(InvalidInputError) as caught:
                parse_cells_csv(table(rows), "my.csv")
            assert f"line {index + 2}, {field}: the chip is not at the" in str(caught.value)
            assert f"Received: '{rows[index][field]}'" in str(caught.value)


def test_the_published_bounds_must_lie_in_their_tile(cells: tuple[Cell, ...]) -> None:
    rows = rows_of(cells)
    rows[2] |= {"min_lon": "-60.02", "max_lon": "-60"}
    with pytest.raises(InvalidInputError, match="line 4, MGRS_tile: the tile does not hold the chip"):
        parse_cells_csv(table(rows, PUBLISHED_COLUMNS), "my.csv")


def test_bounds_may_cross_the_antimeridian_and_no_other() -> None:
    half = 0.009
    (chip,) = chips_in_tiles([180.0], [-16.5], [find_tile("01KAB")])
    crossing = Cell(7, "01KAB", "training", chip, 180 - half, half - 180, -16.5 - half, -16.5 + half)
    (row,) = rows_of((crossing,))
    assert parse_cells_csv(table([row]), "my.csv") == [crossing]
    assert parse_cells_csv(table([row], PUBLISHED_COLUMNS), "my.csv") == [crossing]
    for west, east in (("170", "100"), ("90", "-90")):
        row |= {"min_lon": west, "max_lon": east}
        with pytest.raises(InvalidInputError, match="line 2, max_lon: must be east of min_lon"):
            parse_cells_csv(table([row]), "my.csv")


def test_a_tile_has_one_split(cells: tuple[Cell, ...]) -> None:
    rows = rows_of(cells)
    tile = max({cell.tile for cell in cells}, key=[cell.tile for cell in cells].count)
    lines = [index for index, cell in enumerate(cells) if cell.tile == tile]
    old = rows[lines[0]]["split"]
    new = "testing" if old != "testing" else "training"
    rows[lines[-1]]["split"] = new
    with pytest.raises(InvalidInputError) as caught:
        parse_cells_csv(table(rows), "my.csv")
    message = f"my.csv, line {lines[-1] + 2}, split: tile {tile} is {old} on line {lines[0] + 2}"
    assert str(caught.value).startswith(message)
    assert f"Received: {new!r}" in str(caught.value)
    # A whole tile may be in whatever split the file says.
    for line in lines:
        rows[line]["split"] = new
    assert {cell.split for cell in parse_cells_csv(table(rows), "my.csv") if cell.tile == tile} == {new}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "line 1: columns are missing: cell_id"),
        (lambda text: text.replace(",", ";"), "line 1: columns are missing: cell_id"),
        (lambda text: text.replace("split", "Split"), "line 1: columns are missing: split"),
        (lambda text: text.replace("split", "Split"), "Received: cell_id,MGRS_tile,min_lon,"),
        (lambda text: text.replace(",bottom", ",base", 1), "epsg, left, bottom come together"),
        (lambda text: text.replace(",bottom", ",split", 1), "line 1: columns are there twice: split"),
        (lambda text: text.splitlines()[0], "holds no cell"),
        (lambda text: text + text.splitlines()[1], "cell_id: is on line 2 too"),
        (lambda text: text + "1,2\n", "has more or fewer fields"),
        (lambda text: text.replace("\n", ",9\n").replace(",9\n", "\n", 1), "line 2: it has more or fewer"),
        (lambda text: text.replace("\n", "\n\x00", 1), "line 2, cell_id: must be a whole number"),
    ],
)
def test_a_malformed_file_is_named(
    cells: tuple[Cell, ...], change: Callable[[str], str], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=r"^my\.csv") as caught:
        parse_cells_csv(change(format_cells_csv(cells)), "my.csv")
    assert message in str(caught.value)


def test_another_table_is_shown_what_a_cells_file_begins_with() -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_cells_csv("a" * 1000 + ",b\n", "my.csv")
    message = str(caught.value)
    assert (
        "the line cell_id,MGRS_tile,min_lon,max_lon,min_lat,max_lat,split (and epsg,left,bottom)." in message
    )
    assert message.endswith(f"Received: {'a' * 200}")


def test_a_file_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text("a,b\n")
    with pytest.raises(InvalidInputError) as caught:
        read_cells_csv(path)
    assert str(caught.value).startswith(f"{path}, line 1: ")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin1.csv").write_bytes("Zürich".encode("latin-1"))
    for name in ("latin1.csv", "missing.csv"):
        with pytest.raises(InvalidInputError, match=name):
            read_cells_csv(tmp_path / name)
