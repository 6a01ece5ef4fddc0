"""Keys, passwords and signatures are used where they must be, and are found nowhere afterwards."""

import base64
import copy
import json
import logging
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.build_dataset import main
from beam_pipeline.sample_world import SampleWorld
from tests.imagery.range_server import Injected, RangeServer, _Handler
from tests.imagery.stac_server import Fault, Item, StacServer
from tests.pipelines.conftest import Built, build, flags
from tests.pipelines.hosts import Hosts, serving

pytestmark = pytest.mark.usefixtures("quick_retries")

USER, PASSWORD, KEY = "api-user-1701", "api-p@ss/word-1701", "api-key-1701"
ASSET_PASSWORD, SIGNATURE = "asset-password-1701", "signature-1701"
SECRETS = (USER, PASSWORD, urllib.parse.quote(PASSWORD, safe=""), KEY, ASSET_PASSWORD, SIGNATURE)
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class _SignedFile(_Handler):
    def _answer(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        if query.get("X-Amz-Signature", [""])[0] in self.server.valid:
            super()._answer()
        else:
            self.server.unsigned += 1
            self._refuse(self.path, 0, 0, 403, {})


class SignedFiles(RangeServer):
    """Gives files to those alone who bring a signature that has not expired."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.RequestHandlerClass = _SignedFile
        self.valid: set[str] = set()
        self.unsigned = 0


class SignedApi(StacServer):
    """Wants user, password and key; signs every href anew in each answer."""

    def __init__(self, items: list[Item]) -> None:
        super().__init__(items)
        self.valid: set[str] = set()
        self.refused = 0
        self.answers = 0

    @property
    def secret_url(self) -> str:
        password = urllib.parse.quote(PASSWORD, safe="")
        return self.url.replace("://", f"://{USER}:{password}@") + f"?key={KEY}"

    def _answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query)
        if query.get("key") != [KEY] or handler.headers.get("Authorization") != f"Basic {BASIC}":
            self.refused += 1
            self._send(handler, 401, json.dumps({"asked": f"{self.url}{handler.path}"}))
        else:
            super()._answer(handler, body)

    def search(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self.answers += 1
        signature = f"{SIGNATURE}-{self.answers}"
        self.valid.add(signature)
        page = copy.deepcopy(super().search(method, parameters))
        for item in page["features"]:
            for asset in item["assets"].values():
                href = asset["href"].replace("://", f"://reader:{ASSET_PASSWORD}@")
                asset["href"] = f"{href}?X-Amz-Signature={signature}&sig={SIGNATURE}%3D"
        return page


@pytest.fixture
def hosts(world: SampleWorld) -> Iterator[Hosts]:
    with serving(world, SignedFiles, SignedApi) as served:
        served.files.valid = served.api.valid
        yield served


@pytest.fixture
def few(world: SampleWorld, tmp_path: Path) -> list[str]:
    """The flags of a build of a few cells."""
    cells = tmp_path / "cells.csv"
    cells.write_text("".join(world.cells_csv.read_text().splitlines(keepends=True)[:3]))
    return ["--cells", str(cells)]


def leaks(folder: Path, *texts: str) -> list[str]:
    """Where a secret is found."""
    found = [
        f"{path.relative_to(folder)}: {secret}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for secret in SECRETS
        if secret.encode() in path.read_bytes()
    ]
    return found + [line for text in texts for line in text.splitlines() if any(s in line for s in SECRETS)]


def test_no_secret_is_left_anywhere_and_a_rerun_can_still_read(
    world: SampleWorld,
    hosts: Hosts,
    few: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    calm = build(world, tmp_path / "calm", *few)
    used = sorted({image.item_id for example in calm.examples() for image in example.images})
    gone, down = used[0], used[-1]
    hosts.files.inject(hosts.paths[gone, "nir"], Injected("status", 404))
    hosts.files.inject(hosts.paths[down, "green"], Injected("status", 503))
    for number, (_, path) in enumerate(sorted(hosts.paths.items())[::30]):
        hosts.files.inject(path, Injected(("truncate", "reset", "garble")[number % 3], times=1))
    echo = json.dumps({"message": f"slow down: {hosts.api.secret_url}"})
    hosts.api.faults += [Fault("/search", 500, echo), Fault("/search", 429, echo)]
    for name in ("urllib3", "pystac_client", "rasterio", "beam_pipeline"):
        caplog.set_level(logging.DEBUG, name)
    command = [*few, "--stac_url", hosts.api.secret_url, "--collection", hosts.collection]
    output = tmp_path / "set"

    hit = Built(output, main([*flags(world, output), *command]))

    assert hit.code == 1
    assert {note["reason"] for note in hit.dataset["unusable_scenes"]} >= {"not_found"}
    assert {letter["reason"] for letter in hit.dead_letters} == {"throttled"}
    assert hosts.api.refused == hosts.files.unsigned == 0
    assert any(path.read_text().count("http://127.0.0.1") for path in output.glob("scenes/*.json"))

    # The signatures of the first run are worth nothing any more: those of the stored lists are made anew.
    hosts.files.heal()
    hosts.api.valid.clear()
    for shard in output.glob("opensentinelmap-*"):
        shard.unlink()
    searched = len(hosts.api.searches)
    mended = Built(output, main([*flags(world, output), *command]))
    assert mended.code == 0
    assert mended.shards == calm.shards
    assert len(hosts.api.searches) > searched
    assert hosts.files.unsigned == 0

    out, err = capfd.readouterr()
    assert "HTTP/1.1" in caplog.text, "the libraries' own lines were looked at too"
    assert leaks(output, out, err, caplog.text) == []


def test_a_key_that_is_refused_is_not_shown(
    world: SampleWorld, hosts: Hosts, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for url in (
        hosts.api.secret_url.replace(KEY, KEY + "x"),
        f"http://{USER}:{KEY}@127.0.0.1:9/v1?key={KEY}",
    ):
        assert main([*flags(world, tmp_path / "set"), "--stac_url", url]) == 2
    out, err = capfd.readouterr()
    assert "HTTP 401" in err
    assert leaks(tmp_path, out, err) == []


def test_a_scene_that_the_catalogue_has_no_more_is_no_gap_that_another_fills(
    world: SampleWorld, hosts: Hosts, few: list[str], tmp_path: Path
) -> None:
    command = [*few, "--stac_url", hosts.api.secret_url, "--collection", hosts.collection]
    output = tmp_path / "set"
    assert main([*flags(world, output), *command]) == 0
    for shard in output.glob("opensentinelmap-*"):
        shard.unlink()
    hosts.api.items[:] = hosts.api.items[:1]
    lost = Built(output, main([*flags(world, output), *command]))
    assert lost.code == 1
    assert {letter["reason"] for letter in lost.dead_letters} == {"unsigned"}
