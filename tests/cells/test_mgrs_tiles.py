"""Tiles against ESA's own tiling grid and real items."""

import importlib.resources
import io
import json
import re
import zipfile

import numpy as np
import pytest

from beam_pipeline.cells.mgrs_tiles import (
    TILE_SIZE_M,
    all_tiles,
    find_tile,
    normalise_tile_name,
    tile_lonlat_bounds,
)
from tests.shared_data import shared


@pytest.fixture(scope="module")
def esa() -> dict[str, tuple[int, int, int, int, int]]:
    """Name -> (EPSG, left, bottom, right, top) as ESA's KML has them."""
    packed = importlib.resources.files("s2tiling").joinpath("data/s2_tiling.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        kml = archive.read(archive.namelist()[0]).decode()
    tiles = {}
    for placemark in kml.split("<Placemark>")[1:]:
        name = re.search(r"<name>(\w+)</name>", placemark)[1]
        epsg = int(re.search(r"<b>EPSG</b>.*?#008000\">(\d+)<", placemark)[1])
        wkt = re.search(r"<b>UTM_WKT</b>.*?#008000\">([^<]+)<", placemark)[1]
        corners = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", wkt), float)
        tiles[name] = (epsg, *corners.min(axis=0).astype(int), *corners.max(axis=0).astype(int))
    return tiles


def test_the_packed_table_is_esas_grid(esa) -> None:
    assert len(esa) == 56_686
    assert {tile.name: (tile.epsg, *tile.bounds) for tile in all_tiles()} == esa


def test_real_items_lie_on_their_tiles() -> None:
    seen = set()
    for path in sorted(shared("stac").glob("*.json")):
        item = json.loads(path.read_text())
        name = re.search(r"_T?(\d{1,2}[A-Z]{3})_", item["id"])[1]
        tile = find_tile(name)
        assert item["properties"]["proj:epsg"] == tile.epsg
        for asset in item["assets"].values():
            transform = asset.get("proj:transform")
            if not transform or asset.get("proj:shape") == [343, 343]:  # not the thumbnails
                continue
            assert (transform[2], transform[5]) == (tile.left, tile.top)
            assert transform[0] * asset["proj:shape"][1] == TILE_SIZE_M
            seen.add(tile.epsg // 100)
    assert seen == {326, 327}


@pytest.mark.parametrize("name", ["5QKB", "05QKB", "T05QKB", "MGRS-5QKB", " t5qkb "])
def test_names_with_and_without_zero(name: str) -> None:
    assert normalise_tile_name(name) == find_tile(name).name == "05QKB"


@pytest.mark.parametrize("name", ["", "QKB", "05IKB", "05QKW", "5QK", "99QKB"])
def test_what_is_no_tile(name: str) -> None:
    with pytest.raises(ValueError, match="Received"):
        find_tile(name)


def test_bounds_in_degrees() -> None:
    west, south, east, north = tile_lonlat_bounds("33TWN")
    assert west < 15.0 < 16.0 < east
    assert south < 47.0 < 47.5 < north
    crossing = [tile.name for tile in all_tiles() if tile.name.startswith(("01C", "01W", "60W"))]
    assert any(tile_lonlat_bounds(name)[0] > tile_lonlat_bounds(name)[2] for name in crossing)
