"""Other jobs on datasets: each takes one of published files, says what it is, or refuses it."""

import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from beam_pipeline.build_dataset import main as build
from beam_pipeline.export_dataset import main as export_dataset
from beam_pipeline.import_published import main as import_published
from beam_pipeline.jobs.storage import BeamFiles, use_options
from beam_pipeline.make_report import main as report
from beam_pipeline.verify import main as verify
from tests.exchange.published_files import SPLITS, PublishedFolder, square
from tests.pipelines.conftest import Built
from tests.pipelines.gs_bucket import serving_bucket

CELLS = [square(tile, number) for tile in SPLITS for number in range(2)]
DATES = ("20180115", "20180704")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> PublishedFolder:
    """Published files of a pair in each of six cells."""
    folder = PublishedFolder(tmp_path_factory.mktemp("files") / "published")
    for cell in CELLS:
        folder.add_cell(cell, *DATES)
    return folder


def run(published: Path | str, output: Path | str) -> int:
    return import_published([f"--published={published}", f"--output={output}", "--processes=1"])


def export(dataset: Path | str, name: str, output: Path | str) -> int:
    return export_dataset([f"--dataset={dataset}", f"--format={name}", f"--output={output}", "--processes=1"])


@pytest.fixture(scope="module")
def imported(published: PublishedFolder, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A finished import; nothing is changed in it."""
    folder = tmp_path_factory.mktemp("imported") / "set"
    return Built(folder, run(published.folder, folder))


def published_files(folder: Path) -> dict[str, bytes]:
    """The files that the published layout names."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in ("osm_*/*/*", "osm_*/*/*/*", "*.csv", "*.json")
        for path in folder.glob(pattern)
        if path.is_file()
    }


def test_it_is_published_again_with_the_same_pixels(
    published: PublishedFolder, imported: Built, tmp_path: Path
) -> None:
    assert export(imported.folder, "published", tmp_path) == 0
    assert len(list(tmp_path.glob("osm_sentinel_imagery/*/*/*.npz"))) == len(published.images)
    for (cell_id, date), arrays in published.images.items():
        (path,) = tmp_path.glob(f"osm_sentinel_imagery/*/{cell_id}/*_{date}_*.npz")
        with np.load(path) as found:
            assert list(found) == list(arrays)
            for name, array in arrays.items():
                assert found[name].dtype == array.dtype
                assert np.array_equal(found[name], array)
    for cell_id, label in published.labels.items():
        (path,) = tmp_path.glob(f"osm_label_images_v10/*/{cell_id}.png")
        with PIL.Image.open(path) as image:
            assert np.array_equal(np.asarray(image), label)


def test_published_imported_and_published_again_all_files_have_the_same_bytes(
    built: Built, tmp_path: Path
) -> None:
    once, again = tmp_path / "once", tmp_path / "again"
    assert export(built.folder, "published", once) == 0
    assert run(once, tmp_path / "set") == 0
    assert export(tmp_path / "set", "published", again) == 0
    assert published_files(once)
    assert published_files(again) == published_files(once)


def test_it_is_no_map(imported: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(imported.folder, "geotiff", tmp_path / "out") == 2
    assert "needs chips that lie where their bounds say" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tar_shards_hold_its_pixels(published: PublishedFolder, imported: Built, tmp_path: Path) -> None:
    assert export(imported.folder, "webdataset", tmp_path) == 0
    samples = {}
    for path in tmp_path.glob("data/*.tar"):
        with tarfile.open(path) as tar:
            samples.update({it.name: tar.extractfile(it).read() for it in tar})  # type: ignore[union-attr]
    for cell in CELLS:
        key = f"{cell.cell_id}_2018"
        assert json.loads(samples[f"{key}.json"])["bounds_exact"] == 0
        for slot, date in enumerate(DATES):
            dn = np.load(io.BytesIO(samples[f"{key}.image_{slot}.gsd_20.npy"]), allow_pickle=False)
            exact = np.rint(published.images[cell.cell_id, date]["gsd_20"].astype(np.float64) * 10_000)
            assert np.array_equal(np.moveaxis(dn, 0, -1), exact)
        with PIL.Image.open(io.BytesIO(samples[f"{key}.label.png"])) as image:
            assert np.array_equal(np.asarray(image), published.labels[cell.cell_id])


CLAIMS = "at random|drawn with seed|keyed hash|STAC collection|unusable pixels|too few clear|never by cell|share a tile"
"""Sentences of cards of datasets that are built here."""


def test_cards_say_whose_it_is(built: Built, imported: Built, tmp_path: Path) -> None:
    texts = []
    for source in (built, imported):
        output = tmp_path / str(len(texts))
        assert export(source.folder, "card", output) == 0
        croissant = json.loads((output / "croissant.json").read_text())
        told = croissant["geocr:samplingStrategy"] + croissant["geocr:spatialBias"]
        texts.append((output / "README.md").read_text() + told)
    assert re.search(CLAIMS, texts[0])
    assert not re.search(CLAIMS, texts[1])
    assert texts[1].count("cells and splits are those of the published OpenSentinelMap") == 2


@pytest.mark.slow  # draws two reports
def test_a_report_claims_no_drawing_and_no_filter(built: Built, imported: Built, tmp_path: Path) -> None:
    pages = []
    for source in (built, imported):
        output = tmp_path / f"{len(pages)}.html"
        assert report([str(source.folder), f"--output={output}"]) == 0
        pages.append(output.read_text())
    claims = "What the filters refuse|drawn month by month|bound was never stored|never in two splits"
    assert len(re.findall(claims, pages[0])) >= 4
    assert not re.search(claims, pages[1])
    assert "The bounds of 6 cells are not exact." in pages[1]
    assert "its split in the published table" in pages[1]


def test_a_build_does_not_go_on_in_it(
    imported: Built, built: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in imported.folder.rglob("*")}
    assert build(["--sample", f"--output={imported.folder}"]) == 2
    error = capsys.readouterr().err
    assert "grid: 'opensentinelmap-published-2022' there" in error
    assert "choose another --output" in error.replace("Choose", "choose")
    assert {path: path.stat().st_mtime_ns for path in imported.folder.rglob("*")} == before


def upload(folder: Path, url: str) -> None:
    """Copies a folder into a bucket."""
    for path in folder.rglob("*"):
        if path.is_file():
            BeamFiles().write_bytes(f"{url}/{path.relative_to(folder)}", [path.read_bytes()])


def check_bucket(root: str, published: Path, imported: Path, tmp_path: Path) -> None:
    """Imports from a bucket into it, and exports from it into it, with the bytes that a disk has."""
    files = BeamFiles()
    upload(published, f"{root}/published")
    assert run(f"{root}/published", f"{root}/set") == 0
    for path in (path for path in imported.rglob("*") if path.is_file() and path.name != "run.json"):
        assert files.read_bytes(f"{root}/set/{path.relative_to(imported)}") == path.read_bytes(), path
    assert verify([f"{root}/set", "--processes=1"]) == 0
    for name in ("published", "webdataset"):
        assert export(imported, name, tmp_path / name) == 0
        assert export(f"{root}/set", name, f"{root}/{name}_again") == 0
        for path in (path for path in (tmp_path / name).rglob("*") if path.is_file()):
            there = files.read_bytes(f"{root}/{name}_again/{path.relative_to(tmp_path / name)}")
            assert path.name == "croissant.json" or there == path.read_bytes(), path
    assert export(f"{root}/set", "geotiff", f"{root}/geotiff") == 2


@pytest.fixture
def gs(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("gcp_storage_emulator", reason="needs gcp-storage-emulator")
    gcsio = pytest.importorskip("apache_beam.io.gcp.gcsio", reason="needs apache-beam[gcp]")
    with serving_bucket("datasets") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        # Beam would ask this machine for credentials for half a minute, and keep the answer for the process.
        monkeypatch.setattr(gcsio.auth, "get_service_credentials", lambda _options: None)
        use_options()
        yield "gs://datasets/it"


@pytest.mark.slow  # each of its many requests waits for the one thread of the emulator
def test_on_gs_it_has_the_bytes_of_a_local_one(
    gs: str, published: PublishedFolder, imported: Built, tmp_path: Path
) -> None:
    check_bucket(gs, published.folder, imported.folder, tmp_path)


@pytest.mark.slow  # Beam makes a client for each operation
def test_on_s3_it_has_the_bytes_of_a_local_one(
    monkeypatch: pytest.MonkeyPatch, published: PublishedFolder, imported: Built, tmp_path: Path
) -> None:
    boto3 = pytest.importorskip("boto3", reason="needs apache-beam[aws]")
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    from tests.pipelines.test_s3 import KEYS

    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="imports")
        use_options()
        check_bucket("s3://imports/it", published.folder, imported.folder, tmp_path)
    finally:
        server.stop()
