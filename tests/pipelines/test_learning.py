"""A built dataset can be trained on; the whole way, from the sample to scores, is opt-in: `pytest -m slow`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.build_dataset import main as build_dataset
from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.imagery.image import BANDS_10
from beam_pipeline.preview import main as preview
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.sample_world import SampleWorld
from model_tf.data.batches import make_dataset
from model_tf.data.info import load_info
from model_tf.evaluate import main as evaluate
from model_tf.train import main as train
from tests.pipelines.conftest import Built, build

LEAST_AUC = {"wooded": 0.8, "water": 0.7}
"""Far above chance, which is 0.5. Seeds 0, 1 and 2 had 0.91 and more for wooded, 0.84 and more for water."""


@pytest.mark.parametrize("split", SPLITS)
def test_a_build_is_what_training_takes(built: Built, split: str) -> None:
    info = load_info(str(built.folder))
    examples = {
        (example.cell.cell_id, example.year): example
        for example in built.examples()
        if example.cell.split == split
    }
    statistics = [built.dataset["bands"][band] for band in BANDS_10]
    mean, variance = (np.array([it[key] for it in statistics]) for key in ("mean", "variance"))
    batches = list(
        make_dataset(
            info, split, pairs_per_batch=1, statistics=info.statistics, with_ids=True
        ).as_numpy_iterator()
    )
    assert len(batches) == len(examples) > 0
    for x, y, ids in batches:
        example = examples.pop((ids["cell_id"][0], ids["year"][0]))
        for slot, image in enumerate(example.images):
            assert ids["slot"][slot] == slot
            np.testing.assert_array_equal(y[slot], example.label)
            reflectance = (image.gsd_10.astype(float) + image.boa_add_offset) / 10_000
            expected = (reflectance - mean) / np.sqrt(variance)
            np.testing.assert_allclose(x["gsd_10"][slot], expected, atol=1e-4)
    assert not examples


def test_a_build_without_its_description_goes_on_as_advised(
    built: Built, world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(built.folder, tmp_path / "set"))
    (folder / "dataset.json").unlink()
    assert preview([str(folder)]) == 2
    assert "One that was stopped goes on with the same command" in capsys.readouterr().err
    with pytest.raises(InvalidInputError, match="a build that was stopped goes on with the same command"):
        load_info(str(folder))
    assert build(world, folder).code == 0
    assert load_info(str(folder)).fingerprint == load_info(str(built.folder)).fingerprint


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """The sample as the README builds it, of 50 cells."""
    folder = tmp_path / "set"
    assert build_dataset(["--sample", "--output", str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_tiny_learns_the_sample(sample, tmp_path) -> None:
    run = tmp_path / "run"
    assert train(["--data", str(sample), "--preset", "tiny", "--output", str(run), "--epochs", "5"]) == 0
    assert evaluate(["--run", str(run), "--data", str(sample), "--checkpoint", "last"]) == 0
    scores = json.loads((run / "evaluation" / "scores.json").read_text())
    assert scores["data"]["cells"] == 7
    auc = {name: scores["categories"][name]["auc"] for name in LEAST_AUC}
    assert all(auc[name] >= least for name, least in LEAST_AUC.items()), auc
