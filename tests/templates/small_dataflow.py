"""Dataflow in small: what a template's launcher wrote to a bucket is run on worker processes.

As on Dataflow, a worker is a command that gets an id and addresses; it knows the job from them alone.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_runner_api_pb2,
    endpoints_pb2,
)
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.runner import PipelineState

from beam_pipeline.jobs.storage import BeamFiles

_PATIENCE_S = 20


@dataclasses.dataclass(frozen=True)
class Worker:
    """A worker process to be started: its command, to which id and addresses are added, and its environment."""

    command: Sequence[str]
    environment: Mapping[str, str]


class Workers(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts the worker processes that a runner asks for, one after another."""

    def __init__(self, workers: Sequence[Worker], log: Path) -> None:
        self._next = iter(workers)
        self._log = log
        self.processes: list[subprocess.Popen[bytes]] = []

    def StartWorker(
        self, request: beam_fn_api_pb2.StartWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        addresses = [
            f"--{name}_endpoint={getattr(request, f'{name}_endpoint').url}"
            for name in ("logging", "artifact", "provision", "control")
        ]
        worker, number = next(self._next), len(self.processes)
        folder = self._log / f"worker-{number}"
        folder.mkdir()
        with (self._log / f"worker-{number}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [*worker.command, f"--id={request.worker_id}", *addresses],
                    cwd=folder,
                    env={"PATH": os.environ["PATH"], "TMPDIR": str(folder), "HOME": str(folder)}
                    | {**worker.environment},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # so that it can be ended with all that it started
                )
            )
        return beam_fn_api_pb2.StartWorkerResponse()

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self.processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            for process in self.processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_PATIENCE_S)


@contextlib.contextmanager
def serving(workers: Workers) -> Iterator[str]:
    """Yields the address at which workers can be asked for."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(workers, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        workers.stop()
        server.stop(None)


def run_job(template: str, started: Sequence[Worker], log: Path) -> str:
    """Runs the job that a launcher wrote, each of its steps on all workers.

    Args:
        template: Where the launcher wrote it: `--template_location`.
        started: The workers.
        log: A folder for what they say; each has a folder of its own in it.

    Returns:
        How the job ended, e.g. "DONE".
    """
    files = BeamFiles()
    job = json.loads(files.read_text(template))
    given = job["environment"]["sdkPipelineOptions"]["options"]
    pipeline = beam_runner_api_pb2.Pipeline.FromString(files.read_bytes(given["pipelineUrl"]))
    options = PipelineOptions.from_dictionary(
        {name: _as_given(value) for name, value in given.items() if value}
    )
    workers = Workers(started, log)
    with serving(workers) as address:
        external = beam_runner_api_pb2.ExternalPayload(
            endpoint=endpoints_pb2.ApiServiceDescriptor(url=address)
        )
        for one in pipeline.components.environments.values():
            assert one.urn == common_urns.environments.DOCKER.urn
            for dependency in one.dependencies:
                _fetch(dependency, log)
            one.urn = common_urns.environments.EXTERNAL.urn
            one.payload = external.SerializeToString()
        provision = beam_provision_api_pb2.ProvisionInfo(
            pipeline_options=options.to_runner_api(),
            retrieval_token="unused",
        )
        runner = fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision))
        runner._num_workers = len(started)
        result = runner.run_via_runner_api(pipeline, options)
        state = result.wait_until_finish()
    assert len(workers.processes) == len(started)
    return str(state or PipelineState.UNKNOWN)


def _fetch(dependency: beam_runner_api_pb2.ArtifactInformation, folder: Path) -> None:
    """Brings a file of the bucket that workers are to have to where the runner can hand it out."""
    assert dependency.type_urn == common_urns.artifact_types.URL.urn
    url = beam_runner_api_pb2.ArtifactUrlPayload.FromString(dependency.type_payload).url
    path = folder / url.rpartition("/")[2]
    path.write_bytes(BeamFiles().read_bytes(url))
    dependency.type_urn = common_urns.artifact_types.FILE.urn
    dependency.type_payload = beam_runner_api_pb2.ArtifactFilePayload(path=str(path)).SerializeToString()


def _as_given(value: object) -> object:
    """Returns a number of the job's JSON, which knows no integers, as it was."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
