"""A host whose certificate is signed by nobody that is trusted is asked for nothing."""

from pathlib import Path

import osmium
import pytest

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.catalog import check_catalog
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.read_faults import Asset
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.overpass import features_of_chip
from beam_pipeline.runtime.faults import Fault, InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic
from tests.fuzz.test_decoders import ITEM
from tests.imagery.made_cogs import EPSG, LEFT, TOP, FolderServer, write_cog
from tests.imagery.stac_server import StacServer
from tests.labels.overpass_server import OverpassServer
from tests.security.certificates import CA_VARIABLES, make_certificate, wrapped

CHIP = ChipWindow(EPSG, LEFT + 600, TOP - 3000)
ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
RETRY = RetryPolicy(2, 0.001, 0.001)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine that is signed by itself, with its key, in one file."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "localhost", "127.0.0.1")


@pytest.fixture(params=["trusted", "untrusted"])
def trusted(request: pytest.FixtureRequest, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the user trusts the certificate; GDAL is told by the environment not to look at any."""
    monkeypatch.setenv("GDAL_HTTP_UNSAFESSL", "YES")
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        if request.param == "trusted":
            monkeypatch.setenv(name, str(certificate))
    return request.param == "trusted"


def test_a_catalogue(trusted: bool, certificate: Path) -> None:
    with StacServer([ITEM]) as server:
        wrapped(server.http_server, certificate)
        server.url = server.url.replace("http:", "https:")
        if trusted:
            assert check_catalog(CatalogSettings(server.url, "sentinel-2-l2a"), RETRY).kind == "api"
            return
        with pytest.raises(InvalidInputError, match=r"untrusted.*certificate"):
            check_catalog(CatalogSettings(server.url, "sentinel-2-l2a"), RETRY)
        assert server.requests == []


def test_an_image(trusted: bool, certificate: Path, tmp_path: Path) -> None:
    write_cog(tmp_path / "B02.tif")
    with FolderServer(tmp_path) as server, SceneReader(1, RETRY) as reader:
        wrapped(server, certificate)
        url = server.url("B02.tif").replace("http:", "https:")
        (answer,) = reader.read({"B02": url}, ["B02"], [CHIP])
        if trusted:
            assert not isinstance(answer, Fault)
            assert Asset.of_href(url).peek(0, 2, 5.0, Traffic()).body == b"II"
            return
        # Transient: no other date stands in for a scene whose host cannot be trusted.
        assert isinstance(answer, TransientFault)
        assert answer.reason == "untrusted"
        assert "certificate" in answer.detail
        assert Asset.of_href(url).peek(0, 2, 5.0, Traffic()) is None
        assert server.requests == []


def test_overpass(trusted: bool, certificate: Path, tmp_path: Path) -> None:
    extract = tmp_path / "a.osm.pbf"
    osmium.SimpleWriter(str(extract)).close()
    with OverpassServer(extract) as server:
        wrapped(server, certificate)
        url = server.url.replace("http:", "https:")
        arguments = (CHIP, ONTOLOGY, url, tmp_path / "cache")
        if trusted:
            assert features_of_chip(*arguments, retry=RETRY).features == []
            return
        with pytest.raises(PermanentFault) as raised:
            features_of_chip(*arguments, retry=RETRY)
        assert raised.value.reason == "untrusted"
        assert "certificate" in raised.value.detail
        assert server.queries == []
