"""A cell-year gets the first and the last image of its year that can be used; all else is counted, and most named."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.dataset.units import Unit, make_units
from beam_pipeline.exchange.import_unit import ImportedUnit, PublishedSource, import_unit
from beam_pipeline.exchange.published_folder import find_published
from beam_pipeline.records.example import CellYear, decode
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.faults import PermanentFault
from tests.exchange.published_files import (
    PublishedFolder,
    Square,
    image_arrays,
    image_file,
    label_pixels,
    npz,
    png,
    square,
)
from tests.exchange.test_published_label import ALLOWED

CELL, OTHER = square("43QEU"), square("43QEU", 1)
YEARS = (2018, 2019)


@pytest.fixture
def published(tmp_path: Path) -> PublishedFolder:
    return PublishedFolder(tmp_path / "published")


def unit_of(published: PublishedFolder) -> Unit:
    text = (published.folder / "spatial_cell_info.csv").read_text()
    (unit,) = make_units(find_published(Disk(), str(published.folder), text).cells, 16)
    return unit


def imported(published: PublishedFolder, files: Any = None, years: Sequence[int] = YEARS) -> ImportedUnit:
    source = PublishedSource(files or Disk(), str(published.folder), ALLOWED)
    return import_unit(source, unit_of(published), years, "f" * 64)


def examples(done: ImportedUnit) -> dict[tuple[int, int], CellYear]:
    return {(it.cell.cell_id, it.year): it for it in map(decode, done.payloads)}


def dates(done: ImportedUnit) -> dict[tuple[int, int], list[str]]:
    return {key: [image.date for image in it.images] for key, it in examples(done).items()}


def test_examples_are_the_files(published: PublishedFolder) -> None:
    published.add_cell(CELL, "20180704", "20180201", "20190301")
    published.add_cell(OTHER, "20190302", "20190401")
    done = imported(published)
    assert dates(done) == {
        (CELL.cell_id, 2018): ["2018-02-01", "2018-07-04"],
        (CELL.cell_id, 2019): ["2019-03-01"],
        (OTHER.cell_id, 2019): ["2019-03-02", "2019-04-01"],
    }
    for (cell_id, _), example in examples(done).items():
        assert np.array_equal(example.label, published.labels[cell_id])
        assert not example.bounds_exact
        for image in example.images:
            arrays = published.images[cell_id, image.date.replace("-", "")]
            for grid in ("gsd_10", "gsd_20", "gsd_60"):
                assert np.array_equal((getattr(image, grid) / 10_000).astype(np.float32), arrays[grid])
            assert image.bad_percent == float(arrays["bad_percent"])
    summary = done.summary
    assert summary.rejections == {"no_image": ((OTHER.cell_id, 2018),)}
    assert (summary.pairs, summary.singles, summary.images) == (2, 1, 5)
    assert summary.inexact_cells == (CELL.cell_id, OTHER.cell_id)
    assert not (summary.scene_rejections)
    assert not (summary.notes)
    assert not (summary.dead_letters)


def test_of_many_dates_the_first_and_the_last_are_taken(published: PublishedFolder) -> None:
    published.add_cell(CELL, *(f"2018{month:02d}15" for month in range(1, 8)))
    published.add_image(CELL, "20180115", number=1)
    published.add_image(CELL, "20180715", number=1)
    done = imported(published)
    assert dates(done) == {(CELL.cell_id, 2018): ["2018-01-15", "2018-07-15"]}
    assert done.summary.scene_rejections == {"more_than_two_dates": 5, "same_date": 2}


def test_what_cannot_be_used_is_named_and_the_next_date_taken(published: PublishedFolder) -> None:
    days = [f"201807{day:02d}" for day in range(1, 10)]
    published.add_cell(CELL, *days)
    good = npz(image_arrays(1))
    published.put(image_file(CELL, days[0]), good[:1000])
    (published.folder / image_file(CELL, days[1])).unlink()
    os.symlink("/dev/zero", published.folder / image_file(CELL, days[1]))
    published.put(image_file(CELL, days[2]), bytes(3 << 20))
    published.put(image_file(CELL, days[8]), npz({**image_arrays(2), "scl": np.zeros((96, 96), np.uint8)}))
    folder = f"osm_sentinel_imagery/43QEU/{CELL.cell_id}"
    (published.folder / image_file(CELL, days[7])).rename(
        published.folder / folder / f"S2A_11SQA_{days[7]}_0_L2A.npz"
    )
    for name in ("readme.txt", "image.npz", "S2A_43QEU_20180231_0_L2A.npz", "S2A_\x1b_20180709_0.npz"):
        published.put(f"{folder}/{name}", good)
    done = imported(published)
    assert dates(done) == {(CELL.cell_id, 2018): ["2018-07-04", "2018-07-07"]}
    assert done.summary.scene_rejections == {
        **{"corrupt_npz": 1, "irregular": 1, "more_than_two_dates": 2, "no_date": 2, "no_npz": 1},
        **{"nodata": 1, "odd_name": 1, "other_tile": 1, "too_large": 1},
    }
    named = {note.item_id.rpartition("/")[2]: note.reason for note in done.summary.notes}
    assert named == {
        f"S2A_43QEU_{days[0]}_0_L2A.npz": "corrupt_npz",
        f"S2A_43QEU_{days[1]}_0_L2A.npz": "irregular",
        f"S2A_43QEU_{days[2]}_0_L2A.npz": "too_large",
        f"S2A_11SQA_{days[7]}_0_L2A.npz": "other_tile",
        f"S2A_43QEU_{days[8]}_0_L2A.npz": "nodata",
        "readme.txt": "no_npz",
        "image.npz": "no_date",
        "S2A_43QEU_20180231_0_L2A.npz": "no_date",
        r"S2A_\x1b_20180709_0.npz": "odd_name",
    }
    assert done.summary.rejections == {"no_image": ((CELL.cell_id, 2019),)}


def test_a_year_of_damaged_images_is_rejected(published: PublishedFolder) -> None:
    published.add_cell(CELL, "20180704", "20190704")
    published.put(image_file(CELL, "20180704"), b"")
    done = imported(published)
    assert list(examples(done)) == [(CELL.cell_id, 2019)]
    assert done.summary.rejections == {"no_usable_image": ((CELL.cell_id, 2018),)}


LABELS = {
    "cut short": (png(label_pixels(1))[:900], "corrupt_label"),
    "empty": (b"", "corrupt_label"),
    "too large": (bytes(2 << 20), "too_large"),
    "another size": (png(np.zeros((256, 256, 3), np.uint8)), "other_label_image"),
    "unknown value": (png(np.full((192, 192, 3), 99, np.uint8)), "unknown_label"),
}


@pytest.mark.parametrize("name", LABELS)
def test_a_cell_whose_label_cannot_be_used_is_dead_letters(published: PublishedFolder, name: str) -> None:
    content, reason = LABELS[name]
    for cell in (CELL, OTHER):
        published.add_cell(cell, "20180704", "20190704")
    published.put(f"osm_label_images_v10/43QEU/{CELL.cell_id}.png", content)
    done = imported(published)
    assert [cell_id for cell_id, _ in examples(done)] == [OTHER.cell_id] * 2
    letters = [(it.cell_id, it.year, it.stage, it.reason) for it in done.summary.dead_letters]
    assert letters == [(CELL.cell_id, year, "labels", reason) for year in YEARS]
    if reason != "too_large":
        assert f"43QEU/{CELL.cell_id}.png: " in done.summary.dead_letters[0].detail


class DenyingDisk(Disk):
    """A disk that keeps one image back."""

    def open(self, path: str) -> Any:
        if "_20180701_" in path:
            raise PermanentFault("storage", f"cannot read {path}: Permission denied")
        return super().open(path)


def test_another_image_never_stands_in_for_one_that_the_storage_keeps_back(
    published: PublishedFolder,
) -> None:
    published.add_cell(CELL, "20180701", "20180702", "20180703", "20190704")

    done = imported(published, DenyingDisk())
    assert list(examples(done)) == [(CELL.cell_id, 2019)]
    (letter,) = done.summary.dead_letters
    assert (letter.cell_id, letter.year, letter.stage, letter.reason) == (
        CELL.cell_id,
        2018,
        "read_published",
        "storage",
    )


def test_the_same_files_give_the_same_bytes(published: PublishedFolder, tmp_path: Path) -> None:
    again = PublishedFolder(tmp_path / "again")
    cells: list[Square] = [CELL, OTHER]
    for folder, order in ((published, cells), (again, cells[::-1])):
        for cell in order:
            folder.add_cell(cell, "20190704", "20180704")
    assert imported(published) == imported(again)
