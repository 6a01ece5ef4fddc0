"""The folder of a training run: what it was made with, so that it can be gone on with and evaluated.

| file | what |
|---|---|
| `settings.json` | settings, categories, band statistics, fingerprint of the data, versions |
| `last.keras` | weights, optimizer and position of the last checkpoint |
| `best.keras` | weights with the best mean AUC on the validation split |
| `state.json` | the position of `last.keras`, for people |
| `log.csv`, `tensorboard/` | one row an epoch, and the same as events with pictures |
"""

import contextlib
import dataclasses
import json
import logging
import posixpath
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, Self

import pydantic
import tensorflow as tf

from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.description import BandMoments
from beam_pipeline.records.folder_kinds import Kind, require_own_kind
from beam_pipeline.records.statistics import BandStatistics
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.files import TEMPORARY_FOLDER, aside_path, join
from beam_pipeline.runtime.parsing import MalformedError, parse_json
from beam_pipeline.runtime.storage_failures import is_full
from beam_pipeline.runtime.whole_files import PARTIAL_SUFFIX
from model_tf.data.info import DatasetInfo
from model_tf.data.storage import read_bytes, require_own_folders, size, write_bytes
from model_tf.training.settings import TrainSettings

SETTINGS_FILE = "settings.json"
LAST_FILE = "last.keras"
BEST_FILE = "best.keras"
STATE_FILE = "state.json"
LOG_FILE = "log.csv"
EVENTS_FOLDER = "tensorboard"

_PARTIAL = re.compile(rf"\.[0-9a-f]{{32}}{re.escape(PARTIAL_SUFFIX)}")
"""Names of what a killed attempt of `whole_files` left."""

_LOG = logging.getLogger(__name__)

_PACKAGES = ("keras", "numpy", "tensorflow")
_BACKEND_PACKAGES = {"jax": ("jax", "jaxlib"), "torch": ("torch",)}


@dataclasses.dataclass(frozen=True)
class RunInfo:
    """The settings that a run is made with: `settings.json`.

    Attributes:
        settings: The settings.
        categories: What the logits stand for.
        statistics: By which images are standardised, those of the training data.
        data_fingerprint: `DatasetInfo.fingerprint` of the training data.
        versions: Of the packages that compute.
    """

    settings: TrainSettings
    categories: CategoryTable
    statistics: BandStatistics
    data_fingerprint: str
    versions: Mapping[str, str]

    @classmethod
    def of(cls, settings: TrainSettings, info: DatasetInfo) -> Self:
        """Describes a run on a dataset with the packages that are installed."""
        packages = (*_PACKAGES, *_BACKEND_PACKAGES.get(settings.backend, ()))
        return cls(
            settings=settings,
            categories=info.categories,
            statistics=info.statistics,
            data_fingerprint=info.fingerprint,
            versions={name: metadata.version(name) for name in packages},
        )

    def to_json(self) -> dict[str, Any]:
        """Returns what `settings.json` holds, for `json.dump`."""
        return {
            "settings": self.settings.to_json(),
            "categories": self.categories.to_json(),
            "statistics": self.statistics.to_json(),
            "data_fingerprint": self.data_fingerprint,
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, text: str | bytes, source: str = SETTINGS_FILE) -> Self:
        """Parses the content of `settings.json`.

        Args:
            text: The content, JSON in UTF-8.
            source: Where it is from, for messages.

        Raises:
            InvalidInputError: It is no JSON, or a field is missing or not what it must be.
        """
        try:
            file = parse_json(_FILE, text)
        except (MalformedError, InvalidInputError) as error:  # the latter of settings that cannot be
            raise InvalidInputError(
                f"{source} is not what this version writes: {error}. Train again with another --output, or use the "
                "version that trained it."
            ) from error
        return cls(
            settings=file.settings,
            categories=file.categories,
            statistics=BandStatistics.of_bands(file.statistics, f"{source}: statistics"),
            data_fingerprint=file.data_fingerprint,
            versions=file.versions,
        )


class _File(pydantic.BaseModel):
    """The fields of `settings.json`, as `RunInfo.to_json` gives them."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")

    settings: TrainSettings
    categories: CategoryTable
    statistics: Mapping[str, BandMoments]
    data_fingerprint: str
    versions: Mapping[str, str]


_FILE = pydantic.TypeAdapter(_File)


def read_run(folder: str) -> RunInfo:
    """Reads what a run was made with.

    Raises:
        InvalidInputError: The folder holds no run, or one of another version.
    """
    path = join(folder, SETTINGS_FILE)
    try:
        content = read_bytes(path)
    except Fault as fault:
        if fault.reason != "not_found":
            raise InvalidInputError(f"{fault.detail}. Received: {folder}") from fault
        raise InvalidInputError(
            f"There is no {path}. Give the folder that `python model_tf/train.py --output` wrote. Received: {folder}"
        ) from fault
    return RunInfo.from_json(content, path)


def claim(folder: str, run: RunInfo) -> bool:
    """Makes a folder that of a run, or finds that it already is.

    Returns:
        Whether the same run was begun here before.

    Raises:
        InvalidInputError: It holds another run, or something that is no run, or it cannot be written.
    """
    require_own_folder(folder, "run")
    with _explained(folder):
        return _claim(folder, run)


def require_own_folder(folder: str, kind: Kind) -> None:
    """Refuses the folder of another command, as `records.folder_kinds` tells them.

    Args:
        folder: That of --output; it may be missing.
        kind: Of what is to be written.

    Raises:
        InvalidInputError: It is such a folder, or cannot be read.
    """
    with _explained(folder):
        require_own_kind(folder, kind, lambda name: size(join(folder, name)) is not None)


def tidy(folder: str) -> None:
    """Deletes what killed attempts left aside; to be called when nobody writes, and before long work.

    Args:
        folder: That of a run or of an evaluation; it is made if it is not there.

    Raises:
        InvalidInputError: It cannot be written.
    """
    with _explained(folder):
        require_own_folders(folder, (TEMPORARY_FOLDER,))
        probe = aside_path(folder)
        aside = posixpath.dirname(probe)
        write_bytes(probe, b"")
        # Named as we do: should the folder be someone else's, nothing of theirs is deleted.
        names = tf.io.gfile.listdir(aside)
        ours = [name for name in names if re.fullmatch("[0-9a-f]{32}", name)]
        left = [join(aside, name) for name in ours]
        left += [join(folder, name) for name in tf.io.gfile.listdir(folder) if _PARTIAL.fullmatch(name)]
        for path in left:
            tf.io.gfile.remove(path)
        if len(ours) == len(names) and tf.io.gfile.isdir(aside):
            tf.io.gfile.rmtree(aside)


def _claim(folder: str, run: RunInfo) -> bool:
    require_own_folders(folder, (TEMPORARY_FOLDER, EVENTS_FOLDER))
    if size(join(folder, SETTINGS_FILE)) is None:
        names = tf.io.gfile.listdir(folder) if tf.io.gfile.exists(folder) else []
        # A kill before the first file has its name leaves nothing but these.
        left = (name for name in names if not _PARTIAL.fullmatch(name))
        held = sorted(name for name in left if name.rstrip("/") != TEMPORARY_FOLDER)
        if held:
            raise InvalidInputError(
                f"--output must be a new or empty folder, or that of the run to go on with. Received: {folder}, which "
                f"has no {SETTINGS_FILE} but {', '.join(held[:3])}. Give another --output."
            )
        write_bytes(join(folder, SETTINGS_FILE), (json.dumps(run.to_json(), indent=2) + "\n").encode())
        return False
    there = read_run(folder)
    _require_same(folder, there, run)
    if there.versions != run.versions:
        _LOG.warning(
            "%s was begun with %s, it goes on with %s: not bit for bit",
            folder,
            _listed(there.versions),
            _listed(run.versions),
        )
    return True


@contextlib.contextmanager
def _explained(folder: str) -> Iterator[None]:
    try:
        yield
    except (tf.errors.OpError, Fault) as error:
        if is_full(error):
            raise  # which is no matter of the folder that was given
        said = error.detail if isinstance(error, Fault) else error.message
        raise InvalidInputError(
            f"--output must be a folder that can be read and written: {said}. Received: {folder}. Give "
            "another --output, or see that you may write there."
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"--output must hold no name that is no UTF-8, as {error.object!r} is. Received: {folder}. Rename it, or "
            "give another --output."
        ) from error


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _require_same(folder: str, there: RunInfo, wanted: RunInfo) -> None:
    """Checks that a run may be gone on with."""
    way_out = "To begin a new run give another --output; to go on give the same command as before."
    if there.data_fingerprint != wanted.data_fingerprint:
        raise InvalidInputError(
            f"{folder} holds a run on other data. Its data have fingerprint {there.data_fingerprint[:12]}. "
            f"Received: --data with fingerprint {wanted.data_fingerprint[:12]}. {way_out}"
        )
    if there.categories != wanted.categories:
        raise InvalidInputError(
            f"{folder} holds a run with other categories: {', '.join(there.categories.names)}. "
            f"Received: --data with {', '.join(wanted.categories.names)}. {way_out}"
        )
    if there.statistics != wanted.statistics:
        raise InvalidInputError(
            f"{folder} holds a run with other band statistics than dataset.json of --data now has. {way_out}"
        )
    old, new = there.settings.to_json(), wanted.settings.to_json()
    differing = [name for name in old if old[name] != new[name]]
    if differing:
        was = " ".join(f"--{name} {old[name]}" for name in differing)
        now = " ".join(f"--{name} {new[name]}" for name in differing)
        raise InvalidInputError(f"{folder} holds a run with {was}. Received: {now}. {way_out}")
