import dataclasses
import itertools

import pytest

from beam_pipeline.features import merging
from beam_pipeline.features.footer import ExtractFailure
from beam_pipeline.features.identity import ExtractIdentity
from beam_pipeline.features.reading import objects_of
from beam_pipeline.runtime.faults import PermanentFault
from tests.features.made import LAT, LON, TILE, house, merge, opened, part, town

OLD = ExtractIdentity("old.osm.pbf", 10, "2022-01-01T00:00:00Z")
NEW = ExtractIdentity("new.osm.pbf", 20, "2023-01-01T00:00:00Z")
UNDATED = ExtractIdentity("any.osm.pbf", 30, "")


def pieces(tmp_path, *given):
    """Parts (extract, objects) each into a folder."""
    return [
        (part(objects, tmp_path / extract.name, extract=extract), tmp_path / extract.name)
        for extract, objects in given
    ]


def merged(tmp_path, *given):
    """The objects of a tile file, and its footer; the same in whatever order the pieces come."""
    made = pieces(tmp_path, *given)
    files = {merge(order)[0] for order in itertools.permutations(made)}
    assert len(files) == 1
    (tmp_path / f"{TILE}.parquet").write_bytes(files.pop())
    tile = opened(tmp_path / f"{TILE}.parquet")
    return list(objects_of(tile)), tile.footer


@pytest.fixture(autouse=True)
def _trusted(trusted_footers):
    pass


def test_the_union_of_pieces_is_kept_in_one_order(tmp_path):
    objects = town(600)
    found, footer = merged(tmp_path, (OLD, objects[:400]), (NEW, objects[200:]))
    assert sorted(found, key=repr) == sorted(objects, key=repr)
    assert (footer.rows, footer.superseded, footer.extracts) == (600, 0, (NEW, OLD))
    alone, _ = merge(pieces(tmp_path / "alone", (NEW, objects)))
    (tmp_path / f"{TILE}.parquet").write_bytes(alone)
    assert list(objects_of(opened(tmp_path / f"{TILE}.parquet"))) == found


def test_of_copies_that_differ_the_higher_version_wins_then_the_later_time_then_the_larger(tmp_path):
    low, high = house(1, version=2), house(1, version=3, half=1e-5)
    small, large = house(2, half=1e-4), house(2, half=2e-4)
    here, there = house(3), house(3, LON + 1e-4)
    same = house(4)
    found, footer = merged(tmp_path, (OLD, [high, large, here, same]), (NEW, [low, small, there, same]))
    assert {one.osm_id: one for one in found} == {1: high, 2: small, 3: there, 4: same}
    assert footer.superseded == 3
    found, footer = merged(
        tmp_path / "undated", (UNDATED, [large]), (dataclasses.replace(UNDATED, name="b"), [small])
    )
    assert found == [large]
    assert footer.superseded == 1
    found, _ = merged(tmp_path / "stated", (UNDATED, [large]), (OLD, [small]))
    assert found == [small]


def test_three_copies_count_each_that_differs(tmp_path):
    copies = [house(1, version=version, lat=LAT + version * 1e-5) for version in (1, 2, 2)]
    found, footer = merged(tmp_path, *zip((OLD, NEW, UNDATED), [[one] for one in copies], strict=True))
    assert found == [copies[1]]
    assert footer.superseded == 1


def test_a_node_and_a_way_of_one_id_are_two_objects(tmp_path):
    way = house(1)
    node = dataclasses.replace(town(1)[0], osm_id=1)
    found, footer = merged(tmp_path, (OLD, [way]), (NEW, [node]))
    assert len(found) == 2
    assert footer.superseded == 0


def test_many_copies_are_compared_a_part_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "_COPIES_AT_ONCE", 7)
    objects = town(300)
    newer = [dataclasses.replace(one, version=9) for one in objects]
    found, footer = merged(tmp_path, (OLD, newer), (NEW, objects), (UNDATED, objects[:50]))
    assert sorted(found, key=repr) == sorted(newer, key=repr)
    assert footer.superseded == 350


def test_a_tile_of_nothing_is_a_file_too(tmp_path):
    found, footer = merged(tmp_path, (OLD, [house(1, LON + 1)]))
    assert found == []
    assert (footer.rows, footer.extracts) == (0, (OLD,))


def test_failures_are_in_the_footer_in_one_order(tmp_path):
    failures = [
        ExtractFailure(extract=name, reason="corrupt_extract", detail="it is", cell_ids=(7,)) for name in "ba"
    ]
    made = pieces(tmp_path, (OLD, [house(1)]))
    one, footer = merge(made, failures)
    other, _ = merge(made, failures[::-1])
    assert one == other
    assert [failure.extract for failure in footer.failures] == ["a", "b"]


def test_a_damaged_piece_is_a_fault_and_deleted_and_made_again_it_merges(tmp_path):
    objects = town(200)
    made = pieces(tmp_path, (OLD, objects))
    whole, _ = merge(made)
    piece = tmp_path / OLD.name / f"{TILE}.parquet"
    damaged = bytearray(piece.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    piece.write_bytes(damaged)
    with pytest.raises(
        PermanentFault, match=r"damaged_store: 32TNT.parquet .* Delete it and give the command again"
    ):
        merge(made)
    piece.unlink()
    again, _ = merge(pieces(tmp_path, (OLD, objects)))
    assert again == whole
