import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipeline.records.example import encode
from beam_pipeline.records.example_ids import read_ids
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.shards import Place, frame, parse_shard, record_places
from beam_pipeline.runtime.faults import PermanentFault
from tests.records.builders import make_cell_year

IDS = [(0, 2017), (82543044, 2020), (2**40, 1)]


@pytest.fixture(scope="module")
def payloads() -> list[bytes]:
    return [encode(make_cell_year(cell_id=cell_id, year=year)) for cell_id, year in IDS]


def ids_of(payload: bytes) -> tuple[int, int]:
    return read_ids(io.BytesIO(payload), Place(5, 0, 0, len(payload)), "the shard")


class Counting(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self.count += len(content)
        return content


def test_ids_are_found_without_the_pixels(payloads):
    file = Counting(b"".join(map(frame, payloads)))
    places = list(record_places(file, "x"))
    assert [(place.record, place.length) for place in places] == list(enumerate(map(len, payloads)))
    assert [read_ids(file, place, "x") for place in places] == IDS
    assert file.count < 3 * 3000 < len(payloads[0]) / 50
    for place, payload in zip(places, payloads, strict=True):
        file.seek(place.start)
        assert next(parse_shard(file, "x", place.record, place.start)) == payload


def test_unsorted_features_and_those_of_others_are_passed_over(payloads):
    message = Example.FromString(payloads[1])
    message.features.feature["a key of others " * 9].bytes_list.value.append(bytes(300))
    message.features.feature["years"].int64_list.value.extend([1, 2])
    assert ids_of(message.SerializeToString()) == IDS[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda feature: feature["year"].Clear(), "year holds 0 numbers"),
        (lambda feature: feature["year"].int64_list.value.append(2), "year holds 2 numbers"),
        (lambda feature: feature["year"].int64_list.value.extend(range(200)), r"year has \d+ bytes"),
        (lambda feature: feature.pop("cell_id"), r"features missing: \['cell_id'\]"),
    ],
)
def test_what_is_wrong_is_named(payloads, change, said):
    message = Example.FromString(payloads[0])
    change(message.features.feature)
    with pytest.raises(PermanentFault, match=f"the shard: record 5 is no example: {said}"):
        ids_of(message.SerializeToString())


@pytest.mark.parametrize(
    "payload", [b"", b"\x0a", b"\x0a\xff", b"no example", b"\x0a\x05\x0a\x7f\x0a\x01a", bytes(99)]
)
def test_what_is_no_example_is_refused(payload):
    with pytest.raises(PermanentFault, match="the shard: record 5 is no example"):
        ids_of(payload)


@given(place=st.integers(0, 2000), byte=st.integers(0, 255))
@settings(deadline=None, max_examples=200)
def test_garbled_heads_are_read_or_refused(payloads, place, byte):
    garbled = bytearray(payloads[0])
    garbled[place] = byte
    try:
        found = ids_of(bytes(garbled))
    except PermanentFault:
        return
    assert all(isinstance(one, int) for one in found)


def test_places_find_what_reading_finds(payloads):
    content = frame(b"first payload") + frame(b"second")
    for end in range(len(content)):
        if end in (0, len(frame(b"first payload"))):
            continue
        with pytest.raises(PermanentFault, match=r"corrupt_shard.*record [01], at byte (0|29), is cut off"):
            list(record_places(io.BytesIO(content[:end]), "x"))
    for position in range(12):  # the head
        damaged = bytearray(content)
        damaged[position] ^= 1
        with pytest.raises(PermanentFault, match="record 0, at byte 0, has a wrong CRC of its length"):
            list(record_places(io.BytesIO(damaged), "x"))
    assert list(record_places(io.BytesIO(), "x")) == []
