"""The loop of docs/pytorch.md trains. Skipped where PyTorch is absent."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install -r tests/requirements-torch.txt")

ROOT = Path(__file__).resolve().parents[2]
(CODE,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "pytorch.md").read_text(), re.DOTALL)


def losses_of(tmp_path: Path, folder: str, epochs: int) -> list[tuple[float, float]]:
    """Runs the loop in a folder of its own; returns what it says of each epoch: training and validation."""
    settings = 'FOLDER, EPOCHS, WORKERS = "out/sample", 10, 2'
    assert CODE.count(settings) == 1
    (tmp_path / "loop.py").write_text(
        CODE.replace(settings, f"FOLDER, EPOCHS, WORKERS = {folder!r}, {epochs}, 2")
    )
    done = subprocess.run(
        [sys.executable, "loop.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^epoch \d+: training ([\d.]+), validation ([\d.]+)$", done.stdout, re.MULTILINE)
    assert len(rows) == epochs
    return [(float(training), float(validation)) for training, validation in rows]


def test_it_learns_a_made_up_dataset(dataset_folder, tmp_path):
    losses = losses_of(tmp_path, dataset_folder, 4)
    assert losses[-1][0] < 0.8 * losses[0][0]


@pytest.mark.slow
def test_it_learns_the_sample(sample, tmp_path):
    losses = losses_of(tmp_path, sample, 10)
    assert losses[-1][0] < 0.7 * losses[0][0]
    assert losses[-1][1] < losses[0][1]
