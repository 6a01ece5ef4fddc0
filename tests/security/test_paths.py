"""Names in foreign files never lead out of the folder that they stand in."""

import hashlib
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from beam_pipeline import preview
from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.units import Unit, make_units, units_text
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.shards import parse_shard_name, shard_name, summary_path
from beam_pipeline.verify import main as verify
from tests.audit.audited import FINGERPRINT
from tests.fuzz.foreign import damaged, values
from tests.records.builders import make_cell

NAME = shard_name("training", 0, 1)
UNIT = json.loads(units_text(make_units([make_cell(1)], 1)))
BAD_NAMES = [
    "../" + NAME,
    "/etc/passwd",
    "../../../../etc/passwd",
    NAME + "/../../x",
    "a/" + NAME,
    "..\\" + NAME,
    "C:\\" + NAME,
    NAME + "\0",
    NAME + "\n",
    "\n" + NAME,
    NAME.replace("00000", "0" * 5000, 1),
    NAME.replace("0", "٠"),
    "file:///" + NAME,
    "s3://bucket/" + NAME,
    "",
    ".",
    "..",
    "x" * 100_000,
    None,
    7,
    ["opensentinelmap"],
    {},
]


DATASET = {
    "schema_version": "1.0.0",
    "shards": [{"name": NAME, "examples": 1, "num_bytes": 0, "sha256": ""}],
    "splits": {split: {"cells": 1} for split in SPLITS},
    "ontology": {"channels": [{"name": f"c{index}", "labels": {f"l{index}": index}} for index in range(3)]},
    "bands": {},
}


class Watched(BeamFiles):
    """Notes every path that is looked at."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def exists(self, path: str) -> bool:
        self.paths.append(path)
        return super().exists(path)

    def size(self, path: str) -> int | None:
        self.paths.append(path)
        return super().size(path)

    def read_bytes(self, path: str) -> bytes:
        self.paths.append(path)
        return super().read_bytes(path)

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        self.paths.append(path)
        return super().open(path)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    files = Watched()
    for name in ("beam_pipeline.jobs.storage.BeamFiles", "beam_pipeline.jobs.files_here.Disk"):
        monkeypatch.setattr(name, lambda: files)
    return files


def outside(files: Watched, folder: Path) -> list[str]:
    assert files.paths
    return [path for path in files.paths if not Path(path).resolve().is_relative_to(folder.resolve())]


def write_plan(folder: Path, units: list[object]) -> None:
    text = "".join(json.dumps(unit) + "\n" for unit in units)
    given = {
        **FINGERPRINT.content,
        "cells_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "years": [2020],
    }
    (folder / "plan").mkdir(exist_ok=True)
    (folder / "plan/units.jsonl").write_text(text)
    (folder / "plan/fingerprint.json").write_text(json.dumps(given))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_shards_name_is_none(name: object) -> None:
    with pytest.raises(ValueError, match="A shard is named like"):
        parse_shard_name(name)


@given(st.text(max_size=5), st.integers(0, len(NAME)), st.integers(0, 3))
@example("0", len(NAME) - 5, 0)
def test_what_passes_as_a_shards_name_holds_no_path(put: str, place: int, drop: int) -> None:
    name = NAME[:place] + put + NAME[place + drop :]
    try:
        split, index, count = parse_shard_name(name)
    except ValueError:
        return
    assert shard_name(split, index, count) == name
    assert name.isascii()
    assert name.isprintable()
    assert "/" not in name
    assert len(name) < 100
    assert summary_path("out", name) == f"out/summaries/{name}.summary.json"


@pytest.mark.parametrize(
    "change",
    [
        *({"name": name} for name in BAD_NAMES),
        {"tile": "../../x"},
        {"tile": "33TWN/../x"},
        {"tile": "33TWN\n"},
        {"split": "../x"},
        {"split": "testing"},
    ],
)
def test_a_plan_names_nothing_outside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], watched: Watched, change: dict[str, object]
) -> None:
    with pytest.raises((ValueError, TypeError)):
        Unit.from_json(json.dumps({**UNIT, **change}))
    write_plan(tmp_path, [{**UNIT, **change}])
    assert verify([str(tmp_path)]) == 1
    assert outside(watched, tmp_path) == []
    shown = capsys.readouterr().out
    assert "cannot be read" in shown
    assert all(line.isprintable() for line in shown.splitlines())


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_preview_opens_nothing_outside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], watched: Watched, name: object
) -> None:
    dataset = {**DATASET, "shards": [{**DATASET["shards"][0], "name": name}]}
    (tmp_path / "dataset.json").write_text(json.dumps(dataset))
    assert preview.main([str(tmp_path)]) == 2
    assert outside(watched, tmp_path) == []
    assert "dataset.json: shards[0].name: " in capsys.readouterr().err


@given(damaged([UNIT]) | values)
@example([{**UNIT, "cells": [[*UNIT["cells"][0][:4], 10**400, *UNIT["cells"][0][5:]]]}])
@settings(deadline=60_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_plan_is_verified_or_refused(tmp_path: Path, plan: object) -> None:
    write_plan(tmp_path, plan if isinstance(plan, list) else [plan])
    assert verify([str(tmp_path)]) == 1


@given(st.data())
@settings(deadline=60_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_fingerprint_is_verified_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    write_plan(tmp_path, [UNIT])
    path = tmp_path / "plan/fingerprint.json"
    path.write_text(json.dumps(data.draw(damaged(json.loads(path.read_text())) | values)))
    assert verify([str(tmp_path)]) == 1


@given(damaged(DATASET) | values)
@settings(deadline=60_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_dataset_json_is_drawn_or_refused(tmp_path: Path, dataset: object) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(dataset))
    assert preview.main([str(tmp_path)]) == 2  # there is no shard


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "\ufeff{}", "1e999", "NaN", "9" * 5000, ""]
)
def test_json_without_end_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    assert preview.main([str(tmp_path)]) == 2
    write_plan(tmp_path, [UNIT])
    (tmp_path / "summaries").mkdir()
    (tmp_path / f"summaries/{NAME}.summary.json").write_text(text)
    assert verify([str(tmp_path)]) == 1
    for name in ("units.jsonl", "fingerprint.json"):
        (tmp_path / "plan" / name).write_text(text)
        assert verify([str(tmp_path)]) == 1
