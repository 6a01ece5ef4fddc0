"""Rasters that name other files or hosts, inside them or beside them."""

import ast
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

import beam_pipeline
from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.hrefs import readable_href
from beam_pipeline.maps.rasters import (
    GDAL_OPTIONS,
    inspect_land_cover,
    inspect_night_lights,
    lit_pixels,
    open_raster,
    read_rows,
)
from beam_pipeline.runtime.faults import Fault, InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.gdal_drivers import KEPT
from beam_pipeline.runtime.retries import RetryPolicy
from tests.imagery.made_cogs import EPSG, LEFT, TOP, FolderServer, write_cog, write_sparse
from tests.imagery.range_server import Injected, ServerProcess
from tests.maps.made_rasters import LAND_COVER, NIGHT_LIGHTS, window_around, write_window
from tests.security.opened_files import noted_openings

CHIP = ChipWindow(EPSG, LEFT + 600, TOP - 3000)
SIDE_M = 3840
INSPECT = {"lights": inspect_night_lights, "cover": inspect_land_cover}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that names nothing, to be copied."""
    path = tmp_path_factory.mktemp("plain") / "plain.tif"
    write_cog(path, side_m=SIDE_M)
    return path


@pytest.fixture(scope="module")
def inner(tmp_path_factory: pytest.TempPathFactory, plain: Path) -> Iterator[ServerProcess]:
    """A host in a process of its own: GDAL holds Python's lock as it opens an overview."""
    folder = tmp_path_factory.mktemp("inner")
    for name in ("inner.tif", "before.tif"):
        shutil.copy(plain, folder / name)
    with ServerProcess(folder, 0) as server:
        yield server


@pytest.fixture
def secrets(tmp_path: Path, plain: Path) -> Path:
    """A folder that nothing may be opened in."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    shutil.copy(plain, folder / "secret.tif")
    return folder


def write_map(path: Path, kind: str, **profile: object) -> Path:
    lattice, dtype = (NIGHT_LIGHTS, np.float32) if kind == "lights" else (LAND_COVER, np.uint8)
    pixels = np.random.default_rng(0).integers(1, 221, (48, 64)).astype(dtype)
    return write_window(path, pixels, window_around(lattice, 9.5, 47.1, 64, 48), **profile)


def tag(path: Path, ns: str | None = None, **tags: str) -> None:
    with rasterio.open(path, "r+", driver="GTiff", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.update_tags(ns=ns, **tags)


def name_overviews(path: Path, name: str) -> None:
    tag(path, "OVERVIEWS", OVERVIEW_FILE=name)


def names(inner: ServerProcess, secrets: Path) -> list[str]:
    url = f"{inner.base}inner.tif"
    return [
        f"/vsicurl/{url}",
        f"/vsicurl?url={url}",
        f"/vsicurl_streaming/{url}",
        f"/vsizip//vsicurl/{url}/a.tif",
        f"/vsigzip/{secrets}/secret.tif",
        f"/vsitar/{secrets}/secret.tif/a.tif",
        url,
        str(secrets / "secret.tif"),
        f"GTIFF_DIR:1:{secrets}/secret.tif",
        ":::BASE:::../secrets/secret.tif",
        f"vrt://{secrets}/secret.tif",
        f'{{"type":"gdal_streamed_alg","command_line":"gdal raster read {secrets}/secret.tif"}}',
    ]


def read(href: str, attempts: int = 1) -> np.ndarray | Fault:
    with SceneReader(1, RetryPolicy(attempts, sleep=lambda _: None), timeout_s=5) as reader:
        (answer,) = reader.read({"B02": href}, ["B02"], [CHIP])
    return answer if isinstance(answer, Fault) else answer["B02"]


def test_no_image_leads_to_another_file_or_host(
    inner: ServerProcess, secrets: Path, plain: Path, tmp_path: Path
) -> None:
    with FolderServer(tmp_path) as server, noted_openings(secrets) as opened:
        inner.take_requests()
        for number, name in enumerate(names(inner, secrets)):
            path = Path(shutil.copy(plain, tmp_path / f"{number}.tif"))
            name_overviews(path, name)
            for href in (str(path), server.url(path.name)) if number < 3 else (str(path),):
                answer = read(href)
                assert isinstance(answer, PermanentFault)
                assert answer.reason == "refers_elsewhere"
                with (
                    SceneReader(1, RetryPolicy(1, sleep=lambda _: None)) as reader,
                    pytest.raises(PermanentFault, match="must hold its overviews itself"),
                ):
                    reader.read_coarse({"B02": href}, ["B02"], 100)
        assert not inner.take_requests()
    assert not opened


@pytest.mark.parametrize("kind", INSPECT)
def test_no_map_leads_to_another_file_or_host(
    inner: ServerProcess, secrets: Path, tmp_path: Path, kind: str
) -> None:
    inner.take_requests()
    with noted_openings(secrets) as opened:
        for number, name in enumerate(names(inner, secrets)):
            path = write_map(tmp_path / f"{number}.tif", kind)
            name_overviews(path, name)
            with pytest.raises(InvalidInputError, match="file that it refers to"):
                INSPECT[kind](str(path))
        assert not inner.take_requests()
    assert not opened


def name_everywhere_else(path: Path, name: str) -> None:
    """Names a file in all domains of the metadata, and tags of the TIFF, but that of overviews."""
    vrt = f"<VRTDataset><VRTRasterBand><SimpleSource><SourceFilename>{name}</SourceFilename></SimpleSource>"
    domains = {
        "RPC": {"RPB_FILE": name, "HEIGHT_OFF": name},
        "IMD": {"filename": name},
        "SUBDATASETS": {"SUBDATASET_1_NAME": name, "SUBDATASET_1_DESC": "x"},
        "DERIVED_SUBDATASETS": {"DERIVED_SUBDATASET_1_NAME": name},
        "GEOLOCATION": {"X_DATASET": name, "Y_DATASET": name, "X_BAND": "1", "Y_BAND": "1"},
        "ProxyOverviewRequest": {"PREFERRED": name},
        "COLOR_PROFILE": {"SOURCE_ICC_PROFILE": name},
        "IMAGE_STRUCTURE": {"MASK_FILE": name},
        "vrt_sources": {"source_0": f"<SimpleSource><SourceFilename>{name}</SourceFilename></SimpleSource>"},
        "xml:VRT": {"xml:VRT": vrt},
        "xml:XMP": {"xml:XMP": f"<x>{name}</x>"},
        "xml:ESRI": {"xml:ESRI": f"<GeodataXform><file>{name}</file></GeodataXform>"},
        None: {
            "TIFFTAG_DOCUMENTNAME": name,
            "TIFFTAG_IMAGEDESCRIPTION": name,
            "TIFFTAG_XRESOLUTION": "1",
            "OVERVIEW_FILE": name,
            "INTERNAL_MASK_FLAGS_1": "2",
        },
    }
    for ns, tags in domains.items():
        tag(path, ns, **tags)


@pytest.mark.parametrize("kind", ["image", *INSPECT])
def test_other_metadata_leads_nowhere_and_changes_nothing(
    inner: ServerProcess, secrets: Path, plain: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a.tif"
    if kind == "image":
        shutil.copy(plain, path)
    else:
        write_map(path, kind)

    def pixels() -> np.ndarray:
        if kind == "image":
            return read(str(path))
        file = INSPECT[kind](str(path))
        with rasterio.Env(**GDAL_OPTIONS), open_raster(file) as dataset:
            return (lit_pixels if kind == "lights" else lambda d, _, rows: read_rows(d, rows))(
                dataset, file, range(48)
            )

    before = pixels()
    assert isinstance(before, np.ndarray)
    for name in (f"/vsicurl_streaming/{inner.base}inner.tif", str(secrets / "secret.tif")):
        name_everywhere_else(path, name)
        inner.take_requests()
        with noted_openings(secrets) as opened:
            np.testing.assert_array_equal(pixels(), before)
        assert not opened
        assert not inner.take_requests()


def test_the_mask_of_an_image_is_its_own(plain: Path, tmp_path: Path) -> None:
    """Files beside it say nothing of its pixels."""
    path = Path(shutil.copy(plain, tmp_path / "a.tif"))
    before = read(str(path))
    with (
        rasterio.open(path) as source,
        rasterio.open(f"{path}.msk", "w", **{**source.profile, "dtype": "uint8"}),
    ):
        pass  # of zeros
    with noted_openings(tmp_path) as opened:
        alone = read(str(path))
    assert opened == {"a.tif"}
    assert not np.ma.isMaskedArray(alone)
    np.testing.assert_array_equal(alone, before)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        rasterio.open(path, "r+", driver="GTiff", IGNORE_COG_LAYOUT_BREAK="YES") as file,
    ):
        file.write_mask(np.zeros(file.shape, bool))
    within = read(str(path))
    assert isinstance(within, np.ma.MaskedArray)
    assert within.mask.all()
    assert not within.data.any()


@pytest.mark.parametrize("kind", INSPECT)
def test_what_lies_beside_a_map_is_not_read(tmp_path: Path, kind: str) -> None:
    path = write_map(tmp_path / "map.tif", kind)
    found = INSPECT[kind](str(path))
    with rasterio.Env(**GDAL_OPTIONS), open_raster(found) as dataset:
        pixels = dataset.read(1)
    for name in ("map.tif.msk", "map.msk", "map.tif.ovr", "map.ovr"):
        shutil.copy(path, tmp_path / name)
    (tmp_path / "map.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    for name in ("map.tfw", "map.prj", "map.tab", "map_RPC.TXT", "map.RPB", "map.IMD", "map.aux"):
        (tmp_path / name).write_text("1\n0\n0\n-1\n0\n0\n")
    with noted_openings(tmp_path) as opened:
        assert INSPECT[kind](str(path)) == found
        with rasterio.Env(**GDAL_OPTIONS), open_raster(found) as dataset:
            np.testing.assert_array_equal(dataset.read(1), pixels)
            assert dataset.read_masks(1).all()
            assert not dataset.overviews(1)
            assert dataset.files == [str(path)]
    assert opened == {"map.tif"}


HREFS = [
    "/vsizip/secrets.zip/secret.tif",
    "/vsitar/secrets.tar/secret.tif",
    "/vsigzip/secrets/secret.tif",
    "/vsicurl?url=http%3A%2F%2F127.0.0.1%2Finner.tif",
    "/vsisubfile/0_100,secrets/secret.tif",
    "zip://secrets.zip!secret.tif",
    "zip+file://secrets.zip!secret.tif",
    "vrt://secrets/secret.tif",
    "GTIFF_DIR:1:secrets/secret.tif",
    "GTIFF_RAW:secrets/secret.tif",
    'NETCDF:"secrets/secret.tif":a.tif',
    '{"type":"gdal_streamed_alg","command_line":"gdal raster read secrets/secret.tif"}.tif',
    "<VRTDataset><SourceFilename>secrets/secret.tif</SourceFilename></VRTDataset>.tif",
    "secrets.zip",
]


@pytest.mark.parametrize("href", HREFS)
def test_an_href_is_a_path_or_a_url_and_no_name_that_gdal_would_take_apart(
    secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, href: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with noted_openings(secrets) as opened:
        with pytest.raises(PermanentFault):
            readable_href(href, "", "https://api.example.org/v1")
        answer = read(href)
        assert isinstance(answer, PermanentFault)
        assert answer.reason in ("unreadable_href", "not_found")
        if "://" not in href and href[0] != "/":
            for inspect in INSPECT.values():
                with pytest.raises(InvalidInputError):
                    inspect(href)
    assert not opened


def test_a_map_with_a_name_that_gdal_would_take_apart_is_itself(
    secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(secrets)
    os.replace(write_map(secrets / "map.tif", "lights"), secrets / "GTIFF_DIR:1:secret.tif")
    assert inspect_night_lights("GTIFF_DIR:1:secret.tif").window.columns == 64


@pytest.mark.timeout(60)
def test_a_body_without_end_is_a_fault(plain: Path, tmp_path: Path) -> None:
    shutil.copy(plain, tmp_path / "a.tif")
    with FolderServer(tmp_path) as server:
        server.inject("a.tif", Injected("endless"))
        answer = read(server.url("a.tif"))
        assert isinstance(answer, TransientFault)
        assert sum(request.sent for request in server.requests) < 1 << 27
        server.heal()
        server.inject("b.tif", Injected("endless", overlaps=(40_000, 1 << 40)))
        shutil.copy(tmp_path / "a.tif", tmp_path / "b.tif")
        answer = read(server.url("b.tif"))
        assert isinstance(answer, Fault)
        assert sum(request.sent for request in server.requests) < 1 << 28


class ChangingServer(FolderServer):
    """Puts the next state of a file in its place at each opening, and fails as bytes behind the header are asked for.

    It fails in one state, so that the file is opened again, or in all.
    """

    def __init__(self, folder: Path, states: Iterable[Path], always_fails: bool = False) -> None:
        super().__init__(folder)
        self._states, self._openings, self._always_fails = iter(states), 0, always_fails

    def fault_for(self, method: str, path: str, start: int, stop: int) -> Injected | None:
        with self.lock:
            if method == "HEAD":
                shutil.copy(next(self._states), self.root / path.lstrip("/"))
                self._openings += 1
            fails = start >= 32_768 and (self._always_fails or self._openings == 1)
            return Injected("status", 500) if fails else None


def in_another_crs(path: Path) -> None:
    write_cog(path, side_m=SIDE_M, epsg=32634)


def of_another_size(path: Path) -> None:
    write_cog(path, side_m=SIDE_M + 1920)


def smaller_than_the_chip(path: Path) -> None:
    write_cog(path, side_m=1920)


def test_an_image_that_changes_between_two_openings_is_looked_at_as_at_the_first(
    inner: ServerProcess, plain: Path, tmp_path: Path
) -> None:
    first = Path(shutil.copy(plain, tmp_path / "first.tif"))
    url = f"/vsicurl_streaming/{inner.base}inner.tif"

    def elsewhere(path: Path) -> None:
        # Without overviews of its own: only then does GDAL look for others as it opens one.
        write_sparse(path, SIDE_M // 10, 128)
        name_overviews(path, url)

    makers: dict[Callable[[Path], None], str] = {
        elsewhere: "refers_elsewhere",
        in_another_crs: "wrong_crs",
        of_another_size: "",
        smaller_than_the_chip: "outside",
    }
    inner.take_requests()
    for make, reason in makers.items():
        name = make.__name__
        make(tmp_path / f"{name}.second.tif")
        shutil.copy(first, tmp_path / f"{name}.tif")
        states = itertools.chain([first], itertools.repeat(tmp_path / f"{name}.second.tif"))
        with ChangingServer(tmp_path, states) as server:
            answer = read(server.url(f"{name}.tif"), attempts=2)
        if reason:
            assert isinstance(answer, Fault), name
            assert answer.reason == reason
        else:  # all of it of the second state
            np.testing.assert_array_equal(answer, read(str(tmp_path / f"{name}.second.tif")))
    shutil.copy(first, tmp_path / "coarse.tif")
    states = itertools.chain([first], itertools.repeat(tmp_path / "elsewhere.second.tif"))
    with (
        ChangingServer(tmp_path, states) as server,
        SceneReader(1, RetryPolicy(2, sleep=lambda _: None)) as reader,
        pytest.raises(PermanentFault, match="refers_elsewhere"),
    ):
        reader.read_coarse({"B02": server.url("coarse.tif")}, ["B02"], 192)
    assert not inner.take_requests()


def test_an_image_that_changes_at_every_opening_is_given_up(tmp_path: Path) -> None:
    states = [tmp_path / f"state{number}.tif" for number in range(3)]
    for number, state in enumerate(states):
        write_cog(state, side_m=SIDE_M + 1920 * number)
    shutil.copy(states[0], tmp_path / "a.tif")
    with ChangingServer(tmp_path, itertools.cycle(states), always_fails=True) as server:
        answer = read(server.url("a.tif"), attempts=3)
    assert isinstance(answer, TransientFault)
    assert answer.reason == "changed"


def test_a_map_that_changes_after_it_was_looked_at_is_not_read(inner: ServerProcess, tmp_path: Path) -> None:
    path = write_map(tmp_path / "map.tif", "lights")
    original = path.read_bytes()
    file = inspect_night_lights(str(path))

    def change_and_open(change: Callable[[], object]) -> None:
        path.write_bytes(original)
        change()
        with (
            pytest.raises(rasterio.errors.RasterioIOError, match="has changed since it was looked at"),
            rasterio.Env(**GDAL_OPTIONS),
            open_raster(file),
        ):
            pass

    inner.take_requests()
    change_and_open(lambda: name_overviews(path, f"/vsicurl/{inner.base}inner.tif"))
    change_and_open(lambda: write_map(path, "lights", nodata=7))
    change_and_open(lambda: write_map(path, "lights", crs="EPSG:4267"))
    change_and_open(lambda: write_map(path, "lights", blockysize=7))
    change_and_open(lambda: write_map(path, "cover"))
    assert not inner.take_requests()
    path.write_bytes(original)
    with rasterio.Env(**GDAL_OPTIONS), open_raster(file) as dataset:
        assert lit_pixels(dataset, file, range(48)).all()


def test_only_the_drivers_that_are_needed_are_there(inner: ServerProcess, tmp_path: Path) -> None:
    """As in a worker: rasterio was used before, then what is unpickled imports us; in any thread, in any later Env."""
    for name in ("before", "after"):
        name_overviews(write_map(tmp_path / f"{name}.tif", "lights"), f"{inner.base}{name}.tif")
    code = f"""
import pickle, threading
import rasterio
look = lambda name: rasterio.open({str(tmp_path)!r} + "/" + name, driver="GTiff").overviews(1)
look("before.tif")  # with the driver HTTP, which downloads what it names
inspect = pickle.loads(b"cbeam_pipeline.maps.rasters\\ninspect_night_lights\\n.")
def show():
    with rasterio.Env() as env: print(*sorted(env.drivers()))
show()
thread = threading.Thread(target=show); thread.start(); thread.join()
look("after.tif")
try: inspect({str(tmp_path / "after.tif")!r})
except Exception as error: print(error)
"""
    inner.take_requests()
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    first, second, refused = done.stdout.strip().split("\n")
    assert first == second == " ".join(sorted(KEPT))
    assert "file that it refers to" in refused
    assert {request.path for request in inner.take_requests()} == {"/before.tif"}


def test_rasterio_is_imported_from_one_place() -> None:
    """Only so are the drivers limited before anything is opened, in launcher, workers and every entry."""
    harmless = {"rasterio.enums", "rasterio.errors", "rasterio.windows"}
    folder = Path(beam_pipeline.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name == "gdal_drivers.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found = {module for module in modules if module.split(".")[0] == "rasterio"}
            assert found <= harmless, path
