"""What happens before a build is launched: inputs are found and checked, and the plan is written."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline import plan
from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.grid import GRID_NAME
from beam_pipeline.cells.region import cells_in_region, is_bbox
from beam_pipeline.cells.table import CELLS_FILE, format_cells_csv, parse_cells_csv, read_cells_csv
from beam_pipeline.faults import Fault, InvalidInputError
from beam_pipeline.foreign_text import without_secrets
from beam_pipeline.imagery.catalog import check_catalog
from beam_pipeline.labels.extract import ExtractInfo, check_extract
from beam_pipeline.labels.features import cells_within
from beam_pipeline.labels.overpass import check_url
from beam_pipeline.options import (
    BuildOptions,
    BuildSettings,
    build_settings,
    is_dataflow,
    make_pipeline,
    runs_locally,
)
from beam_pipeline.output_folder import write_plan
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.records.summary import fingerprint_sha256
from beam_pipeline.sample_world import SampleWorld, default_directory, make_sample_world
from beam_pipeline.selection.cell_list import SELECTION_FILE
from beam_pipeline.selection.graph import run_selection
from beam_pipeline.selection.launch import prepare_selection
from beam_pipeline.selection.options import parse_selection_flags
from beam_pipeline.storage import BeamFiles, expand_globs, header_copy
from beam_pipeline.traffic import Traffic

_log = logging.getLogger(__name__)

_LEAST_SAMPLE_CELLS = 4

_INPUT_FLAGS = ("cells", "area", "max_cells", "stac_url", "collection", "osm")


def prepare_build(options: PipelineOptions) -> BuildSettings:
    """Checks everything that can be checked before a job is launched, and writes the plan.

    Args:
        options: From `parse_flags`.

    Returns:
        The settings of the job. The output folder holds the plan and the fingerprint; if it held them
        already, they are the same and the job goes on with what is missing.

    Raises:
        InvalidInputError: Something given cannot be used; nothing was launched or written.
    """
    given: Any = options.view_as(BuildOptions)
    local = runs_locally(options)
    sample = _use_sample(given, local) if given.sample else None
    settings = build_settings(options)
    if settings.overpass_url and not local:
        raise InvalidInputError(
            "--osm overpass works with local runners only: the public servers ask not to be used in parallel "
            "or from cloud workers. Give .osm.pbf extracts, e.g. of download.geofabrik.de"
        )
    if settings.overpass_url:
        check_url(settings.overpass_url)
    if not local:
        check_reach(settings, is_dataflow(options))
    cells = sample.cells if sample else find_cells(given, settings.seed)
    settings = dataclasses.replace(settings, extracts=expand_extracts(settings.extracts))
    extracts = [_inspect(path) for path in settings.extracts]
    beyond = check_coverage(cells, extracts)
    try:
        traffic = Traffic.of_process(settings.requests_per_second, settings.reads_in_flight)
        catalogue = check_catalog(settings.stac_url, settings.collection, traffic=traffic)
    except Fault as fault:
        raise InvalidInputError(
            f"--stac_url cannot be reached: {fault}. Check the URL and the network. "
            f"Received: {settings.stac_url}"
        ) from fault
    units = plan.make_units(cells, settings.cells_per_shard)
    text = plan.units_text(units)
    decided = fingerprint(settings, text, catalogue.identity, extracts)
    texts = {
        plan.UNITS_FILE: text,
        CELLS_FILE: format_cells_csv(cells),
        # Not as it was laid out: what is compared later is every byte.
        plan.ONTOLOGY_FILE: plan.json_text(json.loads(settings.ontology_json)),
        plan.LAUNCH_FILE: plan.json_text({"cells_beyond_extracts": beyond}),
    }
    if sample:
        texts[SELECTION_FILE] = sample.described
    with _naming("--output", "used", settings.output, "Give a folder that can be written, local or gs://"):
        write_plan(BeamFiles(), settings.output, decided, texts)
    return dataclasses.replace(settings, fingerprint=fingerprint_sha256(decided))


def check_reach(settings: BuildSettings, dataflow: bool) -> None:
    """Looks for what lies on this machine, of a job that runs on others.

    Args:
        settings: The settings.
        dataflow: Whether the workers are Dataflow's, which see nothing of this machine; others may share a disk
            with it, so they get a warning only.

    Raises:
        InvalidInputError: Something lies on this machine, and no Dataflow worker would find it.
    """
    for flag, paths, advice in (
        ("--output", [settings.output], "a gs:// folder"),
        ("--osm", settings.extracts, "gs:// paths of .osm.pbf extracts"),
        ("--stac_url", [settings.stac_url], "the https:// URL of a STAC API"),
    ):
        here = [path for path in paths if "://" not in path or path.startswith("file://")]
        if here and dataflow:
            raise InvalidInputError(
                f"{flag} lies on this machine, where no Dataflow worker finds it. Give {advice}. "
                f"Received: {', '.join(here)}"
            )
        if here:
            _log.warning(
                "%s lies on this machine: every worker must see it under the same path: %s",
                flag,
                ", ".join(here),
            )


def find_cells(given: Any, seed: int) -> list[Cell]:
    """Returns the cells of --cells or --area.

    Args:
        given: The flags, as `BuildOptions`.
        seed: Draws splits and --max_cells.

    Returns:
        At least one cell.

    Raises:
        InvalidInputError: Neither or both were given, or what was given is malformed or holds no cell.
    """
    if (given.cells is None) == (given.area is None):
        raise InvalidInputError("Give the cells by one of --cells CSV, --area BBOX|GEOJSON and --sample")
    if given.cells is not None:
        if given.max_cells is not None:
            raise InvalidInputError("--max_cells goes with --area: a --cells file is taken whole")
        return parse_cells_csv(_read(given.cells, "--cells"), given.cells)
    area = given.area if is_bbox(given.area) else _read(given.area, "--area")
    found = cells_in_region(area, given.max_cells, seed)
    if not found.cells:
        raise InvalidInputError(
            f"--area holds the centre of no cell that a Sentinel-2 tile covers "
            f"({found.without_tile} without tile). Received: {given.area}"
        )
    return list(found.cells)


def expand_extracts(patterns: Sequence[str]) -> tuple[str, ...]:
    """Returns the extracts that paths and globs name, each once.

    Args:
        patterns: Paths or globs, local or gs://.

    Returns:
        Paths, sorted within each pattern.

    Raises:
        InvalidInputError: A pattern matches nothing, or two extracts share a file name.
    """
    paths = expand_globs(patterns, "--osm")
    names = [path.rsplit("/", 1)[-1] for path in paths]
    if len(set(names)) != len(names):
        raise InvalidInputError(
            "Two extracts of --osm have one file name, by which they are told apart. "
            f"Received: {', '.join(paths)}"
        )
    return tuple(paths)


def check_coverage(cells: Sequence[Cell], extracts: Sequence[ExtractInfo]) -> int | None:
    """Compares the cells with the bounds that the extracts' headers give.

    Args:
        cells: The cells.
        extracts: What the extracts say of themselves; none with Overpass.

    Returns:
        The number of cells beyond the bounds of all extracts; None where there is no extract, or one gives no
        bounds.

    Raises:
        InvalidInputError: No cell meets any extract. Some that do not are a warning: a cell in which nothing
            is mapped is no error, but one beside the extract is labelled nowhere.
    """
    if not extracts or any(info.bounds is None for info in extracts):
        return None
    chips = {cell.cell_id: cell.chip for cell in cells}
    covered = {cell_id for info in extracts for cell_id in cells_within(chips, info.bounds)}
    if not covered:
        raise InvalidInputError(
            f"None of the {len(cells)} cells lies within the bounds of the extracts. Received: "
            + ", ".join(f"{info.name} {info.bounds}" for info in extracts)
        )
    beyond = len(chips) - len(covered)
    if beyond:
        _log.warning(
            "%d of %d cells lie outside the bounds of all extracts: nothing will be labelled there",
            beyond,
            len(chips),
        )
    return beyond


def fingerprint(
    settings: BuildSettings, units_text: str, catalogue: str, extracts: Sequence[ExtractInfo]
) -> dict[str, Any]:
    """Returns what decides the content of the dataset, free of paths and times of this machine.

    Args:
        settings: The settings.
        units_text: The plan's content.
        catalogue: The catalogue's identity.
        extracts: What the extracts' headers say.

    Returns:
        Plain JSON values.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "grid": GRID_NAME,
        "cells_sha256": hashlib.sha256(units_text.encode()).hexdigest(),
        "cells_per_shard": settings.cells_per_shard,
        "seed": settings.seed,
        "years": list(settings.years),
        "catalogue": catalogue,
        "collection": settings.collection,
        "max_scene_cloud": settings.max_scene_cloud,
        "filters": json.loads(json.dumps(dataclasses.asdict(settings.filters))),
        "allow_single": settings.allow_single,
        "ontology_sha256": settings.ontology.sha256,
        "none_labels": settings.none_labels,
        # In whatever order they are given: what is in several of them is told apart by itself.
        "osm": [
            {"name": info.name, "bytes": info.size, "timestamp": info.timestamp}
            for info in sorted(extracts, key=lambda info: info.name)
        ]
        or without_secrets(settings.overpass_url),
    }


@dataclasses.dataclass(frozen=True)
class _SampleCells:
    """The cells that were chosen of the sample world, and the JSON that goes with their list."""

    cells: list[Cell]
    described: str


def _use_sample(given: Any, local: bool) -> _SampleCells:
    """Makes the sample world, points the flags to it and chooses its cells."""
    if not local:
        raise InvalidInputError("--sample works with local runners only: its files lie on this machine")
    clashing = [f"--{name}" for name in _INPUT_FLAGS if getattr(given, name) is not None]
    if clashing:
        raise InvalidInputError(f"--sample brings its own inputs. Leave out {', '.join(clashing)}")
    if given.sample_cells < _LEAST_SAMPLE_CELLS:
        raise InvalidInputError(
            f"--sample_cells must be at least {_LEAST_SAMPLE_CELLS}: fewer lie in the dark. "
            f"Received: {given.sample_cells}"
        )
    directory = given.sample_dir or default_directory(given.sample_cells)
    try:
        world = make_sample_world(directory, given.sample_cells)
    except OSError as error:
        raise InvalidInputError(
            f"--sample_dir cannot be written: {error}. Give a folder that can be. Received: {directory}"
        ) from error
    given.stac_url = str(world.stac_catalog)
    given.osm = str(world.osm_extract)
    given.years = given.years or ",".join(map(str, world.years))
    return _select_sample(world, given.seed)


def _select_sample(world: SampleWorld, seed: int) -> _SampleCells:
    """Chooses the cells as `select_cells` does, on this machine, whatever runner builds the dataset."""
    with tempfile.TemporaryDirectory() as folder:
        flags, options = parse_selection_flags(
            [
                *("--night_lights", ",".join(map(str, world.night_lights))),
                *("--land_cover", str(world.land_cover)),
                f"--area={world.region}",
                f"--seed={seed}",
                *("--expanded_dir", folder),
                *("--output", folder),
            ]
        )
        run_selection(make_pipeline(options), prepare_selection(flags, options))
        described = Path(folder, SELECTION_FILE).read_text()
        return _SampleCells(read_cells_csv(Path(folder, CELLS_FILE)), described)


def _inspect(path: str) -> ExtractInfo:
    with _naming("--osm", "read", path, "Check path and access"), header_copy(path) as local:
        return check_extract(local)


def _read(path: str, flag: str) -> str:
    with _naming(flag, "read", path, "Give a UTF-8 text"):
        return BeamFiles().read_text(path)


@contextlib.contextmanager
def _naming(flag: str, done: str, path: str, advice: str) -> Iterator[None]:
    """Turns whatever a path leads to into an error that names the flag which gave it."""
    try:
        yield
    except InvalidInputError:
        raise  # says more already
    except Exception as error:
        # More than faults and OSError: Beam and each cloud's client have classes of their own, e.g. for a scheme
        # without its extra, or for missing credentials.
        raise InvalidInputError(f"{flag} cannot be {done}: {error}. {advice}. Received: {path}") from error
