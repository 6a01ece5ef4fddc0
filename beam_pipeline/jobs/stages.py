"""The base of all stages of a build: failures told alike, metrics under the stage's name."""

import logging
import traceback
from typing import Protocol

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_pipeline import __version__
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.run_record import RETRIED
from beam_pipeline.dataset.settings import LabelSettings
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.jobs.timing import Timing
from beam_pipeline.jobs.worker_image import require_launchers_version
from beam_pipeline.runtime.faults import Failure, Fault
from beam_pipeline.runtime.foreign_text import hide_secrets_in_logs, shown, without_secrets
from beam_pipeline.runtime.traffic import Share, Traffic

_log = logging.getLogger(__name__)

FAILED = "failed"
"""The tag of what a stage could not do."""


def describe(error: Exception) -> Failure:
    """Returns (reason, detail) of any error, expected or not."""
    if isinstance(error, Fault):
        return error.reason, error.detail
    # Not log.exception: what others' libraries say may hold the URLs that they were given.
    trace = "".join(traceback.format_exception(error))
    _log.error("unexpected error\n%s", without_secrets(trace))
    return "unexpected", shown(f"{type(error).__name__}: {error}")


class JobSettings(Protocol):
    """The settings that every stage needs of its job."""

    @property
    def output(self) -> str:
        """The job's output folder."""

    @property
    def api(self) -> Share:
        """The limits of one who asks an API."""

    @property
    def files(self) -> Share:
        """The limits of one who reads files, on what is asked of their hosts."""


class JobStage(beam.DoFn):
    """Counts elements and measures latency under the name of the stage."""

    stage: str

    def __init__(self, settings: JobSettings) -> None:
        self.settings = settings
        self._launched_by = __version__
        self.timing = Timing(self.stage)
        self.failures = Metrics.counter(self.stage, "failed")

    def setup(self) -> None:
        require_launchers_version(self._launched_by)
        hide_secrets_in_logs()
        self.folder = DatasetFolder(BeamFiles(), self.settings.output)
        self.api = Traffic.of_job(self.settings.output, "api", self.settings.api)
        self.files = Traffic.of_job(self.settings.output, "files", self.settings.files)

    def count_retried(self) -> None:
        """Counts what was asked once more since the last call.

        Metrics exist in the thread of the DoFn only, and much is asked in others.
        """
        for traffic in (self.api, self.files):
            for reason, times in traffic.take_retried().items():
                Metrics.counter(self.stage, f"{RETRIED}{reason}").inc(times)


class Stage(JobStage):
    """A stage of a job that makes a dataset."""

    settings: LabelSettings
