"""Settings of AWS, which are no business of what asks GDAL for local files."""

import os
import subprocess
import sys

import pytest

from beam_pipeline.runtime.gdal_drivers import gdal_options, rasterio
from tests.hostile_environment import NO_AWS


def test_keys_of_aws_open_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context of rasterio itself ends with a traceback of boto3's where the profile is not there."""
    for name, value in NO_AWS.items():
        monkeypatch.setenv(name, value)
    with gdal_options(GDAL_CACHEMAX=1 << 20) as env, rasterio.MemoryFile() as memory:
        assert env.options["GDAL_CACHEMAX"] == 1 << 20
        assert memory.name


def test_rasterio_is_imported_whatever_the_settings_of_aws() -> None:
    """Some programs import it before they can catch an error."""
    code = "import beam_pipeline.runtime.gdal_drivers"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **NO_AWS}, check=True, timeout=60)
