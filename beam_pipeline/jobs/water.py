"""The sea of a build's cells: cut of the file of `--water_polygons`, or found where an earlier launch kept it."""

import logging
import os
from collections.abc import Mapping, Sequence

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.dataset.fingerprint import WaterPolygons, cells_sha256
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.settings import LabelSettings
from beam_pipeline.dataset.water_file import describe_water, kept_water, water_text
from beam_pipeline.jobs.given_files import naming
from beam_pipeline.jobs.storage import local_copy
from beam_pipeline.labels.ontology import SEA_KEY, Ontology
from beam_pipeline.labels.water_polygons import BESIDE_SHAPEFILE, SEA_TAGS, check_name, sea_of_cells
from beam_pipeline.runtime.disk import is_local
from beam_pipeline.runtime.extras import require_package
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.progress import Progress

_ADVICE = "Check path and access"

_log = logging.getLogger(__name__)


def find_sea(
    settings: LabelSettings, cells: Sequence[Cell], units_text: str, folder: DatasetFolder
) -> tuple[WaterPolygons | None, str]:
    """Returns the sea of the cells.

    A file in a bucket is copied to this machine, once; where the folder was begun with a file of its name and size for
    the same cells, what was kept then is taken, and the file is not read.

    Args:
        settings: The settings.
        cells: The cells.
        units_text: The plan's content.
        folder: The dataset's folder; it may be missing.

    Returns:
        What the fingerprint holds of it, and the text of `plan/water_polygons.jsonl`; None and "" where no file was
        given.

    Raises:
        InvalidInputError: The file or the folder cannot be read, or the file is damaged or holds something else.
    """
    path = settings.water_polygons
    if not path:
        return None, ""
    require_package("pyogrio", "--water_polygons", "sea")
    if not settings.ontology.layers_of("area", SEA_TAGS):
        raise InvalidInputError(
            "--water_polygons would not show: no label of --ontology draws it. Give that of water "
            f'"{SEA_KEY}": ["sea"], as osm_categories.json has it. Received: {path}'
        )
    name, size = path.rpartition("/")[2], _size(path, folder)
    with naming("--output", "used", folder.path, "Give a folder that can be read"):
        text = kept_water(folder, name, size, cells_sha256(units_text), settings.ontology.sha256)
    if text is None:
        text = water_text(_cut(path, {cell.cell_id: cell.chip for cell in cells}, settings.ontology))
    return describe_water(name, size, text), text


def _size(path: str, folder: DatasetFolder) -> int:
    """Returns a file's size in bytes; one that is missing is refused where it is read."""
    with naming("--water_polygons", "read", path, _ADVICE):
        if is_local(path):  # and perhaps a link, as a person may give
            return os.path.getsize(path)
        return folder.files.size(path) or 0


def _cut(path: str, chips: Mapping[int, ChipWindow], ontology: Ontology) -> dict[int, bytes]:
    beside = BESIDE_SHAPEFILE if check_name(path) == ".shp" else ()
    with (
        naming("--water_polygons", "read", path, _ADVICE),
        local_copy(path, beside) as local,
        Progress(None, "cutting the sea to the cells", "polygons") as progress,
    ):
        sea = sea_of_cells(local, chips, ontology, progress.update)
    if not sea:
        _log.warning("no cell has sea: --water_polygons holds none near any of them")
    return sea
