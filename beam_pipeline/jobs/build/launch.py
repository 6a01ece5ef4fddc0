"""Readies a build for its launch: finds and checks the inputs, and writes the plan."""

import dataclasses
import json
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cells.table import CELLS_FILE, format_cells_csv
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.folder import (
    LAUNCH_FILE,
    ONTOLOGY_FILE,
    UNITS_FILE,
    WATER_FILE,
    DatasetFolder,
    plan_json,
)
from beam_pipeline.dataset.launch_record import LaunchRecord
from beam_pipeline.dataset.output_folder import check_begun, write_plan
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.dataset.units import Unit, make_units, units_text
from beam_pipeline.jobs.build.inputs import check_hosts, check_images, check_reach
from beam_pipeline.jobs.build.map_source import MapSource, find_map, with_store
from beam_pipeline.jobs.build.options import build_settings
from beam_pipeline.jobs.build.sample import SampleCells, require_sample, use_sample
from beam_pipeline.jobs.extract.launch import begin
from beam_pipeline.jobs.extract.settings import ExtractSettings
from beam_pipeline.jobs.given_cells import check_cells_file, check_cells_flags, find_cells
from beam_pipeline.jobs.given_files import naming, require_google_login
from beam_pipeline.jobs.given_output import WRITABLE, require_own_output
from beam_pipeline.jobs.processes import use_processes
from beam_pipeline.jobs.request_shares import request_shares
from beam_pipeline.jobs.runners import output_folder, require_job_server, runs_locally
from beam_pipeline.jobs.select.cell_list import SELECTION_FILE
from beam_pipeline.jobs.storage import BeamFiles, use_options
from beam_pipeline.jobs.water import find_sea
from beam_pipeline.jobs.worker_image import require_package_on_workers
from beam_pipeline.runtime.cores import this_machine
from beam_pipeline.runtime.progress import Progress


@dataclasses.dataclass(frozen=True)
class CheckedBuild:
    """A build that has passed all checks, and of which nothing is written yet.

    Attributes:
        settings: But for the fingerprint.
        fingerprint: Of the dataset.
        units: The plan.
        folder: Of the dataset; it may be missing.
        texts: The small files that go with the plan, by name.
        map: Where the labels come from.
    """

    settings: BuildSettings
    fingerprint: Fingerprint
    units: list[Unit]
    folder: DatasetFolder
    texts: dict[str, str]
    map: MapSource

    @property
    def extract_sizes(self) -> list[int]:
        """Bytes of each OSM extract that may have to be read."""
        return [] if self.map.filling is None else [info.size for info in self.map.extracts]


@dataclasses.dataclass(frozen=True)
class PreparedBuild:
    """A build whose plan is written.

    Attributes:
        settings: Of the job.
        filling: How its store of features is filled first; None where it is whole.
        tiles: Files of that store.
    """

    settings: BuildSettings
    filling: ExtractSettings | None
    tiles: int


def check_flags(given: Any, options: PipelineOptions) -> None:
    """Checks what the flags alone tell, before Beam looks at its own: it asks buckets.

    Args:
        given: Our flags, from `parse_build_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: A flag is malformed, or workers would lack something.
    """
    require_job_server(options)
    if given.sample:
        require_sample(given, runs_locally(options))
    else:
        check_cells_flags(given, "sample")
    use_options(**options.get_all_options(drop_default=True))  # as the ontology may lie in a bucket
    settings = build_settings(given, options)
    if not given.sample:
        check_reach(settings, options)
        check_cells_file(given)
    require_package_on_workers(options)
    require_google_login(options, [("--output", settings.output)])


def prepare_build(given: Any, options: PipelineOptions) -> PreparedBuild:
    """Checks everything that can be checked before a job is launched, and writes the plan.

    What the flags alone tell was checked by `check_flags`.

    Args:
        given: Our flags, from `parse_build_flags`.
        options: Beam's options.

    Returns:
        What the job does. The output folder holds the plan and the fingerprint; if it held them
        already, they are the same and the job goes on with what is missing.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched or written.
    """
    checked = check_build(given, options)
    with (
        Progress(None, "writing the plan"),
        naming("--output", "used", checked.settings.output, WRITABLE),
    ):
        write_plan(checked.folder, checked.fingerprint, checked.texts)
        if checked.map.filled is not None:
            begin(checked.map.filled)
    use_processes(given, options, checked.settings, checked.units, checked.folder, this_machine())
    api, files = request_shares(given, options)  # anew: now the number of processes is known
    settings = dataclasses.replace(
        checked.settings, fingerprint=checked.fingerprint.sha256, api=api, files=files
    )
    filling = checked.map.filling
    if filling is not None:
        filling = dataclasses.replace(filling, api=api, files=files)
    return PreparedBuild(settings, filling, checked.map.filled.tiles if checked.map.filled else 0)


def check_build(given: Any, options: PipelineOptions) -> CheckedBuild:
    """Checks everything that can be checked before a job is launched, and writes nothing but caches.

    What the flags alone tell was checked by `check_flags`.

    Args:
        given: Our flags, from `parse_build_flags`.
        options: Beam's options.

    Returns:
        What was found.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    require_own_output(output_folder(given.output), "dataset")
    sample: SampleCells | None = None
    if given.sample:
        given, sample = use_sample(given, runs_locally(options))
    settings = build_settings(given, options)
    with Progress(None, "finding the cells"):
        cells = sample.cells if sample else find_cells(given, settings.seed)
    folder = DatasetFolder(BeamFiles(), settings.output)
    with naming("--output", "used", settings.output, WRITABLE):
        source = find_map(settings, cells, folder)
    settings = source.settings
    planned = make_units(cells, settings.cells_per_shard)
    units = units_text(planned)
    water, sea = find_sea(settings, cells, units, folder)
    catalogue = check_hosts(settings)
    found = dataclasses.replace(settings.catalog, profile=catalogue.profile, footers=catalogue.footers)
    settings = dataclasses.replace(settings, catalog=found)
    with naming("--output", "used", settings.output, WRITABLE):
        check_images(settings, cells, folder)
    fingerprint = Fingerprint.of_build(settings, units, catalogue.identity, source.extracts, water)
    with naming("--output", "used", settings.output, WRITABLE):
        check_begun(folder, fingerprint)
        source = with_store(source, cells)
    texts = {
        **source.texts,
        UNITS_FILE: units,
        CELLS_FILE: format_cells_csv(cells),
        # Not as it was laid out: what is compared later is every byte.
        ONTOLOGY_FILE: plan_json(json.loads(settings.ontology_json)),
        LAUNCH_FILE: LaunchRecord(cells_beyond_extracts=source.beyond).to_json(),
    }
    if water:
        texts[WATER_FILE] = sea
    if sample:
        texts[SELECTION_FILE] = sample.described
    return CheckedBuild(settings, fingerprint, planned, folder, texts, source)
