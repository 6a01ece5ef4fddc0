"""A first image is opened before launch: what cannot be read is refused with its reason and a remedy."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.imagery.catalog_probe import MOST_ITEMS, probe_catalog, refuse_known
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.image import SCL
from beam_pipeline.imagery.stac_item import EARTH_SEARCH_V1_KEYS
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic
from tests.fuzz.test_decoders import ITEM
from tests.imagery.blob_storage import CONTAINER, Answer, Azure, blob_storage
from tests.imagery.made_cogs import FolderServer, write_cog
from tests.imagery.range_server import Injected
from tests.imagery.stac_server import Item, StacServer
from tests.security.made_web import MadeWeb, made_web

__all__ = ["made_web"]  # a fixture

COLLECTION = "sentinel-2-l2a"
TILE_YEARS = [("33TWN", 2020), ("33TWN", 2019)]
QUICK = RetryPolicy(2, 0.001, 0.001)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[FolderServer]:
    for band in ("B02", SCL):
        write_cog(tmp_path / f"{band}.tif", band, side_m=3000)
    with FolderServer(tmp_path) as server:
        yield server


def items_at(url_of: Callable[[str], str], count: int = 12) -> list[Item]:
    """Items of one tile and year, with files of their own names that all lead to the same two."""
    items = []
    for number in range(count):
        item = copy.deepcopy(ITEM)
        item["id"] = f"S2B_33TWN_202006{number + 1:02d}_0_L2A"
        item["properties"]["datetime"] = f"2020-06-{number + 1:02d}T10:00:31Z"
        for band, key in EARTH_SEARCH_V1_KEYS.items():
            item["assets"][key] = {"href": url_of(f"{SCL if band == SCL else 'B02'}.tif?{number}")}
        items.append(item)
    return items


def probe(url: str, **more: Any) -> None:
    probe_catalog(CatalogSettings(url, COLLECTION, **more), TILE_YEARS, Traffic(), Traffic(), QUICK)


def refusal(items: list[Item], **more: Any) -> str:
    """Returns the message about a catalogue of such items."""
    with StacServer(items) as api, pytest.raises(InvalidInputError) as raised:
        probe(api.url, **more)
    return str(raised.value)


def test_the_first_item_that_can_be_read_is_enough(files: FolderServer) -> None:
    with StacServer(items_at(files.url)) as api:
        probe(api.url)
        assert [path for _, path, _ in api.requests] == ["/v1", "/v1/search"]
    # The size and the header of two files.
    assert len(files.requests) == 4
    assert {request.path.rpartition("/")[2] for request in files.requests} == {"B02.tif", "SCL.tif"}


def test_odd_items_condemn_no_catalogue(files: FolderServer) -> None:
    items = items_at(files.url)
    for item in items[:9]:
        del item["assets"]["scl"]
    with StacServer(items) as api:
        probe(api.url)  # they are looked at here and there, not from the first on


def test_another_year_is_looked_at_where_the_first_has_nothing(files: FolderServer) -> None:
    items = items_at(files.url)
    for item in items:
        item["properties"]["datetime"] = item["properties"]["datetime"].replace("2020", "2019")
        del item["assets"]["scl"]
    assert "no_scl" in refusal(items)


def test_where_nothing_is_there_is_nothing_to_read(files: FolderServer) -> None:
    with StacServer([{**ITEM, "properties": {**ITEM["properties"], "grid:code": "MGRS-32TQM"}}]) as api:
        probe(api.url)
    assert files.requests == []


def test_a_catalogue_on_disk(files: FolderServer, tmp_path: Path) -> None:
    items = items_at(lambda name: name.partition("?")[0])
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    probe(str(path))
    (tmp_path / "B02.tif").unlink()
    with pytest.raises(InvalidInputError, match=r"5 items were looked at, 5 .*not_found.*are not there"):
        probe(str(path))
    assert files.requests == []


def jpeg_2000(item: Item) -> None:
    item["assets"]["scl"]["href"] = "https://host.example.org/SCL.jp2"


def unknown_bucket(item: Item) -> None:
    item["assets"]["scl"]["href"] = "s3://deafrica-sentinel-2/SCL.tif"


def without_scl(item: Item) -> None:
    del item["assets"]["scl"]


def odd_flag(item: Item) -> None:
    item["properties"]["earthsearch:boa_offset_applied"] = "maybe"


def without_band(item: Item) -> None:
    del item["assets"]["nir08"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (jpeg_2000, ["unreadable_href", "JPEG 2000", "docs/sources.md names catalogues"]),
        (unknown_bucket, ["unreadable_href", "--public_buckets deafrica-sentinel-2=https://HOST"]),
        (without_scl, ["no_scl", "L1C has no SCL", "coastal"]),
        (odd_flag, ["bad_offset_flag", "what items must have"]),
        (without_band, ["missing_asset", "nir08"]),
    ],
)
def test_items_that_cannot_be_used(
    files: FolderServer, change: Callable[[Item], None], said: list[str]
) -> None:
    items = items_at(files.url)
    for item in items:
        change(item)
    message = refusal(items)
    for words in ("5 items were looked at, 5 of them", *said):
        assert words in message
    assert files.requests == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Injected("status", 404), ["not_found", "are not there"]),
        (Injected("status", 401), ["forbidden", "--token_file"]),
        (Injected("status", 403), ["forbidden", "HTTP 403", "--token_file", "pay"]),
        (Injected("status", 409), ["forbidden", "HTTP 409", "--token_file"]),
        (Injected("status", 503), ["throttled", "may pass"]),
        (Injected("status", 500), ["server_error", "may pass"]),
        (Injected("reset"), ["connection", "may pass"]),
    ],
)
def test_files_that_are_not_given(files: FolderServer, fault: Injected, said: list[str]) -> None:
    files.inject("SCL.tif", fault)
    message = refusal(items_at(files.url))
    for words in said:
        assert words in message
    files.heal()
    # As the advice says: again, later. In one process GDAL remembers what it was told of a URL.
    with StacServer(items_at(lambda name: files.url(name) + "later")) as api:
        probe(api.url)


def test_a_host_is_asked_a_bounded_number_of_times(files: FolderServer) -> None:
    files.inject("SCL.tif", Injected("status", 500))
    with StacServer(items_at(files.url)) as api, pytest.raises(InvalidInputError):
        probe_catalog(
            CatalogSettings(api.url, COLLECTION), TILE_YEARS, Traffic(), Traffic(), RetryPolicy(8, 1e-3, 1e-3)
        )
    # Three tries of each item, in each of which GDAL asks twice at most.
    assert len(files.requests) <= MOST_ITEMS * 3 * 2


def test_a_slow_host_is_not_waited_for_without_end(files: FolderServer) -> None:
    files.inject("SCL.tif", Injected("status", 500))
    clock = iter(range(0, 1_000_000, 100)).__next__
    with StacServer(items_at(files.url)) as api:
        settings = CatalogSettings(api.url, COLLECTION)
        with pytest.raises(InvalidInputError, match=r"[12] items were looked at"):
            probe_catalog(settings, TILE_YEARS, Traffic(), Traffic(), QUICK, clock=clock)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"dtype": "float32"}, ["wrong_dtype", "float32"]),
        ({"count": 3}, ["wrong_bands", "3"]),
        ({"pixel_m": 20}, ["misaligned", "20 x -20"]),
    ],
)
def test_files_of_another_kind(
    files: FolderServer, tmp_path: Path, made: dict[str, Any], said: list[str]
) -> None:
    write_cog(tmp_path / "B02.tif", "B02", side_m=3000, **made)
    message = refusal(items_at(files.url))
    for words in (*said, "not ESA's pixels as GeoTIFFs"):
        assert words in message


@pytest.fixture
def azure(tmp_path: Path, made_web: MadeWeb, monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    folder = tmp_path / CONTAINER / tmp_path.name
    folder.mkdir(parents=True)
    for band in ("B02", SCL):
        write_cog(folder / f"{band}.tif", band, side_m=3000)
    (tmp_path / "certificates").mkdir()
    with blob_storage(tmp_path, made_web, monkeypatch, tmp_path / "certificates") as served:
        yield served


def test_files_of_azure_need_a_token(azure: Azure, tmp_path: Path) -> None:
    items = items_at(lambda name: azure.files.url(f"{CONTAINER}/{tmp_path.name}/{name.partition('?')[0]}"))
    message = refusal(items)
    for words in ("forbidden", "HTTP 409", "need a token: give --sas_token_url", "planetarycomputer"):
        assert words in message
    with StacServer(items) as api:
        probe(api.url, sas_token_url=azure.tokens.url)
        assert len(azure.tokens.asked) == 1
        azure.tokens.faults = [Answer(404)] * 100
        with pytest.raises(InvalidInputError, match=r"no_token.*HTTP 404.*Look whether the endpoint"):
            probe(api.url, sas_token_url=azure.tokens.url + "/other")


def test_the_copernicus_data_space_is_refused_by_its_name() -> None:
    for url in ("https://stac.dataspace.copernicus.eu/v1", "https://CATALOGUE.dataspace.copernicus.eu/stac"):
        with pytest.raises(InvalidInputError, match=r"Copernicus Data Space.*JPEG 2000"):
            refuse_known(url)
    for url in ("https://dataspace.copernicus.eu.example.org/v1", "items.json", "https://[/v1"):
        refuse_known(url)
