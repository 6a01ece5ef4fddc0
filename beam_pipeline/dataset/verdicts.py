"""Verdicts on scenes, kept beside the scene lists: a file each, so that workers do not write over each other's."""

import logging

from beam_pipeline.dataset.folder import SCENES_FOLDER, DatasetFolder
from beam_pipeline.imagery.offset_check import Verdict, Verdicts, digest_of_look
from beam_pipeline.imagery.scenes import Scene
from beam_pipeline.runtime.parsing import MalformedError

_log = logging.getLogger(__name__)


class FolderVerdicts(Verdicts):
    """The verdicts of one dataset. A scene that two workers look at at once gets two equal ones; the last stays.

    Args:
        folder: The dataset's folder.
    """

    def __init__(self, folder: DatasetFolder) -> None:
        self._folder = folder

    def find(self, scene: Scene) -> Verdict | None:
        """Returns the verdict on a scene; None where there is none, or only what a disk that failed left of one.

        Raises:
            Fault: The storage failed.
        """
        name = verdict_name(scene)
        if not self._folder.exists(name):
            return None
        try:
            verdict = Verdict.from_json(self._folder.read_bytes(name))
        except MalformedError as error:
            _log.warning("%s is damaged and made anew: %s", self._folder.at(name), error)
            return None
        return verdict if verdict.item_id == scene.item_id else None

    def keep(self, scene: Scene, verdict: Verdict) -> None:
        """Writes a verdict, whole or not at all.

        Raises:
            Fault: The storage failed.
        """
        self._folder.write_text(verdict_name(scene), verdict.to_json())


def verdict_name(scene: Scene) -> str:
    """Returns the name of a verdict's file; an item's id may be no file name."""
    return f"{SCENES_FOLDER}/{scene.tile}_{scene.datetime[:4]}_offset_{digest_of_look(scene)}.json"
