"""Places from EuroSAT's tiles: made ones, and 200 real ones."""

import pyproj
import pytest
import rasterio

from beam_pipeline.cells.chips import choose_chips
from beam_pipeline.places.cells import plan_places
from beam_pipeline.places.eurosat import read_eurosat_places
from beam_pipeline.places.eurosat_tile import CLASSES
from beam_pipeline.runtime.faults import InvalidInputError
from tests.model_tf.downstream_tasks.made_tiles import made_dn, write_tile
from tests.shared_data import shared

DN = made_dn(0, 0)
"""Of a tile."""


def test_a_place_is_the_middle_of_a_tile(tmp_path):
    write_tile(tmp_path / "Forest" / "Forest_1.tif", DN, epsg=32632, left=600_000)
    write_tile(tmp_path / "River" / "River_2.tif", DN, epsg=32632, left=300_005, top=5_600_000)
    (tmp_path / "River" / "notes.txt").write_text("not a tile")
    found = read_eurosat_places(str(tmp_path))
    assert found.source == "eurosat"
    assert [(it.name, it.class_name, it.split) for it in found.places] == [
        ("Forest/Forest_1.tif", "Forest", None),
        ("River/River_2.tif", "River", None),
    ]
    to_degrees = pyproj.Transformer.from_crs(32632, 4326, always_xy=True)
    for place, corner in zip(found.places, ((600_000, 5_500_000), (300_005, 5_600_000)), strict=True):
        expected = to_degrees.transform(corner[0] + 320, corner[1] - 320)
        assert (place.longitude, place.latitude) == pytest.approx(expected, abs=1e-9)


def test_real_tiles_lie_in_the_middle_of_their_chips():
    folder = shared("eurosat_ms_l1c")
    planned = plan_places(read_eurosat_places(str(folder)), 0, with_dates=False)
    assert len(planned.cells) + planned.counts.get("doubled", 0) == 200
    assert {cell.place.class_name for cell in planned.cells} == {*CLASSES}
    for cell in planned.cells:
        with rasterio.open(folder / cell.place.name) as tile:
            bounds = rasterio.warp.transform_bounds(tile.crs, cell.chip.epsg, *tile.bounds, densify_pts=0)
        middle = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
        left, bottom, right, top = cell.chip.bounds
        # The lattice moves a chip by 30 m at most, the meridians' convergence the envelope's middle by little.
        assert abs((left + right) / 2 - middle[0]) < 31
        assert abs((bottom + top) / 2 - middle[1]) < 31
        assert left < bounds[0] < bounds[2] < right
        assert bottom < bounds[1] < bounds[3] < top
    chosen = choose_chips(
        [cell.place.longitude for cell in planned.cells], [cell.place.latitude for cell in planned.cells]
    )
    assert [cell.tile for cell in planned.cells] == [
        chosen.tile_name(row) for row in range(len(planned.cells))
    ]


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match="--eurosat: it must be a folder"):
        read_eurosat_places(str(tmp_path / "none"))
    (tmp_path / "Forest").mkdir()
    with pytest.raises(InvalidInputError, match="--eurosat must hold GeoTIFFs"):
        read_eurosat_places(str(tmp_path))
    tile = tmp_path / "Forest" / "Forest_1.tif"
    for content in (b"", b"II*\0 no more", b"<VRTDataset/>"):
        tile.write_bytes(content)
        with pytest.raises(InvalidInputError, match=f"{tile} is no GeoTIFF that can be read"):
            read_eurosat_places(str(tmp_path))
    # More of what is no tile in tests/model_tf/downstream_tasks/test_eurosat.py.
    for changes, said in (
        ({"epsg": None}, "crs must be given"),
        ({"dn": DN[:3]}, "count must be 13 bands. Received: 3"),
        ({"dn": DN[:, :32]}, "width and height must be 64 x 64 pixels. Received: 64 x 32"),
        ({"pixel": 0.5}, "pixel size must be 9 to 11 m. Received: 0.5 x 0.5"),
    ):
        write_tile(tile, **{"dn": DN, **changes})
        with pytest.raises(InvalidInputError, match=f"{tile} is no EuroSAT tile as published: {said}"):
            read_eurosat_places(str(tmp_path))
    tile.unlink()
    tile.symlink_to("/dev/zero")
    with pytest.raises(InvalidInputError, match=f"{tile} is no tile: .*link"):
        read_eurosat_places(str(tmp_path))
    tile.unlink()
    write_tile(tile, DN)
    (tmp_path / "Moon").mkdir()
    with pytest.raises(InvalidInputError, match=r"EuroSAT's classes.*Moon"):
        read_eurosat_places(str(tmp_path))
