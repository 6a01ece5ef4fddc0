import pytest

from beam_pipeline.runtime.gdal_drivers import gdal_options, rasterio


def test_keys_of_aws_open_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context of rasterio itself ends with a traceback of boto3's where the profile is not there."""
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("PROFILE", "nobody")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with gdal_options(GDAL_CACHEMAX=1 << 20) as env, rasterio.MemoryFile() as memory:
        assert env.options["GDAL_CACHEMAX"] == 1 << 20
        assert memory.name
