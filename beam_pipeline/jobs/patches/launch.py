"""Readies a job of patches for its launch: finds and checks places and catalogue, and writes the plan."""

import dataclasses
import json
import sys
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cells.table import CELLS_FILE, format_cells_csv
from beam_pipeline.dataset.fingerprint import Fingerprint, Places
from beam_pipeline.dataset.folder import LAUNCH_FILE, ONTOLOGY_FILE, UNITS_FILE, DatasetFolder, plan_json
from beam_pipeline.dataset.launch_record import LaunchRecord
from beam_pipeline.dataset.output_folder import check_begun, write_plan
from beam_pipeline.dataset.settings import PatchSettings
from beam_pipeline.dataset.units import Unit, make_units, units_text
from beam_pipeline.jobs.build.inputs import check_hosts, check_images, check_reach
from beam_pipeline.jobs.given_files import naming, read_given_text, require_google_login, require_openable
from beam_pipeline.jobs.given_output import WRITABLE, require_own_output
from beam_pipeline.jobs.patches.options import OWN_DATE, given_date, patch_settings
from beam_pipeline.jobs.processes import use_processes
from beam_pipeline.jobs.request_shares import request_shares
from beam_pipeline.jobs.runners import require_job_server
from beam_pipeline.jobs.storage import BeamFiles, use_options
from beam_pipeline.jobs.worker_image import require_package_on_workers
from beam_pipeline.places.cells import PlannedPlaces, plan_places
from beam_pipeline.places.eurosat import read_eurosat_places
from beam_pipeline.places.fmow import read_fmow_places
from beam_pipeline.places.place_list import PlaceList, require_folder
from beam_pipeline.places.table import read_table
from beam_pipeline.runtime.apart import require_apart
from beam_pipeline.runtime.cores import this_machine
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.foreign_text import shown
from beam_pipeline.runtime.progress import Progress

_MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class CheckedPatches:
    """A job that has passed all checks, and of which nothing is written yet.

    Attributes:
        settings: But for the fingerprint.
        fingerprint: Of the dataset.
        units: The plan.
        folder: Of the dataset; it may be missing.
        texts: The small files that go with the plan, by name.
    """

    settings: PatchSettings
    fingerprint: Fingerprint
    units: list[Unit]
    folder: DatasetFolder
    texts: dict[str, str]


def check_flags(given: Any, options: PipelineOptions) -> None:
    """Checks what the flags alone tell, before Beam looks at its own: it asks buckets.

    Args:
        given: Our flags, from `parse_patch_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: A flag is malformed, there is no such list, or workers would lack something.
    """
    require_job_server(options)
    use_options(**options.get_all_options(drop_default=True))  # as the places may lie in a bucket
    settings = patch_settings(given, options)
    _look_for_list(given)
    check_reach(settings, options)
    require_package_on_workers(options)
    require_google_login(options, [("--output", settings.output)])


def check_patches(given: Any, options: PipelineOptions) -> CheckedPatches:
    """Checks everything that can be checked before a job is launched, and writes nothing but caches.

    Args:
        given: Our flags, from `parse_patch_flags`.
        options: Beam's options.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    settings = patch_settings(given, options)
    folders = [("--eurosat", given.eurosat), ("--fmow", given.fmow)]
    require_apart(settings.output, [(flag, folder) for flag, folder in folders if folder is not None])
    require_own_output(settings.output, "dataset")
    listed = _with_dates(_read_list(given), given)
    with Progress(None, "finding the places"):
        planned = plan_places(listed, settings.seed, with_dates=settings.nearest)
    _say_left_out(planned)
    units = make_units(planned.cells, settings.cells_per_shard)
    folder = DatasetFolder(BeamFiles(), settings.output)
    catalogue = check_hosts(settings)
    found = dataclasses.replace(settings.catalog, profile=catalogue.profile, footers=catalogue.footers)
    settings = dataclasses.replace(settings, catalog=found)
    with naming("--output", "used", settings.output, WRITABLE):
        check_images(settings, planned.cells, folder)
    places = Places(
        source=listed.source,
        classes=tuple(sorted({cell.place.class_name for cell in planned.cells if cell.place is not None})),
        nearest=settings.nearest,
        left_out=dict(planned.counts),
    )
    text = units_text(units)
    fingerprint = Fingerprint.of_build(settings, text, catalogue.identity, (), places=places)
    with naming("--output", "used", settings.output, WRITABLE):
        check_begun(folder, fingerprint)
    texts = {
        UNITS_FILE: text,
        CELLS_FILE: format_cells_csv(planned.cells),
        ONTOLOGY_FILE: plan_json(json.loads(settings.ontology_json)),
        LAUNCH_FILE: LaunchRecord(cells_beyond_extracts=None).to_json(),
    }
    return CheckedPatches(settings, fingerprint, units, folder, texts)


def prepare_patches(given: Any, options: PipelineOptions) -> CheckedPatches:
    """Checks everything, and writes the plan; what the flags alone tell was checked by `check_flags`.

    Args:
        given: Our flags, from `parse_patch_flags`.
        options: Beam's options, those of the pipeline.

    Returns:
        What the job does. The output folder holds the plan and the fingerprint; if it held them already, they are the
        same and the job goes on with what is missing.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched or written.
    """
    checked = check_patches(given, options)
    with Progress(None, "writing the plan"), naming("--output", "used", checked.folder.path, WRITABLE):
        write_plan(checked.folder, checked.fingerprint, checked.texts)
    use_processes(given, options, checked.settings, checked.units, checked.folder, this_machine())
    api, files = request_shares(given, options)  # anew: now the number of processes is known
    settings = dataclasses.replace(
        checked.settings, fingerprint=checked.fingerprint.sha256, api=api, files=files
    )
    return dataclasses.replace(checked, settings=settings)


def _look_for_list(given: Any) -> None:
    """Looks for the list on this machine or in a bucket: workers get the places with the plan."""
    if given.places is not None:
        require_openable(given.places, "--places")
    if given.eurosat is not None:
        require_folder("--eurosat", given.eurosat)
    if given.fmow is not None:
        require_folder("--fmow", given.fmow)


def _read_list(given: Any) -> PlaceList:
    if given.eurosat is not None:
        return read_eurosat_places(given.eurosat)
    if given.fmow is not None:
        return read_fmow_places(given.fmow)
    return read_table(read_given_text(given.places, "--places"), given.places)


def _with_dates(listed: PlaceList, given: Any) -> PlaceList:
    """Gives each place the date near which its image is to be."""
    date = given_date(given)
    if date:
        return dataclasses.replace(
            listed, places=tuple(dataclasses.replace(place, date=date) for place in listed.places)
        )
    if given.near == OWN_DATE:
        for place in listed.places:
            if not place.date:
                raise InvalidInputError(
                    f"{place.where}: date is missing, and --near {OWN_DATE} asks for that of each place. Received: none"
                )
    return listed


def _say_left_out(planned: PlannedPlaces) -> None:
    """Names some of the places that are left out; how many they are is in the fingerprint."""
    for reason, places in planned.left_out.items():
        named = ", ".join(f"{shown(place.name)} ({shown(place.where)})" for place in places[:_MOST_NAMED])
        more = f" and {len(places) - _MOST_NAMED} more" if len(places) > _MOST_NAMED else ""
        print(f"left out, {reason}: {named}{more}", file=sys.stderr)
