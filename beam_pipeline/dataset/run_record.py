"""`run.json`: when a dataset was built, and what each stage counted; the one file that differs between runs."""

import collections
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pydantic

from beam_pipeline.dataset.folder import RUN_FILE, DatasetFolder, description_json
from beam_pipeline.runtime.parsing import parse_json

RETRIED = "retried_"
"""Begins the names of the counters of what was asked of a host once more, by reason."""


_BEAMS_OWN = "beam"
"""The namespace under which some runners tell of their own, one value for all stages or none at all."""


class Spread(pydantic.BaseModel):
    """The distribution of something measured, e.g. the milliseconds that an element took."""

    count: int
    mean: float
    min: int
    max: int


class RunRecord(pydantic.BaseModel):
    """The content of `run.json`.

    Attributes:
        started: When the job was launched, ISO 8601 in UTC.
        finished: When its last step ended.
        stages: Counters and distributions by stage and name; None where the runner tells of none.
    """

    started: str
    finished: str
    stages: dict[str, dict[str, int | Spread]] | None = None

    @property
    def retried(self) -> dict[str, int]:
        """Requests that this run sent again, by reason; runners tell it of local runs only."""
        retried: collections.Counter[str] = collections.Counter()
        for counts in (self.stages or {}).values():
            for name, count in counts.items():
                if name.startswith(RETRIED) and isinstance(count, int):
                    retried[name.removeprefix(RETRIED)] += count
        return dict(retried)


_ADAPTER = pydantic.TypeAdapter(RunRecord)


def read_run(folder: DatasetFolder) -> RunRecord:
    """Returns the record of the last run.

    Raises:
        MalformedError: It is damaged.
        PermanentFault: "not_found".
    """
    return parse_json(_ADAPTER, folder.read_bytes(RUN_FILE))


def write_run(folder: DatasetFolder, run: RunRecord) -> None:
    """Writes the record of a run."""
    folder.write_text(RUN_FILE, description_json(run.model_dump(exclude_none=True)))


def add_stage_metrics(folder: DatasetFolder, metrics: Mapping[str, Any]) -> None:
    """Adds the counters and latencies of a finished run to its record.

    Args:
        folder: The dataset's folder.
        metrics: Beam's `result.metrics().query()`.
    """
    stages: dict[str, dict[str, int | Spread]] = collections.defaultdict(dict)
    for counter in _of_stages(metrics["counters"]):
        # A committed 0 passes for none in Beam: its `result` is "committed or attempted".
        stages[counter.key.metric.namespace][counter.key.metric.name] = counter.result or 0
    for distribution in _of_stages(metrics["distributions"]):
        spread = distribution.result
        if not spread.count:
            continue  # of an attempt whose work was thrown away
        stages[distribution.key.metric.namespace][distribution.key.metric.name] = Spread(
            count=spread.count, mean=round(spread.mean, 1), min=spread.min, max=spread.max
        )
    write_run(folder, read_run(folder).model_copy(update={"stages": dict(stages)}))


def _of_stages(measured: Iterable[Any]) -> Iterator[Any]:
    return (one for one in measured if one.key.metric.namespace != _BEAMS_OWN)
