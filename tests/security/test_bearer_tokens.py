"""A bearer token lies in a file, goes to the hosts that it is for, and is found nowhere afterwards."""

import dataclasses
import json
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery import token_file
from beam_pipeline.imagery.catalog import check_catalog
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.file_keys import FileKeys
from beam_pipeline.imagery.token_file import NoToken, TokenFile
from beam_pipeline.jobs.build.inputs import check_hosts, check_reach
from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.build.sample import use_sample
from beam_pipeline.jobs.given_files import read_given_bytes
from beam_pipeline.runtime.faults import Fault, InvalidInputError, TransientFault
from beam_pipeline.runtime.foreign_text import without_secrets
from beam_pipeline.runtime.retries import RetryPolicy
from tests.fuzz.test_decoders import ITEM
from tests.imagery.made_cogs import EPSG, LEFT, TOP, FolderServer, write_cog
from tests.imagery.range_server import Injected, _Handler
from tests.imagery.stac_server import Item, StacServer

TOKEN = "bearer-token-1701"
NEXT = "bearer-token-1702"
CHIP = ChipWindow(EPSG, LEFT + 600, TOP - 3000)
ONCE = RetryPolicy(1)


class _Noting(_Handler):
    server: "NotingFiles"

    def _answer(self) -> None:
        sent = self.headers.get("Authorization")
        self.server.sent.append(sent)
        if self.server.wants in (None, sent):
            super()._answer()
        else:
            self._refuse(self.path, 0, 0, 401, {}, f"no right: {sent}".encode())


class NotingFiles(FolderServer):
    """Notes the Authorization header of each request.

    Attributes:
        sent: The headers.
        wants: The header without which nothing is given; None gives all to all.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.RequestHandlerClass = _Noting
        self.sent: list[str | None] = []
        self.wants: str | None = None


class GuardedApi(StacServer):
    """Wants the token, and repeats what it was sent where it is another."""

    def __init__(self, items: list[Item], wants: str = f"Bearer {TOKEN}") -> None:
        super().__init__(items)
        self.wants = wants

    def _answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        sent = handler.headers.get("Authorization")
        if sent == self.wants:
            super()._answer(handler, body)
        else:
            self._send(handler, 401, json.dumps({"sent": sent}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


@pytest.fixture
def files(tmp_path: Path) -> Iterator[NotingFiles]:
    write_cog(tmp_path / "B02.tif", side_m=6000)
    write_cog(tmp_path / "other.tif", side_m=6000)
    with NotingFiles(tmp_path) as server:
        yield server


@pytest.fixture
def others(tmp_path: Path) -> Iterator[NotingFiles]:
    with NotingFiles(tmp_path) as server:
        yield server


def of(path: Path) -> TokenFile:
    return TokenFile(str(path), read_given_bytes)


def read(url: str, settings: CatalogSettings, retry: RetryPolicy = ONCE) -> object:
    with SceneReader(1, retry, 5.0, reach=settings.reach, keys=FileKeys(settings, retry)) as reader:
        (answer,) = reader.read({"B02": url}, ["B02"], [CHIP])
        return answer


def test_an_api_gets_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with GuardedApi([ITEM]) as api:
        assert check_catalog(CatalogSettings(api.url, "sentinel-2-l2a", token=of(path)), ONCE).kind == "api"
        api.wants = "Bearer other"
        with pytest.raises(InvalidInputError, match="HTTP 401") as raised:
            check_catalog(CatalogSettings(api.url, "sentinel-2-l2a", token=of(path)), ONCE)
    # Though the API itself has repeated it.
    assert TOKEN not in "".join(traceback.format_exception(raised.value))


def test_an_api_that_redirects_gives_it_to_nobody(path: Path, others: NotingFiles) -> None:
    with GuardedApi([ITEM]) as api:
        api.wants = "nothing"
        api._send = lambda handler, *_: _redirect(handler, others.url("v1.json"))  # type: ignore[method-assign]
        with pytest.raises(InvalidInputError):
            check_catalog(CatalogSettings(api.url, "sentinel-2-l2a", token=of(path)), ONCE)
    assert others.sent
    assert set(others.sent) == {None}


def _redirect(handler: BaseHTTPRequestHandler, target: str) -> None:
    handler.send_response(302)
    handler.send_header("Location", target)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def test_files_of_the_api_s_own_host_get_it_and_no_others(
    path: Path, files: NotingFiles, others: NotingFiles
) -> None:
    settings = CatalogSettings(files.url("v1"), "c", token=of(path))
    files.wants = f"Bearer {TOKEN}"
    assert not isinstance(read(files.url("B02.tif"), settings), Fault)
    assert set(files.sent) == {files.wants}
    assert not isinstance(read(others.url("B02.tif"), settings), Fault)
    assert set(others.sent) == {None}


def test_hosts_that_the_user_names_get_it(path: Path, files: NotingFiles) -> None:
    files.wants = f"Bearer {TOKEN}"
    host = f"127.0.0.1:{files.server_address[1]}"
    settings = CatalogSettings("/data/items", "c", own_network=True, token=of(path), token_hosts=(host,))
    assert not isinstance(read(files.url("B02.tif"), settings), Fault)


@pytest.mark.parametrize(
    ("code", "query"),
    [
        (302, ""),
        # A signature of S3, which GDAL keeps to ask there by itself.
        (307, "?X-Amz-Expires=600&X-Amz-Date=20990101T000000Z&X-Amz-Signature=1"),
    ],
)
def test_a_redirect_does_not_take_it_along(
    path: Path, files: NotingFiles, others: NotingFiles, code: int, query: str
) -> None:
    """Not by GDAL, which asks again where it was led, and not by whoever looks once more after an error."""
    settings = CatalogSettings(files.url("v1"), "c", token=of(path))
    name = f"led{code}{len(query)}.tif"
    files.inject(name, Injected("status", code, headers={"Location": others.url("B02.tif") + query}))
    assert not isinstance(read(files.url(name), settings), Fault)
    others.inject("B02.tif", Injected("status", 400))
    read(files.url(name + "?again"), settings)
    assert len(others.sent) > 3
    assert set(others.sent) == {None}
    assert set(files.sent) == {f"Bearer {TOKEN}"}


def test_it_is_for_an_origin_and_never_in_the_clear(path: Path) -> None:
    settings = CatalogSettings(
        "https://api.example.org/v1", "c", token=of(path), token_hosts=("data.example.org", "x.example:8443")
    )
    for url in (
        "https://API.example.org:443/a",
        "https://data.example.org/a.tif",
        "https://x.example:8443/a",
    ):
        assert settings.bearer_of(url) == TOKEN
    for url in (
        *("http://api.example.org/v1", "http://data.example.org/a.tif", "https://data.example.org:8443/a"),
        *(
            "https://x.example/a",
            "https://api.example.org.evil.example/",
            "https://evil.example/?api.example.org",
        ),
        *(
            "https://evil.example#@api.example.org/",
            "https://api.example.org@evil.example/",
            "",
            "/data/a.tif",
        ),
    ):
        assert settings.bearer_of(url) == ""
    assert (
        CatalogSettings("http://api.example.org/v1", "c", token=of(path)).bearer_of("http://api.example.org/")
        == ""
    )


def test_a_token_that_expires_while_a_file_is_read_is_read_anew(path: Path, files: NotingFiles) -> None:
    settings = CatalogSettings(files.url("v1"), "c", token=of(path))
    assert not isinstance(read(files.url("B02.tif"), settings), Fault)
    files.wants = f"Bearer {NEXT}"
    path.write_text(NEXT)
    assert not isinstance(read(files.url("other.tif"), settings), Fault)
    assert files.sent[-1] == files.wants


def test_a_token_that_is_refused_lets_no_other_date_stand_in(path: Path, files: NotingFiles) -> None:
    settings = CatalogSettings(files.url("v1"), "c", token=of(path))
    files.wants = "Bearer other"
    answer = read(files.url("B02.tif"), settings)
    assert isinstance(answer, TransientFault)
    assert answer.reason == "forbidden"
    assert TOKEN not in "".join(traceback.format_exception(answer))


def test_the_file_is_read_again_now_and_then(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of(path).token() == TOKEN
    path.write_text(NEXT)
    assert of(path).token() == TOKEN
    monkeypatch.setattr(token_file, "READ_AGAIN_S", 0.0)
    assert of(path).token() == NEXT
    path.write_text("")  # as while it is being replaced
    assert of(path).token() == NEXT


@pytest.mark.parametrize(
    "content", ["", "two words", "other-words\nfound-here", "tok\u00e9n", "x" * 20_000, "Bearer " + TOKEN]
)
def test_a_file_that_holds_no_token_is_not_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(NoToken, match="must hold a bearer token") as raised:
        of(file).token()
    for word in content.split():
        assert word not in str(raised.value).replace(str(tmp_path), "").split()


def test_a_mounted_secret_is_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    assert of(tmp_path / "link").token() == TOKEN
    for wrong in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NoToken, match="cannot be read"):
            of(wrong).token()


def flags(tmp_path: Path, *more: str) -> list[str]:
    return ["--output", str(tmp_path / "set"), "--osm", "a.osm.pbf", "--area", "9,47,9.1,47.1", *more]


def test_only_its_path_travels(path: Path, tmp_path: Path) -> None:
    more = ("--stac_url", "https://api.example.org/v1", "--token_file", str(path))
    settings = build_settings(*parse_build_flags(flags(tmp_path, *more)))
    settings.catalog.token.token()
    pickled = pickle.dumps(settings)
    assert TOKEN.encode() not in pickled
    assert TOKEN not in repr(settings)
    assert pickle.loads(pickled).catalog.bearer_of("https://api.example.org/v1/search") == TOKEN
    remote = dataclasses.replace(settings, output="gs://bucket/set", extracts=("gs://bucket/a.osm.pbf",))
    with pytest.raises(InvalidInputError, match="--token_file lies on this machine"):
        check_reach(remote, PipelineOptions(["--runner=DataflowRunner"]))


WORKER = """
import pickle, sys
from beam_pipeline.imagery.catalog import find_scenes
from beam_pipeline.runtime.retries import RetryPolicy
settings = pickle.load(sys.stdin.buffer)
print(find_scenes(settings.catalog, "33TWN", 2020, 0, retry=RetryPolicy(1)).found)
"""


def worked(settings: object) -> "subprocess.CompletedProcess[bytes]":
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": "/nonexistent"}
    return subprocess.run(
        [sys.executable, "-c", WORKER], input=pickle.dumps(settings), env=environment, capture_output=True
    )


@pytest.mark.slow
def test_a_worker_with_nothing_of_our_environment_gets_it(path: Path, tmp_path: Path) -> None:
    """As on another machine: the pickled settings, no environment, no home with a `.netrc`."""
    with GuardedApi([ITEM]) as api:
        more = ("--stac_url", api.url, "--token_file", str(path), "--allow_own_network")
        settings = build_settings(*parse_build_flags(flags(tmp_path, *more)))
        assert worked(settings).stdout.split() == [b"1"]
        path.write_text(NEXT)
        assert b"HTTP 401" in worked(settings).stderr


def test_a_password_that_workers_do_not_find_is_warned_of(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "netrc").write_text("machine api.example.org login me password secret-1701\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    remote = ["--output", "gs://b/set", "--osm", "gs://b/a.osm.pbf"]
    for host, runner, more, warned in (
        ("api.example.org", "DataflowRunner", [], True),
        ("api.example.org", "SparkRunner", [], True),
        ("api.example.org", "FnApiRunner", [], False),
        ("other.example.org", "DataflowRunner", [], False),
        ("api.example.org", "DataflowRunner", ["--token_file", "gs://b/token"], False),
    ):
        caplog.clear()
        url = ["--stac_url", f"https://{host}/v1", f"--runner={runner}"]
        given, options = parse_build_flags([*remote, *url, *more])
        check_reach(build_settings(given, options), options)
        assert ("~/.netrc" in caplog.text) == warned
        assert "secret-1701" not in caplog.text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--token_file", "TOKEN", "--stac_url", "http://api.example.org/v1"], "begins with https"),
        (["--token_file", "TOKEN", "--stac_url", "https://me:secret@api.example.org/v1"], "one of them"),
        (["--token_file", "TOKEN", "--stac_url", "/data/items"], "would go to nobody"),
        (["--token_hosts", "data.example.org"], "goes with --token_file"),
        (["--token_file", "TOKEN", "--token_hosts", "https://data.example.org"], "names of hosts"),
        (["--token_file", "TOKEN", "--token_hosts", "169.254.169.254"], "names of hosts"),
        (["--token_file", "TOKEN", "--token_hosts", "me@data.example.org"], "names of hosts"),
        (["--sas_token_url", "http://tokens.example.org"], "begins with https"),
        (["--sas_token_url", "https://me:secret@tokens.example.org"], "without user"),
        (["--sas_token_url", "http://169.254.169.254/t"], "https|never asked"),
    ],
)
def test_flags_that_do_not_go_together(path: Path, tmp_path: Path, more: list[str], said: str) -> None:
    given = [str(path) if word == "TOKEN" else word for word in more]
    with pytest.raises(InvalidInputError, match=said) as raised:
        build_settings(*parse_build_flags(flags(tmp_path, *given)))
    assert "secret" not in str(raised.value)


def test_the_sample_takes_none(path: Path) -> None:
    given, _ = parse_build_flags(["--sample", "--token_file", str(path)])
    with pytest.raises(InvalidInputError, match="Leave out --token_file"):
        use_sample(given, local=True)


def test_a_file_that_is_missing_is_found_out_before_launch(tmp_path: Path) -> None:
    more = ("--stac_url", "https://api.example.org/v1", "--token_file", str(tmp_path / "missing"))
    with pytest.raises(InvalidInputError, match=r"--token_file cannot be used.*missing"):
        check_hosts(build_settings(*parse_build_flags(flags(tmp_path, *more))))


def test_what_was_read_is_hidden_wherever_it_is_shown(path: Path) -> None:
    of(path).token()
    assert TOKEN not in without_secrets(f"the host says: {TOKEN} is not enough")
