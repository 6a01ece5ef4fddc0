"""GeoCroissant files: valid for mlcroissant, and their RDF says what the dataset holds."""

import dataclasses
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyproj
import pytest

from beam_pipeline.cells.cell import CHIP_SIZE_M, ChipWindow
from beam_pipeline.cells.mgrs_tiles import find_tile
from beam_pipeline.cells.table import CELLS_FILE, write_cells_csv
from beam_pipeline.dataset.folder import DATASET_FILE, RUN_FILE
from beam_pipeline.exchange.card import Card
from beam_pipeline.exchange.webdataset import WebDataset, array_file, sample_members
from beam_pipeline.imagery.image import BANDS
from beam_pipeline.records.schema import GRID_BANDS
from tests.exchange.conftest import CELLS, YEARS, export
from tests.model_tf.made_dataset import made_cell, write_dataset

FORMATS = {"webdataset": WebDataset(), "card": Card()}

GEOCR = "http://mlcommons.org/croissant/geo/"

# Source: the properties of https://docs.mlcommons.org/croissant/docs/croissant-geo-spec.html with their domains.
DOMAINS = {
    "coordinateReferenceSystem": {"Dataset"},
    "spatialResolution": {"Dataset", "RecordSet"},
    "bandConfiguration": {"Dataset", "Field"},
    "spectralBandMetadata": {"Dataset", "Field"},
    "spatialBias": {"Dataset"},
    "samplingStrategy": {"Dataset"},
    "totalBands": {"BandConfiguration"},
    "bandNameList": {"BandConfiguration"},
    "centerWavelength": {"SpectralBand"},
    "bandwidth": {"SpectralBand"},
}
# Source: "Required" of https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html, without `url`.
REQUIRED = {
    "@context",
    "@type",
    "conformsTo",
    "description",
    "license",
    "name",
    "creator",
    "datePublished",
    "distribution",
}


def placed(cell_id, split):
    """A cell as the table of cells takes it: splits share no tile, and tiles hold their chips."""
    tile = find_tile({"training": "33TWN", "testing": "33TXN"}[split])
    chip = ChipWindow(tile.epsg, tile.left + 60, tile.top - 100_020)
    to_degrees = pyproj.Transformer.from_crs(chip.epsg, 4326, always_xy=True)
    lon, lat = to_degrees.transform(chip.left + CHIP_SIZE_M / 2, chip.bottom + CHIP_SIZE_M / 2)
    bounds = {"min_lon": lon - 0.01, "max_lon": lon + 0.01, "min_lat": lat - 0.01, "max_lat": lat + 0.01}
    return dataclasses.replace(made_cell(cell_id, split, tile.name), chip=chip, **bounds)


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory) -> Path:
    """The dataset with the small files that a build writes beside it."""
    folder = Path(shutil.copytree(dataset, tmp_path_factory.mktemp("croissant") / "set"))
    ids = [(cell, split) for split, shards in CELLS.items() for cells in shards for cell in cells]
    write_cells_csv([placed(cell, split) for cell, split in ids], folder / CELLS_FILE)
    times = {"started": "2026-01-30T22:00:00+00:00", "finished": "2026-01-31T01:00:00+00:00"}
    (folder / RUN_FILE).write_text(json.dumps(times))
    (folder / "features.json").write_text("{}\n")
    return folder


@pytest.fixture(scope="module")
def written(whole, tmp_path_factory) -> dict[str, Path]:
    """By format, its croissant.json."""
    folder = tmp_path_factory.mktemp("out")
    for name, chosen in FORMATS.items():
        assert export(whole, folder / name, chosen).complete
    return {name: folder / name / "croissant.json" for name in FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_mlcroissant_finds_nothing_wrong(written, name, caplog):
    mlc = pytest.importorskip("mlcroissant")
    dataset = mlc.Dataset(str(written[name]))
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert "not standard" not in caplog.text
    splits = [it["splits/name"] for it in dataset.records("splits")]
    assert splits == ["training", "validation", "testing"]


@pytest.mark.parametrize("name", FORMATS)
def test_mlcroissant_gives_the_categories(written, whole, name):
    mlc = pytest.importorskip("mlcroissant")
    found = {
        (
            it["categories/channel"],
            it["categories/channel_index"],
            it["categories/name"],
            it["categories/value"],
        )
        for it in mlc.Dataset(str(written[name])).records("categories")
    }
    channels = json.loads((whole / DATASET_FILE).read_text())["ontology"]["channels"]
    assert found == {
        (channel["name"], index, label, value)
        for index, channel in enumerate(channels)
        for label, value in channel["labels"].items()
    }


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_required_is_there(written, name):
    content = json.loads(written[name].read_text())
    assert set(content) >= REQUIRED
    assert content["conformsTo"] == [
        "http://mlcommons.org/croissant/1.1",
        "http://mlcommons.org/croissant/geo/1.0",
    ]
    assert content["datePublished"] == "2026-01-31"
    assert content["temporalCoverage"] == f"{YEARS[0]}-01-01/{YEARS[-1]}-12-31"
    south, west, north, east = map(float, content["spatialCoverage"]["geo"]["box"].split())
    cells = [placed(1, "training"), placed(4, "testing")]
    for found, right in ((south, min(it.min_lat for it in cells)), (west, cells[0].min_lon)):
        assert found == pytest.approx(right, abs=1e-6)
    for found, right in ((north, max(it.max_lat for it in cells)), (east, cells[1].max_lon)):
        assert found == pytest.approx(right, abs=1e-6)
    assert content["geocr:coordinateReferenceSystem"] == "EPSG:32633"
    ids = [it["@id"] for it in content["distribution"] + content["recordSet"]]
    ids += [field["@id"] for it in content["recordSet"] for field in it["field"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", FORMATS)
def test_its_rdf_says_bands_sampling_and_bias(written, name):
    rdflib = pytest.importorskip("rdflib")
    graph = rdflib.Graph().parse(data=written[name].read_text(), format="json-ld")
    geocr, schema = rdflib.Namespace(GEOCR), rdflib.Namespace("https://schema.org/")
    (root,) = graph.subjects(rdflib.RDF.type, schema.Dataset)
    bands = graph.value(root, geocr.bandConfiguration)
    assert int(graph.value(bands, geocr.totalBands)) == 12
    assert {str(it) for it in graph.objects(bands, geocr.bandNameList)} == set(BANDS)
    centres = {
        str(graph.value(band, schema.name)): float(
            graph.value(graph.value(band, geocr.centerWavelength), schema.value)
        )
        for band in graph.objects(root, geocr.spectralBandMetadata)
    }
    assert set(centres) == set(BANDS)
    in_order = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
    assert (
        sorted(centres, key=centres.__getitem__) == in_order
    )  # by wavelength, as the instrument numbers them
    assert "by tile" in str(graph.value(root, geocr.samplingStrategy))
    assert "100% from 30° N to 60° N" in str(graph.value(root, geocr.spatialBias))
    for subject, predicate, _ in graph:
        if str(predicate).startswith(GEOCR):
            kinds = {str(it).rpartition("/")[2] for it in graph.objects(subject, rdflib.RDF.type)}
            assert kinds & DOMAINS[str(predicate).removeprefix(GEOCR)], (predicate, kinds)


@pytest.mark.parametrize("codec", ["npy", "pcodec"])
def test_every_file_of_a_sample_is_described(whole, made, tmp_path, codec):
    if codec == "pcodec":
        pytest.importorskip("pcodec")
    export(whole, tmp_path, WebDataset(codec))
    content = json.loads((tmp_path / "croissant.json").read_text())
    sets = {it["@id"]: it for it in content["distribution"]}
    members = dict(sample_members(made["training"][0][0], b"", codec))
    assert {it["includes"] for it in sets.values() if "containedIn" in it} == {
        f"*.{name.partition('.')[2]}" for name in members
    }
    tars = {it["@id"] for it in sets.values() if it["encodingFormat"] == "application/x-tar"}
    assert tars == {"training-tars", "testing-tars"}  # validation holds nothing
    assert all({of["@id"] for of in it["containedIn"]} == tars for it in sets.values() if "containedIn" in it)
    described = {it["source"]["extract"].get("jsonPath", "")[2:] for it in fields(content, "metadata")}
    keys = set(json.loads(members["1_2020.json"]))
    assert described == keys - {"image_0", "image_1"}


def fields(content, record_set):
    (found,) = (it for it in content["recordSet"] if it["@id"] == record_set)
    return found["field"]


def test_shapes_and_bands_of_arrays_are_those_that_are_written(written, made):
    content = json.loads(written["webdataset"].read_text())
    for grid, bands in GRID_BANDS.items():
        (pixels,) = (it for it in fields(content, f"image_1.{grid}.npy-records") if it["name"] == "content")
        array = np.load(io.BytesIO(array_file(getattr(made["training"][0][0].images[0], grid))))
        assert pixels["arrayShape"] == ",".join(map(str, array.shape))
        assert pixels["geocr:bandConfiguration"]["geocr:bandNameList"] == list(bands)


def test_files_of_a_dataset_are_named_with_their_hashes(written, whole):
    content = json.loads(written["card"].read_text())
    objects = {it["@id"]: it for it in content["distribution"] if it["@type"] == "cr:FileObject"}
    assert set(objects) == {"dataset.json", "features.json"}
    for name, it in objects.items():
        assert it["sha256"] == hashlib.sha256((whole / name).read_bytes()).hexdigest()
    for it in content["distribution"]:
        if it["@type"] == "cr:FileSet":
            assert list(whole.glob(it["includes"])), it


def test_a_name_of_others_stays_data(made, tmp_path):
    """A category may be called anything that can be printed."""
    folder = Path(write_dataset(tmp_path / "set", made))
    text = (folder / DATASET_FILE).read_text().replace('"quarry"', json.dumps('"}, <b>|x|</b> {"@id": "y"}'))
    (folder / DATASET_FILE).write_text(text)
    export(folder, tmp_path / "out", WebDataset())
    content = json.loads((tmp_path / "out/croissant.json").read_text())
    (categories,) = (it for it in content["recordSet"] if it["@id"] == "categories")
    assert '"}, <b>|x|</b> {"@id": "y"}' in {it["categories/name"] for it in categories["data"]}
    card = (tmp_path / "out/README.md").read_text()
    assert r"\<b\>\|x\|\</b\>" in card
    assert "<b>" not in card
