"""Images that are given to those alone who bring a token: expired ones are renewed, and no file is blamed."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.file_keys import FileKeys
from beam_pipeline.imagery.image import SCL
from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic
from tests.imagery.blob_storage import CONTAINER, SIGNATURE, Answer, Azure, blob_storage
from tests.imagery.made_cogs import EPSG, LEFT, TOP, write_cog
from tests.security.made_web import MadeWeb, made_web

__all__ = ["made_web"]  # a fixture

BANDS = ("B02", "B03", SCL)
CHIPS = [ChipWindow(EPSG, LEFT + 600 + 1500 * step, TOP - 3000 - 1500 * step) for step in range(3)]


@pytest.fixture
def made(tmp_path: Path) -> dict[str, np.ndarray]:
    """The pixels of each band's file."""
    folder = tmp_path / CONTAINER / tmp_path.name
    folder.mkdir(parents=True)
    return {band: write_cog(folder / f"{band}.tif", band, side_m=7200) for band in BANDS}


@pytest.fixture
def azure(
    made: dict[str, np.ndarray], tmp_path: Path, made_web: MadeWeb, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Azure]:
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    with blob_storage(tmp_path, made_web, monkeypatch, certificates) as served:
        yield served


def read(
    azure: Azure, folder: Path, attempts: int = 1, told: Traffic | None = None, signs: bool = True
) -> list:
    """Reads all chips, one band at a time."""
    settings = CatalogSettings("items", "c", sas_token_url=azure.tokens.url if signs else "")
    retry = RetryPolicy(attempts, 0.001, 0.001)
    told = told or Traffic()
    with SceneReader(1, retry, 5.0, traffic=told, keys=FileKeys(settings, retry, told)) as reader:
        assets = {band: azure.files.url(f"{CONTAINER}/{folder.name}/{band}.tif") for band in BANDS}
        return reader.read(assets, BANDS, CHIPS)


def check(answers: list, made: dict[str, np.ndarray]) -> None:
    for chip, answer in zip(CHIPS, answers, strict=True):
        assert not isinstance(answer, Fault), answer
        for band, pixel_m in (("B02", 10), ("B03", 10), (SCL, 20)):
            row, column = (TOP - chip.top) // pixel_m, (chip.left - LEFT) // pixel_m
            side = 1920 // pixel_m
            np.testing.assert_array_equal(answer[band], made[band][row : row + side, column : column + side])


def test_files_are_signed(azure: Azure, made: dict[str, np.ndarray], tmp_path: Path) -> None:
    check(read(azure, tmp_path), made)
    assert len(azure.tokens.asked) == 1
    assert azure.files.refused == []


@pytest.mark.parametrize("uses", range(4, 7))
def test_a_token_that_expires_in_the_middle_of_a_read_is_renewed(
    azure: Azure, made: dict[str, np.ndarray], tmp_path: Path, uses: int
) -> None:
    """Whatever the request at which it does, and without one further try."""
    azure.tokens.uses = uses
    told = Traffic()
    check(read(azure, tmp_path, attempts=1, told=told), made)
    assert azure.files.refused
    assert set(azure.files.refused) == {403}
    assert told.take_retried().keys() == {"forbidden"}


def test_a_token_that_is_about_to_expire_is_renewed_within_a_read(
    azure: Azure, made: dict[str, np.ndarray], tmp_path: Path
) -> None:
    azure.tokens.life_s = 1e-3  # so each step of reading wants another one
    check(read(azure, tmp_path), made)
    assert azure.files.refused == []
    assert len(azure.tokens.asked) > 3 * len(BANDS)


def test_a_file_that_is_refused_whatever_the_token_is_no_gap_that_another_date_fills(
    azure: Azure, tmp_path: Path
) -> None:
    azure.tokens.uses = 0
    answers = read(azure, tmp_path, attempts=2)
    for answer in answers:
        assert isinstance(answer, TransientFault)
        assert answer.reason == "forbidden"
        assert "HTTP 403" in answer.detail
        assert SIGNATURE not in "".join(traceback.format_exception(answer))
    # A new token a try and file.
    assert len(azure.tokens.asked) <= 1 + 2 * len(BANDS)


def test_without_token_a_file_is_refused_for_now(azure: Azure, tmp_path: Path) -> None:
    for answer in read(azure, tmp_path, signs=False):
        assert isinstance(answer, TransientFault)
        assert (answer.reason, answer.detail[-8:]) == ("forbidden", "HTTP 409")
    assert azure.tokens.asked == []


def test_an_endpoint_that_is_out_of_order_blames_no_file(azure: Azure, tmp_path: Path) -> None:
    azure.tokens.faults = [Answer(500)] * 100
    for answer in read(azure, tmp_path, attempts=2):
        assert isinstance(answer, TransientFault)
        assert answer.reason == "no_token"
    assert azure.files.requests == []
    assert len(azure.tokens.asked) == 2 * len(BANDS)


def test_a_file_that_is_not_there_is_missing_for_good(
    azure: Azure, made: dict[str, np.ndarray], tmp_path: Path
) -> None:
    (tmp_path / CONTAINER / tmp_path.name / "B03.tif").unlink()
    for answer in read(azure, tmp_path):
        assert isinstance(answer, PermanentFault)
        assert answer.reason == "not_found"
