"""Flink writes the same bytes: its embedded cluster, and a standalone one whose TaskManagers are killed.

Opt in with -m engines. It needs Java and Maven, which brings Beam's Flink runner once.
"""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.coders import VarIntCoder

from beam_pipeline.build_dataset import main
from beam_pipeline.sample_world import SampleWorld
from tests.engines.conftest import counters
from tests.engines.flink import (
    FlinkCluster,
    NotThereError,
    flink_cluster,
    flink_libraries,
    make_job_server,
    wait_for,
)
from tests.pipelines.conftest import CELLS, Built, flags

pytestmark = pytest.mark.engines

KILLED_AFTER = 4  # of 24 shards
RESTARTED = {
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": 10,
    "restart-strategy.fixed-delay.delay": "1 s",
}


def of_one_cell(world: SampleWorld, output: Path, *more: str) -> Built:
    """Builds a shard a cell, so that a job is in many parts."""
    return Built(output, main([*flags(world, output), "--cells_per_shard=1", *more]))


@pytest.fixture(scope="module")
def reference(whole_world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The whole world, built in this process."""
    return of_one_cell(whole_world, tmp_path_factory.mktemp("reference") / "set")


@pytest.fixture(scope="module")
def libraries() -> Path:
    try:
        return flink_libraries()
    except NotThereError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def cluster(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    """Two TaskManagers and no restart strategy."""
    with flink_cluster(tmp_path_factory.mktemp("flink") / "cluster", libraries) as flink:
        yield flink


def same(one: Built, other: Built) -> None:
    assert one.shards == other.shards
    assert (one.folder / "dataset.json").read_bytes() == (other.folder / "dataset.json").read_bytes()


@pytest.mark.usefixtures("job_servers_stop")
def test_the_sample_on_the_embedded_cluster(
    libraries: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jar = make_job_server(libraries, tmp_path / "job-server.jar")
    sample = ["--sample", f"--sample_cells={CELLS}"]
    engine = ["--runner=FlinkRunner", f"--flink_job_server_jar={jar}"]
    flink = Built(tmp_path / "flink", main([*sample, f"--output={tmp_path / 'flink'}", *engine]))
    said = capsys.readouterr()
    assert flink.code == 0
    assert "verified: no difference" in said.out
    assert "WARNING" not in said.err
    here = Built(tmp_path / "here", main([*sample, f"--output={tmp_path / 'here'}"]))
    assert len(here.shards) > 2
    same(flink, here)
    assert counters(flink) == counters(here)


def test_two_task_managers(
    reference: Built, whole_world: SampleWorld, tmp_path: Path, cluster: FlinkCluster
) -> None:
    built = of_one_cell(whole_world, tmp_path / "set", *cluster.job_flags(2))
    assert built.code == 0
    same(built, reference)
    # One process for each TaskManager, and no other.
    assert [words.split()[0] for words in cluster.workers()] == ["--id=1-1", "--id=1-1"]
    (job,) = cluster.ask("/jobs/overview")["jobs"]
    assert job["state"] == "FINISHED"
    # Where docs/flink.md says that Flink shows our counters, and how.
    told = cluster.ask(f"/jobs/{job['jid']}/accumulators")["user-task-accumulators"]
    (metrics,) = [json.loads(one["value"])["metrics"] for one in told if one["name"] == "__metricscontainers"]
    shown = {
        (one["labels"]["NAMESPACE"], one["labels"]["NAME"]): VarIntCoder().decode(
            base64.b64decode(one["payload"])
        )
        for one in metrics["attempted"]
        if one["urn"] == "beam:metric:user:sum_int64:v1"
    }
    assert {key: count for key, count in shown.items() if count} == {
        key: count for key, count in counters(built).items() if count
    }


def killed(flink: FlinkCluster, folder: Path) -> threading.Thread:
    """Kills a TaskManager once some shards are committed, and starts another, as whoever keeps a cluster does."""

    def work() -> None:
        wait_for("the first shards", lambda: len(Built(folder, 0).shards) >= KILLED_AFTER, 120)
        flink.kill_task_manager()
        flink.start_task_manager()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_killed_task_manager_without_one(
    reference: Built,
    whole_world: SampleWorld,
    tmp_path: Path,
    cluster: FlinkCluster,
    capsys: pytest.CaptureFixture[str],
) -> None:
    thread = killed(cluster, tmp_path / "set")
    failed = of_one_cell(whole_world, tmp_path / "set", *cluster.job_flags(2))
    thread.join()
    assert failed.code == 1
    (sentence,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert sentence.startswith("error: the job failed on its engine: ")
    assert "task manager" in sentence.lower() or "taskmanager" in sentence.lower()
    assert sentence.endswith("given again, the same command goes on with the others")
    before = failed.shards
    assert KILLED_AFTER <= len(before) < len(reference.shards)

    wait_for("the other TaskManager", lambda: cluster.free_slots() == 2)
    again = of_one_cell(whole_world, tmp_path / "set", *cluster.job_flags(2))
    assert again.code == 0
    same(again, reference)
    assert again.run["stages"]["plan"]["units_committed_before"] >= len(before)


def test_a_killed_task_manager_with_a_restart_strategy(
    reference: Built, whole_world: SampleWorld, tmp_path: Path, libraries: Path
) -> None:
    with flink_cluster(tmp_path / "flink", libraries, RESTARTED) as flink:
        thread = killed(flink, tmp_path / "set")
        built = of_one_cell(whole_world, tmp_path / "set", *flink.job_flags(2))
        thread.join()
        (job,) = flink.ask("/jobs/overview")["jobs"]
        failures = flink.ask(f"/jobs/{job['jid']}/exceptions")["exceptionHistory"]["entries"]
    assert built.code == 0
    same(built, reference)
    assert failures
