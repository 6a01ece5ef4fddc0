"""Contents of published folders are found by their names; those left out are counted and named."""

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.exchange.published_folder import PublishedFolder as Found
from beam_pipeline.exchange.published_folder import date_of, find_published, platform_of
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.faults import InvalidInputError
from tests.exchange.published_files import TILES, PublishedFolder, image_file, square


def find(published: PublishedFolder) -> Found:
    text = (published.folder / "spatial_cell_info.csv").read_text()
    return find_published(Disk(), str(published.folder), text)


@pytest.fixture
def published(tmp_path: Path) -> PublishedFolder:
    return PublishedFolder(tmp_path / "published")


def test_cells_lie_where_their_squares_do(published: PublishedFolder) -> None:
    squares = [square(tile, number) for tile in TILES for number in range(4)]
    for cell in squares:
        published.add_cell(cell, "20180704")
    found = find(published)
    for cell, ours in zip(squares, found.cells, strict=True):
        assert (ours.cell_id, ours.tile, ours.split) == (cell.cell_id, cell.tile, cell.row[-1])
        assert [ours.min_lon, ours.max_lon, ours.min_lat, ours.max_lat] == cell.row[2:6]
        assert ours.chip.epsg == TILES[cell.tile][0]
        assert math.dist((ours.chip.left, ours.chip.bottom), (cell.left, cell.bottom)) <= 5
    names = [image_file(cell, "20180704").partition("/")[2] for cell in squares]
    assert found.images == len(squares)
    assert (
        found.images_sha256 == hashlib.sha256("".join(f"{it}\n" for it in sorted(names)).encode()).hexdigest()
    )


def test_years_are_those_of_the_cells_with_a_label(published: PublishedFolder) -> None:
    with_label, without, unknown = (square("43QEU", number) for number in range(3))
    published.add_cell(with_label, "20190101", "20171231", "20190704")
    published.add_row(without.row)
    published.add_image(without, "20160101")
    published.add_image(unknown, "20150101")
    published.put(f"osm_label_images_v10/43QEU/{unknown.cell_id}.png", b"")
    found = find(published)
    assert found.years == (2017, 2019)
    assert [cell.cell_id for cell in found.cells] == [with_label.cell_id]
    assert (found.rows, found.rows_without_label, found.labels_without_row) == (2, 1, 1)
    assert (found.image_folders_without_row, found.image_folders_without_label) == (1, 1)
    assert found.first_elsewhere == (
        f"osm_label_images_v10/43QEU/{unknown.cell_id}.png",
        f"osm_sentinel_imagery/43QEU/{unknown.cell_id}",
    )


def test_files_that_are_called_otherwise_are_counted(published: PublishedFolder) -> None:
    cell = square("02LMK")
    published.add_cell(cell, "20180704")
    for name in (
        "43QEU/readme.txt",
        "43QEU/x.png",
        "unknown_tile/20282655.png",
        "43QEU/012.png",
        "5QKB/7.npz",
    ):
        published.put(f"osm_label_images_v10/{name}", b"")
    published.put("osm_label_images_v10/43QEU/\udcff.png", b"")  # no UTF-8
    published.put("osm_sentinel_imagery/unknown_tile/5/S2A_43QEU_20180704_0_L2A.npz", b"")
    found = find(published)
    assert found.files_elsewhere == 6
    assert found.image_folders_without_row == 1
    assert "osm_sentinel_imagery/unknown_tile/5" in found.first_elsewhere
    assert r"osm_label_images_v10/43QEU/\udcff.png" in found.first_elsewhere


def test_a_folder_may_lack_the_zero_of_its_tile(published: PublishedFolder) -> None:
    cell = square("02LMK")
    published.add_row(cell.row)
    published.put(f"osm_label_images_v10/2LMK/{cell.cell_id}.png", b"")
    published.put(f"osm_sentinel_imagery/2LMK/{cell.cell_id}/S2A_2LMK_20180704_0_L2A.npz", b"")
    found = find(published)
    assert [it.tile for it in found.cells] == ["02LMK"]
    assert found.years == (2018,)


ODD: dict[str, tuple[Any, str]] = {
    "without tile": ({1: ""}, "MGRS_tile"),
    "no tile of ESA's": ({1: "50SMK"}, "MGRS_tile"),
    "no number": ({0: "seven"}, "cell_id"),
    "NaN": ({2: "nan"}, "min_lon"),
    "no bound": ({3: ""}, "max_lon"),
    "infinite": ({5: "inf"}, "max_lat"),
    "south of itself": ({4: 80.0}, "max_lat"),
    "far from its tile": ({4: 10.0, 5: 10.01}, "MGRS_tile"),
    "split": ({6: "train"}, "split"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_line_that_cannot_be_used_is_counted_and_named(published: PublishedFolder, name: str) -> None:
    fields, column = ODD[name]
    first, odd, last = (square("43QEU", number) for number in range(3))
    published.add_cell(first, "20180704")
    published.add_row([fields.get(index, value) for index, value in enumerate(odd.row)])
    published.add_cell(last, "20180704")
    found = find(published)
    assert [cell.cell_id for cell in found.cells] == [first.cell_id, last.cell_id]
    assert found.rows_refused == {column: 1}
    (line,) = found.first_refused
    assert line.startswith(f"spatial_cell_info.csv, line 3, {column}: ")
    assert found.rows == 3


def test_of_doubled_cells_the_first_counts(published: PublishedFolder) -> None:
    cell = square("43QEU")
    published.add_cell(cell, "20180704")
    published.add_row([*cell.row[:-1], "testing"])
    published.add_row(cell.row[:-1])
    found = find(published)
    assert [it.split for it in found.cells] == ["training"]
    assert found.rows_refused == {"doubled": 1, "fields": 1}
    assert found.first_refused[0].startswith("spatial_cell_info.csv, line 3, cell_id: is on line 2 too")


def test_a_tile_in_two_splits_is_told(published: PublishedFolder) -> None:
    for number, split in enumerate(("training", "testing")):
        cell = square("43QEU", number)
        published.add_cell(cell, "20180704")
        published.rows.pop()
        published.add_row([*cell.row[:-1], split])
    found = find(published)
    assert found.tiles_in_two_splits == ("43QEU",)
    assert [it.split for it in found.cells] == ["training", "testing"]


def test_nothing_to_import_is_refused(published: PublishedFolder) -> None:
    with pytest.raises(InvalidInputError, match="holds no cell that can be used"):
        find_published(
            Disk(),
            str(published.folder),
            ",".join(("cell_id", "MGRS_tile", "min_lon", "max_lon", "min_lat", "max_lat", "split")),
        )
    cell = square("43QEU")
    published.add_row(cell.row)
    with pytest.raises(
        InvalidInputError, match=r"There is no .*osm_label_images_v10/TILE/CELL.png of a cell"
    ):
        find(published)
    published.put(f"osm_label_images_v10/43QEU/{cell.cell_id}.png", b"")
    with pytest.raises(
        InvalidInputError, match=r"There is no .*NAME_YYYYMMDD_MORE.npz of a cell with a label"
    ):
        find(published)


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("S2A_43QEU_20201018_0_L2A", "2020-10-18"),
        ("T43QEU_20201018_S2A-MSIL2A-20191018T053121", "2020-10-18"),
        ("S2A_MSIL2A_20201018T053121_N0214_R105_T43QEU_20201018T080000", "2020-10-18"),
        ("S2A_43QEU_20200230_0_L2A", None),
        ("S2A_43QEU_2020101_0_L2A", None),
        ("S2A_43QEU_202010180_L2A", None),
        ("image", None),
    ],
)
def test_a_name_says_a_date(name: str, date: str | None) -> None:
    assert date_of(name) == date


def test_a_name_says_a_platform() -> None:
    assert [platform_of(it) for it in ("S2A_43QEU_2", "S2B_1", "S2_x", "T43QEU_1")] == [
        *("sentinel-2a", "sentinel-2b"),
        *("", ""),
    ]
