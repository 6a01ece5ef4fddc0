"""Blocks decode to the objects that libosmium reads of them."""

import datetime
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import osmium
import pytest
from osmium.osm.mutable import Node, Way

from beam_pipeline.labels.extract import read_objects
from beam_pipeline.labels.feature import Found
from beam_pipeline.labels.member_ways import write_ways
from beam_pipeline.labels.object_blocks import objects_of
from beam_pipeline.labels.pbf_checks import Block, checked_blocks
from tests.labels.raw_pbf import framed, held, number, raw_blob, signed, varint, write_raw_pbf

MOMENT = datetime.datetime(2036, 2, 7, tzinfo=datetime.UTC)


def pieces(path: Path) -> list[tuple[object, ...]]:
    """All that is decoded of the nodes and ways of a file."""
    found: list[tuple[object, ...]] = []
    for block in checked_blocks(path):
        for part in objects_of(block):
            versions, times = part.metadata
            tags = iter(zip(part.tag_keys.tolist(), part.tag_values.tolist(), strict=True))
            refs = iter(part.refs.tolist())
            points = part.point_counts.tolist() or [0] * len(part.ids)
            for row, osm_id in enumerate(part.ids.tolist()):
                of_one = [next(tags) for _ in range(part.tag_counts[row])]
                named = {part.strings[key]: part.strings[value] for key, value in of_one}
                place = part.places[row].tolist() if part.osm_type == "node" else None
                nodes = [next(refs) for _ in range(points[row])]
                found.append((part.osm_type, osm_id, versions[row], times[row], named, place, nodes))
    return found


@pytest.mark.parametrize("options", ["", ",pbf_dense_nodes=false", ",pbf_compression=none"])
def test_blocks_are_what_libosmium_reads(tmp_path: Path, options: str) -> None:
    path = tmp_path / "a.osm.pbf"
    draw = np.random.default_rng(0)
    with osmium.SimpleWriter(osmium.io.File(str(path), f"pbf{options}")) as writer:
        for osm_id in np.unique(draw.integers(1, 1 << 40, 9000)).tolist():
            tags = {f"k{i}": f"v{osm_id % 7}" for i in range(osm_id % 4)}
            lonlat = tuple(draw.uniform((-180, -90), (180, 90)).round(7).tolist())
            times = {"version": osm_id % 300, "timestamp": MOMENT} if osm_id % 3 else {}
            writer.add_node(Node(id=osm_id, location=lonlat, tags=tags, visible=osm_id % 11 > 0, **times))
        for osm_id in (-(1 << 33), 5, 1 << 40):
            nodes = draw.integers(-(1 << 40), 1 << 40, osm_id % 9).tolist()
            writer.add_way(Way(id=osm_id, nodes=nodes, tags={"highway": "ä"}, version=2, timestamp=MOMENT))
    expected = []
    for one in osmium.FileProcessor(str(path)):
        place = [one.location.x, one.location.y] if one.is_node() else None
        nodes = [node.ref for node in one.nodes] if one.is_way() else []
        kind = "node" if one.is_node() else "way"
        seconds = int(one.timestamp.timestamp())
        expected.append((kind, one.id, one.version, seconds, dict(one.tags), place, nodes))
    assert pieces(path) == expected


def test_units_are_those_that_a_block_states(tmp_path: Path) -> None:
    path = tmp_path / "a.osm.pbf"
    write_raw_pbf(path, [(0, 0), (1, 1), (0, 0)], {}, (0, 0, 1, 1))
    nodes = (
        held(1, signed(7) + signed(1)) + held(8, signed(-3) + signed(3)) + held(9, signed(12345) + signed(1))
    )
    nodes += held(5, held(1, varint(1) * 2) + held(2, signed(50) + signed(1)))
    block = held(1, held(1, b"")) + held(2, held(2, nodes)) + b"\x88\x01\xcf\x0f" + b"\x90\x01\xf4\x03"
    block += b"\x98\x01" + varint((1 << 64) - 777) + b"\xa0\x01" + varint(10**6)
    path.write_bytes(
        path.read_bytes()[: path.read_bytes().index(b"OSMData") - 6] + raw_blob(b"OSMData", block)
    )
    expected = [
        (
            "node",
            one.id,
            one.version,
            int(one.timestamp.timestamp()),
            {},
            [one.location.x, one.location.y],
            [],
        )
        for one in osmium.FileProcessor(str(path))
    ]
    assert len(expected) == 2
    assert pieces(path) == expected


@pytest.mark.parametrize(
    "group",
    [
        held(2, held(1, signed(1) * 2) + held(8, signed(1)) + held(9, signed(1))),  # a latitude is missing
        held(
            2, held(1, signed(1)) + held(8, signed(1)) + held(9, signed(1)) + held(10, b"\1\0")
        ),  # half a tag
        held(3, number(1, varint(1)) + held(2, b"\1\1") + held(3, b"\1")),  # a value is missing
        held(3, number(1, varint(1)) + held(2, b"\1") + held(3, b"\7")),  # a text is missing
        held(3, number(1, varint(1)) + held(8, b"\x80")),  # a number breaks off
        held(3, number(1, varint(1)) + held(8, b"\xff" * 11 + b"\1")),  # is too long
        held(3, b"\x42\x7f\1"),  # a field is longer than the way
        held(3, b"\x0b\1"),  # a wire type that is done away with
        held(3, number(1, varint(1))) + held(1, number(1, varint(1))),  # nodes among ways
        held(3, b"")[:1],
    ],
)
def test_what_is_no_object_is_refused(group: bytes) -> None:
    texts = [b"", b"a"]
    block = held(1, b"".join(held(1, text) for text in texts)) + held(2, group)
    with pytest.raises(ValueError, match=r"garbled|not there"):
        list(objects_of(Block(block, texts)))


@pytest.mark.parametrize("field", [17, 18, 19, 20])
@pytest.mark.parametrize("value", [b"\xff" * 9 + b"\x7f", varint((1 << 32) + 100)])
def test_a_unit_of_too_many_bits_is_cut_as_libosmium_cuts_it(
    tmp_path: Path, field: int, value: bytes
) -> None:
    path = tmp_path / "a.osm.pbf"
    info = held(4, number(1, varint(1)) + number(2, varint(1000)))
    node = held(1, number(1, signed(1)) + info + number(8, signed(700)) + number(9, signed(900)))
    block = held(1, held(1, b"")) + held(2, node) + number(field, value)
    path.write_bytes(raw_blob(b"OSMHeader", held(4, b"OsmSchema-V0.6")) + raw_blob(b"OSMData", block))
    for one in osmium.FileProcessor(str(path)):
        place = [one.location.x, one.location.y]
        seconds = int(one.timestamp.timestamp())
    if field == 18 and value[0] == 255:  # of a negative unit, which libosmium counts beyond 2100
        seconds = 0
    assert pieces(path) == [("node", 1, 1, seconds, {}, place, [])]


def test_a_time_that_no_clock_can_show_is_not_said(tmp_path: Path) -> None:
    path = tmp_path / "a.osm.pbf"
    times = (-7, 0, (1 << 32) - 1, 1 << 32, (1 << 63) - 1)
    ways = b"".join(
        held(3, number(1, varint(row + 1)) + held(4, number(2, varint(time & (1 << 64) - 1))))
        for row, time in enumerate(times)
    )
    block = held(1, held(1, b"")) + held(2, ways)
    path.write_bytes(raw_blob(b"OSMHeader", held(4, b"OsmSchema-V0.6")) + raw_blob(b"OSMData", block))
    assert [one[3] for one in pieces(path)] == [0, 0, (1 << 32) - 1, 0, 0]


def test_unknown_fields_without_end_take_no_memory() -> None:
    ways = held(3, number(1, varint(1))) + b"".join(
        held(3, number(1, varint(osm_id))) for osm_id in range(2, 20_000)
    )
    ways += held(3, b"".join(number(field, b"\0") for field in range(100, 600)))
    block = Block(held(1, held(1, b"")) + held(2, ways), [b""])
    tracemalloc.start()
    (found,) = objects_of(block)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.ids) == 20_000
    assert most < 20 << 20  # with the fields it was 170 MB


@pytest.mark.parametrize("dense", [False, True])
def test_very_many_texts_and_groups_are_refused(dense: bool) -> None:
    node = held(1, signed(1)) + held(8, signed(1)) + held(9, signed(1))
    groups = held(2, held(2, node) * 2000) if dense else held(2, held(1, number(1, signed(1)))) * 2000
    texts = [b"a"] * 60_000
    content = held(1, held(1, b"a") * 60_000) + groups
    with pytest.raises(ValueError, match="very many texts and groups; write it anew"):
        for _ in objects_of(Block(content, texts)):
            pass


def test_unknown_fields_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.osm.pbf"
    write_raw_pbf(
        path, [(9.5, 47.1), (9.6, 47.1), (9.5, 47.1)], {"highway": "trunk"}, (9.0, 47.0, 10.0, 48.0)
    )
    (before,) = Found.all_of(read_objects(path, ["highway"])).features
    unknown = b"\xf8\x7f\1" + b"\xf9\x7f" + bytes(8) + b"\xfd\x7f" + bytes(4) + held(100, b"x")
    way = number(1, varint(2)) + unknown + held(2, b"\1") + held(3, b"\2") + unknown + held(8, signed(1) * 2)
    texts = held(1, b"".join(held(1, text) for text in (b"", b"highway", b"trunk")))
    content = zlib.compress(texts + held(2, held(3, way)))
    path.write_bytes(path.read_bytes() + framed(b"OSMData", held(3, content)))
    one, other = Found.all_of(read_objects(path, ["highway"])).features
    assert (one, other.osm_id, other.tags) == (before, 2, (("highway", "trunk"),))


def test_ways_are_written_as_libosmium_reads_them(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    most = np.array([1_800_000_000, 900_000_000])
    sizes = [0, 1, 2, 200, *draw.integers(0, 9, 8100).tolist()]
    ways = [
        (3 * osm_id, draw.integers(-most, most, (size, 2)).astype(np.int32))
        for osm_id, size in enumerate(sizes)
    ]
    path = tmp_path / "a.osm.pbf"
    with path.open("wb") as file:
        write_ways(file, ways)
    found = [
        (way.id, [[node.location.x, node.location.y] for node in way.nodes])
        for way in osmium.FileProcessor(str(path), osmium.osm.WAY)
    ]
    assert found == [(osm_id, places.tolist()) for osm_id, places in ways]
