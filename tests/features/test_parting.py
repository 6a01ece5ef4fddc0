import dataclasses

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.features import spool
from beam_pipeline.features.identity import CUT_M, MOST_NODES, ExtractIdentity
from beam_pipeline.features.piece import PieceRecord
from beam_pipeline.features.reading import features_of_unit
from beam_pipeline.labels.cell_index import CellIndex
from beam_pipeline.labels.clipping import clip_margin
from beam_pipeline.labels.drawn_features import DrawnFeatures
from beam_pipeline.labels.feature import Found
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.ontology_json import MAX_DISTANCE_M
from beam_pipeline.labels.rasterize import rasterize
from beam_pipeline.labels.store_keys import PADDING_M
from beam_pipeline.runtime.storage_failures import storage_failure
from tests.failing_disk import no_file_above
from tests.features.made import (
    CHIP,
    EXTRACT,
    LAT,
    LON,
    TILE,
    house,
    made,
    opened,
    part,
    request,
    rounded,
    stored,
    town,
)

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
M = 1 / 111_200  # degrees of latitude


def test_no_ontology_looks_farther_than_a_store_reaches():
    assert clip_margin(MAX_DISTANCE_M) < PADDING_M < CUT_M


def test_objects_come_back_as_they_are(tmp_path):
    objects = town(400)
    found = stored(objects, tmp_path)
    assert sorted(found, key=repr) == sorted(objects, key=repr)


def test_a_piece_says_what_it_is(tmp_path):
    record = part(town(40), tmp_path)
    assert (record.tiles[TILE].rows, record.tiles[TILE].bytes) == (
        40,
        (tmp_path / f"{TILE}.parquet").stat().st_size,
    )
    assert record.left_out.counts == {"incomplete_way": 1}
    assert PieceRecord.from_json(record.to_json()) == record
    assert record.fits(EXTRACT, request())
    assert not record.fits(dataclasses.replace(EXTRACT, bytes=1), request())
    assert not record.fits(EXTRACT, request(keys=("building",)))
    assert not record.fits(EXTRACT, request({TILE: {7: CHIP, 8: ChipWindow(32632, 541_380, 5_220_060)}}))
    footer = opened(tmp_path / f"{TILE}.parquet", record).footer
    assert (footer.tile, footer.chips, footer.extracts, footer.rows) == (TILE, {7: CHIP}, (EXTRACT,), 40)


def test_what_lies_within_the_padding_is_held_and_what_lies_beyond_is_not(tmp_path):
    to_lonlat = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform
    middle = CHIP.left + 960, CHIP.bottom + 960
    objects, near, far = [], set(), set()
    for number, metres in enumerate(range(100, 1000, 50)):
        for turn, (x, y) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1))):
            osm_id = 10 * number + turn
            lon, lat = to_lonlat(middle[0] + x * (960 + metres), middle[1] + y * (960 + metres))
            objects.append(made("node", osm_id, rounded(shapely.Point(lon, lat))))
            (near if metres <= PADDING_M else far if metres > PADDING_M + 80 else set()).add(osm_id)
    found = {one.osm_id for one in stored(objects, tmp_path)}
    assert near <= found
    assert not far & found


def test_a_long_line_is_found_by_its_course_and_not_by_its_envelope(tmp_path):
    around = [(LON - 0.1, LAT - 0.1), (LON + 0.1, LAT - 0.1), (LON + 0.1, LAT + 0.1)]
    across = [(LON - 0.1, LAT - 0.1), (LON + 0.1, LAT + 0.1)]
    lines = [made("way", i, rounded(shapely.LineString(places))) for i, places in enumerate((around, across))]
    assert [one.osm_id for one in stored(lines, tmp_path)] == [1]


def test_a_ring_around_a_chip_is_held_as_an_area_and_an_invalid_one_as_its_line(tmp_path):
    wide = made("way", 1, rounded(shapely.box(LON - 0.2, LAT - 0.2, LON + 0.2, LAT + 0.2)))
    # It runs over the same ground twice: as an area it is nothing.
    spike = shapely.Polygon([(LON - 0.1, LAT), (LON, LAT), (LON + 0.1, LAT), (LON, LAT), (LON - 0.1, LAT)])
    assert len(stored([wide, made("way", 2, rounded(spike))], tmp_path)) == 2


def test_each_tile_gets_its_copy(tmp_path):
    east = ChipWindow(32632, 541_380, 5_220_060)
    cells = {TILE: {7: CHIP}, "32TPT": {8: east}, "32TQT": {9: ChipWindow(32632, 700_020, 5_220_060)}}
    record = part([house(1, LON + 0.012), house(2)], tmp_path, request(cells))
    assert {tile: file.rows for tile, file in record.tiles.items()} == {TILE: 2, "32TPT": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["32TNT.parquet", "32TPT.parquet"]


def test_the_order_of_objects_and_the_bounds_of_memory_make_no_difference(tmp_path, monkeypatch):
    cells = {TILE: {7: CHIP}, "32TPT": {8: ChipWindow(32632, 541_380, 5_220_060)}}
    objects = town(900, spread=0.03)
    record = part(objects, tmp_path / "a", request(cells))
    monkeypatch.setattr(spool.Spool.__init__, "__defaults__", (10_000,))
    threads = pa.cpu_count()
    pa.set_cpu_count(threads + 3)
    again = part(objects[::-1], tmp_path / "b", request(cells), size=37)
    pa.set_cpu_count(threads)
    assert record.tiles == again.tiles
    for tile in cells:
        assert (tmp_path / f"a/{tile}.parquet").read_bytes() == (tmp_path / f"b/{tile}.parquet").read_bytes()


def lake(nodes):
    """A lake of ragged shores around the chip's middle, of 20 km."""
    angle = np.linspace(0, 2 * np.pi, nodes, endpoint=False)
    radii = 0.1 + 0.09 * np.sin(7 * angle) + 1e-4 * np.random.default_rng(0).random(nodes)
    return shapely.Polygon(np.column_stack([LON + radii * np.cos(angle), LAT + radii * np.sin(angle)]))


def test_an_object_of_very_many_nodes_is_cut_and_its_label_stays(tmp_path):
    whole = made("relation", 5, rounded(lake(MOST_NODES + 5000)), natural="water")
    small = made("relation", 6, rounded(lake(MOST_NODES - 5)), natural="water")
    record = part([whole, small], tmp_path)
    tile = opened(tmp_path / f"{TILE}.parquet", record)
    boxes = {one.osm_id: shapely.from_wkb(one.geometry) for one in stored([whole, small], tmp_path)}
    assert boxes[6].equals_exact(shapely.from_wkb(small.geometry))
    assert len(shapely.get_coordinates(boxes[5])) < MOST_NODES / 3
    _, south, _, north = boxes[5].bounds
    assert 2 * (CUT_M + 960) * M <= north - south < 2 * (CUT_M + 1100) * M
    drawn = DrawnFeatures(ONTOLOGY)
    index = CellIndex({7: CHIP}, clip_margin(ONTOLOGY.reach_m))
    expected = index.clip([feature for one in (whole, small) for feature in drawn.of(one)]).features
    found = Found.all_of(features_of_unit(tile, {7: CHIP}, ONTOLOGY)).features
    for osm_id in (5, 6):
        images = [
            rasterize(
                [f for _, f in each if f.osm_id == osm_id], CHIP, ONTOLOGY, True, sea_known=False
            ).pixels
            for each in (expected, found)
        ]
        assert (images[0] != 255).any(2).mean() > 0.2
        assert (images[0] == images[1]).all()


def test_the_antimeridian_parts_nothing(tmp_path):
    epsg, lat = 32601, 60.0
    x, y = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True).transform(-180, lat)
    chip = ChipWindow(epsg, int(x) // 60 * 60 - 960, int(y) // 60 * 60)
    asked = request({"01VCH": {1: chip}})
    here = [
        made("node", 1, shapely.Point(179.99, 60.005)),
        made("node", 2, shapely.Point(-179.99, 60.005)),
        made("way", 3, rounded(shapely.LineString([(179.95, 60.005), (-179.95, 60.006)]))),
    ]
    there = [made("node", 4, shapely.Point(0, 60.005)), made("node", 5, shapely.Point(179.0, 60.005))]
    found = stored(here + there, tmp_path, asked, tile="01VCH")
    assert sorted(one.osm_id for one in found) == [1, 2, 3]


def test_a_large_object_at_the_antimeridian_is_cut_on_both_sides(tmp_path):
    epsg = 32601
    x, y = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True).transform(-180, 60)
    chips = {
        1: ChipWindow(epsg, int(x) // 60 * 60 - 1980, int(y) // 60 * 60),
        2: ChipWindow(epsg, int(x) // 60 * 60 + 60, int(y) // 60 * 60),
    }
    shore = shapely.get_coordinates(lake(MOST_NODES + 1000)) + np.array([180 - LON, 60.01 - LAT])
    parts = [
        shapely.clip_by_rect(shapely.Polygon(shore), *box) for box in ((170, 50, 180, 70), (180, 50, 190, 70))
    ]
    parts[1] = shapely.transform(parts[1], lambda places: places - [360, 0])
    both = shapely.MultiPolygon([one for each in parts for one in getattr(each, "geoms", [each])])
    found = stored(
        [made("relation", 1, both, natural="water")], tmp_path, request({"01VCH": chips}), tile="01VCH"
    )
    cut = shapely.from_wkb(found[0].geometry)
    assert len(shapely.get_coordinates(cut)) < MOST_NODES / 2
    lon = shapely.get_coordinates(cut)[:, 0]
    assert (lon > 179.9).any()
    assert (lon < -179.9).any() or (lon > 180.01).any()


def test_nothing_near_gives_no_piece(tmp_path):
    record = part([house(1, LON + 1)], tmp_path)
    assert record.tiles == {}
    assert list(tmp_path.iterdir()) == []
    assert part([], tmp_path).tiles == {}


def test_what_has_no_geometry_is_passed_over(tmp_path):
    good = house(1)
    ring = dataclasses.replace(
        good, osm_id=2, geometry=good.geometry[:9] + (2).to_bytes(4, "little") + good.geometry[13:45]
    )
    endless = made("node", 3, shapely.Point(float("inf"), LAT))
    assert [one.osm_id for one in stored([good, ring, endless], tmp_path)] == [1]


def test_a_tangle_is_kept_and_named(tmp_path):
    draw = np.random.default_rng(0)
    scribble = shapely.Polygon(np.array([LON, LAT]) + draw.uniform(-0.005, 0.005, (900, 2)))
    record = part([made("way", 4, rounded(scribble)), house(1)], tmp_path)
    assert record.left_out.named["tangled"] == ("way/4",)
    assert record.tiles[TILE].rows == 2


@pytest.mark.parametrize(
    "name", ["a" * 255, "Übersee №1.osm.pbf", "a b%20c'\".osm.pbf", ("ß" * 127) + ".", "-x.osm.pbf"]
)
def test_an_extracts_key_is_the_name_of_a_folder(tmp_path, name):
    key = ExtractIdentity(name, 1, "").key
    (tmp_path / key).mkdir()
    assert key != ExtractIdentity(name, 2, "").key
    assert key != ExtractIdentity(name, 1, "2020-01-01T00:00:00Z").key


@pytest.mark.parametrize("held", [1000, 1 << 30])
def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch, held):
    """Whether the spool fills it or a piece does."""
    monkeypatch.setattr(spool.Spool.__init__, "__defaults__", (held,))
    with no_file_above(2000), pytest.raises(OSError, match="File too large") as caught:
        part(town(600), tmp_path)
    assert storage_failure(caught.value)
    assert list(tmp_path.iterdir()) == []
