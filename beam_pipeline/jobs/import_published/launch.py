"""The steps before published files are imported: they are looked at, and the plan is written."""

import dataclasses
import hashlib
import json
import logging
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cells.table import CELLS_FILE, format_cells_csv
from beam_pipeline.dataset.fingerprint import Fingerprint, Imported
from beam_pipeline.dataset.folder import LAUNCH_FILE, ONTOLOGY_FILE, UNITS_FILE, DatasetFolder, plan_json
from beam_pipeline.dataset.launch_record import ImportRecord, LaunchRecord
from beam_pipeline.dataset.output_folder import write_plan
from beam_pipeline.dataset.units import Unit, make_units, units_text
from beam_pipeline.exchange.published import CATEGORIES_FILE, IMAGERY_FOLDER, LABELS_FOLDER
from beam_pipeline.exchange.published_folder import PublishedFolder, find_published
from beam_pipeline.exchange.published_ontology import DEFAULT, REDUCED, Kind, published_ontology
from beam_pipeline.jobs.given_files import naming, read_given_text, require_google_login, require_reachable
from beam_pipeline.jobs.given_output import WRITABLE, require_own_output
from beam_pipeline.jobs.import_published.settings import ImportSettings
from beam_pipeline.jobs.processes import PROCESS_CELL_YEARS, use_processes
from beam_pipeline.jobs.runners import require_job_server
from beam_pipeline.jobs.storage import BeamFiles, use_options
from beam_pipeline.jobs.worker_image import require_package_on_workers
from beam_pipeline.runtime.apart import require_apart
from beam_pipeline.runtime.cores import this_machine
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.traffic import Share

_PROCESS_CELL_YEARS = 3 * PROCESS_CELL_YEARS
"""Cell-years that pay for a process: each takes about a third of what building it takes.

Source: tests/benchmarks/import_published.py, which prints how many are imported in as much CPU.
"""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CheckedImport:
    """A job that has passed all checks, and of which nothing is written yet.

    Attributes:
        settings: Of the job.
        fingerprint: Of the new dataset.
        found: What the published folders hold.
        units: The plan.
        folder: Of the new dataset; it may be missing.
        texts: The small files that go with the plan, by name.
    """

    settings: ImportSettings
    fingerprint: Fingerprint
    found: PublishedFolder
    units: list[Unit]
    folder: DatasetFolder
    texts: dict[str, str]


def check_flags(given: Any, options: PipelineOptions) -> None:
    """Checks what the flags alone tell, before any file is looked into and Beam asks buckets.

    Args:
        given: Our flags, from `parse_import_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: A flag is malformed, or workers would lack something.
    """
    require_job_server(options)
    require_reachable(
        options,
        [
            ("--output", [given.output], "a gs:// folder"),
            ("--published", [given.published], "the gs:// folder of the published files"),
        ],
    )
    require_package_on_workers(options)
    require_google_login(options, [("--output", given.output)])
    use_options(**options.get_all_options(drop_default=True))  # as files may lie in a bucket


def prepare_import(checked: CheckedImport, given: Any, options: PipelineOptions) -> None:
    """Writes the plan, and chooses the number of processes.

    The output folder holds plan and fingerprint then; if it held them already, they are the same and the job goes on
    with what is missing.

    Args:
        checked: From `check_import`.
        given: Our flags, from `parse_import_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: The output folder cannot be used.
    """
    with Progress(None, "writing the plan"), naming("--output", "used", checked.folder.path, WRITABLE):
        write_plan(checked.folder, checked.fingerprint, checked.texts)
    use_processes(
        *(given, options, checked.settings, checked.units, checked.folder, this_machine()),
        worth=_PROCESS_CELL_YEARS,
    )


def check_import(given: Any) -> CheckedImport:
    """Looks at the published folders, and writes nothing.

    Args:
        given: Our flags, from `parse_import_flags`.

    Returns:
        What was found.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    require_apart(given.output, [("--published", given.published)])
    require_own_output(given.output, "dataset")
    files = BeamFiles()
    advice = f"Give the folder that holds {CELLS_FILE}, {LABELS_FOLDER} and {IMAGERY_FOLDER}"
    with (
        Progress(None, "looking at the published folders"),
        naming("--published", "read", given.published, advice),
    ):
        table = join(given.published, CELLS_FILE)
        if not files.exists(table):
            raise InvalidInputError(f"There is no {table}. {advice}. Received: {given.published}")
        csv_text = read_given_text(table, "--published")
        found = find_published(files, given.published, csv_text)
        categories = join(given.published, CATEGORIES_FILE)
        has_categories = files.exists(categories)
        text = read_given_text(categories, "--published") if has_categories else None
        ontology, kind = published_ontology(text, categories)
    if kind == DEFAULT:
        _log.warning("there is no %s: the labels are taken to be those of its version 10", categories)
    if kind == REDUCED:
        _log.warning(
            "the tags of %s are not in a form that is known here: names, values and precedence are kept",
            categories,
        )
    return _with_plan(given, csv_text, found, ontology, kind)


def _with_plan(given: Any, csv_text: str, found: PublishedFolder, ontology: str, kind: Kind) -> CheckedImport:
    settings = ImportSettings(
        output=given.output,
        years=found.years,
        api=Share(),
        files=Share(),
        overpass_url="",
        ontology_json=ontology,
        none_labels=True,
        retry_dead_letters=given.retry_dead_letters,
        published=given.published,
    )
    units = make_units(found.cells, given.cells_per_shard)
    text = units_text(units)
    imported = Imported(
        cells_csv_sha256=hashlib.sha256(csv_text.encode()).hexdigest(),
        images=found.images,
        images_sha256=found.images_sha256,
    )
    fingerprint = Fingerprint.of_import(settings, text, given.cells_per_shard, imported)
    record = ImportRecord(
        ontology=kind,
        **{name: getattr(found, name) for name in ImportRecord.model_fields if name != "ontology"},
    )
    texts = {
        UNITS_FILE: text,
        CELLS_FILE: format_cells_csv(found.cells),
        ONTOLOGY_FILE: plan_json(json.loads(ontology)),
        LAUNCH_FILE: LaunchRecord(cells_beyond_extracts=None, imported=record).to_json(),
    }
    settings = dataclasses.replace(settings, fingerprint=fingerprint.sha256)
    folder = DatasetFolder(BeamFiles(), settings.output)
    return CheckedImport(settings, fingerprint, found, units, folder, texts)
