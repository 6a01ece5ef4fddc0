"""The walk through the scenes of a tile: which are looked at, which are noted, and what stands in for them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.chips import ChipImages, FilterSettings, select_images
from beam_pipeline.imagery.cog import ChipBands, SceneReader
from beam_pipeline.imagery.image import BANDS, BANDS_10, BANDS_20, SCL
from beam_pipeline.imagery.offset_check import OffsetCheck, Verdict
from beam_pipeline.imagery.scenes import Scene
from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault

CHIPS = [ChipWindow(32633, 300_000 + 1920 * column, 4_900_020) for column in range(3)]
GONE = PermanentFault("not_found", "there is no such file")
BUSY = TransientFault("throttled", "slow down")
CLEAR = 1700
"""DN that may be with or without 1000."""


class Host(SceneReader):
    """Has files in memory: of each item the DN of its bands, "cloud", or the fault of reading it.

    Attributes:
        items: By item id; for a chip alone by (item id, chip).
        looks: The items that were looked at as a whole, in turn.
    """

    def __init__(self, items: Mapping[Any, int | str | Fault]) -> None:
        self.items = dict(items)
        self.looks: list[str] = []

    def read(
        self, assets: Mapping[str, str], bands: Sequence[str], chips: Sequence[ChipWindow]
    ) -> list[ChipBands | Fault]:
        item_id = assets[SCL]
        shown = [self.items.get((item_id, CHIPS.index(chip)), self.items[item_id]) for chip in chips]
        return [
            one if isinstance(one, Fault) else {band: self._pixels(one, band) for band in bands}
            for one in shown
        ]

    def read_coarse(self, assets: Mapping[str, str], bands: Sequence[str], side: int) -> dict[str, Any]:
        item_id = assets[SCL]
        self.looks.append(item_id)
        shown = self.items.get((item_id, "look"), self.items[item_id])
        if isinstance(shown, Fault):
            raise shown
        return {band: np.full((side, side), 4 if band == SCL else shown) for band in bands}

    @staticmethod
    def _pixels(shown: int | str, band: str) -> Any:
        if band == SCL:
            return np.full((96, 96), 9 if shown == "cloud" else 4, np.uint8)
        side = 192 if band in BANDS_10 else 96 if band in BANDS_20 else 32
        return np.full((side, side), shown, np.uint16)


def scene(item_id: str, month: int = 1, *earlier: Scene, decision: str = "baseline_before_0400") -> Scene:
    late = decision in ("no_flag", "not_applied")
    return Scene(
        item_id=item_id,
        tile="33TUJ",
        datetime=f"2022-{month:02}-01T10:00:00.000000Z",
        datastrip_start="",
        platform="sentinel-2a",
        baseline="05.10" if late else "02.14",
        generated="",
        cloud_cover=None,
        assets=dict.fromkeys((*BANDS, SCL), item_id),
        boa_add_offset=-1000 if late else 0,
        boa_decision=decision,
        earlier=earlier,
    )


B, C = scene("b", 2), scene("c", 3)
OTHERS: dict[Any, int | str | Fault] = {"b": CLEAR, "c": CLEAR}


def walk(
    items: Mapping[Any, int | str | Fault], *scenes: Scene, offsets: OffsetCheck | None = None
) -> list[ChipImages]:
    """Walks; what a chip gets is the same alone and in company."""
    host = Host({**OTHERS, **items})
    answers = select_images(host, scenes, CHIPS, FilterSettings(), offsets)
    if offsets is None:
        assert answers == [select_images(host, scenes, [chip], FilterSettings())[0] for chip in CHIPS]
    return answers


def told(answer: ChipImages) -> tuple[str, str]:
    """Returns what a chip got, and what is noted, in short."""
    notes = " ".join(f"{note.item_id}:{note.reason}" for note in answer.notes)
    return "".join(image.item_id for image in answer.images), notes


def only(answers: Sequence[ChipImages]) -> ChipImages:
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


THREE = scene("a3", 1, scene("a2"), scene("a1"))


@pytest.mark.parametrize(
    ("items", "got", "notes"),
    [
        ({"a3": CLEAR}, "a3b", ""),
        ({"a3": GONE, "a2": CLEAR}, "a2b", "a3:not_found"),
        ({"a3": GONE, "a2": GONE, "a1": CLEAR}, "a1b", "a3:not_found a2:not_found"),
        ({"a3": GONE, "a2": GONE, "a1": GONE}, "bc", "a3:not_found a2:not_found a1:not_found"),
        # A cloud over one processing is one over all, and is no fault.
        ({"a3": "cloud"}, "bc", ""),
        ({"a3": GONE, "a2": "cloud"}, "bc", "a3:not_found"),
    ],
)
def test_an_earlier_processing_stands_in_before_the_next_date(
    items: dict[Any, int | str | Fault], got: str, notes: str
) -> None:
    answer = only(walk(items, THREE, B, C))
    assert told(answer) == (got, notes)
    assert answer.rejections == ({"unusable": 1} if "cloud" in items.values() else {})
    for note, next_one in zip(answer.notes, ("a2", "a1", ""), strict=False):
        assert note.detail.endswith(f"; its earlier processing {next_one} stands in") == bool(next_one)


def test_what_stands_in_has_its_own_offset_and_baseline() -> None:
    newest = scene("a2", 1, scene("a1"), decision="no_flag")
    image = only(walk({"a2": GONE, "a1": CLEAR}, newest, B)).images[0]
    assert (image.item_id, image.baseline, image.boa_add_offset) == ("a1", "02.14", 0)
    assert image.boa_decision == "baseline_before_0400"
    newest = scene("a2", 1, scene("a1", decision="not_applied"))
    image = only(walk({"a2": GONE, "a1": CLEAR}, newest, B)).images[0]
    assert (image.item_id, image.boa_add_offset, image.boa_decision) == ("a1", -1000, "not_applied")
    assert told(only(walk({"a2": GONE, "a1": 700}, newest, B, C))) == (
        "bc",
        "a2:not_found a1:offset_contradicted",
    )


def test_an_outage_lets_nothing_stand_in() -> None:
    assert only(walk({"a3": BUSY, "a2": CLEAR}, THREE, B, C)).failure == ("throttled", "a3: slow down")
    assert only(walk({"a3": GONE, "a2": BUSY}, THREE, B, C)).failure == ("throttled", "a2: slow down")


def test_a_chip_alone_may_need_what_stands_in() -> None:
    answers = walk({"a3": CLEAR, ("a3", 1): GONE, "a2": CLEAR}, THREE, B, C)
    assert [told(answer)[0] for answer in answers] == ["a3b", "a2b", "a3b"]


def test_what_stands_in_is_no_second_image_of_its_date() -> None:
    """Processed anew, a scene of midnight may get another date."""
    moved = scene("a2", 1, scene("a1", 2))
    assert told(only(walk({"a2": GONE, "a1": CLEAR}, B, moved, C))) == ("bc", "a2:not_found")
    assert told(only(walk({"a2": GONE, "a1": CLEAR}, moved, B, C))) == ("a1c", "a2:not_found")


@pytest.mark.parametrize("decision", ["no_flag", "not_applied"])
def test_a_scene_is_looked_at_when_a_chip_would_take_it(decision: str) -> None:
    scenes = [
        scene(name, month, decision=decision) for month, name in enumerate(("x", "y", "z", "v", "w"), 1)
    ]
    host = Host({"x": "cloud", "y": 700, "z": CLEAR, "v": CLEAR, "w": CLEAR})
    answer = only(select_images(host, scenes, CHIPS, FilterSettings()))
    assert told(answer) == ("zv", "y:offset_contradicted")
    assert "would be negative" in answer.notes[0].detail
    assert host.looks == ["y", "z", "v"]


@pytest.mark.parametrize("decision", ["baseline_before_0400", "host_applied"])
def test_what_claims_no_offset_is_not_looked_at(decision: str) -> None:
    host = Host({"x": 700, **OTHERS})
    assert told(only(select_images(host, [scene("x", decision=decision), B], CHIPS, FilterSettings()))) == (
        "xb",
        "",
    )
    assert not host.looks


def test_a_look_that_fails_for_now_fails_whom_it_concerns() -> None:
    x = scene("x", decision="no_flag")
    first, *others = walk({"x": CLEAR, ("x", 0): "cloud", ("x", "look"): BUSY}, x, B, C)
    assert told(first) == ("bc", "")
    assert all(other.failure == ("throttled", "x: slow down") for other in others)


def test_a_look_that_fails_for_good_passes_to_the_next() -> None:
    x = scene("x", 1, scene("w"), decision="no_flag")
    items = {"x": CLEAR, ("x", "look"): GONE, "w": CLEAR}
    assert told(only(walk(items, x, B, C))) == ("wb", "x:not_found")
    assert told(only(walk(items, dataclasses.replace(x, earlier=()), B, C))) == ("bc", "x:not_found")


class Kept:
    """Verdicts in memory."""

    def __init__(self) -> None:
        self.verdicts: dict[str, Verdict] = {}

    def find(self, scene: Scene) -> Verdict | None:
        return self.verdicts.get(scene.item_id)

    def keep(self, scene: Scene, verdict: Verdict) -> None:
        self.verdicts[scene.item_id] = verdict


def test_a_verdict_is_given_once() -> None:
    scenes = [scene("x", 1, decision="no_flag"), scene("y", 2, decision="no_flag"), C]
    host, kept = Host({"x": 700, "y": CLEAR, **OTHERS}), Kept()
    once = select_images(host, scenes, CHIPS, FilterSettings(), OffsetCheck(host, kept))
    assert host.looks == ["x", "y"]
    assert [(it.item_id, it.refusal is None) for it in kept.verdicts.values()] == [("x", False), ("y", True)]
    # Even where the host has changed its mind meanwhile.
    host.items["x", "look"], host.items["y", "look"] = CLEAR, 700
    again = select_images(host, scenes, CHIPS, FilterSettings(), OffsetCheck(host, kept))
    assert (again, host.looks) == (once, ["x", "y"])
    assert [Verdict.from_json(it.to_json()) for it in kept.verdicts.values()] == list(kept.verdicts.values())


def test_a_look_that_failed_for_now_gives_no_verdict() -> None:
    host, kept = Host({"x": CLEAR, ("x", "look"): BUSY}), Kept()
    scenes = [scene("x", decision="no_flag")]
    assert only(select_images(host, scenes, CHIPS, FilterSettings(), OffsetCheck(host, kept))).failure
    assert not kept.verdicts
    del host.items["x", "look"]
    assert told(only(select_images(host, scenes, CHIPS, FilterSettings(), OffsetCheck(host, kept)))) == (
        "x",
        "",
    )


def test_a_disk_that_is_full_is_no_fault_of_the_scene() -> None:
    class Full(Kept):
        def keep(self, scene: Scene, verdict: Verdict) -> None:
            raise PermanentFault("storage", "no space left on device")

    host = Host({"x": CLEAR, **OTHERS})
    scenes = [scene("x", decision="no_flag"), B, C]
    with pytest.raises(PermanentFault, match="storage"):
        select_images(cast(SceneReader, host), scenes, CHIPS, FilterSettings(), OffsetCheck(host, Full()))
