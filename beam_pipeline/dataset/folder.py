"""A dataset's folder: a place on some file system, and the names of the files in it."""

import dataclasses
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from beam_pipeline.cells.table import CELLS_FILE
from beam_pipeline.records.description import DATASET_FILE as DATASET_FILE
from beam_pipeline.records.shards import DATASET_NAME, SUMMARIES_FOLDER, SUMMARY_SUFFIX, summary_path
from beam_pipeline.runtime.apart import name_in
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import TEMPORARY_FOLDER, Files, delete_leftovers, join

UNITS_FILE = "plan/units.jsonl"
FINGERPRINT_FILE = "plan/fingerprint.json"
ONTOLOGY_FILE = "plan/osm_categories.json"
"""The ontology of the labels, whole."""

LAUNCH_FILE = "plan/launch.json"
"""The launcher's findings that decide nothing, as `launch_record.LaunchRecord`."""

WATER_FILE = "plan/water_polygons.jsonl"
"""The sea of the cells, as `water_file` has it; only where water polygons were given."""

STORE_FOLDER = "features"
"""The store of features that the build made; not where it was given one."""

GIVEN_STORE_FILE = "plan/store.json"
"""The description of the store of features that the build was given; only where it was."""

EXTRACTS_FOLDER = "extracts"
"""For each extract, what was left out of it on reading; only in datasets of versions that kept no features."""

SCENES_FOLDER = "scenes"
"""For each tile and year, the scenes in the order in which they are walked; and what came of looking at some."""

DEAD_LETTERS_FILE = "dead_letters.jsonl"
RUN_FILE = "run.json"
FEATURES_FILE = "features.json"
INFO_FILE = "dataset_info.json"
CITATION_FILE = "CITATION.cff"
LICENSES_FILE = "LICENSES.md"

_ROOMS = ("plan", SUMMARIES_FOLDER, STORE_FOLDER, EXTRACTS_FOLDER, SCENES_FOLDER, TEMPORARY_FOLDER)
_FILES = (
    *(DATASET_FILE, CELLS_FILE, DEAD_LETTERS_FILE, RUN_FILE),
    *(FEATURES_FILE, INFO_FILE, CITATION_FILE, LICENSES_FILE),
)


@dataclasses.dataclass(frozen=True)
class DatasetFolder:
    """The folder of a dataset. Names are relative to it; faults are those of `Files`.

    Attributes:
        files: The file system.
        path: The folder, local or a URL such as gs://bucket/folder.
    """

    files: Files
    path: str

    def at(self, *names: str) -> str:
        """Returns the path of a file."""
        return join(self.path, *names)

    def exists(self, name: str) -> bool:
        """Tells whether there is a file."""
        return self.files.exists(self.at(name))

    def size(self, name: str) -> int | None:
        """Returns a file's size in bytes, None where there is none."""
        return self.files.size(self.at(name))

    def read_bytes(self, name: str) -> bytes:
        """Returns a file's content."""
        return self.files.read_bytes(self.at(name))

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Opens a file for reading."""
        return self.files.open(self.at(name))

    def irregular(self) -> dict[str, str]:
        """Returns, by name, what should be a file or a folder of the dataset and is neither, e.g. "a link".

        Other things in the folder are nobody's business: it may be one in which people work.
        """
        found = self.files.irregular(self.path, _ROOMS)
        return {name: kind for name, kind in found.items() if _is_own(name)}

    def read_text(self, name: str) -> str:
        """Returns the content of a UTF-8 file."""
        return self.files.read_text(self.at(name))

    def write_text(self, name: str, text: str) -> None:
        """Writes a UTF-8 file whole or not at all, over an old one."""
        self.files.write_text(self.at(name), text)

    def names(self, pattern: str) -> list[str]:
        """Returns the names that match, sorted; `*` stops at a slash."""
        # A listing may spell the folder otherwise; the pattern's own depth is what counts.
        depth = pattern.count("/") + 1
        return ["/".join(path.split("/")[-depth:]) for path in self.files.glob(self.path, pattern)]

    def shards(self) -> list[str]:
        """Returns the names of the files that are called like shards, sorted."""
        return self.names(f"{DATASET_NAME}-*")

    def summarised_units(self) -> list[str]:
        """Returns the names of the units that have a summary, sorted."""
        found = self.names(f"{SUMMARIES_FOLDER}/*{SUMMARY_SUFFIX}")
        return [name.partition("/")[2].removesuffix(SUMMARY_SUFFIX) for name in found]

    def delete_leftovers(self) -> None:
        """Deletes what killed attempts left aside; to be called when nobody writes any more."""
        delete_leftovers(self.files, self.path)


def require_beside(path: str, folder: str, flag: str = "--output") -> None:
    """Refuses to write under a name that a dataset's own files have; others may lie in its folder.

    Args:
        path: What is to be written, local or a URL.
        folder: The dataset's folder.
        flag: What names `path`.

    Raises:
        InvalidInputError: It is one of them, or lies below one.
    """
    name = name_in(path, folder)
    if name is not None and _is_own(name):
        raise InvalidInputError(
            f"{flag} lies among the files of the dataset, as {name}. Give another name. Received: {path}"
        )


def _is_own(name: str) -> bool:
    return name.partition("/")[0] in (*_ROOMS, *_FILES) or name.startswith(DATASET_NAME)


def summary_name(unit: str) -> str:
    """Returns the name of a unit's summary in a folder."""
    return summary_path("", unit)


def plan_json(content: Mapping[str, Any]) -> str:
    """Returns the text of a JSON file of the plan; equal content gives equal text."""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def description_json(content: Mapping[str, Any]) -> str:
    """Returns the text of a JSON file for people and diffs; equal content gives equal text."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
