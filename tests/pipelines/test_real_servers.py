"""The sample world on servers that others wrote: a STAC API of rustac, one of pgstac, and COGs on nginx.

    python -m pytest -m "servers or not servers" tests/pipelines/test_real_servers.py

An S3 endpoint is in test_s3.py; Overpass, of which no server can be installed here, in test_overpass_build.py.
"""

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from beam_pipeline.build_dataset import main
from beam_pipeline.imagery import api_probe
from beam_pipeline.sample_world import SampleWorld
from tests.imagery.range_server import RangeServer
from tests.imagery.stac_server import Item
from tests.pipelines.conftest import Built, flags
from tests.pipelines.real_servers import nginx, pgstac, rustac

WHOLE_WORLD = [-180.0, -90.0, 180.0, 90.0]
RING = [[-180.0, -90.0], [180.0, -90.0], [180.0, 90.0], [-180.0, 90.0], [-180.0, -90.0]]


def items_of(world: SampleWorld, assets_at: str) -> list[Item]:
    """The world's items as an API has them: no links, absolute hrefs.

    Those of one tile claim the whole world for their footprint, as items at the antimeridian do.
    """
    items = []
    for path in sorted(world.stac_catalog.parent.glob("sentinel-2-l2a/*/*.json")):
        item = json.loads(path.read_text())
        item["links"] = []
        for asset in item["assets"].values():
            asset["href"] = f"{assets_at}/sentinel-2-l2a/{path.parent.name}/{Path(asset['href']).name}"
        if "_24STJ_" in item["id"]:
            item["bbox"] = WHOLE_WORLD
            item["geometry"] = {"type": "Polygon", "coordinates": [RING]}
        items.append(item)
    return items


def check_same(built: Built, world: SampleWorld, url: str, output: Path) -> None:
    """Builds from an API and compares with the static catalogue of the same items."""
    after = Built(output, main([*flags(world, output), "--stac_url", url, "--collection", "sentinel-2-l2a"]))
    assert after.code == 0
    assert after.dead_letters == []
    assert after.shards == built.shards
    described, expected = (without_catalogue(it.dataset) for it in (after, built))
    assert described == expected


def without_catalogue(dataset: Mapping[str, Any]) -> dict[str, Any]:
    same = copy.deepcopy(dict(dataset))
    del same["fingerprint"]["catalogue"]
    return same


def listed(world: SampleWorld, files: RangeServer) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": items_of(world, files.url("").rstrip("/"))}


def test_rustac_has_no_query_and_gives_the_same(
    built: Built, world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked by bounds, page by page; half of what it finds are items of another tile."""
    monkeypatch.setattr(api_probe, "PAGE_SIZE", 7)
    with RangeServer(world.stac_catalog.parent) as files, rustac(listed(world, files), tmp_path) as url:
        tile = {"collections": ["sentinel-2-l2a"], "query": {"grid:code": {"eq": "MGRS-24STJ"}}}
        answer = requests.post(f"{url}/search", json=tile, timeout=10)
        # No error: whoever trusts it has gaps in place of tiles. What it says of itself is the truth.
        assert (answer.status_code, answer.json()["features"]) == (200, [])
        assert not any("query" in name for name in requests.get(url, timeout=10).json()["conformsTo"])
        check_same(built, world, url, tmp_path / "set")


def test_a_collection_that_holds_nothing_is_found_before_launch(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collection = json.loads((world.stac_catalog.parent / "sentinel-2-l2a" / "collection.json").read_text())
    with rustac(collection | {"links": []}, tmp_path) as url:
        output = tmp_path / "set"
        assert main([*flags(world, output), "--stac_url", url, "--collection", "sentinel-2-l2a"]) == 2
    assert "finds no item of that collection" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.servers
def test_pgstac_and_nginx_give_the_same(
    built: Built, world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked by query, page by page; nginx sends the ranges."""
    monkeypatch.setattr(api_probe, "PAGE_SIZE", 7)
    root = world.stac_catalog.parent
    collection = json.loads((root / "sentinel-2-l2a" / "collection.json").read_text()) | {"links": []}
    with nginx(root, tmp_path) as files, pgstac(items_of(world, files), collection, tmp_path) as url:
        assert any(name.endswith("#query") for name in requests.get(url, timeout=10).json()["conformsTo"])
        check_same(built, world, url, tmp_path / "set")
    asked = re.findall(r"^(\w+) (\S+\.tif) (\d+) \d+ \"(\S+)\"", (tmp_path / "access.log").read_text(), re.M)
    assert len(asked) > 100
    # Every request is for a range of a raster, or for its size: no whole file, no look for a sidecar.
    assert {(method, status) for method, _, status, _ in asked} == {("GET", "206"), ("HEAD", "200")}
    assert all(span.startswith("bytes=") == (method == "GET") for method, _, _, span in asked)
    everything = (tmp_path / "access.log").read_text().splitlines()
    assert len(everything) - len(asked) <= 1  # the one that waited for it to start
