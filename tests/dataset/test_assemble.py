"""The outcomes of a unit's cell-years: each ends exactly once, and everything about it is told once."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.dataset.assemble import YearScenes, assemble_unit
from beam_pipeline.dataset.outcomes import AssembledUnit
from beam_pipeline.dataset.summary import summarise
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.imagery.image import BANDS, BANDS_10, BANDS_20, SCL
from beam_pipeline.imagery.scenes import Scene, SceneList, SceneNote
from beam_pipeline.labels.label_image import CellLabel
from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault
from tests.records.builders import make_cell

FIRST, SECOND, THIRD = 11, 12, 13
CELLS = tuple(
    make_cell(cell_id, chip=ChipWindow(32756, 334080 + 1920 * place, 6250600))
    for place, cell_id in enumerate((FIRST, SECOND, THIRD))
)
UNIT = Unit("opensentinelmap-training.tfrecord-00000-of-00001", "training", "56HLH", CELLS)
CLOUD = 9
CLEAR = "clear"

Answer = str | Fault
"""The view of a chip in a scene: `CLEAR`, "cloud", "nodata", or the fault of reading it."""


class FakeReader:
    """Reads no file: says of each scene and cell what a test has laid down, and is clear elsewhere."""

    def __init__(self, answers: Mapping[tuple[str, int], Answer]) -> None:
        self._answers = answers
        self.read_of: list[tuple[str, tuple[int, ...]]] = []

    def read(
        self, assets: Mapping[str, str], bands: Sequence[str], chips: Sequence[ChipWindow]
    ) -> list[dict[str, np.ndarray] | Fault]:
        cell_ids = [next(cell.cell_id for cell in CELLS if cell.chip == chip) for chip in chips]
        item_id = assets[SCL]
        self.read_of.append((item_id, tuple(cell_ids)))
        answers = [self._answers.get((item_id, cell_id), CLEAR) for cell_id in cell_ids]
        return [answer if isinstance(answer, Fault) else pixels_of(answer, bands) for answer in answers]


def pixels_of(shown: str, bands: Sequence[str]) -> dict[str, np.ndarray]:
    sides = {band: 192 if band in BANDS_10 else 96 if band in (*BANDS_20, SCL) else 32 for band in bands}
    scl = {CLEAR: 4, "cloud": CLOUD, "nodata": 0}[shown]
    return {
        band: np.full((side, side), scl if band == SCL else 700, np.uint8 if band == SCL else np.uint16)
        for band, side in sides.items()
    }


def scene(item_id: str, date: str) -> Scene:
    return Scene(
        item_id=item_id,
        tile=UNIT.tile,
        datetime=f"{date}T10:00:00.000000Z",
        datastrip_start="",
        platform="sentinel-2a",
        baseline="02.14",
        generated="",
        cloud_cover=None,
        assets=dict.fromkeys((*BANDS, SCL), item_id),
        boa_add_offset=0,
        boa_decision="baseline_before_0400",
    )


def scenes_of(year: int, *item_ids: str, refused: Sequence[SceneNote] = (), found: int = -1) -> YearScenes:
    """A scene a month, in the order given."""
    scenes = tuple(scene(item_id, f"{year}-{month + 1:02}-05") for month, item_id in enumerate(item_ids))
    found = len(scenes) + len(refused) if found < 0 else found
    return YearScenes(year, SceneList(UNIT.tile, year, scenes, tuple(refused), found, 0, 0))


def label_of(cell: Cell, dropped: Mapping[str, int] | None = None) -> CellLabel:
    return CellLabel.pack(cell.cell_id, np.full((192, 192, 3), cell.cell_id, np.uint8), dropped or {})


LABELS = [label_of(cell) for cell in CELLS]


def assemble(
    years: Sequence[YearScenes],
    answers: Mapping[tuple[str, int], Answer] | None = None,
    labels: Sequence[CellLabel] = LABELS,
    allow_single: bool = False,
) -> AssembledUnit:
    """Assembles the unit and checks what holds of every one: each cell-year ends exactly once."""
    assembled = assemble_unit(UNIT, years, labels, FakeReader(answers or {}), FilterSettings(), allow_single)
    assert assembled.unit == UNIT
    assert assembled.years == len(years)
    ends = [
        *((example.cell.cell_id, example.year) for example in assembled.cell_years),
        *itertools.chain.from_iterable(assembled.rejections.values()),
        *((letter.cell_id, letter.year) for letter in assembled.dead_letters),
    ]
    of_years = [it.year for it in years]
    assert sorted(ends) == sorted(itertools.product((cell.cell_id for cell in CELLS), of_years))
    return assembled


def written(assembled: AssembledUnit) -> list[tuple[int, int]]:
    return [(example.cell.cell_id, example.year) for example in assembled.cell_years]


def letters(assembled: AssembledUnit) -> list[tuple[int | None, int | None, str, str, str]]:
    assert all(letter.unit == UNIT.name for letter in assembled.dead_letters)
    return [
        (letter.cell_id, letter.year, letter.stage, letter.reason, letter.detail)
        for letter in assembled.dead_letters
    ]


def test_calm_years_give_every_pair_with_its_own_label() -> None:
    assembled = assemble([scenes_of(2020, "a", "b"), scenes_of(2021, "c", "d", "e")])
    assert written(assembled) == [(cell.cell_id, year) for cell in CELLS for year in (2020, 2021)]
    for example in assembled.cell_years:
        assert example.cell in CELLS
        assert (example.label == example.cell.cell_id).all()
        assert [image.item_id for image in example.images] == (
            ["a", "b"] if example.year == 2020 else ["c", "d"]
        )
    assert (assembled.rejections, assembled.scene_rejections, assembled.dropped_geometries) == ({}, {}, {})
    assert (assembled.years_without_items, assembled.notes, assembled.dead_letters) == ((), (), ())


def test_coastal_cells_are_those_of_coastal_labels() -> None:
    labels = [dataclasses.replace(label, coastal=label.cell_id != SECOND) for label in LABELS]
    assembled = assemble([scenes_of(2020, "a", "b")], {("a", THIRD): "cloud"}, labels)
    assert assembled.coastal == {FIRST, THIRD}
    # The third has no example.
    assert summarise(assembled).coastal_cells == (FIRST,)
    assert assemble([scenes_of(2020, "a", "b")]).coastal == frozenset()


def test_the_order_of_years_and_labels_changes_nothing() -> None:
    years = [scenes_of(2020, "a", "b"), scenes_of(2021, "c"), scenes_of(2022), scenes_of(2023, "d", "e")]
    years.append(YearScenes(2024, None, ("throttled", "slow down")))
    answers: dict[tuple[str, int], Answer] = dict.fromkeys([("a", FIRST), ("a", SECOND)], "cloud")
    answers["d", FIRST] = TransientFault("timeout", "gone")
    one = assemble(years, answers)
    other = assemble(years[::-1], answers, labels=LABELS[::-1])
    assert written(one) == written(other) == [(SECOND, 2023), (THIRD, 2020), (THIRD, 2023)]
    assert letters(one) == letters(other) != []
    assert one.rejections == other.rejections != {}
    assert one.years_without_items == other.years_without_items == (2022,)
    assert one.scenes_by_year == other.scenes_by_year == {2020: 2, 2021: 1, 2022: 0, 2023: 2}


def test_rejections_are_told_by_reason() -> None:
    refused = [SceneNote("no-scl", "no_scl", "it has none")]
    years = [
        scenes_of(2019),
        scenes_of(2020, refused=refused),
        scenes_of(2021, "a", "b"),
        scenes_of(2022, "c", "d", "e"),
    ]
    answers = {
        **dict.fromkeys(itertools.product("ab", (FIRST, SECOND)), "cloud"),
        ("c", FIRST): "cloud",
        ("c", SECOND): "nodata",
        ("d", SECOND): "cloud",
        **dict.fromkeys(itertools.product("cde", (THIRD,)), "cloud"),
    }
    assembled = assemble(years, answers)
    assert assembled.rejections == {
        "no_items": [(cell.cell_id, 2019) for cell in CELLS],
        "no_usable_item": [(cell.cell_id, 2020) for cell in CELLS],
        "no_clear_date": [(FIRST, 2021), (SECOND, 2021), (THIRD, 2022)],
        "one_clear_date": [(SECOND, 2022)],
    }
    assert written(assembled) == [(FIRST, 2022), (THIRD, 2021)]
    assert assembled.scene_rejections == {"unusable": 9, "nodata": 1}
    # A year all of whose items were refused has items.
    assert assembled.years_without_items == (2019,)
    assert assembled.notes == tuple(refused)


def test_a_single_clear_date_is_kept_on_request_alone() -> None:
    years = [scenes_of(2020, "a", "b")]
    answers = {("a", FIRST): "cloud", ("a", SECOND): "cloud", ("b", SECOND): "cloud"}
    strict, kept = (assemble(years, answers, allow_single=allow) for allow in (False, True))
    assert strict.rejections == {"one_clear_date": [(FIRST, 2020)], "no_clear_date": [(SECOND, 2020)]}
    assert kept.rejections == {"no_clear_date": [(SECOND, 2020)]}
    assert written(strict) == [(THIRD, 2020)]
    assert [[image.item_id for image in example.images] for example in kept.cell_years] == [["b"], ["a", "b"]]


def test_two_scenes_of_one_date_are_one_clear_date() -> None:
    scenes = tuple(
        dataclasses.replace(scene(item_id, "2020-03-01"), platform=platform)
        for item_id, platform in (("a", "sentinel-2a"), ("b", "sentinel-2b"))
    )
    assembled = assemble([YearScenes(2020, SceneList(UNIT.tile, 2020, scenes, (), 2, 0, 0))])
    assert assembled.rejections == {"one_clear_date": [(cell.cell_id, 2020) for cell in CELLS]}


def test_a_cell_without_label_loses_all_its_years_and_reads_nothing() -> None:
    failed = CellLabel(SECOND, b"", {}, ("truncated_extract", "the map breaks off"))
    labels = [LABELS[0], failed, LABELS[2]]
    reader = FakeReader({})
    years = [scenes_of(2020, "a", "b"), YearScenes(2021, None, ("throttled", "slow down")), scenes_of(2022)]
    assembled = assemble_unit(UNIT, years, labels, reader, FilterSettings(), allow_single=False)
    of_label = ("labels", "truncated_extract", "the map breaks off")
    of_scenes = ("find_scenes", "throttled", "slow down")
    # Where both failed, the label's failure is the one that is told.
    assert letters(assembled) == [
        (SECOND, 2020, *of_label),
        (FIRST, 2021, *of_scenes),
        (SECOND, 2021, *of_label),
        (THIRD, 2021, *of_scenes),
        (SECOND, 2022, *of_label),
    ]
    assert written(assembled) == [(FIRST, 2020), (THIRD, 2020)]
    assert assembled.rejections == {"no_items": [(FIRST, 2022), (THIRD, 2022)]}
    assert {cell_ids for _, cell_ids in reader.read_of} == {(FIRST, THIRD)}


def test_a_year_whose_scenes_are_not_known_costs_its_cell_years() -> None:
    failures = [("connection", "reset by peer"), None]
    unknown = [YearScenes(2020 + number, None, failure) for number, failure in enumerate(failures)]
    assembled = assemble([*unknown, scenes_of(2022, "a", "b")])
    assert letters(assembled) == [
        *((cell.cell_id, 2020, "find_scenes", "connection", "reset by peer") for cell in CELLS),
        *((cell.cell_id, 2021, "find_scenes", "unexpected", "no scene list") for cell in CELLS),
    ]
    # It is not known whether there are items.
    assert assembled.years_without_items == ()
    assert written(assembled) == [(cell.cell_id, 2022) for cell in CELLS]


def test_a_chip_that_cannot_be_read_costs_its_cell_year_alone() -> None:
    years = [scenes_of(2020, "a", "b", "c"), scenes_of(2021, "d", "e")]
    answers = {("b", SECOND): TransientFault("server_error", "HTTP 503"), ("a", SECOND): "cloud"}
    assembled = assemble(years, answers)
    # No later date stands in: an outage would change the dataset.
    assert letters(assembled) == [(SECOND, 2020, "read_chips", "server_error", "b: HTTP 503")]
    assert written(assembled) == [(FIRST, 2020), (FIRST, 2021), (SECOND, 2021), (THIRD, 2020), (THIRD, 2021)]
    assert assembled.rejections == {}
    assert assembled.scene_rejections == {"unusable": 1}, "what was passed over before it is counted"


def test_notes_are_told_once_and_sorted() -> None:
    gone = PermanentFault("not_found", "HTTP 404")
    late, early = SceneNote("z", "no_scl", "it has none"), SceneNote("b", "bad_item", "what is it?")
    years = [
        scenes_of(2020, "y", "a", "c", refused=[early, late]),
        scenes_of(2021, "d", "e", "f", refused=[early]),
    ]
    answers: dict[tuple[str, int], Answer] = {("y", cell.cell_id): gone for cell in CELLS}
    answers["e", FIRST] = PermanentFault("corrupt", "a block")
    assembled = assemble(years, answers)
    assert assembled.notes == (
        early,
        SceneNote("e", "corrupt", "a block"),
        SceneNote("y", "not_found", "HTTP 404"),
        late,
    )
    assert len(written(assembled)) == 6, "the next date stands in for what is gone for good"
    used = {(it.cell.cell_id, it.year): [image.item_id for image in it.images] for it in assembled.cell_years}
    assert used[FIRST, 2020] == ["a", "c"]
    assert used[FIRST, 2021] == ["d", "f"]


def test_dropped_geometries_are_summed_over_cells_and_not_over_years() -> None:
    labels = [
        label_of(CELLS[0], {"tangled": 1, "empty": 2}),
        CellLabel(SECOND, b"", {"tangled": 4}, ("unexpected", "x")),
        label_of(CELLS[2], {"empty": 3}),
    ]
    assembled = assemble([scenes_of(2020, "a", "b"), scenes_of(2021, "c", "d")], labels=labels)
    assert assembled.dropped_geometries == {"tangled": 5, "empty": 5}


@pytest.mark.parametrize(
    "labels",
    [
        LABELS[:2],
        [*LABELS, LABELS[0]],
        [LABELS[0], LABELS[1], LABELS[1]],
        [LABELS[0], LABELS[1], label_of(make_cell(14))],
        [],
    ],
    ids=["lost", "one more", "doubled", "of another unit", "none"],
)
def test_lost_or_doubled_labels_are_the_runners_fault(labels: Sequence[CellLabel]) -> None:
    with pytest.raises(ValueError, match=rf"{len(labels)} labels arrived for the 3 cells of {UNIT.name}"):
        assemble([scenes_of(2020, "a", "b")], labels=labels)
