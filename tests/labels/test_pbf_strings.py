import zlib

import osmium
import pytest

from beam_pipeline.labels.extract import check_extract, read_features
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.pbf_strings import breaks_off, check_strings, string_tables
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from tests.labels.osm_file import square
from tests.labels.raw_pbf import write_raw_pbf
from tests.shared_data import shared

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
RING = square(9.5, 47.1, 0.001)
BOUNDS = (9.0, 47.0, 10.0, 48.0)
WAY = osmium.osm.mutable.Way(id=1, nodes=[1, 2], tags={"highway": "trunk"})


def number(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def held(field: int, content: bytes) -> bytes:
    return number(field << 3 | 2) + number(len(content)) + content


def blob(content: bytes, kind: bytes = b"OSMData") -> bytes:
    head = held(1, kind) + b"\x18" + number(len(content))
    return len(head).to_bytes(4, "big") + head + content


def refusal(path) -> PermanentFault:
    # Only what is refused before libosmium looks at it is sure not to kill the process.
    with pytest.raises(PermanentFault) as caught:
        check_strings(path)
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
    check_strings(path)
    list(read_features(path, ONTOLOGY))


@pytest.mark.parametrize("name", ["monaco-2023.osm.pbf", "liechtenstein-2022.osm.pbf"])
def test_real_extracts_pass(name):
    check_strings(shared("osm", name))


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
        for content in (held(1, block), b"\x10" + number(len(block)) + held(3, zlib.compress(block))):
            path.write_bytes(sound + blob(content))
            assert "NUL" in refusal(path).detail
    # NULs that are in no string: ids, references, coordinates.
    path.write_bytes(sound + blob(held(1, held(1, held(1, b"") + held(1, b"a")) + held(2, bytes(1000)))))
    check_strings(path)


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
        check_strings(path)
        assert not breaks_off(path)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (bytes(4096), "0 bytes"),  # what a download leaves that was given its room beforehand
        (b"\x7f\xff\xff\xff", "2147483647 bytes"),
        (blob(held(1, b"\x0a\x05ab")), "garbled"),
        (blob(b"\xff" * 11), "garbled"),
        # A tag of 2**32 + 10: in 32 bits, which libosmium looks at, the string table.
        (blob(held(1, number((1 << 32) + 10) + number(3) + held(1, b"\0"))), "garbled"),
        (blob(held(1, b"\x0b")), "garbled"),  # a wire type that is done away with
        (blob(held(3, b"no zlib")), "cannot be unpacked"),
        (blob(held(3, zlib.compress(bytes(range(256)))[:-9])), "cannot be unpacked"),
        (blob(held(3, zlib.compress(bytes((32 << 20) + 1)))), "more than 33554432"),
        (blob(held(6, b"anything")), "LZ4"),
    ],
)
def test_what_is_no_block_is_corrupt(tmp_path, more, problem):
    path = tmp_path / "a.osm.pbf"
    write_raw_pbf(path, RING, {"building": "yes"}, BOUNDS)
    path.write_bytes(path.read_bytes() + more)
    fault = refusal(path)
    assert fault.reason == "corrupt_extract"
    assert problem in fault.detail


def test_blobs_that_libosmium_cannot_unpack_are_left_to_it(tmp_path):
    path = tmp_path / "a.osm.pbf"
    for field in (4, 7):
        write_raw_pbf(path, RING, {"building": "yes"}, BOUNDS)
        path.write_bytes(path.read_bytes() + blob(b"\x10\x05" + held(field, b"anything")))
        check_strings(path)
        with pytest.raises(PermanentFault, match="not supported") as caught:
            list(read_features(path, ONTOLOGY))
        assert caught.value.reason == "corrupt_extract"


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
    seen = list(string_tables(path))
    assert len(seen) > 1
    assert all(held(1, f"n{osm_id}".encode()) in b"".join(seen) for osm_id in range(0, 20_000, 97))
    assert all(one.startswith(b"\x0a\x00") for one in seen)  # the quick look counts on that
