"""Settings of AWS that boto3 refuses, where rasterio would ask it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from beam_pipeline.build_dataset import main as build
from beam_pipeline.runtime.gdal_drivers import gdal_options, rasterio
from beam_pipeline.sample_world.__main__ import main as sample_world

REFUSED = {"AWS_PROFILE": "nobody", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}

REFUSAL = "AWS settings cannot be used: The config profile (nobody) could not be found. Mend or unset them"


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in REFUSED.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("refused")
def test_reading_opens_no_session() -> None:
    with gdal_options(GDAL_CACHEMAX=1 << 20) as env, rasterio.MemoryFile() as memory:
        assert env.options["GDAL_CACHEMAX"] == 1 << 20
        assert memory.name


def test_rasterio_is_imported() -> None:
    """Some programs import it before they can catch an error."""
    code = "import beam_pipeline.runtime.gdal_drivers"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **REFUSED}, check=True, timeout=60)


@pytest.mark.usefixtures("refused")
def test_what_draws_says_so_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needed = ["--cells=c.csv", "--stac_url=c.json", "--osm=m.osm.pbf", "--years=2021"]
    made = sample_world(["--cells=1", f"--output={tmp_path}/world"])
    built = build([*needed, f"--output={tmp_path}/set"])
    said = capsys.readouterr().err.splitlines()
    assert (made, built) == (2, 2)
    assert said == [f"error: {REFUSAL}"] * 2
    assert not list(tmp_path.iterdir())
