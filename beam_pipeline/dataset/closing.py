"""The closing step: describes the dataset from the plan and the units' summaries alone."""

import datetime
import logging
from collections.abc import Mapping, Sequence

from beam_pipeline.dataset import manifest, notices, tfds
from beam_pipeline.dataset.commits import read_summaries
from beam_pipeline.dataset.extract_records import dropped_by_extract
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import (
    CITATION_FILE,
    DATASET_FILE,
    DEAD_LETTERS_FILE,
    FEATURES_FILE,
    FINGERPRINT_FILE,
    INFO_FILE,
    LAUNCH_FILE,
    LICENSES_FILE,
    UNITS_FILE,
    DatasetFolder,
    description_json,
)
from beam_pipeline.dataset.launch_record import LaunchRecord
from beam_pipeline.dataset.run_record import RunRecord, write_run
from beam_pipeline.dataset.settings import LabelSettings
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import Unit, numbered_in_turn, parse_units
from beam_pipeline.labels.feature import Dropped

_log = logging.getLogger(__name__)


def close_dataset(
    folder: DatasetFolder, settings: LabelSettings, started: str, relabelled_from: str | None = None
) -> None:
    """Writes everything that describes the dataset.

    Args:
        folder: The dataset's folder.
        settings: The settings of the job.
        started: When the job was launched, ISO 8601.
        relabelled_from: SHA-256 of the fingerprint of the dataset that the images are of; None of a build.
    """
    units = parse_units(folder.read_bytes(UNITS_FILE))
    fingerprint = Fingerprint.from_json(folder.read_bytes(FINGERPRINT_FILE))
    totals = Totals.of(
        summary for summary in read_summaries(folder, units) if summary.fingerprint == settings.fingerprint
    )
    launch = LaunchRecord.from_json(folder.read_bytes(LAUNCH_FILE))
    described = manifest.dataset_json(
        fingerprint=fingerprint,
        units=units,
        ontology=manifest.describe_ontology(settings.ontology),
        totals=totals,
        dropped_from_extracts=_dropped(folder, fingerprint),
        cells_beyond_extracts=launch.cells_beyond_extracts,
        imported=launch.imported,
    )
    for name, text in sidecar_texts(units, totals.summaries, fingerprint).items():
        folder.write_text(name, text)
    finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    write_run(folder, RunRecord(started=started, finished=finished, relabelled_from=relabelled_from))
    folder.delete_leftovers()
    # Last: a folder with a dataset.json is described wholly.
    folder.write_text(DATASET_FILE, description_json(described))


def sidecar_texts(
    units: Sequence[Unit], summaries: Sequence[UnitSummary], fingerprint: Fingerprint
) -> dict[str, str]:
    """Returns the texts, by name, of the small files that lie beside `dataset.json`.

    Args:
        units: The plan. Where its shards are not numbered in turn there is no `dataset_info.json`, which lists as
            many shards as their names say.
        summaries: Of the units that are done or failed.
        fingerprint: The fingerprint: the texts are of its years, as its version has them.
    """
    years, version = fingerprint.years, fingerprint.schema_version
    texts = {
        DEAD_LETTERS_FILE: manifest.dead_letters_jsonl(summaries),
        CITATION_FILE: notices.citation_cff(years, version, fingerprint.places),
        LICENSES_FILE: notices.licences_md(years, fingerprint.places),
        FEATURES_FILE: tfds.features_json(fingerprint.version, of_places=fingerprint.places is not None),
    }
    if numbered_in_turn(units):
        texts[INFO_FILE] = tfds.dataset_info_json(summaries, years, version, fingerprint.places)
    return texts


def _dropped(folder: DatasetFolder, fingerprint: Fingerprint) -> Mapping[str, Dropped]:
    if fingerprint.imported is not None:
        return {}
    found = dropped_by_extract(folder, fingerprint.extract_names)
    if found is None and fingerprint.places is None:
        _log.warning("what was left out of the extracts is not known: the store of features is not whole")
    return found or {}
