"""What a dataset's folder says of itself, checked before anything is trained or scored on it."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Self

import tensorflow as tf

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.imagery.image import BANDS_10, BANDS_20
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.records.shards import parse_shard_name, summary_path
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from model_tf.data.categories import CategoryTable

DATASET_JSON = "dataset.json"

GRID_BANDS = {"gsd_10": BANDS_10, "gsd_20": BANDS_20}
"""The grids that the network sees, with the bands of each in order."""

_REQUESTS_AT_ONCE = 16

_COPY_AGAIN = "Copy dataset.json again from where the dataset was built."


@dataclasses.dataclass(frozen=True)
class BandStatistics:
    """Mean and variance of each band's reflectance, by which images are standardised.

    Attributes:
        mean: Mean by band name, e.g. "B02".
        variance: Variance by band name, above 0.
    """

    mean: Mapping[str, float]
    variance: Mapping[str, float]

    def to_json(self) -> dict[str, dict[str, float]]:
        """Returns what `from_json` reads, for `json.dump`: {"B02": {"mean", "variance"}, ...}."""
        return {band: {"mean": self.mean[band], "variance": self.variance[band]} for band in self.mean}

    @classmethod
    def from_json(cls, content: Any, source: str = "settings.json: statistics") -> Self:
        """Reads {"B02": {"mean", "variance"}, ...}.

        Args:
            content: Of the bands that the network sees; others are left out.
            source: Where it is from, for messages.

        Returns:
            The statistics.

        Raises:
            InvalidInputError: A band is missing, has no number or does not vary.
        """
        mean, variance = {}, {}
        for band in (band for bands in GRID_BANDS.values() for band in bands):
            of_band = content.get(band) if isinstance(content, Mapping) else None
            path = f"{source}.{band}"
            mean[band] = _number(of_band, "mean", path, above=-math.inf)
            variance[band] = _number(of_band, "variance", path, above=0)
        return cls(mean, variance)


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """A dataset whose description and shards have been checked.

    Attributes:
        folder: Local or gs://.
        categories: What the labels mean.
        shards: Paths of the shards of each split, in order.
        shard_examples: Number of examples in each of those shards.
        cells: Number of cells with examples, by split.
        fingerprint: SHA-256 over the shards' names and hashes: equal data have equal fingerprints.
        bands: `bands` of dataset.json, unchecked.
    """

    folder: str
    categories: CategoryTable
    shards: Mapping[str, tuple[str, ...]]
    shard_examples: Mapping[str, tuple[int, ...]]
    cells: Mapping[str, int]
    fingerprint: str
    bands: Mapping[str, Any]

    @property
    def examples(self) -> Mapping[str, int]:
        """Number of examples (cell-years), by split."""
        return {split: sum(counts) for split, counts in self.shard_examples.items()}

    @property
    def statistics(self) -> BandStatistics:
        """Mean and variance over the training split.

        Raises:
            InvalidInputError: They are missing: the dataset has no training examples.
        """
        return BandStatistics.from_json(self.bands, f"{join(self.folder, DATASET_JSON)}: bands")

    def require_examples(self, split: str) -> None:
        """Checks that a split can be read.

        Raises:
            InvalidInputError: There is no such split, or it has no examples.
        """
        if split not in self.shards:
            raise InvalidInputError(f"split must be one of {', '.join(SPLITS)}. Received: {split!r}")
        if not self.examples[split]:
            has = ", ".join(f"{name} {count}" for name, count in self.examples.items())
            raise InvalidInputError(
                f"{join(self.folder, DATASET_JSON)}: splits.{split}.examples must be above 0. Received: 0 ({has}). "
                "Splits are drawn by MGRS tile: build a dataset of more tiles, or read another split."
            )

    @functools.cached_property
    def shard_cells(self) -> Mapping[str, tuple[int, ...]]:
        """Number of cells with examples in each shard, by split; from the units' summaries, read when first asked for.

        Raises:
            InvalidInputError: A summary is missing.
        """

        def cells(path: str) -> int:
            text = _read(summary_path(self.folder, path.rpartition("/")[2]))
            return UnitSummary.from_json(text).cells_with_examples

        with concurrent.futures.ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            return {split: tuple(pool.map(cells, paths)) for split, paths in self.shards.items()}


def load_info(folder: str) -> DatasetInfo:
    """Reads and checks a dataset's description; its shards are looked at, not read.

    Args:
        folder: The dataset's folder, local or gs://.

    Returns:
        What the dataset holds.

    Raises:
        InvalidInputError: There is no dataset, it has another schema, no shards, a field is missing, or a shard is
            missing or cut off.
    """
    path = join(folder, DATASET_JSON)
    try:
        content = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{path} is no JSON: {error}. Copy it again from where the dataset was built."
        ) from error
    _require_schema(path, content)
    shards = _field(path, content, "shards", list)
    if not shards:
        raise InvalidInputError(
            f"{path}: shards must list the dataset's shards. Received: []. The build wrote none: see `rejections` "
            "and `dead_letters` there, and build again."
        )
    for index, shard in enumerate(shards):
        _require_shard(f"{path}: shards[{index}]", shard)
    _require_files(folder, {shard["name"]: shard["num_bytes"] for shard in shards})
    by_split = {
        split: sorted(
            (shard for shard in shards if parse_shard_name(shard["name"])[0] == split),
            key=lambda shard: parse_shard_name(shard["name"]),
        )
        for split in SPLITS
    }
    splits = _field(path, content, "splits", dict)
    cells: dict[str, int] = {
        split: _field(f"{path}: splits.{split}", _field(f"{path}: splits", splits, split, dict), "cells", int)
        for split in SPLITS
    }
    digest = hashlib.sha256("".join(f"{shard['name']} {shard['sha256']}\n" for shard in shards).encode())
    return DatasetInfo(
        folder=folder,
        categories=CategoryTable.from_ontology(_field(path, content, "ontology", dict), path),
        shards={split: tuple(join(folder, it["name"]) for it in by_split[split]) for split in SPLITS},
        shard_examples={split: tuple(it["examples"] for it in by_split[split]) for split in SPLITS},
        cells=cells,
        fingerprint=digest.hexdigest(),
        bands=_field(path, content, "bands", dict),
    )


def _number(content: Any, key: str, path: str, above: float) -> float:
    value: Any = content.get(key) if isinstance(content, Mapping) else None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= above:
        bound = f" above {above:g}" if math.isfinite(above) else ""
        raise InvalidInputError(
            f"{path}.{key} must be a number{bound}. Received: {value!r}. Images are standardised with it. The "
            "pipeline computes it over the training split: build a dataset that has training examples."
        )
    return float(value)


def _require_schema(path: str, content: Any) -> None:
    version = _field(path, content, "schema_version", str)
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise InvalidInputError(
            f"{path}: schema_version must be {SCHEMA_VERSION.partition('.')[0]}.x.x, which is what this version "
            f"reads. Received: {version!r}. Build the dataset with this version, or use the version that built it."
        )


def _require_shard(path: str, shard: Any) -> None:
    """Checks that an entry of `shards` has what is read of it."""
    name = _field(path, shard, "name", str)
    try:
        parse_shard_name(name)
    except ValueError as error:
        raise InvalidInputError(f"{path}: {error}. {_COPY_AGAIN}") from error
    for field, kind in (("examples", int), ("num_bytes", int), ("sha256", str)):
        _field(path, shard, field, kind)


def _require_files(folder: str, sizes: Mapping[str, int]) -> None:
    """Checks that every shard is there and as long as dataset.json says."""

    def size(name: str) -> int | None:
        try:
            length: int = tf.io.gfile.stat(join(folder, name)).length
        except tf.errors.NotFoundError:
            return None
        return length

    with concurrent.futures.ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        found = dict(zip(sizes, pool.map(size, sizes), strict=True))
    wrong = [name for name in sizes if found[name] != sizes[name]]
    if wrong:
        name = wrong[0]
        received = "no such file" if found[name] is None else f"{found[name]} bytes"
        raise InvalidInputError(
            f"{join(folder, name)} must be there with {sizes[name]} bytes, as {DATASET_JSON} says. Received: "
            f"{received}; {len(wrong)} of {len(sizes)} shards are wrong. Copy the dataset again, or go on with its "
            "build."
        )


def _read(path: str) -> str:
    try:
        with tf.io.gfile.GFile(path) as file:
            text: str = file.read()
    except (tf.errors.NotFoundError, tf.errors.FailedPreconditionError) as error:
        raise InvalidInputError(
            f"There is no {path}. Give the folder that `python -m beam_pipeline.build_dataset --output` wrote. "
            f"Received: {path.rpartition('/')[0]}"
        ) from error
    except tf.errors.OpError as error:
        raise InvalidInputError(
            f"Cannot read {path}: {error.message}. See that the folder exists and that you may read it."
        ) from error
    return text


def _field(path: str, content: Any, name: str, kind: type) -> Any:
    value = content.get(name) if isinstance(content, Mapping) else None
    if not isinstance(value, kind):
        raise InvalidInputError(f"{path}: {name} must be there. Received: {value!r}. {_COPY_AGAIN}")
    return value
