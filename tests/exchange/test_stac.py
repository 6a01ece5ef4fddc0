"""The STAC catalogue of an export: valid, whole, and true."""

import json
from pathlib import Path
from typing import Any

import pystac
import pytest
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.validation import stac_validator

from beam_pipeline.exchange.sentinel2 import BANDS
from beam_pipeline.exchange.stac import EXTENSIONS, ML_AOI_SPLITS
from beam_pipeline.imagery.stac_item import EARTH_SEARCH_V1_KEYS
from beam_pipeline.records.example import CellYear
from beam_pipeline.records.schema import GRID_BANDS
from tests.exchange.georeferenced import ACROSS, cell_years
from tests.model_tf.made_dataset import ONTOLOGY
from tests.shared_data import shared


@pytest.fixture(scope="module")
def collection(georeferenced: Path) -> pystac.Collection:
    return pystac.Collection.from_file(str(georeferenced / "collection.json"))


@pytest.fixture(scope="module")
def items(collection: pystac.Collection) -> dict[str, pystac.Item]:
    return {item.id: item for item in collection.get_items(recursive=True)}


def examples() -> list[CellYear]:
    return [it for shards in cell_years().values() for shard in shards for it in shard]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validates by the schemas that pystac brings; those of extensions would be fetched."""
    validate = stac_validator.JsonSchemaSTACValidator.validate_extension

    def passed(self: Any, *given: Any, **named: Any) -> Any:
        uri = named.get("extension_id", next((it for it in given if it in EXTENSIONS), None))
        return uri if uri in EXTENSIONS else validate(self, *given, **named)

    monkeypatch.setattr(stac_validator.JsonSchemaSTACValidator, "validate_extension", passed)


def test_all_is_valid_stac(collection: pystac.Collection, offline: None) -> None:
    assert collection.validate_all() == 10
    assert collection.to_dict()["stac_version"] == "1.1.0"
    assert collection.catalog_type == pystac.CatalogType.SELF_CONTAINED


def test_an_item_that_is_not_valid_is_found(items: dict[str, pystac.Item], offline: None) -> None:
    item = items["1-2020"].clone()
    item.properties["gsd"] = "10 m"
    with pytest.raises(pystac.errors.STACValidationError):
        item.validate()


def test_every_href_is_relative_and_leads_to_a_file(georeferenced: Path) -> None:
    found = 0
    for path in georeferenced.rglob("*.json"):
        if "export" in path.relative_to(georeferenced).parts:
            continue
        content = json.loads(path.read_text())
        hrefs = [link["href"] for link in content["links"]]
        hrefs += [asset["href"] for asset in content.get("assets", {}).values()]
        for href in hrefs:
            found += 1
            assert href.startswith(("./", "../"))
            assert (path.parent / href).is_file(), (path, href)
    assert found > 100


def test_links_of_a_collection_do_not_grow_with_cells(georeferenced: Path) -> None:
    links = json.loads((georeferenced / "collection.json").read_text())["links"]
    children = [link["href"] for link in links if link["rel"] == "child"]
    assert children == [f"./tiles/{tile}/catalog.json" for tile in ("33TWN", "34TBT", "60KXF")]
    assert not [link for link in links if link["rel"] == "item"]


def test_items_say_what_the_dataset_says(items: dict[str, pystac.Item], georeferenced: Path) -> None:
    assert set(items) == {f"{it.cell.cell_id}-{it.year}" for it in examples()}
    for it in examples():
        item = items[f"{it.cell.cell_id}-{it.year}"]
        assert item.collection_id == "opensentinelmap"
        assert item.properties["ml-aoi:split"] == {"training": "train", "testing": "test"}[it.cell.split]
        projection = ProjectionExtension.ext(item)
        assert projection.code == f"EPSG:{it.cell.chip.epsg}"
        assert projection.bbox == [*it.cell.chip.bounds]
        dates = [image.datetime for image in it.images]
        if len(dates) == 1:
            assert item.to_dict()["properties"]["datetime"] == dates[0]
        else:
            properties = item.to_dict()["properties"]
            assert properties["datetime"] is None
            assert [properties["start_datetime"], properties["end_datetime"]] == dates
        assert len(item.assets) == 3 + 4 * len(it.images)
        for slot, image in enumerate(it.images):
            for grid, bands in GRID_BANDS.items():
                asset = item.assets[f"image_{slot}_{grid}"].to_dict()
                assert [band["name"] for band in asset["bands"]] == [*bands]
                assert asset["raster:scale"] == 0.0001
                assert asset["raster:offset"] == image.boa_add_offset / 10_000
                assert asset["datetime"] == image.datetime
                assert asset["opensentinelmap:processing_baseline"] == image.baseline
                assert asset["proj:transform"][:3] == [asset["gsd"], 0, it.cell.chip.left]
                assert asset["proj:shape"] == [1920 // asset["gsd"]] * 2


def test_classes_are_the_ontologys(items: dict[str, pystac.Item]) -> None:
    for channel in ONTOLOGY["channels"]:
        asset = items["1-2020"].assets[f"label_{channel['name']}"]
        classes = ClassificationExtension.ext(asset).classes
        expected = {**channel["labels"], "none": 254, "unlabeled": 255}
        assert {it.name: it.value for it in classes} == expected
        assert [it.value for it in classes if it.nodata] == [255]
        assert asset.to_dict()["ml-aoi:role"] == "label"
    assert (
        items["1-2020"].assets["label_buildings"].to_dict()["classification:classes"][0]["color_hint"]
        == "B22222"
    )


def test_a_chip_across_the_antimeridian_is_two_squares(items: dict[str, pystac.Item]) -> None:
    item = items[f"{ACROSS}-2020"]
    assert item.geometry["type"] == "MultiPolygon"
    west, south, east, north = item.bbox
    assert 179.9 < west < 180
    assert -180 < east < -179.9
    assert -17.1 < south < north < -16.9


def test_the_collections_extent_is_the_narrowest(
    collection: pystac.Collection, items: dict[str, pystac.Item]
) -> None:
    """From the westernmost cell of Europe over the antimeridian; the other way round it would be the whole world."""
    (box,) = collection.extent.spatial.bboxes
    boxes = {item.id: item.bbox for item in items.values()}
    west, south, east, north = box
    assert west == min(it[0] for it in boxes.values())
    assert east == boxes[f"{ACROSS}-2020"][2] < -179.9
    assert south == min(it[1] for it in boxes.values())
    assert north == max(it[3] for it in boxes.values())
    assert 12 < west < 13


def test_splits_have_a_name_each() -> None:
    assert ML_AOI_SPLITS == {"training": "train", "validation": "validate", "testing": "test"}


def test_bands_are_those_of_a_real_item() -> None:
    """The eo extension's common names of the red edge are newer than the item."""
    assets = json.loads(shared("stac", "S2B_T24MUA_20250731T130245_L2A.json").read_text())["assets"]
    for band, ours in BANDS.items():
        (theirs,) = assets[EARTH_SEARCH_V1_KEYS[band]]["eo:bands"]
        assert ours.center_um == theirs["center_wavelength"]
        assert ours.width_um == theirs["full_width_half_max"]
        if not ours.common_name.startswith("rededge"):
            assert ours.common_name == theirs["common_name"]


@pytest.mark.online
def test_extensions_schemas_agree(collection: pystac.Collection) -> None:
    assert collection.validate_all() == 10
