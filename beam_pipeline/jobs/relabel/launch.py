"""The steps before a dataset is relabelled: source and map are found and checked, and the plan is written."""

import dataclasses
import json
import logging
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cells.table import CELLS_FILE, format_cells_csv
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import (
    LAUNCH_FILE,
    ONTOLOGY_FILE,
    STORE_FOLDER,
    UNITS_FILE,
    WATER_FILE,
    DatasetFolder,
    plan_json,
)
from beam_pipeline.dataset.launch_record import LaunchRecord
from beam_pipeline.dataset.output_folder import write_plan
from beam_pipeline.features.schema import STORE_FILE
from beam_pipeline.jobs.dataset_flags import ontology_text
from beam_pipeline.jobs.given_files import naming, require_google_login, require_reachable
from beam_pipeline.jobs.given_output import WRITABLE, require_own_output
from beam_pipeline.jobs.given_store import GivenStore, check_given_store, given_store
from beam_pipeline.jobs.processes import PROCESS_CELL_YEARS, use_processes
from beam_pipeline.jobs.relabel.settings import RelabelSettings
from beam_pipeline.jobs.relabel.source import Source, find_source
from beam_pipeline.jobs.runners import require_job_server
from beam_pipeline.jobs.select.cell_list import SELECTION_FILE
from beam_pipeline.jobs.storage import BeamFiles, use_options
from beam_pipeline.jobs.water import find_sea
from beam_pipeline.jobs.worker_image import require_package_on_workers
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.runtime.apart import require_apart
from beam_pipeline.runtime.cores import this_machine
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.traffic import Share

_PROCESS_CELL_YEARS = 10 * PROCESS_CELL_YEARS
"""Cell-years that pay for a process: each takes a tenth of what building it takes.

Source: tests/benchmarks/relabel.py.
"""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CheckedRelabelling:
    """A job that has passed all checks, and of which nothing is written yet.

    Attributes:
        settings: Of the job.
        fingerprint: Of the new dataset.
        source: The dataset whose images are taken.
        folder: Of the new dataset; it may be missing.
        texts: The small files that go with the plan, by name.
    """

    settings: RelabelSettings
    fingerprint: Fingerprint
    source: Source
    folder: DatasetFolder
    texts: dict[str, str]


def check_flags(given: Any, options: PipelineOptions) -> None:
    """Checks what the flags alone tell, before any file is looked into and Beam asks buckets.

    Args:
        given: Our flags, from `parse_relabel_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: A flag is malformed, or workers would lack something.
    """
    require_job_server(options)
    require_reachable(
        options,
        [
            ("--output", [given.output], "a gs:// folder"),
            ("--dataset", [given.dataset], "the gs:// folder of a dataset"),
            ("--osm", [given.osm] if given.osm else [], "the gs:// folder of a store"),
        ],
    )
    require_package_on_workers(options)
    require_google_login(options, [("--output", given.output)])
    use_options(**options.get_all_options(drop_default=True))  # as files may lie in a bucket
    ontology_text(given.ontology)


def prepare_relabelling(checked: CheckedRelabelling, given: Any, options: PipelineOptions) -> None:
    """Writes the plan, and chooses the number of processes.

    The output folder holds plan and fingerprint then; if it held them already, they are the same and the job goes on
    with what is missing.

    Args:
        checked: From `check_relabelling`.
        given: Our flags, from `parse_relabel_flags`.
        options: Beam's options, those of the pipeline: the number goes into them.

    Raises:
        InvalidInputError: The folder cannot be used, or holds another dataset.
    """
    with Progress(None, "writing the plan"), naming("--output", "used", checked.folder.path, WRITABLE):
        write_plan(checked.folder, checked.fingerprint, checked.texts)
    use_processes(
        given,
        options,
        checked.settings,
        checked.source.units,
        checked.folder,
        this_machine(),
        worth=_PROCESS_CELL_YEARS,
    )


def check_relabelling(given: Any) -> CheckedRelabelling:
    """Checks everything that can be checked before a job is launched, and writes nothing but caches.

    What the flags alone tell was checked by `check_flags`.

    Args:
        given: Our flags, from `parse_relabel_flags`.

    Returns:
        What was found.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    require_own_output(given.output, "dataset")
    ontology = ontology_text(given.ontology)
    source = find_source(given.dataset)
    store = _find_store(given, source)
    require_apart(given.output, [("the store of features", store.path), ("--dataset", given.dataset)])
    with Progress(None, "comparing the store with the cells"):
        map_given = check_given_store(store, Ontology.load(ontology), source.cells)
    settings = RelabelSettings(
        output=given.output,
        years=source.fingerprint.years,
        api=Share(),
        files=Share(),
        overpass_url=map_given.record.url,
        ontology_json=ontology,
        none_labels=not given.no_none_labels,
        retry_dead_letters=given.retry_dead_letters,
        water_polygons=given.water_polygons or "",
        osm_date=map_given.record.date,
        given_store=store.path,
        source=given.dataset,
        source_fingerprint=source.fingerprint,
    )
    return _with_plan(settings, source, map_given)


def _find_store(given: Any, source: Source) -> DatasetFolder:
    path = given.osm or source.folder.at(STORE_FOLDER)
    store = given_store((path,))
    if store is not None:
        return store
    if given.osm:
        raise InvalidInputError(
            f"--osm takes the folder of a store of features, in which {STORE_FILE} lies: the map is not read here. "
            f"Make one with extract_features, or leave the flag out. Received: {path}"
        )
    raise InvalidInputError(
        f"There is no {source.folder.at(STORE_FOLDER, STORE_FILE)}: the dataset brings no whole store of features. "
        f"Give one by --osm; extract_features makes it for the cells of {source.folder.at(CELLS_FILE)}"
    )


def _with_plan(settings: RelabelSettings, source: Source, map_given: GivenStore) -> CheckedRelabelling:
    folder = DatasetFolder(BeamFiles(), settings.output)
    water, sea = find_sea(settings, source.cells, source.units_text, folder)
    known = source.fingerprint.water_polygons
    if known is not None and water is None:
        _log.warning(
            "the sea is known to --dataset, of %s, and will not be to --output: --water_polygons was not given",
            known.name,
        )
    fingerprint = source.fingerprint.relabelled(settings, map_given.extracts, water)
    texts = {
        **map_given.texts,
        UNITS_FILE: source.units_text,
        CELLS_FILE: format_cells_csv(source.cells),
        ONTOLOGY_FILE: plan_json(json.loads(settings.ontology_json)),
        LAUNCH_FILE: LaunchRecord(cells_beyond_extracts=map_given.beyond).to_json(),
    }
    if water:
        texts[WATER_FILE] = sea
    with naming("--dataset", "read", source.folder.path, "Check path and access"):
        if source.folder.exists(SELECTION_FILE):
            texts[SELECTION_FILE] = source.folder.read_text(SELECTION_FILE)
    settings = dataclasses.replace(settings, fingerprint=fingerprint.sha256)
    return CheckedRelabelling(settings, fingerprint, source, folder, texts)
