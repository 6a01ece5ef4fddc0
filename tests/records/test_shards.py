import hashlib
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipeline.dataset.commits import commit_unit, committed_summary, record_failure
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.dataset.units import DeadLetter
from beam_pipeline.jobs import storage
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.shards import frame, parse_shard_name, read_shard, shard_name, summary_path
from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.files import delete_leftovers
from beam_pipeline.runtime.retries import RetryPolicy

NAME = "opensentinelmap-training.tfrecord-00003-of-00012"
SUMMARY = UnitSummary(NAME, "training", "33TWN", "written", cells=2, cell_years=4, fingerprint="ab")


@pytest.fixture
def output(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_RETRIES", RetryPolicy(2, 0.001, 0.001))
    return str(tmp_path / "out")


def listing(output):
    return BeamFiles().glob(f"{output}/opensentinelmap-*")


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


def test_commit(output):
    files = BeamFiles()
    assert committed_summary(files, output, NAME, "ab") is None
    summary = commit_unit(files, output, NAME, [b"one", b"two"], SUMMARY)
    assert committed_summary(files, output, NAME, "ab") is not None
    assert listing(output) == [f"{output}/{NAME}"]
    assert list(read_shard(files, f"{output}/{NAME}")) == [b"one", b"two"]
    content = files.read_bytes(f"{output}/{NAME}")
    assert summary.sha256 == hashlib.sha256(content).hexdigest()
    assert summary.num_bytes == len(content)
    assert UnitSummary.from_json(files.read_text(summary_path(output, NAME))) == summary


def test_a_unit_without_examples_has_an_empty_shard(output):
    files = BeamFiles()
    summary = commit_unit(files, output, NAME, [], SUMMARY)
    assert committed_summary(files, output, NAME, "ab") is not None
    assert files.read_bytes(f"{output}/{NAME}") == b""
    assert list(read_shard(files, f"{output}/{NAME}")) == []
    assert (summary.num_bytes, summary.sha256) == (0, hashlib.sha256(b"").hexdigest())


def test_a_second_attempt_leaves_the_same_bytes(output):
    files = BeamFiles()
    first = commit_unit(files, output, NAME, [b"one"], SUMMARY)
    again = commit_unit(files, output, NAME, [b"one"], SUMMARY)
    assert first == again
    assert listing(output) == [f"{output}/{NAME}"]


class Dying(BeamFiles):
    """A worker that is killed at its nth step on the file system."""

    def __init__(self, steps):
        self.steps = steps

    def _step(self):
        if self.steps == 0:
            raise TransientFault("killed", "here")
        self.steps -= 1

    def write_bytes(self, path, chunks):
        self._step()
        chunks = list(chunks)
        super().write_bytes(path, chunks[: self.steps])
        self._step()
        super().write_bytes(path, chunks)

    def rename(self, source, target):
        self._step()
        super().rename(source, target)


def test_killed_at_any_step_a_unit_is_whole_or_not_there(output):
    files = BeamFiles()
    for steps in itertools.count():
        try:
            commit_unit(Dying(steps), output, NAME, iter([b"one", b"two", b"three"]), SUMMARY)
        except TransientFault:
            assert committed_summary(files, output, NAME, "ab") is None
            assert listing(output) == []
        else:
            break
    assert steps >= 5
    assert committed_summary(files, output, NAME, "ab") is not None
    assert files.glob(f"{output}/summaries/*.summary.json") == [summary_path(output, NAME)]
    delete_leftovers(files, output)
    assert files.glob(f"{output}/tmp/*") == []
    assert committed_summary(files, output, NAME, "ab") is not None


def test_a_failing_encoder_commits_nothing(output):
    def payloads():
        yield b"one"
        raise PermanentFault("corrupt_png", "x")

    with pytest.raises(PermanentFault, match="corrupt_png"):
        commit_unit(BeamFiles(), output, NAME, payloads(), SUMMARY)
    assert listing(output) == []


def test_a_failed_unit_leaves_its_summary_and_is_tried_again(output):
    files = BeamFiles()
    letter = DeadLetter(NAME, None, None, "read_chips", "throttled", "slow down")
    record_failure(files, output, letter, "ab")
    assert committed_summary(files, output, NAME, "ab") is None
    summary = UnitSummary.from_json(files.read_text(summary_path(output, NAME)))
    assert (summary.status, summary.split, summary.dead_letters) == ("failed", "training", (letter,))
    commit_unit(files, output, NAME, [b"one"], SUMMARY)
    assert UnitSummary.from_json(files.read_text(summary_path(output, NAME))).status == "written"


def test_a_straggler_that_fails_takes_nothing_away(output):
    files = BeamFiles()
    done = commit_unit(files, output, NAME, [b"one"], SUMMARY)
    letter = DeadLetter(NAME, None, None, "write", "storage", "too late")
    assert record_failure(files, output, letter, "ab") == done
    assert committed_summary(files, output, NAME, "ab") is not None


def test_a_unit_of_other_settings_is_not_done(output):
    files = BeamFiles()
    done = commit_unit(files, output, NAME, [b"one"], SUMMARY)
    assert committed_summary(files, output, NAME, "ab") == done
    assert committed_summary(files, output, NAME, "cd") is None
    letter = DeadLetter(NAME, None, None, "read_chips", "throttled", "slow down")
    assert record_failure(files, output, letter, "cd").status == "failed"
    assert UnitSummary.from_json(files.read_text(summary_path(output, NAME))).fingerprint == "cd"


def test_a_summary_that_does_not_say_of_which_settings_is_of_another_version(output):
    fields = json.loads(SUMMARY.to_json())
    del fields["fingerprint"]
    with pytest.raises(ValueError, match="fingerprint"):
        UnitSummary.from_json(json.dumps(fields))


def test_what_went_wrong_first_is_told(output):
    class Gone(BeamFiles):
        def rename(self, source, target):
            raise TransientFault("storage", "first")

        def delete(self, path):
            raise TransientFault("storage", "second")

    with pytest.raises(TransientFault, match="first"):
        commit_unit(Gone(), output, NAME, [b"one"], SUMMARY)


@pytest.mark.parametrize("damage", ["shorter", "longer", "empty", "no summary", "half a summary"])
def test_a_unit_damaged_after_its_commit_is_not_done(output, damage):
    files = BeamFiles()
    commit_unit(files, output, NAME, [b"one"], SUMMARY)
    shard, summary = Path(output, NAME), Path(summary_path(output, NAME))
    content = shard.read_bytes()
    if damage == "no summary":
        summary.unlink()
    elif damage == "half a summary":
        summary.write_bytes(summary.read_bytes()[:50])
    else:
        shard.write_bytes({"shorter": content[:-1], "longer": content + b"x", "empty": b""}[damage])
    assert committed_summary(files, output, NAME, "ab") is None


def test_an_attempt_that_fails_leaves_nothing_aside(output):
    class FullDisk(BeamFiles):
        def rename(self, source, target):
            raise TransientFault("storage", "No space left on device")

    with pytest.raises(TransientFault):
        commit_unit(FullDisk(), output, NAME, [b"one"], SUMMARY)
    assert BeamFiles().glob(f"{output}/tmp/*") == []


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


def test_a_missing_shard_is_not_found(tmp_path):
    with pytest.raises(PermanentFault, match="not_found"):
        list(read_shard(BeamFiles(), str(tmp_path / "x")))


def test_the_crc_is_the_published_one():
    # Source: RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 8a9136aa; masked as in TensorFlow's crc32c.h.
    crc = 0x8A9136AA
    masked = ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF
    assert frame(bytes(32))[-4:] == masked.to_bytes(4, "little")
