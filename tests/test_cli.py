"""The command `opensentinelmap`."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from beam_pipeline import __version__
from beam_pipeline.cli import COMMANDS, main


def test_help_and_version_import_nothing_slow() -> None:
    for flag, said in (("--help", "COMMAND --help lists"), ("--version", f"opensentinelmap {__version__}")):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "beam_pipeline.cli", flag],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0
        assert said in done.stdout
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert not imported & {"apache_beam", "numpy", "tensorflow", "keras"}


def test_every_command_is_listed_and_leads_to_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    for command, (module, does) in COMMANDS.items():
        assert re.search(rf"^    {command}\s", said, re.MULTILINE)
        assert does in said
        assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_shows_its_own_help_and_version(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: opensentinelmap {command} [-h]")
    with pytest.raises(SystemExit, match="0"):
        main([command, "--version"])
    assert capsys.readouterr().out == f"opensentinelmap {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ends_with_its_own_exit_code(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--no_such_flag"]) == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["build", "--sample", "--output", "out", "--years", "2021", "2022"],
        ["build", "--sample", "--output", "out", "-seed", "5"],
        ["select", "--night_lights", "a.tif", "b.tif", "--land_cover", "c.tif", "--output", "out"],
        ["verify", "out/a", "out/b"],
        ["preview", "out/a", "-rows", "3"],
        ["train", "--data", "out", "--seed", "1", "2"],
        ["evaluate", "--run", "out/run", "--data", "out", "--cells", "1", "2"],
        ["downstream", "--patches", "tiles", "--output", "out", "--columns", "1", "5"],
    ],
)
def test_a_word_that_belongs_to_no_flag_ends_every_command(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    assert "error: No flag takes: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_command_and_an_unknown_one_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["biuld"], ["--no_such_flag"], ["buil"]):
        with pytest.raises(SystemExit, match="2"):
            main(argv)
        assert "usage: opensentinelmap" in capsys.readouterr().err
