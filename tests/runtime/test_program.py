import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ProfileNotFound

from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.program import run_program


def failing(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


def behind(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/out/x")

OF_A_DISK = {
    "full": FULL,
    "read-only": OSError(errno.EROFS, os.strerror(errno.EROFS)),
    "over the quota": OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    "not allowed": PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/out/x"),
    "gone": OSError(errno.EIO, os.strerror(errno.EIO)),
    "a fault of ours": PermanentFault("storage", "cannot write /out/x"),
    "one that may pass": TransientFault("storage", "cannot write /out/x"),
    "in words of TensorFlow": ValueError("/out/x; No space left on device"),
    "in words of HDF5": RuntimeError(
        "Can't write data (file write failed: errno = 28, No space left on device)"
    ),
    "in words of Beam": RuntimeError(
        "Traceback\n  x.Fault: storage: cannot write /out/x [while running 'Close']"
    ),
    "behind another": behind(ValueError("cannot save"), FULL),
}


@pytest.mark.parametrize("how", OF_A_DISK)
def test_a_disk_that_fails_gets_a_sentence_and_the_advice(
    how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(failing(OF_A_DISK[how]), interrupted="") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the storage cannot be used any more: ")
    assert line.endswith(f"(temporary files lie in {tempfile.gettempdir()}), the same command goes on")
    assert "while running" not in line


@pytest.mark.parametrize("error", [InvalidInputError("--x is wrong"), PermanentFault("corrupt", "/in/x")])
def test_bad_input_gets_a_sentence(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(failing(error), interrupted="") == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_aws_settings_that_boto3_refuses_get_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Rasterio asks boto3 where AWS keys are in the environment."""
    assert run_program(failing(ProfileNotFound(profile="nobody")), interrupted="") == 2
    assert "AWS settings cannot be used: The config profile (nobody)" in capsys.readouterr().err


def test_a_fault_of_the_program_is_no_disk() -> None:
    with pytest.raises(ZeroDivisionError):
        run_program(lambda: 1 // 0, interrupted="")


def test_a_current_folder_that_is_gone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run_program(lambda: 0, interrupted="") == 2
    assert "The current folder cannot be used" in capsys.readouterr().err


def test_no_folder_for_temporary_files_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/dev/null/none"])
    assert run_program(lambda: 0, interrupted="") == 2
    assert "TMPDIR" in capsys.readouterr().err


INTERRUPTED = """
import os, signal
from beam_pipeline.runtime.program import run_program

def work():
    print("scored", end="")
    os.kill(os.getpid(), signal.SIGINT)

run_program(work, interrupted="given again, the same command scores anew")
"""

TWICE = """
import os, signal
from beam_pipeline.runtime.program import run_program
from model_tf.training.stopping import StopRequest

def work():
    os.kill(os.getpid(), signal.SIGINT)
    assert request.is_made
    os.kill(os.getpid(), signal.SIGINT)

request = StopRequest()
with request.listening():
    run_program(work, interrupted=None)
"""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (INTERRUPTED, "the same command scores anew"),
        (TWICE, "the same command goes on from the last checkpoint"),
    ],
)
def test_ctrl_c_ends_at_once_and_loses_nothing_that_was_said(source: str, said: str) -> None:
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert ended.returncode == 130
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ("scored" in ended.stdout) == (source is INTERRUPTED)
