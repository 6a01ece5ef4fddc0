"""The command line of train.py, and how it is run."""

import subprocess
import sys
from pathlib import Path

import pytest

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.training.flags import parse_flags
from model_tf.training.settings import PRESETS, TrainSettings

ROOT = Path(__file__).resolve().parents[3]


def parse(*argv: str) -> TrainSettings:
    return parse_flags(["--data", "set", *argv], "").settings


def test_without_flags_it_is_the_preset() -> None:
    command = parse_flags(["--data", "set"], "")
    assert (command.data, command.output, command.settings) == ("set", "out/run", PRESETS["paper"]())
    assert parse("--preset", "tiny") == PRESETS["tiny"]()


def test_flags_override_the_preset() -> None:
    settings = parse(
        *("--preset", "tiny", "--width", "w32", "--epochs", "7", "--warmup_epochs", "1.5", "--no-augment"),
        *("--class_weights", "road=2,building=1.5", "--precision", "bfloat16", "--seed", "3"),
    )
    assert (settings.width, settings.epochs, settings.warmup_epochs, settings.seed) == ("w32", 7, 1.5, 3)
    assert (settings.augment, settings.deterministic, settings.precision) == (False, True, "bfloat16")
    assert settings.class_weights == (("road", 2.0), ("building", 1.5))
    assert settings.peak_rate == PRESETS["tiny"]().peak_rate


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--epochs", "many"], "argument --epochs: invalid int value: 'many'. See --help."),
        (["--epoch_count", "3"], "Unknown flags: --epoch_count"),
        (["--preset", "huge"], "argument --preset: invalid choice: 'huge'"),
        (["--width", "w64"], "--width is one of w18, w32, w48, tiny. Received: w64"),
        (["--class_weights", "road:2"], "must be like road=2,building=1.5. Received: road:2"),
        (["--epochs", "5"], "--warmup_epochs must be at least 0 and below 5. Received: 10.0"),
        (["--save_every", "0"], "--save_every must be at least 1. Received: 0"),
        (["--tpu", "local"], "--tpu goes with --strategy tpu. Received: --tpu local"),
    ],
)
def test_what_cannot_be_is_refused(argv: list[str], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        parse(*argv)


def test_data_must_be_given() -> None:
    with pytest.raises(InvalidInputError, match="required: --data"):
        parse_flags([], "")


@pytest.mark.parametrize("command", [["model_tf/train.py"], ["-m", "model_tf.train"]])
def test_help_comes_without_tensorflow_or_keras(command: list[str]) -> None:
    """Run both ways from the repository's root; help and flags need nothing that is slow to import."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command, "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0
    for name in ("--pairs_per_batch", "preset paper:", "preset tiny:", "Exit codes"):
        assert name in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"tensorflow", "keras", "apache_beam"}


def test_bad_flags_end_with_2_and_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "model_tf/train.py", "--data", "set", "--epochs", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --epochs must be at least 1. Received: 0\n"
