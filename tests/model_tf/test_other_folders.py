"""`train`, `evaluate` and `downstream` know the names of their own files in the table, and refuse others' folders."""

from pathlib import Path

import pytest

from beam_pipeline.records.folder_kinds import KINDS
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.downstream_tasks.fits import FITS_FILE
from model_tf.downstream_tasks.flags import parse_downstream_flags
from model_tf.downstream_tasks.run import RESULTS, downstream
from model_tf.evaluation.evaluate import _SCORES_FILE, evaluate
from model_tf.evaluation.flags import parse_evaluate_flags
from model_tf.training.run_folder import SETTINGS_FILE, require_own_folder


def test_names_are_those_of_the_writers() -> None:
    assert KINDS["run"].marks == (SETTINGS_FILE,)
    assert KINDS["scores"].marks == (_SCORES_FILE,)
    results = KINDS["results"]
    assert {*results.marks, *results.others} == {FITS_FILE, *RESULTS}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    (tmp_path / "set" / "plan").mkdir(parents=True)
    for name in ("dataset.json", "LICENSES.md", "plan/units.jsonl"):
        (tmp_path / "set" / name).write_text("theirs")
    return tmp_path / "set"


def test_train(dataset: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"the folder of a dataset, as dataset\.json in it shows"):
        require_own_folder(str(dataset), "run")


def test_evaluate(dataset: Path, tmp_path: Path) -> None:
    command = parse_evaluate_flags(
        [f"--run={tmp_path}/run", f"--data={tmp_path}/data", f"--output={dataset}"], ""
    )
    with pytest.raises(InvalidInputError, match="the folder of a dataset"):
        evaluate(command)


def test_downstream(dataset: Path, tmp_path: Path) -> None:
    command = parse_downstream_flags([f"--patches={tmp_path}/tiles", f"--output={dataset}"], "")
    with pytest.raises(InvalidInputError, match=r"results of downstream would overwrite its LICENSES\.md"):
        downstream(command)
    assert {it.name: it.read_text() for it in dataset.iterdir() if it.is_file()} == dict.fromkeys(
        ("dataset.json", "LICENSES.md"), "theirs"
    )
