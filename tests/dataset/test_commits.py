import hashlib
import itertools
import json
from pathlib import Path

import pytest

from beam_pipeline.dataset.commits import commit_unit, committed_summary, record_failure
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.outcomes import DeadLetter
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.shards import read_shard, summary_path
from beam_pipeline.runtime import storage_faults
from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.files import delete_leftovers
from beam_pipeline.runtime.retries import RetryPolicy

NAME = "opensentinelmap-training.tfrecord-00003-of-00012"
SUMMARY = UnitSummary(NAME, "training", "33TWN", "written", cells=2, cell_years=4, fingerprint="ab")


@pytest.fixture
def output(tmp_path, monkeypatch):
    monkeypatch.setattr(storage_faults, "RETRIES", RetryPolicy(2, 0.001, 0.001))
    return str(tmp_path / "out")


def listing(output):
    return BeamFiles().glob(output, "opensentinelmap-*")


def test_commit(output):
    files = BeamFiles()
    assert committed_summary(DatasetFolder(files, output), NAME, "ab") is None
    summary = commit_unit(DatasetFolder(files, output), NAME, [b"one", b"two"], SUMMARY)
    assert committed_summary(DatasetFolder(files, output), NAME, "ab") is not None
    assert listing(output) == [f"{output}/{NAME}"]
    assert list(read_shard(files, f"{output}/{NAME}")) == [b"one", b"two"]
    content = files.read_bytes(f"{output}/{NAME}")
    assert summary.sha256 == hashlib.sha256(content).hexdigest()
    assert summary.num_bytes == len(content)
    assert UnitSummary.from_json(files.read_text(summary_path(output, NAME))) == summary


def test_a_unit_without_examples_has_an_empty_shard(output):
    files = BeamFiles()
    summary = commit_unit(DatasetFolder(files, output), NAME, [], SUMMARY)
    assert committed_summary(DatasetFolder(files, output), NAME, "ab") is not None
    assert files.read_bytes(f"{output}/{NAME}") == b""
    assert list(read_shard(files, f"{output}/{NAME}")) == []
    assert (summary.num_bytes, summary.sha256) == (0, hashlib.sha256(b"").hexdigest())


def test_a_second_attempt_leaves_the_same_bytes(output):
    files = BeamFiles()
    first = commit_unit(DatasetFolder(files, output), NAME, [b"one"], SUMMARY)
    again = commit_unit(DatasetFolder(files, output), NAME, [b"one"], SUMMARY)
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
            commit_unit(DatasetFolder(Dying(steps), output), NAME, iter([b"one", b"two", b"three"]), SUMMARY)
        except TransientFault:
            assert committed_summary(DatasetFolder(files, output), NAME, "ab") is None
            assert listing(output) == []
        else:
            break
    assert steps >= 5
    assert committed_summary(DatasetFolder(files, output), NAME, "ab") is not None
    assert files.glob(output, "summaries/*.summary.json") == [summary_path(output, NAME)]
    delete_leftovers(files, output)
    assert files.glob(output, "tmp/*") == []
    assert committed_summary(DatasetFolder(files, output), NAME, "ab") is not None


def test_only_what_we_left_aside_is_deleted(output):
    files = BeamFiles()
    ours = (
        f".{'a' * 32}.part",
        f"plan/launch-ab.{'b' * 32}.part",
        f"run.json.{'c' * 32}.part",
        f"tmp/{'d' * 32}",
    )
    theirs = ("austria.osm.pbf.part", f"{'e' * 31}.part", "osm/wien.osm.pbf.part")
    for name in (*ours, *theirs):
        files.write_text(f"{output}/{name}", "x")
    delete_leftovers(files, output)
    assert [name for name in (*ours, *theirs) if files.exists(f"{output}/{name}")] == [*theirs]


def test_a_failing_encoder_commits_nothing(output):
    def payloads():
        yield b"one"
        raise PermanentFault("corrupt_png", "x")

    with pytest.raises(PermanentFault, match="corrupt_png"):
        commit_unit(DatasetFolder(BeamFiles(), output), NAME, payloads(), SUMMARY)
    assert listing(output) == []


def test_a_failed_unit_leaves_its_summary_and_is_tried_again(output):
    files = BeamFiles()
    letter = DeadLetter(NAME, None, None, "read_chips", "throttled", "slow down")
    record_failure(DatasetFolder(files, output), letter, "ab")
    assert committed_summary(DatasetFolder(files, output), NAME, "ab") is None
    summary = UnitSummary.from_json(files.read_text(summary_path(output, NAME)))
    assert (summary.status, summary.split, summary.dead_letters) == ("failed", "training", (letter,))
    commit_unit(DatasetFolder(files, output), NAME, [b"one"], SUMMARY)
    assert UnitSummary.from_json(files.read_text(summary_path(output, NAME))).status == "written"


def test_a_straggler_that_fails_takes_nothing_away(output):
    files = BeamFiles()
    done = commit_unit(DatasetFolder(files, output), NAME, [b"one"], SUMMARY)
    letter = DeadLetter(NAME, None, None, "write", "storage", "too late")
    assert record_failure(DatasetFolder(files, output), letter, "ab") == done
    assert committed_summary(DatasetFolder(files, output), NAME, "ab") is not None


def test_a_unit_of_other_settings_is_not_done(output):
    files = BeamFiles()
    done = commit_unit(DatasetFolder(files, output), NAME, [b"one"], SUMMARY)
    assert committed_summary(DatasetFolder(files, output), NAME, "ab") == done
    assert committed_summary(DatasetFolder(files, output), NAME, "cd") is None
    letter = DeadLetter(NAME, None, None, "read_chips", "throttled", "slow down")
    assert record_failure(DatasetFolder(files, output), letter, "cd").status == "failed"
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
        commit_unit(DatasetFolder(Gone(), output), NAME, [b"one"], SUMMARY)


@pytest.mark.parametrize("damage", ["shorter", "longer", "empty", "no summary", "half a summary"])
def test_a_unit_damaged_after_its_commit_is_not_done(output, damage):
    files = BeamFiles()
    commit_unit(DatasetFolder(files, output), NAME, [b"one"], SUMMARY)
    shard, summary = Path(output, NAME), Path(summary_path(output, NAME))
    content = shard.read_bytes()
    if damage == "no summary":
        summary.unlink()
    elif damage == "half a summary":
        summary.write_bytes(summary.read_bytes()[:50])
    else:
        shard.write_bytes({"shorter": content[:-1], "longer": content + b"x", "empty": b""}[damage])
    assert committed_summary(DatasetFolder(files, output), NAME, "ab") is None


def test_an_attempt_that_fails_leaves_nothing_aside(output):
    class FullDisk(BeamFiles):
        def rename(self, source, target):
            raise TransientFault("storage", "No space left on device")

    with pytest.raises(TransientFault):
        commit_unit(DatasetFolder(FullDisk(), output), NAME, [b"one"], SUMMARY)
    assert BeamFiles().glob(output, "tmp/*") == []
