"""A relabelled unit is the one that would have been assembled with the other labels."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.dataset.commits import commit_unit, record_failure
from beam_pipeline.dataset.folder import DatasetFolder, summary_name
from beam_pipeline.dataset.outcomes import AssembledUnit, DeadLetter
from beam_pipeline.dataset.relabel import INEXACT, NO_IMAGES, RelabelledUnit, relabel_unit
from beam_pipeline.dataset.source_unit import DAMAGED, MISSING, SourceUnit, read_source_unit
from beam_pipeline.dataset.summary import UnitSummary, summarise
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.scenes import SceneNote
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.label_image import CellLabel
from beam_pipeline.records.example import CellYear, decode, encode
from beam_pipeline.records.example_proto import Example
from beam_pipeline.runtime.faults import PermanentFault
from tests.records.builders import make_assembled, make_cell, make_cell_year, make_fingerprint

NAME = "opensentinelmap-training.tfrecord-00000-of-00001"
YEARS = (2019, 2020)
CELLS = tuple(make_cell(cell_id) for cell_id in (1, 2, 3, 4))
UNIT = Unit(NAME, "training", "56HLH", CELLS)
OLD, NEW = make_fingerprint(years=YEARS), "f" * 64
RNG = np.random.default_rng(7)
LABELS = {cell.cell_id: RNG.choice(np.array([0, 13, 254, 255], np.uint8), (192, 192, 3)) for cell in CELLS}
LABELS[2] = np.full((192, 192, 3), 255, np.uint8)
EXAMPLES = (
    make_cell_year(1, cell_id=1, year=2019),
    make_cell_year(2, cell_id=1, year=2020, num_images=1),
    make_cell_year(3, cell_id=2, year=2019),
    make_cell_year(4, cell_id=3, year=2020),
)
FAILED = ("corrupt_extract", "it breaks off")


def assembled(labels: Mapping[int, np.ndarray | None] | None, coastal: frozenset[int]) -> AssembledUnit:
    """The unit as a build makes it with labels; where there is None, the label failed. Without any, with its own."""
    lost = {cell_id for cell_id, label in (labels or {}).items() if label is None}

    def labelled(example: CellYear) -> CellYear:
        label = (labels or {}).get(example.cell.cell_id)
        return example if label is None else dataclasses.replace(example, label=label)

    rejections = {"no_clear_date": [(2, 2020)], "one_clear_date": [(3, 2019)], "no_items": [(4, 2019)]}
    letters = [DeadLetter(NAME, 4, 2020, "read_chips", "throttled", "503")]
    return make_assembled(
        UNIT,
        len(YEARS),
        [labelled(example) for example in EXAMPLES if example.cell.cell_id not in lost],
        rejections={reason: [it for it in them if it[0] not in lost] for reason, them in rejections.items()},
        scene_rejections={"unusable": 7},
        dropped_geometries={"tangled": 2} if labels is None else {"empty": 5},
        notes=(SceneNote("b", "not_found", "404"),),
        dead_letters=tuple(
            [letter for letter in letters if letter.cell_id not in lost]
            + [DeadLetter(NAME, cell_id, year, "labels", *FAILED) for cell_id in lost for year in YEARS]
        ),
        scenes_by_year={2019: 3, 2020: 5},
        coastal=coastal,
    )


def commit(folder: Path, unit: AssembledUnit, fingerprint: str) -> UnitSummary:
    summary = summarise(unit, fingerprint)
    return commit_unit(DatasetFolder(BeamFiles(), str(folder)), NAME, map(encode, unit.cell_years), summary)


def read(folder: Path) -> SourceUnit:
    found = read_source_unit(DatasetFolder(BeamFiles(), str(folder)), UNIT, OLD)
    assert isinstance(found, SourceUnit)
    return found


def relabel(folder: Path, labels: Mapping[int, np.ndarray | None], coastal: frozenset[int]) -> RelabelledUnit:
    given = [
        CellLabel(cell_id, b"", {}, FAILED)
        if label is None
        else CellLabel.pack(cell_id, label, {"empty": 5} if cell_id == 3 else {}, coastal=cell_id in coastal)
        for cell_id, label in labels.items()
    ]
    return relabel_unit(UNIT, read(folder), given[::-1], YEARS, NEW)


def test_it_is_what_is_assembled_with_the_new_labels(tmp_path: Path) -> None:
    commit(tmp_path, assembled(None, frozenset([1])), OLD.sha256)
    coastal = frozenset([2, 4])
    done = relabel(tmp_path, LABELS, coastal)
    expected = assembled(LABELS, coastal)
    assert done.payloads == tuple(map(encode, expected.cell_years))
    committed = commit(tmp_path / "expected", expected, NEW)
    again = commit_unit(DatasetFolder(BeamFiles(), str(tmp_path / "new")), NAME, done.payloads, done.summary)
    assert again.to_json() == committed.to_json()
    assert again.cells_unlabeled == 1
    assert again.coastal_cells == (2,)


@pytest.mark.parametrize("lost", [{1}, {2, 4}, {1, 2, 3, 4}])
def test_the_images_of_cells_whose_label_fails_are_in_no_sum(lost: set[int], tmp_path: Path) -> None:
    commit(tmp_path, assembled(None, frozenset()), OLD.sha256)
    labels = {cell_id: None if cell_id in lost else label for cell_id, label in LABELS.items()}
    done = relabel(tmp_path, labels, frozenset())
    expected = summarise(assembled(labels, frozenset()), NEW)
    # What of a cell was passed over by the source is not known apart.
    dropped = {} if 3 in lost else {"empty": 5}
    expected = dataclasses.replace(expected, dropped_geometries=dropped)
    told = dataclasses.replace(done.summary, sha256="", num_bytes=0)
    assert told.to_json() == expected.to_json()
    assert [decode(it).cell.cell_id for it in done.payloads] == [
        it.cell.cell_id for it in EXAMPLES if it.cell.cell_id not in lost
    ]


def test_a_cell_whose_label_failed_before_has_no_images_now(tmp_path: Path) -> None:
    labels = {cell_id: None if cell_id == 2 else label for cell_id, label in LABELS.items()}
    commit(tmp_path, assembled(labels, frozenset()), OLD.sha256)
    once = relabel(tmp_path, LABELS, frozenset())
    letters = [(it.cell_id, it.year, it.stage, it.reason) for it in once.summary.dead_letters]
    no_images = [(2, year, "relabel", NO_IMAGES) for year in YEARS]
    assert letters == [*no_images, (4, 2020, "read_chips", "throttled")]
    assert once.summary.dead_letters[0].detail == (
        "its label failed when the source was built (corrupt_extract: it breaks off)"
    )
    # Should the label fail again, that is what there is to say, as a build says it.
    twice = relabel(tmp_path, labels, frozenset())
    assert twice.summary.dead_letters == summarise(assembled(labels, frozenset())).dead_letters


def test_an_inexact_chip_gets_no_new_label(tmp_path: Path) -> None:
    unit = assembled(None, frozenset())
    inexact = [dataclasses.replace(it, bounds_exact=it.cell.cell_id != 2) for it in unit.cell_years]
    commit(tmp_path, dataclasses.replace(unit, cell_years=tuple(inexact)), OLD.sha256)
    done = relabel(tmp_path, LABELS, frozenset())
    letters = {(it.cell_id, it.year): it.reason for it in done.summary.dead_letters}
    assert letters == {(2, 2019): INEXACT, (2, 2020): INEXACT, (4, 2020): "throttled"}
    assert {decode(it).cell.cell_id for it in done.payloads} == {1, 3}


def test_labels_that_were_lost_or_doubled_are_no_unit(tmp_path: Path) -> None:
    commit(tmp_path, assembled(None, frozenset()), OLD.sha256)
    label = CellLabel.pack(1, LABELS[1], {})
    for given in ([], [label], [label] * 4):
        with pytest.raises(ValueError, match=f"{len(given)} labels arrived for the 4 cells"):
            relabel_unit(UNIT, read(tmp_path), given, YEARS, NEW)


def refused(folder: Path) -> PermanentFault:
    with pytest.raises(PermanentFault) as fault:
        read_source_unit(DatasetFolder(BeamFiles(), str(folder)), UNIT, OLD)
    return fault.value


def test_a_unit_that_is_not_there_is_missing(tmp_path: Path) -> None:
    assert refused(tmp_path).reason == MISSING
    commit(tmp_path, assembled(None, frozenset()), OLD.sha256)
    (tmp_path / NAME).unlink()
    assert refused(tmp_path).reason == MISSING


def test_a_unit_that_failed_gives_its_letter(tmp_path: Path) -> None:
    letter = DeadLetter(NAME, None, None, "write", "storage", "full")
    folder = DatasetFolder(BeamFiles(), str(tmp_path))
    record_failure(folder, letter, OLD.sha256)
    assert read_source_unit(folder, UNIT, OLD) == (letter,)


def with_payloads(folder: Path, payloads: list[bytes]) -> None:
    """Writes a shard whose summary knows its bytes, as whoever wants to mislead does."""
    summary = summarise(assembled(None, frozenset()), OLD.sha256)
    commit_unit(DatasetFolder(BeamFiles(), str(folder)), NAME, payloads, summary)


def test_damage_is_found_wherever_it_is(tmp_path: Path) -> None:
    commit(tmp_path, assembled(None, frozenset()), OLD.sha256)
    shard, summary = tmp_path / NAME, tmp_path / summary_name(NAME)
    whole, said = shard.read_bytes(), summary.read_text()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (whole[:-1], whole + b"\0", b"", bytes(flipped)):
        shard.write_bytes(content)
        assert refused(tmp_path).reason == DAMAGED
    shard.write_bytes(whole)
    sha256 = hashlib.sha256(whole).hexdigest()
    for content in (
        *("", "{", said[:100], "[]"),
        said.replace(OLD.sha256, NEW),
        said.replace(NAME, NAME.replace("00001", "00002")),
        said.replace(sha256, "0" * 64),
        said.replace("[2,2020]", "[2,2019]"),
        said.replace('"examples": 4', '"examples": 3'),
    ):
        assert content != said
        summary.write_text(content)
        fault = refused(tmp_path)
        assert (fault.reason, str(tmp_path) in fault.detail) == (DAMAGED, True)


def test_examples_of_another_schema_or_order_are_damage(tmp_path: Path) -> None:
    payloads = [encode(it) for it in EXAMPLES]
    lacking, twice, bad = (Example.FromString(payloads[0]) for _ in range(3))
    del lacking.features.feature["bounds_exact"]
    twice.features.feature["year"].int64_list.value.append(2020)
    bad.features.feature["image_0/bad_pixels"].int64_list.value[0] = 9217
    for first in (lacking, twice, bad):
        with_payloads(tmp_path, [first.SerializeToString(deterministic=True), *payloads[1:]])
        assert refused(tmp_path).reason == DAMAGED
    for wrong in (payloads[::-1], [payloads[0], *payloads[:3]], [b"x", *payloads[1:]], payloads[:3]):
        with_payloads(tmp_path, wrong)
        assert refused(tmp_path).reason == DAMAGED
