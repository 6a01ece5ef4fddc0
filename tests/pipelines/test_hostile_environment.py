"""Commands in an environment in which little is as programs expect it: what they write is the same."""

import subprocess
import sys
from pathlib import Path

import pytest

from beam_pipeline.preview import main as preview
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.select_cells import main as select_cells
from tests.hostile_environment import hostile_environment
from tests.pipelines.conftest import Built, flags
from tests.pipelines.test_resume import contents

ROOT = Path(__file__).resolve().parents[2]

TWO = """
import sys
from beam_pipeline import build_dataset, preview

sys.exit(build_dataset.main(sys.argv[2:]) or preview.main([sys.argv[-1], "--output", sys.argv[1]]))
"""


def run(folder: Path, *command: str) -> str:
    """Runs Python in the hostile environment; it must end well, and whole. Returns what it said."""
    environment = hostile_environment(folder / "hostile")
    ran = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_a_build_and_its_preview(world: SampleWorld, built: Built, tmp_path: Path) -> None:
    picture, expected = tmp_path / "preview.png", tmp_path / "expected.png"
    run(tmp_path, "-c", TWO, str(picture), *flags(world, tmp_path / "set"))
    assert contents(tmp_path / "set") == contents(built.folder)
    assert preview([str(built.folder), "--output", str(expected)]) == 0
    assert picture.read_bytes() == expected.read_bytes()


@pytest.mark.slow
def test_the_sample_of_a_user_without_home(tmp_path: Path) -> None:
    command = ("-m", "beam_pipeline.build_dataset", "--sample", "--sample_cells", "24", "--output")
    run(tmp_path, *command, str(tmp_path / "set"))
    run(tmp_path, *command, str(tmp_path / "set"))  # finds its cache
    run(tmp_path, "-m", "beam_pipeline.verify", str(tmp_path / "set"))
    training = ("--data", str(tmp_path / "set"), "--preset", "tiny", "--epochs", "1", "--width", "tiny")
    run(tmp_path, "model_tf/train.py", *training, "--output", str(tmp_path / "run"))
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert int(rows[1].split(",")[1]) > 1  # steps: KERAS_MAX_STEPS_PER_EPOCH is 1


@pytest.mark.slow
def test_a_selection_and_its_map(world: SampleWorld, tmp_path: Path) -> None:
    argv = [
        *("--night_lights", ",".join(map(str, world.night_lights))),
        *("--land_cover", str(world.land_cover)),
        *(f"--area={world.region}", "--plot"),
    ]
    run(tmp_path, "-m", "beam_pipeline.select_cells", *argv, "--output", str(tmp_path / "cells"))
    assert select_cells([*argv, "--output", str(tmp_path / "expected")]) == 0
    for name in ("spatial_cell_info.csv", "spatial_cell_info.json", "spatial_cell_info.png"):
        assert (tmp_path / "cells" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()
