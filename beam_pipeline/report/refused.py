"""Images that the filters refuse (figure 3 of the paper), read again from where the scene lists say that they lie.

A dataset keeps no pixel of what was refused. Its scene lists name the files, and its fingerprint the filters.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from beam_pipeline.dataset.folder import SCENES_FOLDER, DatasetFolder
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.chip_image import make_image
from beam_pipeline.imagery.chips import FilterSettings, bad_fraction, image_rejection, scl_rejection
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.image import BANDS, SCL, Image
from beam_pipeline.imagery.scenes import Scene, SceneList
from beam_pipeline.runtime.faults import Fault, PermanentFault
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.reach import network_of, why_closed

BY_SCL, TOO_BRIGHT = "unusable", "too_bright"

_MOST_CELLS = 16
_MOST_SCENES = 24
"""Scenes of which chips are read in search of one that is refused."""


@dataclasses.dataclass(frozen=True)
class Refused:
    """An image that the filters refuse.

    Attributes:
        image: The image.
        cell_id: The cell.
    """

    image: Image
    cell_id: int


def find_refused(
    folder: DatasetFolder,
    units: Mapping[str, Unit],
    years: tuple[int, ...],
    filters: FilterSettings,
    own_network: bool,
) -> tuple[dict[str, Refused], dict[str, str]]:
    """Reads chips again until the filters refuse one for each reason.

    Args:
        folder: The dataset's folder.
        units: By reason, a unit whose build refused scenes for it.
        years: The years of the dataset.
        filters: Those of the dataset.
        own_network: Whether files on inner networks may be read.

    Returns:
        What was found by reason, and why nothing was found by reason.
    """
    found: dict[str, Refused] = {}
    missing: dict[str, str] = {}
    with SceneReader() as reader:
        for reason, unit in units.items():
            if reason in found:
                continue
            try:
                for why, refused in _refusals(reader, folder, unit, years, filters, own_network):
                    found.setdefault(why, refused)
                    if reason in found:
                        break
                else:
                    missing[reason] = f"none among {_MOST_SCENES} scenes of tile {unit.tile}"
            except (Fault, MalformedError) as error:
                missing[reason] = str(error)
    return found, {reason: why for reason, why in missing.items() if reason not in found}


def _refusals(
    reader: SceneReader,
    folder: DatasetFolder,
    unit: Unit,
    years: tuple[int, ...],
    filters: FilterSettings,
    own_network: bool,
) -> Iterator[tuple[str, Refused]]:
    """Yields what the filters refuse, scene by scene; a fault of one scene passes on to the next."""
    cells = unit.cells[:_MOST_CELLS]
    fault: Fault | None = None
    read = 0
    for scene in _scenes(folder, unit, years):
        closed = _why_closed(scene, own_network)
        if closed:
            fault = PermanentFault("refused_link", closed)
            continue
        if read == _MOST_SCENES:
            return
        read += 1
        answers = reader.read(scene.assets, (SCL, *BANDS), [cell.chip for cell in cells])
        for cell, answer in zip(cells, answers, strict=True):
            if isinstance(answer, Fault):
                fault = answer
                continue
            scl = np.ma.getdata(answer.pop(SCL)).astype(np.uint8, copy=False)
            image = make_image(scene, scl, answer, bad_fraction(scl, filters))
            reason = scl_rejection(scl, filters) or image_rejection(image, filters)
            if reason is not None:
                yield reason, Refused(image, cell.cell_id)
    if fault is not None:
        raise fault


def _scenes(folder: DatasetFolder, unit: Unit, years: tuple[int, ...]) -> Iterator[Scene]:
    listed = False
    for year in years:
        name = f"{SCENES_FOLDER}/{unit.tile}_{year}.json"
        if folder.exists(name):
            listed = True
            found = SceneList.from_json(folder.read_bytes(name))
            if not found.is_signed:
                raise PermanentFault("no_token", f"{name} leaves out what signs its links")
            yield from found.scenes
    if not listed:
        raise PermanentFault("not_found", f"there is no scene list of tile {unit.tile}")


def _why_closed(scene: Scene, own_network: bool) -> str:
    """Says why a file of a scene must not be asked for; "" where all may be."""
    for href in scene.assets.values():
        if href.lower().startswith(("http://", "https://")):
            network = network_of(href)
            if network == "never" or (network == "inner" and not own_network):
                return f"{href} {why_closed(network)}"
    return ""
