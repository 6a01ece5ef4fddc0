"""The closing step: describes the dataset from the plan and the units' summaries alone."""

import datetime
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from beam_pipeline.cells.grid import GRID_DESCRIPTION
from beam_pipeline.dataset import manifest, notices, tfds
from beam_pipeline.dataset import units as plan
from beam_pipeline.dataset.fingerprint import FINGERPRINT_FILE
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.runtime.files import Files, delete_leftovers, join

_log = logging.getLogger(__name__)

DATASET_FILE = "dataset.json"
DEAD_LETTERS_FILE = "dead_letters.jsonl"
RUN_FILE = "run.json"
EXTRACTS_FOLDER = "extracts"


def close_dataset(files: Files, settings: BuildSettings, started: str) -> None:
    """Writes everything that describes the dataset.

    Args:
        files: The file system.
        settings: The settings of the job.
        started: When the job was launched, ISO 8601.
    """
    output = settings.output
    lines = files.read_text(join(output, plan.UNITS_FILE)).splitlines()
    units = [plan.Unit.from_json(line) for line in lines]
    summaries = [
        summary
        for summary in manifest.read_summaries(files, output, units)
        if summary.fingerprint == settings.fingerprint
    ]
    fingerprint = json.loads(files.read_text(join(output, FINGERPRINT_FILE)))
    seen_at_launch = json.loads(files.read_text(join(output, plan.LAUNCH_FILE)))
    described = describe_dataset(
        units=units,
        summaries=summaries,
        fingerprint=fingerprint,
        ontology=describe_ontology(settings.ontology),
        dropped_from_extracts=_dropped_by_extract(files, settings),
        cells_beyond_extracts=seen_at_launch["cells_beyond_extracts"],
    )

    def write(name: str, text: str) -> None:
        files.write_text(join(output, name), text)

    for name, text in described.items():
        if name != DATASET_FILE:
            write(name, text())
    finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    write(RUN_FILE, manifest.to_text({"started": started, "finished": finished}))
    delete_leftovers(files, output)
    # Last: a folder with a dataset.json is described wholly.
    write(DATASET_FILE, described[DATASET_FILE]())


def describe_dataset(
    *,
    units: Sequence[plan.Unit],
    summaries: Sequence[UnitSummary],
    fingerprint: Mapping[str, Any],
    ontology: Mapping[str, Any],
    dropped_from_extracts: Mapping[str, Mapping[str, int]],
    cells_beyond_extracts: int | None,
) -> dict[str, Callable[[], str]]:
    """Returns everything that describes a dataset: what makes the text of each file, by its name.

    Args:
        units: The plan.
        summaries: Of the units that are done or failed.
        fingerprint: What decides the content.
        ontology: From `describe_ontology`.
        dropped_from_extracts: By extract, what was left out of the whole file on reading it, by reason.
        cells_beyond_extracts: Planned cells beyond the bounds of all extracts; None where it is not known.
    """
    years = fingerprint["years"]

    def dataset_text() -> str:
        dataset = manifest.dataset_json(
            fingerprint=fingerprint,
            units=units,
            grid=GRID_DESCRIPTION,
            ontology=ontology,
            years=years,
            summaries=summaries,
            dropped_from_extracts=dropped_from_extracts,
            cells_beyond_extracts=cells_beyond_extracts,
        )
        return manifest.to_text(dataset)

    return {
        DEAD_LETTERS_FILE: lambda: manifest.dead_letters_jsonl(summaries),
        "CITATION.cff": lambda: notices.citation_cff(years),
        "LICENSES.md": lambda: notices.licences_md(years),
        "dataset_info.json": lambda: tfds.dataset_info_json(summaries, years),
        "features.json": tfds.features_json,
        DATASET_FILE: dataset_text,
    }


def record_extract(files: Files, output: str, path: str, dropped: Mapping[str, int]) -> None:
    """Keeps what was left out of an extract, for `dataset.json`.

    It is said of the whole file, so it is the same whichever cells a run still has to do.

    Args:
        files: The file system.
        output: The dataset's folder.
        path: The extract.
        dropped: What was left out of it, by reason.
    """
    files.write_text(_extract_record(output, path), manifest.to_text(dict(dropped)))


def recorded_extract(files: Files, output: str, path: str) -> Mapping[str, int] | None:
    """Returns what `record_extract` kept of an extract; None where it did not, or what is there is damaged."""
    record = _extract_record(output, path)
    if not files.exists(record):
        return None
    try:
        dropped = json.loads(files.read_text(record))
    except (ValueError, RecursionError):
        return None
    whole = isinstance(dropped, dict) and all(type(count) is int for count in dropped.values())
    return dropped if whole else None


def _extract_record(output: str, path: str) -> str:
    return join(output, EXTRACTS_FOLDER, f"{path.rpartition('/')[2]}.json")


def _dropped_by_extract(files: Files, settings: BuildSettings) -> dict[str, Mapping[str, int]]:
    found = {}
    for path in settings.extracts:
        dropped = recorded_extract(files, settings.output, path)
        name = path.rpartition("/")[2]
        if dropped is None:
            _log.warning("what was left out of %s is not known: it was not read to its end", name)
        else:
            found[name] = dropped
    return found


def add_stage_metrics(files: Files, output: str, metrics: Mapping[str, Any]) -> None:
    """Adds the counters and latencies of a finished run to its `run.json`.

    Args:
        files: The file system.
        output: The dataset's folder.
        metrics: What `result.metrics().query()` gives.
    """
    stages: dict[str, dict[str, Any]] = {}
    for counter in metrics["counters"]:
        stages.setdefault(counter.key.metric.namespace, {})[counter.key.metric.name] = counter.result
    for distribution in metrics["distributions"]:
        spread = distribution.result
        stages.setdefault(distribution.key.metric.namespace, {})[distribution.key.metric.name] = {
            "count": spread.count,
            "mean": round(spread.mean, 1),
            "min": spread.min,
            "max": spread.max,
        }
    path = join(output, RUN_FILE)
    run = json.loads(files.read_text(path))
    files.write_text(path, manifest.to_text({**run, "stages": stages}))


def describe_ontology(ontology: Ontology) -> Mapping[str, Any]:
    """Returns the ontology as `dataset.json` holds it: names and values, and which content they are from."""
    return {
        "version": ontology.version,
        "sha256": ontology.sha256,
        "channels": [
            {"name": channel.name, "labels": {label.name: label.value for label in channel.labels}}
            for channel in ontology.channels
        ],
    }
