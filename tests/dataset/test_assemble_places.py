"""One image a place: what failures and years without scenes make of it, with images that are found by a made reader."""

import dataclasses

import pytest

from beam_pipeline.cells.cell import Place
from beam_pipeline.dataset import assemble_places as module
from beam_pipeline.dataset.assemble import YearScenes
from beam_pipeline.dataset.assemble_places import OTHER_YEAR, PlaceImages, assemble_places
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.chips import ChipImages, FilterSettings
from beam_pipeline.imagery.scenes import Scene, SceneList
from tests.records.builders import make_cell_year

EXAMPLE = make_cell_year()
IMAGE = EXAMPLE.images[0]
YEAR = int(IMAGE.date[:4])


def cell(number: int):
    place = Place(f"place {number}", "wood", 6.0, 49.0, "2020-01-01")
    return dataclasses.replace(EXAMPLE.cell, cell_id=number, place=place)


UNIT = Unit("opensentinelmap-training.tfrecord-00000-of-00001", "training", "31UFQ", (cell(0), cell(1)))


def years(*of: int, found: int = 0) -> list[YearScenes]:
    def scene(year: int) -> Scene:
        return Scene("item", "31UFQ", f"{year}-05-01T10:00:00Z", "", "", "", "", None, {}, 0, "not_applied")

    return [
        YearScenes(year, SceneList("31UFQ", year, (scene(year),) * found, (), found, 0, 0)) for year in of
    ]


def assembled(
    monkeypatch: pytest.MonkeyPatch, years: list[YearScenes], *answers: ChipImages, nearest: bool = True
):
    """Assembles the unit; each call for images takes the next answer for each chip."""
    left = iter(answers)

    def select(reader, scenes, chips, filters, offsets, wanted):
        assert wanted == 1
        return [next(left) for _ in chips]

    monkeypatch.setattr(module, "select_images", select)
    images = PlaceImages(None, FilterSettings())
    return assemble_places(UNIT, years, images, 0, nearest=nearest)


def test_each_place_and_year_has_one_fate(monkeypatch):
    clear = ChipImages((IMAGE,), {"unusable": 2}, (), None)
    none = ChipImages((), {"nodata": 1}, (), None)
    done = assembled(monkeypatch, years(YEAR - 1, YEAR, found=1), clear, none)
    assert [(it.cell.cell_id, it.year, it.images) for it in done.cell_years] == [(0, YEAR, (IMAGE,))]
    assert done.rejections == {
        OTHER_YEAR: [(0, YEAR - 1)],
        "no_clear_date": [(1, YEAR - 1), (1, YEAR)],
    }
    assert done.scene_rejections == {"unusable": 2, "nodata": 1}
    assert not done.dead_letters


def test_years_without_items_are_told(monkeypatch):
    none = ChipImages((), {}, (), None)
    done = assembled(monkeypatch, years(YEAR), none, none)
    assert done.rejections == {"no_items": [(0, YEAR), (1, YEAR)]}
    assert done.years_without_items == (YEAR,)


@pytest.mark.parametrize("nearest", [True, False])
def test_a_fault_costs_the_place_and_no_other_date_stands_in(monkeypatch, nearest):
    failed = ChipImages((), {}, (), ("throttled", "503"))
    done = assembled(monkeypatch, years(YEAR - 1, YEAR, found=1), failed, failed, nearest=nearest)
    assert not done.cell_years
    assert not done.rejections
    fates = [(it.cell_id, it.year, it.stage, it.reason) for it in done.dead_letters]
    assert sorted(fates) == [
        (number, year, "read_chips", "throttled") for number in (0, 1) for year in (YEAR - 1, YEAR)
    ]


def test_without_the_scenes_of_a_year_no_place_of_the_unit_is_written(monkeypatch):
    lost = YearScenes(YEAR - 1, None, ("timeout", "no answer"))
    done = assembled(monkeypatch, [*years(YEAR, found=1), lost])
    assert not done.cell_years
    assert {(it.cell_id, it.year, it.reason) for it in done.dead_letters} == {
        (number, year, "timeout") for number in (0, 1) for year in (YEAR - 1, YEAR)
    }
    assert len(done.dead_letters) == 4
