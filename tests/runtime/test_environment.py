import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from beam_pipeline.runtime.cache import cache_folder
from beam_pipeline.runtime.environment import OF_PROGRAMS, OF_RASTERS, settle_environment, settle_rasters
from beam_pipeline.runtime.faults import InvalidInputError

HOSTILE = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "KERAS_HOME": "/home/u/.keras",
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "JAX_ENABLE_X64": "1",
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
    "GDAL_CONFIG_FILE": "/home/u/.gdal/gdalrc",
    "GDAL_DATA": "/opt/conda/share/gdal",
    "PROJ_LIB": "/opt/conda/share/proj",
    "PROJ_DATA": "/opt/conda/share/proj",
    "PROJ_NETWORK": "ON",
    "PROJ_ONLY_BEST_DEFAULT": "YES",
    "GTIFF_POINT_GEO_IGNORE": "YES",
    "GDAL_NETCDF_BOTTOMUP": "NO",
    "GDAL_DRIVER_PATH": "/opt/plugins",
    "OSR_DEFAULT_AXIS_MAPPING_STRATEGY": "AUTHORITY_COMPLIANT",
    "CPL_VSIL_CURL_USE_HEAD": "NO",
    "TF_DETERMINISTIC_OPS": "x",
    "TF_CUDNN_DETERMINISTIC": "1",
    "TF_ENABLE_AUTO_MIXED_PRECISION": "1",
    "TF_NUM_INTEROP_THREADS": "many",
    "TF_NUM_INTRAOP_THREADS": "-5",
}

THE_USERS = {
    "GDAL_HTTP_PROXY": "http://proxy:3128",
    "GDAL_CURL_CA_BUNDLE": "/etc/ssl/our.pem",
    "GDAL_HTTP_BEARER": "token",
    "CPL_GS_CREDENTIALS_FILE": "/home/u/.boto",
    "CPL_DEBUG": "ON",
    "GDAL_NUM_THREADS": "2",
    "PROJ_CURL_CA_BUNDLE": "/etc/ssl/our.pem",
    "http_proxy": "http://proxy:3128",
    "AWS_PROFILE": "mine",
    "GOOGLE_APPLICATION_CREDENTIALS": "/home/u/key.json",
    "CUDA_VISIBLE_DEVICES": "1",
    "TF_CONFIG": "{}",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    "OMP_NUM_THREADS": "1",
    "TMPDIR": "/scratch",
    "HOME": "/home/u",
}


def test_what_could_change_a_result_is_ours_and_the_rest_the_users() -> None:
    environment = {**HOSTILE, **THE_USERS}
    settle_environment(environment)
    local = "localhost,127.0.0.1,::1"
    assert environment == {**THE_USERS, **OF_PROGRAMS, **OF_RASTERS, "no_grpc_proxy": local}
    before = dict(environment)
    settle_environment(environment)
    assert environment == before


def test_a_program_of_others_keeps_what_rasters_do_not_need() -> None:
    environment = {**HOSTILE, **THE_USERS}
    settle_rasters(environment)
    others = (
        "MPLBACKEND",
        "KERAS_HOME",
        "KERAS_MAX_STEPS_PER_EPOCH",
        "TF_ENABLE_ONEDNN_OPTS",
        "JAX_ENABLE_X64",
    )
    assert {name: environment[name] for name in others} == {name: HOSTILE[name] for name in others}
    assert "GTIFF_POINT_GEO_IGNORE" not in environment


def test_a_number_of_threads_is_the_users() -> None:
    environment = {"TF_NUM_INTRAOP_THREADS": "2"}
    settle_environment(environment)
    assert environment["TF_NUM_INTRAOP_THREADS"] == "2"


def test_what_a_user_reaches_directly_stays_so() -> None:
    environment = {"no_proxy": "inner.example,localhost"}
    settle_environment(environment)
    assert environment["no_grpc_proxy"] == "inner.example,localhost,127.0.0.1,::1"


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files of a user who has no other."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/dev/null/none")  # where nobody, root included, can write
    return tmp_path


@pytest.mark.parametrize("given", ["", "a/relative/folder"])
def test_the_cache_of_a_user_whose_home_cannot_be_written(
    nobody: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    folder = nobody / f"opensentinelmap-{os.getuid()}"
    assert cache_folder("x") == cache_folder("x") == folder / "x"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_cache_of_a_user_without_home_and_name(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    assert cache_folder("x").parent.parent == nobody


def test_a_cache_that_somebody_else_laid_out_is_refused(nobody: Path) -> None:
    (nobody / f"opensentinelmap-{os.getuid()}").symlink_to(nobody)
    with pytest.raises(InvalidInputError, match="XDG_CACHE_HOME"):
        cache_folder("x")


TELLS = """
import os, sys
from beam_pipeline.runtime.streams import settle_streams
settle_streams()
print("30 \\u00d7 30 m", flush=True)
print("said", file=sys.stderr)
opened = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(1, b"a C library\\n")
os.write(2, b"a C library\\n")
sys.exit(7)
"""


def tell(tmp_path: Path, redirections: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program that says something, in a shell with redirections; it must end with its own exit code."""
    command = f'exec {sys.executable} -c "$TELLS" {tmp_path}/opened {redirections}'
    ran = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "TELLS": TELLS, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 7, ran.stderr
    assert (tmp_path / "opened").read_bytes() == b""
    return ran


def test_what_an_encoding_lacks_is_written_by_its_number(tmp_path: Path) -> None:
    assert tell(tmp_path, "", PYTHONIOENCODING="ascii").stdout == "30 \\xd7 30 m\na C library\n"


@pytest.mark.parametrize("redirections", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_lead_into_no_file(tmp_path: Path, redirections: str) -> None:
    tell(tmp_path, redirections)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_said_and_ends_nothing(tmp_path: Path) -> None:
    source = TELLS.replace('os.write(1, b"a C library\\n")\n', "")
    said = tell(tmp_path, "> /dev/full", TELLS=source).stderr
    assert "warning: stdout cannot be written: No space left on device" in said
    tell(tmp_path, "2> /dev/full", TELLS=source.replace('os.write(2, b"a C library\\n")\n', ""))


def test_a_reader_that_left_ends_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    source = TELLS.replace('os.write(1, b"a C library\\n")\n', "")
    with os.fdopen(writing, "wb") as gone:
        ran = subprocess.run(
            [sys.executable, "-c", source, tmp_path / "opened"],
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ran.returncode == 7
    assert b"warning" not in ran.stderr


@pytest.mark.parametrize("unbuffered", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_what_is_said_to_stderr_is_said_at_once(unbuffered: dict[str, str]) -> None:
    """Also where images of containers have asked for unbuffered streams."""
    program = """
import os, sys
from beam_pipeline.runtime.streams import settle_streams
settle_streams()
print("said", file=sys.stderr)
os._exit(0)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, **unbuffered},
        capture_output=True,
        check=True,
        text=True,
    )
    assert ran.stderr == "said\n"
