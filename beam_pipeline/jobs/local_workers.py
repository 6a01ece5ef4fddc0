"""Worker processes of a local job, in place of Beam's own for `--direct_running_mode=multi_processing`.

Beam's go on when their launcher was killed, and when one of them dies its launcher waits for ever. These end with their
launcher, and with one of them the job ends.
"""

import collections
import contextlib
import subprocess
import sys
import threading
from typing import Any

from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    BeamFnControlServicer,
    GrpcServer,
    GrpcWorkerHandler,
    WorkerHandler,
)
from google.protobuf import json_format, text_format

from beam_pipeline.runtime.own_modules import environment_of_modules

_END_S = 10.0
_TELL_EVERY_S = 0.2

_lost: list[str] = []
_of_job: dict[GrpcServer, list["LocalWorker"]] = collections.defaultdict(list)


def use_local_workers() -> None:
    """Has Beam's in-process runner take these workers for its own; once more does no harm."""
    WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(LocalWorker)


def lost_worker() -> str | None:
    """Returns, and forgets, how a worker process ended before its work was done; None where none did.

    Beam names what it met first, e.g. a channel that was closed.
    """
    return _lost.pop() if _lost else None


class LocalWorker(GrpcWorkerHandler):
    """One of them, as the runner handles it.

    Args:
        command: That of Beam's own worker.
        state: Of the runner.
        provision_info: What it is told of the job.
        grpc_server: By which it talks to the runner.
    """

    def __init__(self, command: bytes, state: Any, provision_info: Any, grpc_server: GrpcServer) -> None:
        del command
        super().__init__(state, provision_info, grpc_server)
        self._server = grpc_server
        self._closing = threading.Event()
        self._killed = False
        self._process: subprocess.Popen[bytes] | None = None

    def start_worker(self) -> None:
        """Starts the process; returns before it is ready."""
        info = self.provision_info.provision_info
        told = {
            "WORKER_ID": self.worker_id,
            "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(
                self.control_api_service_descriptor()
            ),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "beam_pipeline.jobs.local_worker"],
            env=environment_of_modules() | told,
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the launcher, with which it ends
        )
        _of_job[self._server].append(self)
        threading.Thread(target=self._watch, args=(self._process,), daemon=True).start()

    def stop_worker(self) -> None:
        """Waits for the process, which has been told that all is done."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self._end()
        _of_job.pop(self._server, None)

    def close(self) -> None:
        """Tells the process that all is done, and waits for it."""
        self._closing.set()
        if _lost:  # the streams are broken, and Beam would wait for their ends
            self.control_conn.push(BeamFnControlServicer._DONE_MARKER)
            self._end()
        else:
            super().close()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        if self._closing.is_set() or self._killed:
            return
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        lost = f"a worker process ended {how}, before its work was done"
        if code == -9:
            lost += "; the system ends processes so where memory is short"
        _lost[:] = [lost]
        workers = _of_job[self._server]
        # What it held is lost for this job, so the others work for nothing.
        for worker in workers:
            worker._end()
        while not self._closing.wait(_TELL_EVERY_S):
            for worker in workers:
                worker._answer(lost)

    def _end(self) -> None:
        self._killed = True
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(OSError):
                if self._process.stdin is not None:
                    self._process.stdin.close()

    def _answer(self, error: str) -> None:
        """Answers in place of the process whatever it was asked for: the runner has no limit of time."""
        for future in [*self.control_conn._futures_by_id.values()]:
            future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=future.instruction_id, error=error))
