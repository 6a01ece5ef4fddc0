"""The URLs that an item, a link or an API may have a worker open."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rasterio
import requests

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery import catalog
from beam_pipeline.imagery.api_access import ApiAccess
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.hrefs import readable_href
from beam_pipeline.imagery.stac_io import RetryingStacIO
from beam_pipeline.imagery.stac_item import parse_item
from beam_pipeline.maps.rasters import inspect_land_cover, inspect_night_lights
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.reach import WEB, Reach, network_of
from beam_pipeline.runtime.retries import RetryPolicy
from tests.fuzz.test_decoders import ITEM
from tests.imagery.made_cogs import EPSG, LEFT, TOP, write_cog
from tests.imagery.stac_server import StacServer

API_REACH = Reach("https://catalogue.example.org/v1")
CHIP = ChipWindow(EPSG, LEFT + 600, TOP - 3000)
LOCAL = [
    "/etc/passwd.tif",
    "/data/B04.tif",
    "file:///etc/passwd.tif",
    "FILE:///data/B04.tif",
    "file://host/data/B04.tif",
    "/vsicurl/http://169.254.169.254/a.tif",
    "/vsizip//data/a.zip/B04.tif",
    "//vsimem/B04.tif",
    "../../../../etc/B04.tif",
    "B04.tif",
]
INNER = [
    "http://169.254.169.254/latest/a.tif",
    "http://[fe80::1]/a.tif",
    "http://[::ffff:169.254.169.254]/a.tif",
    "http://2852039166/a.tif",
    "http://0xa9.0xfe.0xa9.0xfe/a.tif",
    "http://0251.0376.0251.0376/a.tif",
    "http://metadata.google.internal/a.tif",
    "http://metadata.google.internal./a.tif",
    "http://100.100.100.200/a.tif",
    "http://[fd00:ec2::254]/a.tif",
    "http://127.0.0.1:8080/a.tif",
    "http://127.1/a.tif",
    "http://localhost/a.tif",
    "http://LOCALHOST./a.tif",
    "http://[::1]/a.tif",
    "http://0.0.0.0/a.tif",
    "http://10.0.0.7/a.tif",
    "http://192.168.1.1/a.tif",
    "http://user@10.0.0.7/a.tif",
    "http:///a.tif",
    "http://127%2e0%2e0%2e1/a.tif",
    "http://%31%32%37.0.0.1/a.tif",
    "http://loc%61lhost/a.tif",
    "http://localhost%2e/a.tif",
    "http://169%2e254%2e169%2e254/a.tif",
    "http://127\u30020\u30020\u30021/a.tif",
    "http://\uff11\uff12\uff17.0.0.1/a.tif",
    "http://localhost\\.example.org/a.tif",
    "http://[64:ff9b::7f00:1]/a.tif",
    "http://[64:ff9b::169.254.169.254]/a.tif",
    "http://[2002:7f00:1::]/a.tif",
    "http://[2002:a9fe:a9fe:1::2]/a.tif",
    "http://[::127.0.0.1]/a.tif",
    "http://[::]/a.tif",
    "http://[::1%25lo]/a.tif",
]
OTHER = [
    "s3://private/a.tif",
    "gs://bucket/a.tif",
    "ftp://host/a.tif",
    "data:image/tiff;base64,x.tif",
    "C:\\a.tif",
]


@pytest.mark.parametrize(
    "href", [*LOCAL, *INNER, *OTHER, "https://h/" + "a" * 9000 + ".tif", "https://h/a\0.tif"]
)
def test_the_item_of_an_api_names_nothing_on_this_machine_or_near_it(href: str) -> None:
    item = {**ITEM, "assets": {**ITEM["assets"], "red": {"href": href}}}
    for self_link in ("", "file:///data/items/a.json", "/data/items/a.json"):
        item["links"] = [{"rel": "self", "href": self_link}]
        with pytest.raises(PermanentFault) as raised:
            parse_item(item, "33TWN", reach=API_REACH)
        assert raised.value.reason == "unreadable_href"


def test_a_self_link_to_an_inner_host_opens_no_way_there() -> None:
    for self_link in ("http://localhost/items/a.json", "http://169.254.169.254/a.json"):
        item = {**ITEM, "assets": {**ITEM["assets"], "red": {"href": "./B04.tif"}}}
        item["links"] = [{"rel": "self", "href": self_link}]
        with pytest.raises(PermanentFault, match="unreadable_href"):
            parse_item(item, "33TWN", reach=API_REACH)


def test_an_absolute_path_in_an_item_of_the_web_is_one_of_its_host() -> None:
    assert readable_href("/etc/a.tif", "https://host/items/a.json", API_REACH) == "https://host/etc/a.tif"


@pytest.mark.parametrize(
    ("href", "asked", "inner"),
    [
        ("http://127.0.0.1:9000/a.tif", "http://localhost:8080/v1", False),
        ("http://10.0.0.7/a.tif", "http://192.168.1.1/v1", False),
        ("http://10.0.0.7/a.tif", "http://stac.internal/v1", False),
        ("http://10.0.0.7/a.tif", "https://example.org/v1", True),
        ("http://10.0.0.7/a.tif", "", True),
        ("https://8.8.8.8/a.tif", "", False),
        ("https://example.org/a.tif", "", False),
        ("https://my_bucket.s3.example.org/a.tif", "", False),
        ("https://[64:ff9b::8.8.8.8]/a.tif", "", False),
        ("https://[::ffff:8.8.8.8]/a.tif", "", False),
        ("http://[::ffff:169.254.169.254]/a.tif", "http://10.0.0.1/v1", True),
        ("https://[2002:808:808::1]/a.tif", "", False),
        ("https://[2001:4860:4860::8888]/a.tif", "", False),
        ("http://[64:ff9b::10.0.0.7]/a.tif", "http://192.168.1.1/v1", False),
        ("http://[64:ff9b::169.254.169.254]/a.tif", "http://192.168.1.1/v1", True),
        ("http://10%2e0.0.7/a.tif", "http://192.168.1.1/v1", True),
        ("http://[::1/a.tif", "", True),
        ("http://169.254.169.254/a.tif", "http://localhost/v1", True),
        ("http://metadata.google.internal/a.tif", "http://10.0.0.1/v1", True),
    ],
)
def test_neighbours_of_an_inner_catalogue_are_welcome_but_no_metadata_service(
    href: str, asked: str, inner: bool
) -> None:
    assert Reach(asked).closes(network_of(href)) is inner


@pytest.mark.parametrize(
    "href", ["/vsizip//a/b.zip/B04.tif", "/vsicurl/http://169.254.169.254/B04.tif", "file:///vsimem/B04.tif"]
)
def test_an_item_on_disk_names_files_but_no_virtual_ones(tmp_path: Path, href: str) -> None:
    with pytest.raises(PermanentFault, match="no path on disk"):
        readable_href(href, str(tmp_path / "a.json"))
    with SceneReader(1, RetryPolicy(1)) as reader:
        (answer,) = reader.read({"B02": href}, ["B02"], [CHIP])
    assert isinstance(answer, PermanentFault)


def test_what_is_no_geotiff_is_not_opened_by_another_driver(tmp_path: Path) -> None:
    """A VRT named .tif would have GDAL read whatever it names."""
    write_cog(tmp_path / "true.tif")
    vrt = tmp_path / "vrt.tif"
    with rasterio.open(tmp_path / "true.tif") as true:
        source = f"<SourceFilename>{tmp_path / 'true.tif'}</SourceFilename><SourceBand>1</SourceBand>"
        geo = ", ".join(map(str, true.transform.to_gdal()))
        vrt.write_text(
            f'<VRTDataset rasterXSize="{true.width}" rasterYSize="{true.height}"><SRS>{true.crs}</SRS>'
            f'<GeoTransform>{geo}</GeoTransform><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>{source}'
            "</SimpleSource></VRTRasterBand></VRTDataset>"
        )
    # GDAL by itself does open it, in a process that has all drivers.
    look = f"import rasterio; assert rasterio.open({str(vrt)!r}).read(1).any()"
    subprocess.run([sys.executable, "-c", look], check=True)
    with SceneReader(1, RetryPolicy(1)) as reader:
        (answer,) = reader.read({"B02": str(vrt)}, ["B02"], [CHIP])
    assert isinstance(answer, PermanentFault)
    assert answer.reason == "corrupt"
    for inspect in (inspect_night_lights, inspect_land_cover):
        with pytest.raises(InvalidInputError, match="cannot be opened"):
            inspect(str(vrt))


@pytest.mark.parametrize("links", [{"search": "/etc/hostname"}, {"search": "file:///etc/hostname"}])
def test_an_api_does_not_lead_to_files(links: dict[str, str]) -> None:
    class Misleading(StacServer):
        def landing_page(self) -> dict[str, Any]:
            page = super().landing_page()
            for link in page["links"]:
                link["href"] = links.get(link["rel"], link["href"])
            return page

    with Misleading([ITEM]) as server, pytest.raises(PermanentFault):
        catalog.find_scenes(
            CatalogSettings(server.url, "sentinel-2-l2a"), "33TWN", 2020, 0, retry=RetryPolicy(1)
        )
    for source in ("/etc/hostname", "file:///etc/hostname", "../x"):
        with pytest.raises(PermanentFault, match="refused_link"):
            RetryingStacIO(RetryPolicy(1), WEB).read_json(source)


def prepared(access: ApiAccess, url: str) -> requests.PreparedRequest:
    session = requests.Session()
    session.auth = access
    return session.prepare_request(requests.Request("GET", url))


def test_credentials_go_to_the_api_and_to_nobody_else() -> None:
    access = ApiAccess("https://user:p%40ss@api.example.org/v1?key=secret")
    assert access.url == "https://api.example.org/v1"
    own = prepared(access, "https://API.example.org:443/v1/search?limit=1")
    assert own.headers["Authorization"] == "Basic dXNlcjpwQHNz"
    assert own.url == "https://api.example.org:443/v1/search?limit=1&key=secret"
    for url in (
        "https://other.example.org/v1",
        "http://api.example.org/v1",
        "https://api.example.org:8443/v1",
        "https://api.example.org.evil.org/v1",
    ):
        foreign = prepared(access, url)
        assert foreign.url == url
        assert "Authorization" not in foreign.headers


def test_netrc_holds_for_its_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine api.example.org login user password p@ss\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    access = ApiAccess("https://api.example.org/v1")
    assert prepared(access, "https://api.example.org/v1").headers["Authorization"] == "Basic dXNlcjpwQHNz"
    assert "Authorization" not in prepared(access, "https://other.example.org/v1").headers
    other = ApiAccess("https://me:x@api.example.org/v1")
    assert prepared(other, "https://api.example.org/v1").headers["Authorization"] == "Basic bWU6eA=="


def catalogue(folder: Path, links: list[dict[str, str]]) -> str:
    path = folder / "catalog.json"
    path.write_text(json.dumps({"type": "Catalog", "id": "x", "links": links}))
    return str(path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "href", ["/dev/zero", "file:///dev/zero", "/vsimem/a.json", "https://h/a.json", ".", "a\nb"]
)
def test_a_catalogue_on_disk_links_to_files(tmp_path: Path, href: str) -> None:
    with pytest.raises(InvalidInputError):
        catalog.check_catalog(
            CatalogSettings(catalogue(tmp_path, [{"rel": "item", "href": href}]), "sentinel-2-l2a")
        )


def test_a_catalogue_may_be_deep_and_may_turn_back_on_itself(tmp_path: Path) -> None:
    depth = 2000
    for number in range(depth):
        link = [{"rel": "child", "href": f"{number + 1}.json"}, {"rel": "child", "href": "catalog.json"}]
        os.replace(catalogue(tmp_path, link), tmp_path / f"{number}.json")
    (tmp_path / f"{depth}.json").write_text(json.dumps(ITEM))
    info = catalog.check_catalog(
        CatalogSettings(catalogue(tmp_path, [{"rel": "child", "href": "0.json"}]), "sentinel-2-l2a")
    )
    assert info.kind == "static"
