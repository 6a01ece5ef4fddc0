"""What a dataset's folder says of itself, checked before anything is trained or scored on it."""

import concurrent.futures
import dataclasses
import functools
import hashlib
from collections.abc import Mapping

import tensorflow as tf

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.records.description import (
    DATASET_FILE,
    BandMoments,
    Shard,
    parse_description,
    parse_unit_counts,
)
from beam_pipeline.records.shards import summary_path
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from model_tf.data.categories import CategoryTable
from model_tf.data.statistics import BandStatistics

_REQUESTS_AT_ONCE = 16


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
        bands: Moments by band name; there may be none.
    """

    folder: str
    categories: CategoryTable
    shards: Mapping[str, tuple[str, ...]]
    shard_examples: Mapping[str, tuple[int, ...]]
    cells: Mapping[str, int]
    fingerprint: str
    bands: Mapping[str, BandMoments]

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
        return BandStatistics.of_bands(self.bands, f"{join(self.folder, DATASET_FILE)}: bands")

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
                f"{join(self.folder, DATASET_FILE)}: splits.{split}.examples must be above 0. Received: 0 ({has}). "
                "Splits are drawn by MGRS tile: build a dataset of more tiles, or read another split."
            )

    @functools.cached_property
    def shard_cells(self) -> Mapping[str, tuple[int, ...]]:
        """Number of cells with examples in each shard, by split; from the units' summaries, read when first asked for.

        Raises:
            InvalidInputError: A summary is missing, or it says nothing of cells.
        """

        def cells(path: str) -> int:
            summary = summary_path(self.folder, path.rpartition("/")[2])
            return parse_unit_counts(_read(summary), summary).cells_with_examples

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
    path = join(folder, DATASET_FILE)
    description = parse_description(_read(path), path)
    shards = description.shards
    if not shards:
        raise InvalidInputError(
            f"{path}: shards must list the dataset's shards. Received: []. The build wrote none: see `dead_letters` "
            "there, mend what failed, and go on with the same build command."
        )
    _require_files(folder, {shard.name: shard.num_bytes for shard in shards})
    by_split: dict[str, list[Shard]] = {split: [] for split in SPLITS}
    for shard in sorted(shards, key=lambda shard: shard.index):
        by_split[shard.split].append(shard)
    digest = hashlib.sha256("".join(f"{shard.name} {shard.sha256}\n" for shard in shards).encode())
    return DatasetInfo(
        folder=folder,
        categories=CategoryTable.from_ontology(description.ontology),
        shards={split: tuple(join(folder, it.name) for it in by_split[split]) for split in SPLITS},
        shard_examples={split: tuple(it.examples for it in by_split[split]) for split in SPLITS},
        cells={split: getattr(description.splits, split).cells for split in SPLITS},
        fingerprint=digest.hexdigest(),
        bands=description.bands,
    )


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
            f"{join(folder, name)} must be there with {sizes[name]} bytes, as {DATASET_FILE} says. Received: "
            f"{received}; {len(wrong)} of {len(sizes)} shards are wrong. Copy the dataset again, or go on with its "
            "build."
        )


def _read(path: str) -> bytes:
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content: bytes = file.read()
    except (tf.errors.NotFoundError, tf.errors.FailedPreconditionError) as error:
        raise InvalidInputError(
            f"There is no {path}. Give the folder that `python -m beam_pipeline.build_dataset --output` wrote; a build "
            f"that was stopped goes on with the same command. Received: {path.rpartition('/')[0]}"
        ) from error
    except tf.errors.OpError as error:
        raise InvalidInputError(
            f"Cannot read {path}: {error.message}. See that the folder exists and that you may read it."
        ) from error
    return content
