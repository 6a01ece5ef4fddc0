import dataclasses
import hashlib
import io
import json
import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import shapely
from pyarrow import parquet

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.features.reading import objects_of
from beam_pipeline.features.schema import FOOTER_KEY, ROWS_A_GROUP, SCHEMA
from beam_pipeline.features.stored_tile import DAMAGED, OTHER_SCHEMA, StoredTile, data_sha256
from beam_pipeline.runtime.faults import PermanentFault
from tests.features.made import CHIP, LAT, LON, TILE, house, made, opened, part, request, town


@pytest.fixture
def whole(tmp_path):
    part(town(200), tmp_path)
    return (tmp_path / f"{TILE}.parquet").read_bytes()


def fault(content, known=""):
    with pytest.raises(PermanentFault) as caught:
        list(StoredTile(io.BytesIO(content), "features/32TNT.parquet", known=known).rows())
    assert caught.value.detail.startswith("features/32TNT.parquet ")
    assert "Delete it and give the command again" in caught.value.detail
    return caught.value


def test_truncated_files_are_refused(whole):
    for size in (0, 3, 11, 12, 100, len(whole) // 2, len(whole) - 1):
        assert fault(whole[:size]).reason == DAMAGED


@pytest.mark.parametrize(
    "content", [b"", b"PAR1" * 10, b"{}", b"\x00" * 5000, b"PAR1" + b"\xff" * 100 + b"PAR1"]
)
def test_other_files_are_refused(content):
    assert fault(content).reason == DAMAGED


def rewritten(whole, change=lambda table: table, metadata=None):
    """A file with other content or footer."""
    file = parquet.ParquetFile(io.BytesIO(whole))
    table = change(file.read()).replace_schema_metadata()
    ours = json.loads(file.metadata.metadata[FOOTER_KEY.encode()])
    target = io.BytesIO()
    text = json.dumps({**ours, **(metadata or {})}) if metadata is not False else None
    with parquet.ParquetWriter(target, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({FOOTER_KEY: text} if text else {"a": "b"})
    return target.getvalue()


@pytest.mark.usefixtures("trusted_footers")
def test_what_is_no_file_of_this_store_is_refused_with_the_difference(whole):
    assert list(StoredTile(io.BytesIO(rewritten(whole)), "a").rows())
    assert "does not say what it holds" in fault(rewritten(whole, metadata=False)).detail
    newer = fault(rewritten(whole, metadata={"schema_version": 3}))
    assert newer.reason == OTHER_SCHEMA
    assert "schema 3, and this version reads 2" in newer.detail
    assert "tile" in fault(rewritten(whole, metadata={"tile": 5})).detail
    assert "200 rows, and its footer speaks of 3" in fault(rewritten(whole, metadata={"rows": 3})).detail
    without = fault(rewritten(whole, lambda table: table.drop_columns(["tags"])))
    assert "its column tags is missing, and should be map" in without.detail
    texts = pa.array(["POINT (1 2)"] * 200)
    other = fault(rewritten(whole, lambda table: table.set_column(5, "geometry", texts)))
    assert "its column geometry is string, and should be binary" in other.detail


def test_damage_in_the_data_is_found_by_checksums(tmp_path, whole):
    """The footer is as it was written, so nothing of it is looked at twice."""
    record = part(town(200), tmp_path)
    expected = list(objects_of(opened(tmp_path / f"{TILE}.parquet", record)))
    end = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    draw = random.Random(0)
    reasons = set()
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[draw.randrange(4, end)] ^= 1 << draw.randrange(8)
        tile = StoredTile(io.BytesIO(bytes(damaged)), "a", known=record.tiles[TILE].digest)
        try:
            found = list(objects_of(tile))
        except PermanentFault as caught:
            reasons.add(caught.reason)
        else:
            assert found == expected  # it was in no page
    assert reasons == {DAMAGED}


def damaged_footers(path, *seeds):
    command = [sys.executable, "-m", "tests.features.damaged_tiles", str(path), *map(str, seeds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == len(seeds)
    return lines


def test_damage_in_the_footer_is_a_fault(tmp_path):
    part(town(50), tmp_path)
    damaged_footers(tmp_path / f"{TILE}.parquet", *range(4))


@pytest.mark.slow
def test_much_damage_in_the_footer_is_a_fault(tmp_path):
    part(town(50), tmp_path)
    lines = damaged_footers(tmp_path / f"{TILE}.parquet", *range(100))
    assert sum(DAMAGED in line for line in lines) > 40


def test_the_digest_knows_each_tag_where_sizes_do_not(tmp_path):
    """Statistics and sizes alone stand in Parquet's footer, and a dictionary packs "yes" as well as "hut"."""
    objects = town(400)
    record = part(objects, tmp_path)
    sizes = []
    for number, one in enumerate(objects[2:60:4]):
        (key, value), *others = one.tags[::-1]
        assert key == "name"
        other = dataclasses.replace(one, tags=(*others[::-1], (key, value[:-1] + str(9 - int(value[-1])))))
        again = part([other if it is one else it for it in objects], tmp_path / str(number))
        sizes.append(again.tiles[TILE].bytes)
        assert again.tiles[TILE].digest != record.tiles[TILE].digest
    assert record.tiles[TILE].bytes in sizes


def test_the_footer_holds_the_hash_of_all_before_it(whole):
    tile = StoredTile(io.BytesIO(whole), "a")
    end = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    assert tile.footer.data_sha256 == hashlib.sha256(whole[:end]).hexdigest()
    assert data_sha256(io.BytesIO(whole)) == tile.footer.data_sha256


def test_boxes_read_their_row_groups_only(tmp_path):
    draw = np.random.default_rng(0)
    places = np.round(np.array([LON, LAT]) + draw.uniform(-1, 1, (5 * ROWS_A_GROUP, 2)), 7)
    objects = [house(i, lon, lat, half=1e-5) for i, (lon, lat) in enumerate(places.tolist())]
    chips = {
        TILE: {
            i: made_chip(dx, dy)
            for i, (dx, dy) in enumerate((x, y) for x in range(-30, 31) for y in range(-30, 31))
        }
    }
    record = part(objects, tmp_path, request(chips), size=8000)
    tile = opened(tmp_path / f"{TILE}.parquet", record)
    boxes = np.array([[LON - 0.02, LAT - 0.02, LON + 0.01, LAT], [LON + 0.3, LAT, LON + 0.31, LAT + 0.02]])
    found = {one.osm_id for one in objects_of(tile, boxes)}
    expected = set()
    for west, south, east, north in boxes:
        inside = (places >= [west - 1e-5, south - 1e-5]) & (places <= [east + 1e-5, north + 1e-5])
        expected |= set(np.flatnonzero(inside.all(1)).tolist())
    assert expected <= found
    assert len(found) < 1.05 * len(expected) + 5
    assert len(list(tile.rows(boxes))) < len(list(tile.rows()))
    assert [len(rows) for rows in tile.rows(np.array([[100.0, 0, 101, 1]]))] == []
    assert {one.osm_id for one in objects_of(tile, boxes + np.array([360, 0, 360, 0]))} == found


def made_chip(dx, dy):
    return ChipWindow(CHIP.epsg, CHIP.left + 1920 * dx, CHIP.bottom + 1920 * dy)


def test_rows_have_the_stores_schema(tmp_path):
    record = part([*town(20), made("node", 99, shapely.Point(LON, LAT), version=0, timestamp=0)], tmp_path)
    (rows,) = opened(tmp_path / f"{TILE}.parquet", record).rows()
    assert rows.schema == SCHEMA
    assert rows["version"].null_count == rows["timestamp"].null_count == 6
