import zlib

import numpy as np
import osmium
import pytest

from beam_pipeline.labels import pbf_blocks
from beam_pipeline.labels.extract import check_extract, read_features
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.pbf_blocks import blocks, breaks_off, string_tables
from beam_pipeline.labels.pbf_checks import MOST_DECODED_BYTES, check_blocks
from beam_pipeline.labels.pbf_sizes import MOST_PARTS, decoded_bytes
from beam_pipeline.labels.pbf_wire import texts_of
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from tests.labels.osm_file import square
from tests.labels.raw_pbf import framed, held, number, varint, write_raw_pbf
from tests.shared_data import shared

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
RING = square(9.5, 47.1, 0.001)
BOUNDS = (9.0, 47.0, 10.0, 48.0)
WAY = osmium.osm.mutable.Way(id=1, nodes=[1, 2], tags={"highway": "trunk"})


def refusal(path) -> PermanentFault:
    # Only what is refused before libosmium looks at it is sure not to kill the process.
    with pytest.raises(PermanentFault) as caught:
        check_blocks(path)
    with pytest.raises(PermanentFault) as again:
        list(read_features(path, ONTOLOGY))
    assert str(again.value) == str(caught.value)
    assert path.name in caught.value.detail
    return caught.value


@pytest.mark.parametrize(
    "tags",
    [
        {"natu\0ral": "wood"},
        {"building": "y\0"},
        {"building": "yes", "x": "\0"},
        {"\0": "a"},
        {"": "", "a": "\0"},
        {"name": "x" * 300, "a": "\0" * 200},
    ],
)
def test_a_string_that_holds_a_nul_is_refused(tmp_path, tags):
    path = tmp_path / "a.osm.pbf"
    write_raw_pbf(path, RING, tags, BOUNDS)
    fault = refusal(path)
    assert fault.reason == "corrupt_extract"
    assert "NUL" in fault.detail
    assert "\0" not in fault.detail


@pytest.mark.parametrize("tags", [{}, {"": ""}, {"building": "", "": "x"}, {"name": "x" * 300, "a": "ä"}])
def test_empty_and_long_strings_are_no_nuls(tmp_path, tags):
    path = tmp_path / "a.osm.pbf"
    write_raw_pbf(path, RING, tags, BOUNDS)
    check_blocks(path)
    list(read_features(path, ONTOLOGY))


@pytest.mark.parametrize("name", ["monaco-2023.osm.pbf", "liechtenstein-2022.osm.pbf"])
def test_real_extracts_pass(name):
    check_blocks(shared("osm", name))


def test_nuls_are_found_wherever_a_table_may_lie(tmp_path):
    path = tmp_path / "a.osm.pbf"
    write_raw_pbf(path, RING, {"building": "yes"}, BOUNDS)
    sound = path.read_bytes()
    table = held(1, held(1, b"") + held(1, b"a\0b"))
    for block in (
        table,
        held(1, held(1, b"a\0b")),  # without the empty string at its beginning
        b"\x88\x01\x05" + table,  # a number before it
        held(1, held(1, b"")) + table,  # a second table
        held(1, b"\x0a\x80\x00" + held(1, b"\0")),  # a length of 0 in two bytes
        held(1, held(9, b"\0") + held(1, b"\0")),  # a field that is unknown
        held(2, bytes(1000)) + table,
    ):
        for content in (held(1, block), b"\x10" + varint(len(block)) + held(3, zlib.compress(block))):
            path.write_bytes(sound + framed(b"OSMData", content))
            assert "NUL" in refusal(path).detail
    # NULs that are in no string: coordinates.
    path.write_bytes(
        sound
        + framed(
            b"OSMData",
            held(1, held(1, held(1, b"") + held(1, b"a")) + held(2, held(2, held(8, bytes(1000))))),
        )
    )
    check_blocks(path)


def test_every_way_of_breaking_off_is_told(tmp_path):
    path = tmp_path / "a.osm.pbf"
    write_raw_pbf(path, RING, {"building": "yes"}, BOUNDS)
    whole = path.read_bytes()
    second = whole.index(b"OSMData") - 6
    for length in range(second + 1, len(whole)):
        path.write_bytes(whole[:length])
        assert refusal(path).reason == "truncated_extract"
        assert breaks_off(path)
    for length in (second, len(whole)):  # cut between two blocks it is a whole file
        path.write_bytes(whole[:length])
        check_blocks(path)
        assert not breaks_off(path)


def test_the_end_of_a_file_tells_as_much_as_all_of_it(tmp_path, monkeypatch):
    headers = []
    read_header = pbf_blocks._read_header
    monkeypatch.setattr(
        pbf_blocks, "_read_header", lambda file, size: headers.append(1) or read_header(file, size)
    )
    random = np.random.default_rng(4)
    # A text of a map may be what a block begins with.
    decoy = held(1, held(1, held(1, b"") + held(1, b"OSMData") + framed(b"OSMData", b"no block")))
    sizes = [*random.integers(1, 90_000, 200).tolist(), 3 << 20, 300_000, 5_000]
    parts = [framed(b"OSMData", held(3, random.bytes(size)) + decoy * (size % 2)) for size in sizes]
    path = tmp_path / "a.osm.pbf"
    start = framed(b"OSMHeader", held(1, held(4, b"OsmSchema-V0.6")))
    for count in (1, 2, 199, len(parts)):
        whole = start + b"".join(parts[:count])
        ends = [len(whole), *(len(whole) - random.integers(1, len(parts[count - 1]), 15))]
        for end in map(int, ends):
            path.write_bytes(whole[:end])
            headers.clear()
            assert breaks_off(path) == (end != len(whole))
            assert end != len(whole) or len(headers) < 60
    # Where the end holds no beginning of a block, all of the file is looked at.
    path.write_bytes(start + b"".join(parts[:50]) + framed(b"OSMData", held(3, random.bytes(6 << 20))))
    headers.clear()
    assert not breaks_off(path)
    assert len(headers) >= 51


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (bytes(4096), "0 bytes"),  # what a download leaves that was given its room beforehand
        (b"\x7f\xff\xff\xff", "2147483647 bytes"),
        (framed(b"OSMData", held(1, b"\x0a\x05ab")), "garbled"),
        (framed(b"OSMData", b"\xff" * 11), "garbled"),
        # A tag of 2**32 + 10: in 32 bits, which libosmium looks at, the string table.
        (framed(b"OSMData", held(1, varint((1 << 32) + 10) + varint(3) + held(1, b"\0"))), "garbled"),
        (framed(b"OSMData", held(1, b"\x0b")), "garbled"),  # a wire type that is done away with
        (framed(b"OSMData", held(3, b"no zlib")), "cannot be unpacked"),
        (framed(b"OSMData", held(3, zlib.compress(bytes(range(256)))[:-9])), "cannot be unpacked"),
        (framed(b"OSMData", held(3, zlib.compress(bytes((32 << 20) + 1)))), "more than 33554432"),
        (framed(b"OSMData", held(6, b"anything")), "LZ4"),
        (framed(b"OSMData", number(2, varint(5))), "no data"),
        (framed(b"Other", held(1, b"")), "type OSMData"),
    ],
)
def test_what_is_no_block_is_corrupt(tmp_path, more, problem):
    path = tmp_path / "a.osm.pbf"
    write_raw_pbf(path, RING, {"building": "yes"}, BOUNDS)
    path.write_bytes(path.read_bytes() + more)
    fault = refusal(path)
    assert fault.reason == "corrupt_extract"
    assert problem in fault.detail


def test_blobs_that_are_packed_otherwise_are_refused(tmp_path):
    path = tmp_path / "a.osm.pbf"
    for field in (4, 7):
        write_raw_pbf(path, RING, {"building": "yes"}, BOUNDS)
        path.write_bytes(path.read_bytes() + framed(b"OSMData", b"\x10\x05" + held(field, b"anything")))
        fault = refusal(path)
        assert (fault.reason, "not supported" in fault.detail) == ("corrupt_extract", True)


def test_a_file_packed_with_lz4_is_refused_before_launch(tmp_path):
    path = tmp_path / "a.osm.pbf"
    with osmium.SimpleWriter(osmium.io.File(str(path), "pbf,pbf_compression=lz4")) as writer:
        writer.add_way(WAY)
    with pytest.raises(InvalidInputError, match=r"LZ4.*osmium cat"):
        check_extract(path)
    assert "osmium cat" in refusal(path).detail


@pytest.mark.parametrize("compression", ["none", "zlib"])
def test_blocks_are_unpacked_as_libosmium_packs_them(tmp_path, compression):
    path = tmp_path / "a.osm.pbf"
    with osmium.SimpleWriter(
        osmium.io.File(str(path), f"pbf,pbf_dense_nodes=false,pbf_compression={compression}")
    ) as writer:
        for osm_id in range(20_000):  # more than one block
            writer.add_way(osmium.osm.mutable.Way(id=osm_id, nodes=[1, 2], tags={"name": f"n{osm_id}"}))
    seen = [table for block in blocks(path) for table in string_tables(block)]
    assert len(seen) > 1
    assert all(held(1, f"n{osm_id}".encode()) in b"".join(seen) for osm_id in range(0, 20_000, 97))
    assert all(one.startswith(b"\x0a\x00") for one in seen)  # the quick look counts on that


def texts(block: bytes) -> list[bytes]:
    return [text for table in string_tables(block) for text in texts_of(table)]


TEXTS = held(1, held(1, b"") + held(1, b"k" * 100) + held(1, b"v" * 1000))


@pytest.mark.parametrize(
    ("group", "least"),
    [
        (held(2, held(1, b"\2" * 500)), 500 * 40),  # dense nodes
        (held(2, held(1, b"\2") + held(10, b"\1\2" * 300 + b"\0")), 300 * 1100),  # tags of one
        (held(1, held(2, b"\1" * 300) + held(3, b"\2" * 300)), 300 * 1100),  # and of one that is not dense
        (held(3, b"") * 500, 500 * 40),  # ways
        (held(3, held(2, b"\1" * 300) + held(3, b"\2" * 300)), 300 * 1100),
        (held(3, held(8, b"\2" * 2000)), 2000 * 16),
        (held(3, held(8, b"\x82\x80\x01" * 2000)), 2000 * 16),  # of three bytes each
        (held(4, held(8, b"\2" * 300) + held(9, b"\2" * 300)), 300 * 1016),  # members and their roles
        (held(4, held(2, b"\1" * 300) + held(3, b"\2" * 300)), 300 * 1100),
        (held(4, held(8, b"\x82\x00" * 300)), 300 * 1016),  # a number in more bytes than it needs
    ],
)
def test_what_libosmium_takes_for_a_block_is_told_from_above(group, least):
    block = TEXTS + held(2, group)
    assert decoded_bytes(block, texts(block), 0) >= least
    assert decoded_bytes(block, texts(block), 1 << 30) >= least  # the quick look


@pytest.mark.parametrize("name", ["monaco-2023.osm.pbf", "liechtenstein-2022.osm.pbf"])
def test_blocks_of_real_extracts_are_far_below_the_bound(name):
    sizes = [decoded_bytes(block, texts(block), 0) for block in blocks(shared("osm", name))]
    assert max(sizes) < MOST_DECODED_BYTES / 50


def test_parts_without_end_are_refused():
    many = MOST_PARTS + 1
    for block in (held(1, held(1, b"") * many), held(2, held(3, b"") * many), held(2, b"") * many):
        with pytest.raises(ValueError, match="objects or texts"):
            decoded_bytes(block, texts(block), 0)
