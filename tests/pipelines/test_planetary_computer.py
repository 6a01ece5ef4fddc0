"""A dataset from a double of the Planetary Computer, whose tokens expire while it is built."""

import copy
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline.build_dataset import main
from beam_pipeline.imagery.stac_item import EARTH_SEARCH_V0_KEYS, EARTH_SEARCH_V1_KEYS
from beam_pipeline.sample_world import SampleWorld
from tests.imagery.blob_storage import CONTAINER, HOST, SIGNATURE, Answer, Azure, blob_storage
from tests.imagery.stac_server import Item, StacServer
from tests.pipelines.conftest import Built, flags
from tests.pipelines.hosts import serving
from tests.security.made_web import MadeWeb, made_web

__all__ = ["made_web"]  # a fixture

pytestmark = pytest.mark.usefixtures("quick_retries")

USES = 40
"""Requests for which a token is good."""


def as_planetary_computer(items: list[Item]) -> list[Item]:
    """Items with the asset keys and the hosts of the Planetary Computer."""
    made = []
    for item in copy.deepcopy(items):
        assets = item["assets"]
        item["assets"] = {
            EARTH_SEARCH_V0_KEYS[band]: assets[key]
            for band, key in EARTH_SEARCH_V1_KEYS.items()
            if key in assets
        }
        for asset in item["assets"].values():
            asset["href"] = (
                f"https://{HOST}/{CONTAINER}/" + asset["href"].partition("://")[2].partition("/")[2]
            )
        made.append(item)
    return made


@pytest.fixture
def azure(
    world: SampleWorld, tmp_path: Path, made_web: MadeWeb, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Azure]:
    (tmp_path / CONTAINER).symlink_to(world.stac_catalog.parent)
    (tmp_path / "certificates").mkdir()
    with blob_storage(tmp_path, made_web, monkeypatch, tmp_path / "certificates") as served:
        yield served


@pytest.fixture
def api(world: SampleWorld) -> Iterator[StacServer]:
    with serving(world) as hosts, StacServer(as_planetary_computer(hosts.api.items)) as served:
        yield served


@pytest.fixture
def few(world: SampleWorld, tmp_path: Path) -> list[str]:
    """The flags of a build of a few cells."""
    cells = tmp_path / "cells.csv"
    cells.write_text("".join(world.cells_csv.read_text().splitlines(keepends=True)[:3]))
    return ["--cells", str(cells)]


def test_tokens_that_expire_change_nothing_and_are_left_nowhere(
    built: Built,
    world: SampleWorld,
    azure: Azure,
    api: StacServer,
    few: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    azure.tokens.uses = USES
    azure.tokens.faults = [Answer(429, headers={"Retry-After": "0"}), Answer(503)]
    for name in ("urllib3", "rasterio", "beam_pipeline"):
        caplog.set_level(logging.DEBUG, name)
    output = tmp_path / "set"
    more = [*few, "--stac_url", api.url, "--sas_token_url", azure.tokens.url]
    hit = Built(output, main([*flags(world, output), *more]))

    assert hit.code == 0
    assert hit.dead_letters == []
    assert hit.records() == {key: built.records()[key] for key in hit.records()}
    assert len(hit.records()) > 1
    assert azure.files.refused, "tokens expired"
    # One at a time for the whole process, and no more than expire.
    assert len(azure.tokens.asked) <= len(azure.files.refused) + 3
    assert {sent for _, sent in azure.tokens.asked} == {None}
    out, err = capfd.readouterr()
    assert HOST in caplog.text
    leaks = [path for path in output.rglob("*") if path.is_file() and SIGNATURE.encode() in path.read_bytes()]
    leaks += [line for text in (out, err, caplog.text) for line in text.splitlines() if SIGNATURE in line]
    assert leaks == []
    assert any(HOST in path.read_text() for path in output.glob("scenes/*.json"))


def test_files_that_need_a_token_are_found_out_before_launch(
    world: SampleWorld, azure: Azure, api: StacServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "set"
    assert main([*flags(world, output), "--stac_url", api.url]) == 2
    said = capsys.readouterr().err
    assert "HTTP 409" in said
    assert "give --sas_token_url" in said
    assert not output.exists()
