"""STAC GeoParquet as a catalogue has the scenes of an API."""

import copy
import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.cells.mgrs_tiles import all_tiles
from beam_pipeline.imagery import parquet_catalog
from beam_pipeline.imagery.catalog import check_catalog, find_scenes, sign_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.scenes import SceneList
from beam_pipeline.imagery.stac_item import tile_of_item
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from tests.imagery.stac_parquet import QUICK, catalogue, change, find, made, write_items, year_of
from tests.imagery.stac_server import StacServer
from tests.shared_data import shared

pytestmark = pytest.mark.usefixtures("trusted_footers")


def test_a_file_has_the_scenes_of_an_api(tmp_path: Path) -> None:
    real = [json.loads(path.read_text()) for path in sorted(shared("stac").glob("*.json"))]
    path = tmp_path / "items.parquet"
    layouts: list[dict[str, Any]] = [{"row_group_size": 2}, {"row_group_size": 7, "write_statistics": False}]
    write_items(path, real)
    for number, options in enumerate(layouts):
        (tmp_path / f"{number}.parquet").write_bytes(path.read_bytes())
        change(tmp_path / f"{number}.parquet", lambda table: table, **options)
    with StacServer(real) as server:
        for item in real:
            asked = tile_of_item(item), int(item["properties"]["datetime"][:4])
            api = find_scenes(CatalogSettings(server.url, item["collection"]), *asked, 0, retry=QUICK)
            assert item["id"] in {scene.item_id for scene in api.scenes}
            for name in ("items", *range(len(layouts))):
                assert find(str(tmp_path / f"{name}.parquet"), *asked, item["collection"]) == api
    assert not find(str(path), "33TWM").found


def test_items_of_every_manner_are_those_of_an_api(tmp_path: Path) -> None:
    items = [
        *year_of("33TWN", 20),
        *year_of("05QKB", 3),
        made("33TWN", "2019-12-31T23:59:59.999Z"),
        made("33TWN", "2021-01-01T00:00:00Z"),
        made("33TWN", "2020-07-01T10:00:00Z", 7, **{"eo:cloud_cover": 99.0}),
    ]
    padded, relative, lacking, named_by_id = (
        made("33TWN", f"2020-08-0{day}T10:00:00Z") for day in range(1, 5)
    )
    padded["properties"]["grid:code"] = "MGRS-33TWN"
    relative["assets"]["blue"]["href"] = "./B02.tif"
    del lacking["assets"]["scl"]
    inner = made("33TWN", "2020-08-07T10:00:00Z")
    inner["assets"]["red"]["href"] = "http://10.0.0.1/B04.tif"
    without_assets = made("33TWN", "2020-08-09T10:00:00Z") | {"assets": {}, "links": []}
    items += [padded, relative, lacking, inner, without_assets]
    path = write_items(tmp_path / "items.parquet", items, rows=4)
    with StacServer(items) as server:
        api = CatalogSettings(server.url, "sentinel-2-l2a")
        for tile in ("33TWN", "05QKB"):
            expected = find_scenes(api, tile, 2020, 3, 50.0, QUICK)
            found = find_scenes(catalogue(path), tile, 2020, 3, 50.0, QUICK)
            # On a disk, relative and inner hrefs may be meant.
            known = {scene.item_id for scene in expected.scenes}
            assert tuple(scene for scene in found.scenes if scene.item_id in known) == expected.scenes or (
                {scene.item_id for scene in found.scenes} - known == {relative["id"], inner["id"]}
            )
            assert (found.found, found.dropped_cloud) == (expected.found, expected.dropped_cloud)
            assert set(found.refused) <= set(expected.refused)
    refused = {note.item_id: note.reason for note in find(path).refused}
    assert refused == {lacking["id"]: "no_scl", without_assets["id"]: "no_scl"}
    names = write_items(tmp_path / "ids.parquet", [_without_tile(named_by_id)])
    assert [scene.item_id for scene in find(names).scenes] == [named_by_id["id"]]
    assert not find(names, "33TWM").found


def _without_tile(item: dict[str, Any]) -> dict[str, Any]:
    item = copy.deepcopy(item)
    del item["properties"]["grid:code"]
    return item


def test_several_files_are_one_catalogue(tmp_path: Path) -> None:
    write_items(tmp_path / "a.parquet", year_of("33TWN", 5))
    write_items(tmp_path / "b.parquet", year_of("33TWN", 12)[5:])
    assert find(str(tmp_path / "*.parquet")).found == 12
    write_items(tmp_path / "c.parquet", [made("33TWN", "2020-02-09T10:00:00Z")])
    assert find(str(tmp_path / "*.parquet")).found == 13
    (tmp_path / "folder.parquet").mkdir()
    for name in ("none*", "none", "folder"):
        with pytest.raises(InvalidInputError, match=r"cannot be used: .* Received: .*parquet$"):
            check_catalog(catalogue(str(tmp_path / f"{name}.parquet")))


def test_the_identity_is_that_of_the_content_wherever_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, year_of("33TWN", 5))
    info = check_catalog(catalogue(str(path)))
    assert info.kind == "static"
    assert info.identity.startswith("static:parquet:sentinel-2-l2a:")
    (tmp_path / "elsewhere.parquet").write_bytes(path.read_bytes())
    assert check_catalog(catalogue((tmp_path / "elsewhere.parquet").as_uri())) == info
    changed = year_of("33TWN", 5)
    changed[2]["properties"]["eo:cloud_cover"] = 13.0
    write_items(path, changed)
    assert check_catalog(catalogue(str(path))) != info
    with pytest.raises(InvalidInputError, match="no item of that collection, but of: sentinel-2-l2a"):
        check_catalog(catalogue(str(path), "landsat"))


def test_a_worker_takes_no_file_that_the_launch_did_not_see(tmp_path: Path) -> None:
    for name, count in (("a", 5), ("b", 12)):
        write_items(tmp_path / f"{name}.parquet", year_of("33TWN", count))
    pattern = catalogue(str(tmp_path / "*.parquet"))
    at_launch = dataclasses.replace(pattern, footers=check_catalog(pattern).footers)
    assert len(at_launch.footers) == 2
    assert find_scenes(at_launch, "33TWN", 2020, 0) == find_scenes(pattern, "33TWN", 2020, 0)
    whole = (tmp_path / "b.parquet").read_bytes()
    for edit in (
        lambda: write_items(tmp_path / "b.parquet", year_of("33TWN", 11)),
        (tmp_path / "b.parquet").unlink,
        lambda: (tmp_path / "c.parquet").write_bytes(whole),
    ):
        (tmp_path / "b.parquet").write_bytes(whole)
        edit()
        with pytest.raises(PermanentFault, match=r"changed: .* launch"):
            find_scenes(at_launch, "33TWN", 2020, 0)


def test_secrets_of_a_stored_list_are_asked_for_again(tmp_path: Path) -> None:
    items = year_of("33TWN", 2)
    for asset in items[0]["assets"].values():
        asset["href"] += "?sig=secret"
    path = write_items(tmp_path / "items.parquet", items)
    found = find(path)
    stored = SceneList.from_json(found.to_json())
    assert not stored.is_signed
    assert sign_scenes(stored, catalogue(path)) == found


def test_what_lies_in_a_bucket_names_nothing_on_disk(tmp_path: Path) -> None:
    items = year_of("33TWN", 3)
    items[0]["assets"]["blue"]["href"] = "file:///etc/B02.tif"
    items[1]["assets"]["blue"]["href"] = "http://127.0.0.1/B02.tif"
    path = write_items(tmp_path / "items.parquet", items)

    class Bucket(BeamFiles):
        def open_ranges(self, path: str) -> Any:
            return super().open_ranges(path.replace("gs://bucket", str(tmp_path)))

        def size(self, path: str) -> int | None:
            return super().size(path.replace("gs://bucket", str(tmp_path)))

    remote = CatalogSettings("gs://bucket/items.parquet", "sentinel-2-l2a", files=Bucket())
    found = find_scenes(remote, "33TWN", 2020, 0)
    assert [note.reason for note in found.refused] == ["unreadable_href"] * 2
    assert len(find(path).scenes) == 3
    assert check_catalog(remote) == check_catalog(catalogue(path))


@pytest.mark.parametrize("url", ["https://example.org/items.parquet", "ftp://example.org/items.parquet"])
def test_files_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="gs:// or s3://"):
        check_catalog(catalogue(url))


@pytest.mark.parametrize("is_sorted", [True, False])
def test_a_file_whose_statistics_tell_nothing_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, is_sorted: bool
) -> None:
    monkeypatch.setattr(parquet_catalog, "_MANY_ROWS", 200)
    path = tmp_path / "items.parquet"
    tiles = [tile.name for tile in all_tiles() if tile.name.startswith("33T")][:32]
    items = [made(tile, "2020-05-05T10:00:00Z") for tile in tiles]
    write_items(path, items)
    numbers = [number for number in range(len(tiles)) for _ in range(8)]
    order = numbers if is_sorted else list(range(len(tiles))) * 8
    change(path, lambda table: table.take(order), row_group_size=32)
    with caplog.at_level(logging.WARNING):
        check_catalog(catalogue(str(path)))
    assert [record.getMessage()[-63:] for record in caplog.records] == (
        [] if is_sorted else ["docs/sources.md. Write it with row groups of about 50,000 items"]
    )
