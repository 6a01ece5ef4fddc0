import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.shards import (
    frame,
    parse_shard,
    parse_shard_name,
    read_shard,
    shard_name,
    summary_path,
)
from beam_pipeline.runtime.faults import PermanentFault

NAME = "opensentinelmap-training.tfrecord-00003-of-00012"


def test_names():
    assert shard_name("training", 3, 12) == NAME
    assert parse_shard_name(NAME) == ("training", 3, 12)
    assert parse_shard_name(shard_name("testing", 99999, 123456)) == ("testing", 99999, 123456)
    for bad in ("x", NAME + ".summary.json", NAME.replace("training", "train"), "a/" + NAME):
        with pytest.raises(ValueError, match="Received"):
            parse_shard_name(bad)


@given(st.lists(st.binary(max_size=300), max_size=5))
@settings(deadline=None, max_examples=30)
def test_tensorflow_reads_the_same(tmp_path_factory, payloads):
    import tensorflow as tf

    path = str(tmp_path_factory.mktemp("shard") / "x")
    BeamFiles().write_bytes(path, map(frame, payloads))
    assert list(read_shard(BeamFiles(), path)) == payloads
    assert [record.numpy() for record in tf.data.TFRecordDataset(path)] == payloads


def test_reads_what_tensorflow_wrote(tmp_path):
    import tensorflow as tf

    path = str(tmp_path / "x")
    payloads = [b"", b"abc", bytes(100_000)]
    with tf.io.TFRecordWriter(path) as writer:
        for payload in payloads:
            writer.write(payload)
    assert list(read_shard(BeamFiles(), path)) == payloads
    assert BeamFiles().read_bytes(path) == b"".join(map(frame, payloads))


def test_damage_is_found_at_every_byte(tmp_path):
    content = frame(b"first payload") + frame(b"second")
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        (tmp_path / "x").write_bytes(damaged)
        with pytest.raises(PermanentFault, match=r"corrupt_shard.*record [01], at byte"):
            list(read_shard(BeamFiles(), str(tmp_path / "x")))
    for length in set(range(1, len(content))) - {len(frame(b"first payload"))}:
        (tmp_path / "x").write_bytes(content[:length])
        with pytest.raises(PermanentFault, match="cut off"):
            list(read_shard(BeamFiles(), str(tmp_path / "x")))


def test_damage_is_named_with_its_place():
    whole = frame(b"first") + frame(b"second")
    second = len(frame(b"first"))
    for position, what in (
        (second, "of its length"),
        (second + 8, "of its length"),
        (second + 12, "of its payload"),
        (len(whole) - 1, "of its payload"),
    ):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        with pytest.raises(PermanentFault, match=f"a: record 1, at byte {second}, has a wrong CRC {what}$"):
            list(parse_shard(io.BytesIO(damaged), "a"))


def test_a_summary_lies_in_a_folder_of_its_own():
    assert summary_path("/data/out", NAME) == f"/data/out/summaries/{NAME}.summary.json"


def test_a_missing_shard_is_not_found(tmp_path):
    with pytest.raises(PermanentFault, match="not_found"):
        list(read_shard(BeamFiles(), str(tmp_path / "x")))


def test_the_crc_is_the_published_one():
    # Source: RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 8a9136aa; masked as in TensorFlow's crc32c.h.
    crc = 0x8A9136AA
    masked = ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF
    assert frame(bytes(32))[-4:] == masked.to_bytes(4, "little")
