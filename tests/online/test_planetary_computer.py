"""Asks the real Planetary Computer. Opt in with -m online."""

import pytest

from beam_pipeline.imagery.catalog import check_catalog
from beam_pipeline.imagery.catalog_probe import probe_catalog
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.file_keys import FileKeys
from beam_pipeline.imagery.sas_tokens import PLANETARY_COMPUTER_TOKENS
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.traffic import Traffic

pytestmark = pytest.mark.online

URL = "https://planetarycomputer.microsoft.com/api/stac/v1"
FILE = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/32/T/NT/a.tif"
TILE_YEARS = [("32TNT", 2020)]  # Liechtenstein


def test_it_gives_tokens() -> None:
    settings = CatalogSettings(URL, "sentinel-2-l2a")
    assert settings.sas_endpoint == PLANETARY_COMPUTER_TOKENS
    assert "sig=" in FileKeys(settings).find(FILE).query


def test_its_images_are_opened() -> None:
    settings = CatalogSettings(URL, "sentinel-2-l2a")
    assert check_catalog(settings).kind == "api"
    probe_catalog(settings, TILE_YEARS, Traffic(), Traffic())


def test_its_images_are_not_opened_without_a_token() -> None:
    """Its endpoint of tokens gives none for a container that is not there."""
    settings = CatalogSettings(URL, "sentinel-2-l2a", sas_token_url=f"{PLANETARY_COMPUTER_TOKENS}/none")
    with pytest.raises(InvalidInputError, match="no_token"):
        probe_catalog(settings, TILE_YEARS, Traffic(), Traffic())
