"""The end of a job that fails on an engine; the engine is Beam's reference job server, within this process."""

import concurrent.futures
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
import pytest

from beam_pipeline.jobs.build import transforms
from beam_pipeline.jobs.build.options import parse_build_flags
from beam_pipeline.jobs.engines import run_job
from beam_pipeline.jobs.runners import make_pipeline
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.pipelines.conftest import Built, build

ENGINE = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"]


def test_a_job_that_fails_is_one_sentence_and_the_same_command_goes_on(
    built: Built,
    world: SampleWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    output, calls = tmp_path / "set", itertools.count()
    process = transforms._Write.process

    def fails_at_the_third(stage: Any, element: Any) -> Iterator[Any]:
        if next(calls) == 2:
            raise MemoryError("the worker is out of memory")
        return process(stage, element)

    with monkeypatch.context() as patch:
        patch.setattr(transforms._Write, "process", fails_at_the_third)
        assert build(world, output, *ENGINE).code == 1
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("error: ")] == [
        "error: the job failed on its engine: MemoryError: the worker is out of memory "
        f"[while running 'WriteUnits/WriteShards/ParDo(_Write)']. Of {len(built.shards)} shards 2 are committed in "
        f"{output}: given again, the same command goes on with the others"
    ]
    assert not any("Traceback" in line for line in [*said, caplog.text])
    assert not (output / "dataset.json").exists()

    again = build(world, output, *ENGINE)
    assert again.code == 0
    assert again.shards == built.shards
    assert again.run["stages"]["plan"] == {
        "units_committed_before": 2,
        "units_pending": len(built.shards) - 2,
    }


def test_a_job_that_fails_behind_its_last_shard_is_closed_and_proved(
    built: Built,
    world: SampleWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "set"

    def fails(*given: Any) -> None:
        raise RuntimeError("CANCELLED: client cancelled")

    monkeypatch.setattr(transforms, "close_dataset", fails)
    closed = build(world, output, *ENGINE)
    said = capfd.readouterr()
    assert closed.code == 0
    assert "the job failed behind its last shard, so its dataset is closed here: " in said.err
    assert "CANCELLED: client cancelled" in said.err
    assert "Traceback" not in said.err
    assert "verified: no difference" in said.out
    assert closed.shards == built.shards
    assert (output / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()
    assert verify([str(output)]) == 0


def test_what_is_no_job_server_is_one_sentence() -> None:
    """Nor one of another version, which lacks a method."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    endpoint = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    try:
        flags = ["--runner=PortableRunner", f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK"]
        _, options = parse_build_flags(["--output=out", *flags])
        pipeline = make_pipeline(options)
        _ = pipeline | beam.Create([1])
        with pytest.raises(InvalidInputError) as caught:
            run_job(pipeline)
    finally:
        server.stop(None)
    assert str(caught.value) == (
        "--runner cannot be used: UNIMPLEMENTED: Method not found: no job server of Beam answers there, or one that is "
        f"too old for Beam {beam.__version__}. Received: --runner=PortableRunner"
    )
