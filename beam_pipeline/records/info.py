"""The description of a dataset in its folder, checked before anything is trained or scored on the dataset.

All readers begin here, whatever they read with.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Protocol

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.description import (
    DATASET_FILE,
    BandMoments,
    LabelCounts,
    Shard,
    parse_description,
    parse_unit_counts,
)
from beam_pipeline.records.shards import summary_path
from beam_pipeline.records.statistics import BandStatistics
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.files import join

_REQUESTS_AT_ONCE = 16

_UNKNOWN = "unlabeled"
"""The name that `dataset.json` gives to a pixel of which nothing is known."""


class Storage(Protocol):
    """The part of `runtime.files.Files` that readers need, with its faults."""

    def read_bytes(self, path: str) -> bytes:
        """Returns a file's content."""

    def size(self, path: str) -> int | None:
        """Returns a file's size in bytes, None where there is none."""


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """A dataset whose description and shards have been checked.

    Attributes:
        folder: Where it is.
        storage: Reads there.
        categories: What the labels mean.
        shards: Paths of the shards of each split, in order.
        shard_examples: Number of examples in each of those shards.
        cells: Number of cells with examples, by split.
        fingerprint: SHA-256 over the shards' names and hashes: equal data have equal fingerprints.
        bands: Moments by band name; there may be none.
        labels: What the labels of each channel hold; a dataset may not say.
        grid_name: That of the grid of its cells; a dataset may not say.
    """

    folder: str
    storage: Storage = dataclasses.field(repr=False, compare=False)
    categories: CategoryTable
    shards: Mapping[str, tuple[str, ...]]
    shard_examples: Mapping[str, tuple[int, ...]]
    cells: Mapping[str, int]
    fingerprint: str
    bands: Mapping[str, BandMoments]
    labels: tuple[LabelCounts, ...] = ()
    grid_name: str | None = None

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

    def never_known(self, split: str) -> tuple[str, ...]:
        """Returns the categories of which the dataset says that all pixels of a split are unknown."""
        known = self._known_pixels(split)
        return tuple(
            name
            for name, channel in self._names_and_channels
            if channel in known and not sum(known[channel].values())
        )

    def never_held(self, split: str) -> tuple[str, ...]:
        """Returns the categories of which the dataset says that they are known in a split, but that no pixel holds."""
        known = self._known_pixels(split)
        return tuple(
            name
            for name, channel in self._names_and_channels
            if sum(known.get(channel, {}).values()) and known[channel].get(name) == 0
        )

    @property
    def _names_and_channels(self) -> list[tuple[str, str]]:
        channels = [self.categories.channel_names[channel] for channel in self.categories.channels]
        return list(zip(self.categories.names, channels, strict=True))

    def _known_pixels(self, split: str) -> dict[str, dict[str, int]]:
        """Pixels by channel and by what they hold, without those that are unknown."""
        return {
            of_channel.channel: {
                name: count for name, count in of_channel.pixels_by_split[split].items() if name != _UNKNOWN
            }
            for of_channel in self.labels
            if of_channel.pixels_by_split.get(split)
        }

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
            return parse_unit_counts(_read(self.storage, summary), summary).cells_with_examples

        with concurrent.futures.ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            return {split: tuple(pool.map(cells, paths)) for split, paths in self.shards.items()}


def read_info(storage: Storage, folder: str) -> DatasetInfo:
    """Reads and checks a dataset's description; its shards are looked at, not read.

    Args:
        storage: Reads the folder.
        folder: The dataset's folder.

    Returns:
        What the dataset holds.

    Raises:
        InvalidInputError: There is no dataset, it has another schema, no shards or one twice, a field is missing, or a
            shard is missing or cut off.
    """
    path = join(folder, DATASET_FILE)
    description = parse_description(_read(storage, path), path)
    shards = description.shards
    if not shards:
        raise InvalidInputError(
            f"{path}: shards must list the dataset's shards. Received: []. The build wrote none: see `dead_letters` "
            "there, mend what failed, and go on with the same build command."
        )
    sizes = {shard.name: shard.num_bytes for shard in shards}
    if len(sizes) != len(shards):
        names = [shard.name for shard in shards]
        doubled = next(name for name in names if names.count(name) > 1)
        raise InvalidInputError(
            f"{path}: shards must list each shard once. Received: {doubled} more than once. Copy it again from where "
            "the dataset was built."
        )
    _require_files(storage, folder, sizes)
    by_split: dict[str, list[Shard]] = {split: [] for split in SPLITS}
    for shard in sorted(shards, key=lambda shard: shard.index):
        by_split[shard.split].append(shard)
    digest = hashlib.sha256("".join(f"{shard.name} {shard.sha256}\n" for shard in shards).encode())
    return DatasetInfo(
        folder=folder,
        storage=storage,
        categories=CategoryTable.from_ontology(description.ontology),
        shards={split: tuple(join(folder, it.name) for it in by_split[split]) for split in SPLITS},
        shard_examples={split: tuple(it.examples for it in by_split[split]) for split in SPLITS},
        cells={split: getattr(description.splits, split).cells for split in SPLITS},
        fingerprint=digest.hexdigest(),
        bands=description.bands,
        labels=description.labels,
        grid_name=description.grid_name,
    )


def _require_files(storage: Storage, folder: str, sizes: Mapping[str, int]) -> None:
    """Checks that every shard is there and as long as dataset.json says."""

    def size_of(name: str) -> int | None:
        try:
            return storage.size(join(folder, name))
        except Fault as fault:
            raise InvalidInputError(f"{fault.detail}. Received: {folder}") from fault

    with concurrent.futures.ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        found = dict(zip(sizes, pool.map(size_of, sizes), strict=True))
    wrong = [name for name in sizes if found[name] != sizes[name]]
    if wrong:
        name = wrong[0]
        received = "no such file" if found[name] is None else f"{found[name]} bytes"
        raise InvalidInputError(
            f"{join(folder, name)} must be there with {sizes[name]} bytes, as {DATASET_FILE} says. Received: "
            f"{received}; {len(wrong)} of {len(sizes)} shards are wrong. Copy the dataset again, or go on with its "
            "build."
        )


def _read(storage: Storage, path: str) -> bytes:
    try:
        return storage.read_bytes(path)
    except Fault as fault:
        if fault.reason != "not_found":
            raise InvalidInputError(f"{fault.detail}. Received: {path.rpartition('/')[0]}") from fault
        raise InvalidInputError(
            f"There is no {path}. Give the folder that `python -m beam_pipeline.build_dataset --output` wrote; a build "
            f"that was stopped goes on with the same command. Received: {path.rpartition('/')[0]}"
        ) from fault
