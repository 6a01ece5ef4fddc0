"""A dataset for PyTorch: the epochs, pixels, turns and labels of `model_tf`, without TensorFlow.

`ImagePairs` with an `EpochSampler` shuffles all of a split and reads records here and there. `ImagePairStream` reads
shard after shard, and need not go through all of them before it begins. See docs/pytorch.md.
"""

import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, distributed
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

from beam_pipeline.readers.epochs import PADDING, Shown, one_year_a_cell, shown, shuffled
from beam_pipeline.readers.pair_reader import PairReader, open_split
from beam_pipeline.readers.shard_index import ShardIndex, index_split
from beam_pipeline.readers.stream import Part, examples_in_order, share_of, shuffled_cells
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.schema import UNLABELED
from beam_pipeline.records.shares import deal
from beam_pipeline.records.statistics import BandStatistics
from beam_pipeline.runtime.faults import InvalidInputError

Pair = dict[str, Tensor]
"""Tensors of the shapes that `PairReader.read` gives."""

_NO_EPOCHS = "set_epoch needs an epoch to begin with, and with epoch=None every year is shown. Received: "


def targets_of_label(label: Tensor, categories: CategoryTable) -> tuple[Tensor, Tensor]:
    """Turns label channels into one binary map a category and a mask of what is known, as `readers.targets`.

    Args:
        label: (N, channels, H, W) uint8, on any device; 254 = none, 255 = unknown.
        categories: The C categories, by channel and value: `ImagePairs.categories`.

    Returns:
        (positive, known), each (N, C, H, W) bool. What is not known is not positive either.
    """
    held = label[:, list(categories.channels)]
    values = torch.tensor(categories.values, dtype=label.dtype, device=label.device)
    return held == values[:, None, None], held != UNLABELED


class _OfSplit:
    """A split, as both datasets know it.

    Attributes:
        info: The dataset.
        split: The split.
        categories: What the labels mean.
        statistics: By which images are standardised.
    """

    def __init__(self, folder: str, split: str, statistics: BandStatistics | None) -> None:
        self.info = open_split(folder, split)
        self.split = split
        self.categories = self.info.categories
        self.statistics = statistics or self.info.statistics
        self._reader = PairReader(self.info, self.statistics)

    def _pair(self, index: ShardIndex, which: Shown) -> Pair:
        arrays = self._reader.read(index, which)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


class ImagePairs(_OfSplit, Dataset[Pair]):
    """Every example of a split, one cell and year each, in the order of the shards; `EpochSampler` makes epochs of it.

    It goes through the heads of all records when it is made: about 0.1 ms an example, and some ten kB are read of each.

    Args:
        folder: The dataset's folder, on a disk.
        split: "training", "validation" or "testing".
        statistics: By which images are standardised; by default those of the dataset's training split.

    Attributes:
        info: The dataset.
        split: The split.
        categories: What the labels mean.
        statistics: By which images are standardised.
        index: Where the examples are.

    Raises:
        InvalidInputError: There is no such dataset or split, it has no examples or is damaged; names the file.
    """

    def __init__(self, folder: str, split: str, statistics: BandStatistics | None = None) -> None:
        super().__init__(folder, split, statistics)
        self.index = index_split(self.info, split, range(len(self.info.shards[split])))

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(self.index)

    def __getitem__(self, which: int | Shown) -> Pair:
        """Reads a pair.

        Args:
            which: Index of an example; or what `EpochSampler` yields, an example with its symmetry.

        Returns:
            The pair, as `PairReader.read`.

        Raises:
            IndexError: There is no such example.
            InvalidInputError: It is damaged; names the shard.
        """
        if isinstance(which, Shown):
            return self._pair(self.index, which)
        if not -len(self) <= which < len(self):
            raise IndexError(f"There are {len(self)} examples. Received: {which}")
        return self._pair(self.index, Shown(which % len(self)))


class EpochSampler(Sampler[Shown]):
    """An epoch: every cell once, its year and its symmetry drawn by keyed hashes of (seed, epoch, cell), as `model_tf`.

    The order is that of a keyed hash of (seed, epoch, cell), so all of the split is shuffled. Several ranks show the
    shards that `model_tf` deals to as many hosts; the shorter ones are filled up with pairs without images, so that all
    have equally many.

    Args:
        pairs: The split.
        seed: The run's seed.
        epoch: The first epoch; None for every cell and year in the order of the shards, for scoring.
        augment: Whether to turn and mirror pairs.
        rank: Index of this process, by default that of `torch.distributed`.
        world_size: Number of processes, by default that of `torch.distributed`.

    Raises:
        InvalidInputError: An argument does not fit the others, or there are several processes and it is not said which
            this is.
    """

    def __init__(
        self,
        pairs: ImagePairs,
        *,
        seed: int = 0,
        epoch: int | None = 0,
        augment: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        _require_epoch(epoch, augment)
        rank, world_size = _rank_of(rank, world_size)
        self._index = index = pairs.index
        self._seed, self._epoch, self._augment = seed, epoch, augment
        is_first = np.diff(index.cell_ids, prepend=-1) != 0
        counted = index.shards if epoch is None else index.shards[is_first]
        counts = np.bincount(counted, minlength=len(index.paths)).tolist()
        dealt = deal(counts, world_size)
        self._is_mine = np.isin(index.shards, dealt[rank])
        self._length: int = max(sum(counts[shard] for shard in shards) for shards in dealt)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that is shown next.

        Raises:
            InvalidInputError: It shows every year, and so has no epochs.
        """
        if self._epoch is None:
            raise InvalidInputError(_NO_EPOCHS + str(epoch))
        self._epoch = epoch

    def __len__(self) -> int:
        """Returns the number of pairs of this rank, the same for all."""
        return self._length

    def __iter__(self) -> Iterator[Shown]:
        """Yields them; what fills up comes last."""
        if self._epoch is None:
            order = [Shown(example) for example in np.flatnonzero(self._is_mine).tolist()]
        else:
            drawn = one_year_a_cell(self._index, self._seed, self._epoch)
            examples = shuffled(self._index, drawn[self._is_mine[drawn]], self._seed, self._epoch)
            order = shown(self._index, examples, self._seed, self._epoch, self._augment)
        yield from order
        yield from [Shown(PADDING)] * (self._length - len(order))


class ImagePairStream(_OfSplit, IterableDataset[Pair]):
    """The pairs that `EpochSampler` shows, read shard after shard.

    Shards are dealt to ranks, and those of a rank to its workers, so that no pair is shown twice. The order depends on
    the number of workers; what is shown does not.

    Args:
        folder: The dataset's folder, on a disk.
        split: "training", "validation" or "testing".
        statistics: By which images are standardised; by default those of the dataset's training split.
        seed: The run's seed.
        epoch: The first epoch; None for every cell and year in the order of the shards.
        augment: Whether to turn and mirror pairs.
        rank: Index of this process, by default that of `torch.distributed`.
        world_size: Number of processes, by default that of `torch.distributed`. All must have equally many workers;
            where one has fewer pairs, they are filled up with pairs without images.

    Attributes:
        info: The dataset.
        split: The split.
        categories: What the labels mean.
        statistics: By which images are standardised.

    Raises:
        InvalidInputError: As of `ImagePairs` and `EpochSampler`; a damaged shard is found when it is read.
    """

    def __init__(
        self,
        folder: str,
        split: str,
        statistics: BandStatistics | None = None,
        *,
        seed: int = 0,
        epoch: int | None = 0,
        augment: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        _require_epoch(epoch, augment)
        self._rank, self._world_size = _rank_of(rank, world_size)
        super().__init__(folder, split, statistics)
        self._seed, self._augment = seed, augment
        # In memory that workers share: those that outlive an epoch must see the next one.
        self._epoch = None if epoch is None else torch.tensor(epoch).share_memory_()
        # Which cells are in which shard is asked only where it decides how many pairs fill up.
        in_cells = self._world_size > 1 and epoch is not None
        self._counts = (self.info.shard_cells if in_cells else self.info.shard_examples)[split]

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that is shown next, in workers too.

        Raises:
            InvalidInputError: It shows every year, and so has no epochs.
        """
        if self._epoch is None:
            raise InvalidInputError(_NO_EPOCHS + str(epoch))
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Pair]:
        """Yields the pairs of the worker that asks; what fills up comes last."""
        worker = get_worker_info()
        part = Part(self._rank, self._world_size, *((worker.id, worker.num_workers) if worker else (0, 1)))
        share = share_of(self._counts, part)
        if self._epoch is None:
            placed = examples_in_order(self.info, self.split, share.shards)
        else:
            placed = shuffled_cells(
                self.info,
                self.split,
                share.shards,
                seed=self._seed,
                epoch=int(self._epoch),
                augment=self._augment,
                part=part,
            )
        for index, which in placed:
            yield self._pair(index, which)
        for _ in range(share.padding):
            yield self._pair(ShardIndex.of_shards([]), Shown(PADDING))


def _require_epoch(epoch: int | None, augment: bool) -> None:
    if augment and epoch is None:
        raise InvalidInputError("augment needs an epoch, by which it is drawn. Received: epoch=None")


def _rank_of(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Returns which process this is, and of how many."""
    if rank is None and world_size is None:
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise InvalidInputError(
                "There are several processes, and each would show all pairs: call "
                "torch.distributed.init_process_group first, or give rank and world_size. Received: WORLD_SIZE="
                f"{os.environ['WORLD_SIZE']} in the environment"
            )
        return 0, 1
    if rank is None or world_size is None or not 0 <= rank < world_size:
        raise InvalidInputError(
            "rank must be from 0 to world_size - 1, and both be given or neither. Received: "
            f"rank={rank}, world_size={world_size}"
        )
    return rank, world_size
