"""Cells on both sides of 180 degrees, whose items claim the whole world, through the whole pipeline."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from scipy.ndimage import distance_transform_edt

from beam_pipeline.build_dataset import main
from beam_pipeline.imagery.image import BANDS, BANDS_10, SCL
from beam_pipeline.records.schema import NONE, UNLABELED
from beam_pipeline.sample_world.stac import ASSET_KEYS
from tests.imagery.made_cogs import write_cog
from tests.imagery.range_server import RangeServer
from tests.imagery.stac_server import Item, StacServer
from tests.labels.osm_file import OsmFile
from tests.pipelines.conftest import Built

AREA = "179.97,-16.86,-179.97,-16.82"  # Taveuni, Fiji: tile 01KAB holds it whole
EPSG, LEFT, TOP = 32701, 176_400, 10_000_000 - 60 * 31_036
DATES = ("2020-03-01", "2020-08-01")
VEGETATION = 4
WOODED, RECREATION, WATER = 0, 5, 12

Box = tuple[float, float, float, float]
FOREST: Box = (179.975, -16.855, 180.0, -16.835)  # ends at the line,
LAKE: Box = (-180.0, -16.855, -179.975, -16.835)  # where this begins
PARK: Box = (179.99, -16.833, -179.99, -16.828)  # crosses it


def item_of(folder: str, name: str, date: str) -> Item:
    """An item whose footprint is the world, and no word of where its tile lies but its code."""
    ring = [[-180.0, -90.0], [180.0, -90.0], [180.0, 90.0], [-180.0, 90.0], [-180.0, -90.0]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"S2A_{name}_{date.replace('-', '')}_0_L2A",
        "collection": "sentinel-2-l2a",
        "bbox": [-180.0, -90.0, 180.0, 90.0],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "datetime": f"{date}T22:15:00Z",
            "platform": "sentinel-2a",
            "grid:code": f"MGRS-{name}",
            "s2:processing_baseline": "02.14",
        },
        "assets": {key: {"href": f"{folder}/{band}.tif"} for band, key in ASSET_KEYS.items()},
        "links": [],
    }


def inside(box: Box, lon: np.ndarray, lat: np.ndarray, more: float = 0.0) -> np.ndarray:
    west, south, east, north = box[0] % 360 - more, box[1] - more, box[2] % 360 + more, box[3] + more
    return (west < lon) & (lon < east) & (south < lat) & (lat < north)


def expected_label(chip: Any) -> tuple[np.ndarray, np.ndarray]:
    """The label image, and which of its values hang on pixels so near to an edge that rounding decides."""
    reach = 10  # pixels around the chip that tell of its second channel
    x = chip.left + 10 * (np.arange(-reach, 192 + reach) + 0.5)
    y = chip.top - 10 * (np.arange(-reach, 192 + reach) + 0.5)
    to_degrees = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(x, y))
    lon = lon % 360
    forest, lake, park = (inside(box, lon, lat) for box in (FOREST, LAKE, PARK))
    possible, sure = (
        np.logical_or.reduce([inside(box, lon, lat, more) for box in (FOREST, LAKE, PARK)])
        for more in (5e-6, -5e-6)
    )
    edge = possible & ~sure
    near, may_be_near = (distance_transform_edt(~drawn) <= reach for drawn in (sure, possible))
    label = np.full((*lon.shape, 3), UNLABELED, np.uint8)
    label[..., 1][near] = label[..., 2][forest | lake] = NONE
    label[..., 0][forest], label[..., 0][park], label[..., 1][lake] = WOODED, RECREATION, WATER
    unsure = np.stack([edge, edge | (near != may_be_near), edge], axis=-1)
    inner = slice(reach, reach + 192)
    return label[inner, inner], unsure[inner, inner]


def test_cells_on_both_sides_of_the_antimeridian(tmp_path: Path) -> None:
    pixels: dict[tuple[str, str], np.ndarray] = {}
    items = []
    for date in DATES:
        folder = tmp_path / date
        folder.mkdir()
        for band in (*BANDS, SCL):
            classes = np.full((600, 600), VEGETATION) if band == SCL else None
            where = {"epsg": EPSG, "left": LEFT, "top": TOP}
            pixels[date, band] = write_cog(folder / f"{band}.tif", band, **where, pixels=classes)
    file = OsmFile()
    for number, (box, tags) in enumerate(
        ((FOREST, {"landuse": "forest"}), (LAKE, {"natural": "water"}), (PARK, {"leisure": "park"})), 1
    ):
        west, south, east, north = box
        file.way(number, [(west, south), (east, south), (east, north), (west, north), (west, south)], **tags)
    extract = file.write(tmp_path / "map.osm.pbf")

    output = tmp_path / "set"
    with contextlib.ExitStack() as servers:
        files = servers.enter_context(RangeServer(tmp_path))
        for date in DATES:
            items += [item_of(files.url(date), "1KAB", date), item_of(files.url("none"), "60KZF", date)]
        server = servers.enter_context(StacServer(items, query="absent"))
        own = [f"--area={AREA}", "--years", "2020", "--osm", str(extract), "--output", str(output)]
        built = Built(output, main([*own, "--stac_url", server.url, "--collection", "sentinel-2-l2a"]))
        boxes = [search["bbox"] for search in server.searches]

    assert built.code == 0
    assert built.dataset["complete"]
    assert built.dataset["rejections"] == built.dataset["scene_rejections"] == {}
    assert built.dataset["unusable_scenes"] == []
    # Once before launch, and once for the tile and year.
    assert [(box[0], box[2]) for box in boxes] == [(boxes[0][0], 180.0), (-180.0, boxes[1][2])] * 2
    assert boxes[0][0] > 179 > -179 > boxes[1][2]
    examples = built.examples()
    assert {example.cell.min_lon > 0 for example in examples} == {True, False}
    assert len(examples) == 8
    shown: set[int] = set()
    for example in examples:
        chip = example.cell.chip
        row, column = (TOP - chip.top) // 10, (chip.left - LEFT) // 10
        for image, date in zip(example.images, DATES, strict=True):
            assert (image.item_id, image.date) == (f"S2A_1KAB_{date.replace('-', '')}_0_L2A", date)
            for index, band in enumerate(BANDS_10):
                window = pixels[date, band][row : row + 192, column : column + 192]
                np.testing.assert_array_equal(image.gsd_10[..., index], window)
        expected, unsure = expected_label(chip)
        assert unsure.mean() < 0.02
        np.testing.assert_array_equal(example.label[~unsure], expected[~unsure])
        shown |= set(np.unique(example.label).tolist())
    assert {WOODED, RECREATION, WATER} <= shown
