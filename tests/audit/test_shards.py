"""Every kind of damage is found, and named as what it is."""

import dataclasses
import errno
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.audit.dataset import verify_dataset
from beam_pipeline.audit.findings import MOST_SHOWN, Findings
from beam_pipeline.dataset.commits import record_failure
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import (
    FINGERPRINT_FILE,
    LAUNCH_FILE,
    ONTOLOGY_FILE,
    UNITS_FILE,
    DatasetFolder,
)
from beam_pipeline.dataset.outcomes import DeadLetter
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.example_proto import Example
from beam_pipeline.runtime import disk
from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.verify import main
from tests.audit import audited
from tests.audit.audited import FILES, FIRST, SECOND, TESTING, edit_json, forge, rewrite


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited") / "set"
    audited.make_dataset(folder)
    return folder


@pytest.fixture
def folder(clean, tmp_path):
    return Path(shutil.copytree(clean, tmp_path / "set"))


def test_a_whole_dataset_has_no_difference(clean, capsys):
    findings = verify_dataset(DatasetFolder(FILES, str(clean)))
    assert dict(findings.kinds) == {}
    checked = dict(findings.checked)
    size = sum(path.stat().st_size for path in clean.glob("opensentinelmap-*"))
    assert checked == {
        "units": 3,
        "shards": 3,
        "bytes": size,
        "records": len(audited.WRITTEN),
        "cell_years_planned": len(audited.CELLS) * len(audited.YEARS),
        "examples": len(audited.WRITTEN),
        "rejected": len(audited.REJECTED),
        "failed": len(audited.DEAD),
        "dead_letters": len(audited.DEAD),
        "sidecars": len(SIDECARS),
    }
    assert main([str(clean) + "/"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["differences", "0"]


PLAN = (UNITS_FILE, FINGERPRINT_FILE, ONTOLOGY_FILE)
SIDECARS = (
    "CITATION.cff",
    "LICENSES.md",
    "dataset.json",
    "dataset_info.json",
    "dead_letters.jsonl",
    "extracts/a.osm.pbf.json",
    "features.json",
    "plan/launch.json",
    "spatial_cell_info.csv",
)


def summary(folder, name=FIRST):
    return folder / "summaries" / f"{name}.summary.json"


def flip(folder):
    data = bytearray((folder / FIRST).read_bytes())
    data[5000] ^= 1
    (folder / FIRST).write_bytes(data)


def cut(folder):
    data = (folder / FIRST).read_bytes()
    (folder / FIRST).write_bytes(data[:-10])


def swap_shards(folder):
    (folder / FIRST).rename(folder / "x")
    (folder / SECOND).rename(folder / FIRST)
    (folder / "x").rename(folder / SECOND)


def edit_plan(edit):
    def mutate(folder):
        path = folder / UNITS_FILE
        units = [json.loads(line) for line in path.read_text().splitlines()]
        edit(units)
        path.write_text("".join(json.dumps(unit) + "\n" for unit in units))

    return mutate


def move_planned_chip(folder):
    """The builder put a cell off the lattice, in the plan and in the shard."""
    edit_plan(lambda units: units[-1]["cells"][0].__setitem__(2, 334090))(folder)
    forge(
        folder,
        TESTING,
        each(
            lambda e: replace_cell(
                e, chip=dataclasses.replace(e.cell.chip, left=e.cell.chip.left // 60 * 60 + 10)
            )
        ),
    )


def each(change, only=0):
    """Changes the examples, or the one of that number."""
    return lambda examples: [
        change(example) if index == only else example for index, example in enumerate(examples)
    ]


def replace_cell(example, **changes):
    return dataclasses.replace(example, cell=dataclasses.replace(example.cell, **changes))


def replace_image(slot, **changes):
    def change(example):
        images = list(example.images)
        images[slot] = dataclasses.replace(images[slot], **changes)
        return dataclasses.replace(example, images=tuple(images))

    return change


def bright_but_for_a_corner():
    """The darkest pixel would let it pass."""
    pixels = np.full((192, 192, 4), 9000, np.uint16)
    pixels[:20, :20] = 500
    return pixels


def wrong_label(example):
    label = example.label.copy()
    label[100, 50, 1] = 14  # a value of another channel
    return dataclasses.replace(example, label=label)


def other_label(example):
    label = example.label.copy()
    label[0, 0, 2] = {14: 254}.get(int(label[0, 0, 2]), 14)
    return dataclasses.replace(example, label=label)


def unknown_feature(records):
    message = Example.FromString(records[0])
    message.features.feature["more"].int64_list.value.append(1)
    return [message.SerializeToString(), *records[1:]]


def edit_summary(name, **changes):
    return lambda folder: edit_json(summary(folder, name), lambda content: content.update(changes))


def dataset(edit):
    return lambda folder: edit_json(folder / "dataset.json", edit)


def fingerprint(edit):
    """Changes what was asked for, and dataset.json with it."""

    def mutate(folder):
        edit_json(folder / FINGERPRINT_FILE, edit)
        audited.describe(folder)

    return mutate


def edit_content(edit):
    """Changes what the first summary says of its cells."""
    return lambda folder: edit_json(summary(folder), lambda content: edit(content["contents"]))


def move_a_pixel(cells):
    """As many pixels, and as many of each value in each channel, but other values that meet."""
    counts = {tuple(values): count for *values, count in cells[0]["labels"]}
    counts[0, 12, 14] -= 1
    counts[2, 13, 14] -= 1
    counts[0, 13, 14] += 1
    counts[2, 12, 14] += 1
    cells[0]["labels"] = [[*values, count] for values, count in sorted(counts.items())]


def inexact_bounds(records):
    message = Example.FromString(records[0])
    message.features.feature["bounds_exact"].int64_list.value[0] = 0
    return [message.SerializeToString(deterministic=True), *records[1:]]


def edit_text(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def swap_names(content):
    labels = content["ontology"]["channels"][0]["labels"]
    labels["wooded"], labels["residential"] = labels["residential"], labels["wooded"]


def other_bad_percent(records):
    message = Example.FromString(records[0])
    message.features.feature["image_0/bad_percent"].float_list.value[0] = 0.5
    return [message.SerializeToString(deterministic=True), *records[1:]]


MUTATIONS = {
    # What lies in the shard is not what was written.
    "flip a bit": (flip, {"sha256", "corrupt_shard", "unaccounted"}),
    "cut the end off": (cut, {"size", "sha256", "corrupt_shard", "unaccounted"}),
    "empty a shard": (
        lambda folder: (folder / FIRST).write_bytes(b""),
        {"size", "sha256", "summary", "unaccounted"},
    ),
    "drop a record": (
        lambda folder: rewrite(folder, FIRST, lambda records: records[:-1]),
        {"size", "sha256", "summary", "unaccounted"},
    ),
    "write a record twice": (
        lambda folder: rewrite(folder, FIRST, lambda records: [records[0], *records]),
        {"size", "sha256", "summary", "double"},
    ),
    "swap two records": (
        lambda folder: rewrite(folder, FIRST, lambda records: [records[1], records[0], *records[2:]]),
        {"sha256", "order"},
    ),
    "add a feature": (
        lambda folder: rewrite(folder, FIRST, unknown_feature),
        {"size", "sha256", "schema", "unaccounted"},
    ),
    "swap two shards": (
        swap_shards,
        {"size", "sha256", "summary", "unaccounted", "unplanned"},
    ),
    # Files that are missing or too many.
    "lose a shard": (lambda folder: (folder / FIRST).unlink(), {"missing_shard", "unaccounted"}),
    "lose a summary": (
        lambda folder: summary(folder, SECOND).unlink(),
        {"missing_summary", "unaccounted", "dataset", "dead_letters", "sidecar"},
    ),
    "stray shard": (
        lambda folder: shutil.copy(folder / FIRST, folder / FIRST.replace("00002", "00003")),
        {"stray_shard"},
    ),
    "stray summary": (
        lambda folder: shutil.copy(summary(folder), summary(folder, FIRST.replace("00002", "00003"))),
        {"stray_summary"},
    ),
    "swap bad_percent alone": (
        lambda folder: rewrite(folder, FIRST, other_bad_percent),
        {"sha256", "schema", "unaccounted"},
    ),
    # A builder that makes no mistake in its sums, but in its examples.
    "bad_percent of another SCL": (
        lambda folder: forge(folder, FIRST, each(replace_image(0, bad_percent=0.125))),
        {"bad_percent"},
    ),
    "too many bad pixels": (
        lambda folder: forge(
            folder, FIRST, each(replace_image(0, bad_percent=1.0, scl=np.full((96, 96), 9, np.uint8)))
        ),
        {"filter"},
    ),
    "no data": (
        lambda folder: forge(
            folder,
            FIRST,
            each(
                replace_image(
                    1,
                    gsd_10=np.zeros((192, 192, 4), np.uint16),
                    gsd_20=np.zeros((96, 96, 6), np.uint16),
                    gsd_60=np.zeros((32, 32, 2), np.uint16),
                )
            ),
        ),
        {"filter"},
    ),
    "all bright": (
        lambda folder: forge(
            folder, FIRST, each(replace_image(1, gsd_10=np.full((192, 192, 4), 9000, np.uint16)))
        ),
        {"filter"},
    ),
    "bright but for a corner": (
        lambda folder: forge(folder, FIRST, each(replace_image(1, gsd_10=bright_but_for_a_corner()))),
        {"filter"},
    ),
    "an offset that the pixels contradict": (
        lambda folder: forge(
            folder,
            FIRST,
            each(
                replace_image(
                    1,
                    gsd_10=np.full((192, 192, 4), 900, np.uint16),
                    boa_decision="no_flag",
                    boa_add_offset=-1000,
                )
            ),
        ),
        {"filter"},
    ),
    "one item twice": (
        lambda folder: forge(folder, FIRST, each(replace_image(0, item_id="S2A_56HLH_20190719_0_L2A"))),
        {"pair"},
    ),
    "item of another tile": (
        lambda folder: forge(folder, FIRST, each(replace_image(0, item_id="S2A_5QKB_20190219_0_L2A"))),
        {"tile"},
    ),
    "a month that is none": (
        lambda folder: forge(folder, FIRST, each(replace_image(0, datetime="2019-00-19T00:00:00.000000Z"))),
        {"year"},
    ),
    "wrong year": (
        lambda folder: forge(folder, FIRST, each(replace_image(0, datetime="2018-12-31T23:59:59.000000Z"))),
        {"year"},
    ),
    "one date twice": (
        lambda folder: forge(folder, FIRST, each(replace_image(1, datetime="2019-02-19T23:00:00.000000Z"))),
        {"dates"},
    ),
    "later image first": (
        lambda folder: forge(folder, FIRST, each(lambda e: dataclasses.replace(e, images=e.images[::-1]))),
        {"dates"},
    ),
    "one image": (
        lambda folder: forge(folder, FIRST, each(lambda e: dataclasses.replace(e, images=e.images[:1]))),
        {"pair"},
    ),
    "wrong offset": (
        lambda folder: forge(folder, FIRST, each(replace_image(0, boa_add_offset=1000))),
        {"offset"},
    ),
    "label of another channel": (lambda folder: forge(folder, TESTING, each(wrong_label)), {"label"}),
    "labels differ by year": (lambda folder: forge(folder, FIRST, each(other_label, 1)), {"label"}),
    "moved chip": (
        lambda folder: forge(
            folder,
            FIRST,
            each(lambda e: replace_cell(e, chip=dataclasses.replace(e.cell.chip, left=334140))),
        ),
        {"chip"},
    ),
    "chip off the lattice": (move_planned_chip, {"plan", "chip", "sidecar"}),
    "other split": (
        lambda folder: forge(folder, FIRST, each(lambda e: replace_cell(e, split="testing"))),
        {"cell"},
    ),
    "other bounds": (
        lambda folder: forge(folder, FIRST, each(lambda e: replace_cell(e, min_lon=151.3))),
        {"cell"},
    ),
    "sorted wrongly": (
        lambda folder: forge(folder, FIRST, lambda examples: examples[::-1]),
        {"order"},
    ),
    "cell of another unit": (
        lambda folder: forge(folder, FIRST, each(lambda e: replace_cell(e, cell_id=4), 2)),
        {"unplanned", "unaccounted"},
    ),
    # Accounts that do not add up.
    "written and rejected": (
        lambda folder: forge(
            folder, FIRST, lambda examples: examples, rejections={"no_clear_date": ((2, 2019), (2, 2020))}
        ),
        {"double"},
    ),
    "rejection forgotten": (
        lambda folder: forge(folder, FIRST, lambda examples: examples, rejections={}),
        {"unaccounted"},
    ),
    "dead letter forgotten": (
        lambda folder: forge(folder, SECOND, lambda examples: examples, dead_letters=()),
        {"unaccounted"},
    ),
    "rejection of no planned year": (
        lambda folder: forge(
            folder, FIRST, lambda examples: examples, rejections={"no_items": ((2, 2020), (2, 2021))}
        ),
        {"unplanned"},
    ),
    # Descriptions that say something else.
    "edit a summary": (edit_summary(FIRST, examples=2), {"summary", "dataset", "sidecar"}),
    "edit a summary's hash": (edit_summary(FIRST, sha256="0" * 64), {"sha256", "dataset"}),
    "edit a summary's tile": (edit_summary(FIRST, tile="33TWN"), {"summary"}),
    "summary says failed": (edit_summary(SECOND, status="failed"), {"summary", "dataset", "sidecar"}),
    "unit of other settings": (edit_summary(FIRST, fingerprint="0" * 64), {"other_fingerprint"}),
    "summary of an earlier version": (
        lambda folder: edit_json(summary(folder), lambda content: content.pop("fingerprint")),
        {"summary", "unaccounted", "dataset", "sidecar"},
    ),
    "cut a summary": (
        lambda folder: summary(folder).write_text("{"),
        {"summary", "unaccounted", "dataset", "sidecar"},
    ),
    "old summary": (
        edit_summary(FIRST, rejections={"no_clear_date": 1}),
        {"summary", "unaccounted", "dataset", "sidecar"},
    ),
    # What a summary says of each cell.
    "another count of labels": (edit_content(move_a_pixel), {"summary"}),
    "labels of another cell": (
        edit_content(lambda cells: cells[0].update(labels=cells[1]["labels"])),
        {"summary"},
    ),
    "another category": (
        edit_content(lambda cells: cells[0].update(labels=[[7, 12, 14, 36864]])),
        {"summary", "dataset"},
    ),
    "pixels that do not add up": (
        edit_content(lambda cells: cells[0]["labels"].pop()),
        {"summary", "unaccounted", "dataset", "sidecar"},
    ),
    "another month": (
        edit_content(lambda cells: cells[0]["images"][0].__setitem__(1, 3)),
        {"summary", "dataset"},
    ),
    "another year of an image": (
        edit_content(lambda cells: cells[0]["images"][0].__setitem__(0, 2018)),
        {"summary"},
    ),
    "another bad share": (
        edit_content(lambda cells: cells[0]["images"][0].__setitem__(2, 5)),
        {"summary"},
    ),
    "an image fewer": (edit_content(lambda cells: cells[0]["images"].pop()), {"summary", "dataset"}),
    "a cell fewer": (edit_content(lambda cells: cells.pop()), {"summary", "dataset"}),
    "a cell twice": (edit_content(lambda cells: cells.append(cells[0])), {"summary", "dataset"}),
    "cells in another order": (edit_content(lambda cells: cells.reverse()), {"summary"}),
    "no contents": (
        lambda folder: edit_json(summary(folder), lambda content: content.pop("contents")),
        {"summary", "dataset"},
    ),
    "a coastal cell more": (edit_summary(FIRST, coastal_cells=[1]), {"dataset"}),
    "a coastal cell without examples": (edit_summary(FIRST, coastal_cells=[7]), {"summary", "dataset"}),
    "coastal cells out of order": (edit_summary(FIRST, coastal_cells=[2, 1]), {"summary", "dataset"}),
    "bounds that are not exact": (edit_summary(FIRST, inexact_cells=[1]), {"summary", "dataset"}),
    "exact bounds in the shard alone": (
        lambda folder: rewrite(folder, FIRST, inexact_bounds),
        {"sha256", "summary"},
    ),
    "plan lacks a cell": (
        edit_plan(lambda units: units[0]["cells"].pop()),
        {"plan", "unplanned", "summary", "dataset", "sidecar"},
    ),
    "plan lacks a unit": (
        edit_plan(lambda units: units.pop()),
        {"plan", "stray_shard", "stray_summary", "dataset", "sidecar"},
    ),
    "plan has a cell twice": (
        edit_plan(lambda units: units[2]["cells"].append(units[0]["cells"][0])),
        {"plan", "unaccounted", "summary", "dataset", "sidecar"},
    ),
    "plan is damaged": (lambda folder: (folder / UNITS_FILE).write_text("{}\n"), {"plan"}),
    "no dataset.json": (lambda folder: (folder / "dataset.json").unlink(), {"dataset"}),
    "dataset.json is cut": (lambda folder: (folder / "dataset.json").write_text("{"), {"dataset"}),
    "dataset.json is a list": (lambda folder: (folder / "dataset.json").write_text("[]"), {"dataset"}),
    "dataset.json lacks a part": (dataset(lambda content: content.pop("grid")), {"dataset"}),
    "dataset.json: another hash": (
        dataset(lambda content: content["shards"][0].update(sha256="0" * 64)),
        {"dataset"},
    ),
    "dataset.json: another mean": (
        dataset(lambda content: content["bands"]["B02"].update(mean=0.1)),
        {"dataset"},
    ),
    **{
        f"dataset.json: other {name}": (dataset(edit), {"dataset"})
        for name, edit in {
            "labelled cells": lambda content: content["labelled_cells"]["cells_by_split"][
                "training"
            ].reverse(),
            "edges": lambda content: content["labelled_cells"]["edges_percent"].pop(),
            "months": lambda content: content["images_by_month"]["training"].update({"02": 1}),
            "cells of a category": lambda content: content["labels"][0]["cells_by_split"]["training"].update(
                wooded=1
            ),
            "coastal cells": lambda content: content["splits"]["training"].update(cells_coastal=1),
            "inexact cells": lambda content: content["splits"]["training"].pop("cells_inexact"),
        }.items()
    },
    "dataset.json: complete": (dataset(lambda content: content.update(complete=True)), {"dataset"}),
    "dataset.json: another ontology": (
        dataset(lambda content: content["ontology"].update(sha256="cd")),
        {"dataset"},
    ),
    "dataset.json: another grid": (dataset(lambda content: content["grid"].update(name="x")), {"dataset"}),
    "dataset.json: no licences": (dataset(lambda content: content.update(licences={})), {"dataset"}),
    "dataset.json: no software": (dataset(lambda content: content.update(software={})), {"dataset"}),
    "dataset.json: names swapped": (dataset(swap_names), {"dataset"}),
    "dataset.json: a fourth channel": (
        dataset(lambda content: content["ontology"]["channels"].append({"name": "x", "labels": {"a": 20}})),
        {"dataset"},
    ),
    "dataset.json: more was dropped": (
        dataset(lambda content: content["dropped_from_extracts"]["a.osm.pbf"].update(open_ring=9)),
        {"dataset"},
    ),
    "dataset.json: another element was dropped": (
        dataset(
            lambda content: content["dropped_elements"]["a.osm.pbf"]["incomplete_relation"].update(first=[])
        ),
        {"dataset"},
    ),
    "dataset.json: cells beyond": (
        dataset(lambda content: content.update(cells_beyond_extracts=4)),
        {"dataset"},
    ),
    "dataset.json: laid out otherwise": (
        lambda folder: (folder / "dataset.json").write_text(
            json.dumps(json.loads((folder / "dataset.json").read_text()))
        ),
        {"dataset"},
    ),
    "dataset.json is no text": (
        lambda folder: (folder / "dataset.json").write_bytes(b"\xff\xfe"),
        {"dataset"},
    ),
    # What else goes with a dataset.
    "ontology: a value more": (
        lambda folder: edit_json(
            folder / ONTOLOGY_FILE,
            lambda content: content["channels"][0]["labels"].update(
                more={"value": 77, "precedence": 99, "natural": ["x"]}
            ),
        ),
        {"ontology", "dataset"},
    ),
    "no ontology": (lambda folder: (folder / ONTOLOGY_FILE).unlink(), {"ontology"}),
    "launch.json: other cells beyond": (
        lambda folder: edit_json(
            folder / LAUNCH_FILE, lambda content: content.update(cells_beyond_extracts=1)
        ),
        {"dataset"},
    ),
    "launch.json: more cells beyond than there are": (
        lambda folder: edit_json(
            folder / LAUNCH_FILE, lambda content: content.update(cells_beyond_extracts=6)
        ),
        {"plan", "dataset"},
    ),
    "no extracts": (lambda folder: shutil.rmtree(folder / "extracts"), {"dataset"}),
    "another extract": (
        lambda folder: FILES.write_text(f"{folder}/extracts/b.osm.pbf.json", "{}\n"),
        {"sidecar", "dataset"},
    ),
    "another filter": (
        fingerprint(lambda content: content["filters"].update(max_bad_fraction=0.1)),
        {"filter", "other_fingerprint"},
    ),
    "a version that is none": (
        lambda folder: edit_json(
            folder / FINGERPRINT_FILE, lambda content: content.update(schema_version="one")
        ),
        {"plan"},
    ),
    "another grid": (fingerprint(lambda content: content.update(grid="x")), {"plan", "other_fingerprint"}),
    "labels without none": (
        fingerprint(lambda content: content.update(none_labels=False)),
        {"label", "other_fingerprint"},
    ),
    "testing cells in training": (
        lambda folder: edit_text(folder / "spatial_cell_info.csv", "testing", "training"),
        {"sidecar"},
    ),
    "other shard lengths": (
        lambda folder: edit_text(folder / "dataset_info.json", '"3"', '"4"'),
        {"sidecar"},
    ),
    "features.json is empty": (lambda folder: (folder / "features.json").write_text("{}"), {"sidecar"}),
    "another licence": (
        lambda folder: edit_text(folder / "LICENSES.md", "Open Database License", "no license"),
        {"sidecar"},
    ),
    "another year in the citation": (
        lambda folder: edit_text(folder / "CITATION.cff", "2019", "2018"),
        {"sidecar"},
    ),
    "no plan/launch.json": (lambda folder: (folder / "plan/launch.json").unlink(), {"plan", "dataset"}),
    **{
        f"no {name}": (lambda folder, name=name: (folder / name).unlink(), {"sidecar"})
        for name in (
            *("spatial_cell_info.csv", "dataset_info.json", "features.json", "LICENSES.md", "CITATION.cff"),
        )
    },
    "a shard that did not get to its rename": (
        lambda folder: FILES.write_bytes(f"{folder}/tmp/5a", [b"x"]),
        {"leftover"},
    ),
    "a summary that did not get to its rename": (
        lambda folder: (folder / "summaries" / f"{FIRST}.summary.json.5a.part").write_text("x"),
        {"leftover"},
    ),
    "dead_letters.jsonl is no text": (
        lambda folder: (folder / "dead_letters.jsonl").write_bytes(b"\xff\xfe"),
        {"dead_letters"},
    ),
    "no dead_letters.jsonl": (lambda folder: (folder / "dead_letters.jsonl").unlink(), {"dead_letters"}),
    "empty dead_letters.jsonl": (
        lambda folder: (folder / "dead_letters.jsonl").write_text(""),
        {"dead_letters"},
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mutation_is_found_as_what_it_is(folder, name):
    mutate, kinds = MUTATIONS[name]
    mutate(folder)
    findings = verify_dataset(DatasetFolder(FILES, str(folder)))
    assert set(findings.kinds) == kinds, findings.table()
    assert all(f"\n{kind}:\n" in findings.table() for kind in kinds)


def test_a_difference_ends_in_exit_code_1_and_names_file_and_record(folder, capsys):
    forge(folder, TESTING, each(wrong_label))
    assert main([str(folder)]) == 1
    assert f"label:\n  {TESTING}, record 0: cell 5, channel 1: no label has [14]" in capsys.readouterr().out


def test_shards_that_are_damaged_are_named_to_be_deleted(folder, capsys):
    flip(folder)
    assert main([str(folder)]) == 1
    table = capsys.readouterr().out
    assert table.endswith(
        f"delete these shards, and the command that built the dataset makes them anew:\n  {FIRST}\n"
    )


def test_a_unit_that_failed_is_accounted_for_as_dead_letters(folder):
    (folder / SECOND).unlink()
    letter = DeadLetter(SECOND, None, None, "read_chips", "unexpected", "x")
    fingerprint = Fingerprint.from_json((folder / FINGERPRINT_FILE).read_bytes())
    record_failure(DatasetFolder(FILES, str(folder)), letter, fingerprint.sha256)
    audited.describe(folder)
    findings = verify_dataset(DatasetFolder(FILES, str(folder)))
    assert dict(findings.kinds) == {}
    assert (findings.checked["failed"], findings.checked["dead_letters"]) == (4, 1)
    of_training = json.loads((folder / "dataset.json").read_text())["splits"]["training"]
    assert (of_training["failed_cell_years"], of_training["dead_letters"]) == (4, 1)
    assert of_training["cell_years_planned"] == 8 == of_training["examples"] + 1 + 4


@pytest.mark.parametrize(
    ("argument", "message"), [("{}/nothing", "this is no dataset"), ("foo://x", "This cannot be looked into")]
)
def test_what_is_no_dataset_is_told_apart(tmp_path, argument, message, capsys):
    assert main([argument.format(tmp_path)]) == 2
    assert message in capsys.readouterr().err


class Locked(BeamFiles):
    """Files of which one may not be read."""

    def __init__(self, name):
        self.name = name

    def read_bytes(self, path):
        self._require_allowed(path)
        return super().read_bytes(path)

    def open(self, path):
        self._require_allowed(path)
        return super().open(path)

    def _require_allowed(self, path):
        if path.endswith(self.name):
            raise TransientFault("storage", f"cannot read {path}: Permission denied")


@pytest.mark.parametrize(
    ("how", "name"),
    [
        (how, name)
        for how in ("locked", "folder")
        for name in (FIRST, f"summaries/{FIRST}.summary.json", *SIDECARS, *PLAN)
        if (how, name) != ("folder", "extracts/a.osm.pbf.json")  # which no listing has: it is missing
    ],
)
def test_what_cannot_be_read_is_a_difference_and_the_rest_is_read(folder, monkeypatch, name, how, capsys):
    forge(folder, TESTING, each(wrong_label))
    if how == "locked":
        monkeypatch.setattr("beam_pipeline.jobs.files_here.Disk", lambda: Locked(name))
    else:
        (folder / name).unlink()
        (folder / name).mkdir()
    assert main([str(folder)]) == 1
    table = capsys.readouterr().out
    assert f"\nunreadable:\n  {name}: " in table
    # Without an ontology no label can be judged; without a plan, nothing, as these made-up cells lie nowhere.
    judged = name not in (ONTOLOGY_FILE, UNITS_FILE)
    assert (f"{TESTING}, record 0: cell 5, channel 1: no label has [14]" in table) == judged


def test_a_disk_that_fails_within_a_shard_costs_no_other_check(folder, monkeypatch):
    class Failing(io.BufferedReader):
        def read(self, size=-1):
            if self.tell() > 0:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    def open_failing(path):
        opened = disk_open(path)
        return Failing(opened.detach()) if path.endswith(FIRST) else opened

    disk_open = disk.open_regular
    monkeypatch.setattr(disk, "open_regular", open_failing)
    findings = verify_dataset(DatasetFolder(FILES, str(folder)))
    assert dict(findings.kinds) == {"unreadable": 1, "unaccounted": 3}
    assert "Input/output error" in findings.table()


def test_a_shard_that_cannot_be_read_costs_no_other_check(folder):
    findings = verify_dataset(DatasetFolder(Locked(FIRST), str(folder)))
    assert dict(findings.kinds) == {"unreadable": 1, "unaccounted": 3}
    assert findings.checked["records"] == len(audited.WRITTEN) - 3


def test_only_the_first_few_of_a_kind_are_shown():
    findings = Findings()
    for number in range(MOST_SHOWN + 2):
        findings.differ("label", "shard", f"wrong {number}", number)
    assert f"  shard, record {MOST_SHOWN - 1}: wrong {MOST_SHOWN - 1}\n  and 2 more" in findings.table()
