"""Hands a job to its engine and waits for it; what the engine says when it fails becomes one line."""

import collections
import contextlib
import logging
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.runners.portability.portable_runner import PipelineResult
from apache_beam.runners.worker import sdk_worker

from beam_pipeline.jobs.local_workers import lost_worker, use_local_workers
from beam_pipeline.jobs.runners import in_processes, is_dataflow, is_in_process, runner_name
from beam_pipeline.jobs.worker_image import cure_of
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.foreign_text import shown
from beam_pipeline.runtime.storage_failures import storage_failure

_MOST_CHARS = 600
_JOB_SERVERS = ("FlinkJarJobServer", "SparkJarJobServer")
"""The loggers by which Beam passes on what the job servers print that it starts."""

_RAISING = (
    "root",  # what the engine tells of a failure
    "apache_beam.runners.common",
    "apache_beam.runners.worker.sdk_worker",
    "apache_beam.runners.portability.local_job_service",
    "apache_beam.runners.worker.data_plane",  # streams that an engine closes at the end of a job
)
"""Loggers by which Beam logs, with its stack traces, the error that it raises too."""


class EngineError(Exception):
    """A job that was handed over has failed: one line, the engine's own cause, and the cure where it is known."""

    def __init__(self, text: str) -> None:
        cause = cause_of(text)
        cure = cure_of(cause)
        said = shown(cause, _MOST_CHARS)
        super().__init__(f"{said.rstrip('.')}. {cure}" if cure else said)


def run_job(pipeline: beam.Pipeline) -> Mapping[str, Any] | None:
    """Runs a job and waits until it ends.

    Args:
        pipeline: The whole job, from `make_pipeline`.

    Returns:
        Beam's `result.metrics().query()`; None from Dataflow, whose jobs are not waited for.

    Raises:
        InvalidInputError: The engine cannot be started or does not take the job; nothing was launched.
        EngineError: The job failed.
        Exception: Of a job in this process, what a stage raised; and what says that a disk failed.
    """
    printed = _hush()
    runner = runner_name(pipeline.options)  # Beam takes it away as it hands a job over
    use_local_workers()
    in_process = is_in_process(pipeline.options)
    try:
        with _quiet_workers():
            result = pipeline.run()
    except Exception as error:
        lost = lost_worker()
        if lost or (
            in_processes(pipeline.options) and isinstance(error, RuntimeError) and not storage_failure(error)
        ):
            raise EngineError(lost or _text(error)) from error  # what a stage raised has become a text
        if in_process or storage_failure(error):
            raise
        said = f"; it said: {cause_of(chr(10).join(printed))}" if printed else ""
        raise InvalidInputError(
            f"--runner cannot be used: {cause_of(_text(error)).rstrip('.')}{said}. "
            f"Received: --runner={runner}"
        ) from error
    if is_dataflow(pipeline.options):
        return None
    try:
        with _quiet_workers():
            result.wait_until_finish()
        metrics: Mapping[str, Any] = result.metrics().query()
    except (RuntimeError, grpc.RpcError) as error:
        # DirectRunner may be either: Prism, or in this process.
        if storage_failure(error) or (in_process and not isinstance(result, PipelineResult)):
            raise
        raise EngineError(_text(error)) from error
    return metrics


def cause_of(text: str) -> str:
    """Returns the line of an engine's words that names the cause.

    Args:
        text: A sentence, or stack traces of Java and Python, of which the last names what came first.

    Returns:
        One line, without the frames.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    named = [line for line in lines if not line[0].isspace() and not _between(line)]
    said = (named or lines or ["no cause was given"])[-1].strip()
    return said.removeprefix("Caused by: ")


def _between(line: str) -> bool:
    return line.startswith(("Traceback (most recent", "During handling of", "The above exception was"))


def _text(error: Exception) -> str:
    """Returns what an error says; gRPC's own say it in `details`."""
    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call):
        said = f"{error.code().name}: {error.details()}"
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            said = (
                f"{said.rstrip('!')}: no job server of Beam answers there, or one that is too old for "
                f"Beam {beam.__version__}"
            )
        return said
    return str(error)


def _hush() -> collections.deque[str]:
    """Keeps from the terminal what Beam prints of an engine beside what is told at the end.

    Returns:
        The last lines that a job server prints, which is started later.
    """
    printed: collections.deque[str] = collections.deque(maxlen=50)
    for name in _JOB_SERVERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.filters = [_kept_in(printed)]
    prism = logging.getLogger("PrismJobServer")  # Beam sets its level to "INFO" as it starts it
    prism.propagate = False
    prism.handlers = [_WarningsOnly(logging.WARNING)]
    # It warns of each start and end of a job server.
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)
    for name in _RAISING:
        logger = logging.getLogger(name)
        if _not_raised_too not in logger.filters:
            logger.addFilter(_not_raised_too)
    return printed


class _WarningsOnly(logging.Handler):
    """Passes on what is a warning or worse, by the level that another's filter has given it."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger().handle(record)


def _kept_in(printed: collections.deque[str]) -> Callable[[logging.LogRecord], bool]:
    def keep(record: logging.LogRecord) -> bool:
        printed.append(record.getMessage())
        return False

    return keep


def _not_raised_too(record: logging.LogRecord) -> bool:
    others = record.name == "root" and not record.pathname.endswith("portable_runner.py")
    return others or record.levelno < logging.ERROR


@contextlib.contextmanager
def _quiet_workers() -> Iterator[None]:
    """Keeps from the terminal the tracebacks of workers in this process: the engine gets them, and tells the last line.

    Threads of gRPC end with one where the engine closes their streams, as at the end of every job.
    """
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        frames = traceback.extract_tb(arguments.exc_traceback)
        if not frames or "grpc" not in frames[-1].filename:
            before(arguments)

    threading.excepthook = hook
    sdk_worker.print = lambda *_, **__: None  # of what it raises, and there is no other way to be asked
    try:
        yield
    finally:
        threading.excepthook = before
        del sdk_worker.print
