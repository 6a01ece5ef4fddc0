"""An epoch read shard after shard: the same pairs as a shuffle of all, without going through all shards first."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from beam_pipeline.readers.epochs import Shown, one_year_a_cell, shards_in_order, shown
from beam_pipeline.readers.shard_index import ShardIndex, index_split
from beam_pipeline.records.info import DatasetInfo
from beam_pipeline.records.shares import deal
from beam_pipeline.runtime.keyed_hash import keyed_hash

SHARDS_AT_ONCE = 16
"""Shards that are read in turn, so that neighbours are of many tiles."""

SHUFFLE_EXAMPLES = 512
"""Examples that the workers of a rank together shuffle among each other. They keep their places, no pixels."""

Placed = tuple[ShardIndex, Shown]
_T = TypeVar("_T")


class Part(NamedTuple):
    """One of several that show an epoch together.

    Attributes:
        rank: Index of the process.
        world_size: Number of processes.
        worker: Index of the worker of that process.
        workers: Number of workers of each process.
    """

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    workers: int = 1


class Share(NamedTuple):
    """The content of a part.

    Attributes:
        shards: Indices of its shards.
        padding: Pairs without images that come last, so that this worker has as many as that of any other rank.
    """

    shards: tuple[int, ...]
    padding: int


def share_of(counts: Sequence[int], part: Part) -> Share:
    """Deals shards to ranks as `records.shares.host_shares`, and those of each rank to its workers.

    Args:
        counts: What each shard shows.
        part: Whose share it is.

    Returns:
        The share.
    """
    of_ranks = [
        [shards[index] for index in deal([counts[shard] for shard in shards], part.workers)[part.worker]]
        for shards in deal(counts, part.world_size)
    ]
    loads = [sum(counts[shard] for shard in shards) for shards in of_ranks]
    return Share(tuple(of_ranks[part.rank]), max(loads) - loads[part.rank])


def examples_in_order(info: DatasetInfo, split: str, shards: Sequence[int]) -> Iterator[Placed]:
    """Yields all examples of shards, one shard after the other.

    Raises:
        InvalidInputError: A shard is damaged.
    """
    for shard in shards:
        index = index_split(info, split, [shard])
        yield from ((index, Shown(example)) for example in range(len(index)))


def shuffled_cells(
    info: DatasetInfo, split: str, shards: Sequence[int], *, seed: int, epoch: int, augment: bool, part: Part
) -> Iterator[Placed]:
    """Yields one example of each cell, in an order that the arguments decide.

    Args:
        info: The dataset.
        split: The split.
        shards: Indices of the shards of this part.
        seed: The run's seed.
        epoch: The epoch.
        augment: Whether pairs are turned.
        part: Whose the shards are.

    Raises:
        InvalidInputError: A shard is damaged.
    """

    def cells(shard: int) -> Iterator[Placed]:
        index = index_split(info, split, [shard])
        examples = one_year_a_cell(index, seed, epoch)
        yield from ((index, one) for one in shown(index, examples, seed, epoch, augment))

    names = [info.shards[split][shard] for shard in shards]
    in_order = [cells(shards[index]) for index in shards_in_order(names, seed, epoch)]
    draws = itertools.count()

    def draw(most: int) -> int:
        return keyed_hash(seed, "stream order", epoch, part.rank, part.worker, next(draws)) % most

    return _shuffled(_in_turn(in_order, SHARDS_AT_ONCE), max(1, SHUFFLE_EXAMPLES // part.workers), draw)


def _in_turn(sources: Iterable[Iterator[_T]], at_once: int) -> Iterator[_T]:
    """Yields one of each of some sources in turn; one that has ended makes room for the next."""
    waiting = iter(sources)
    turns = collections.deque(itertools.islice(waiting, at_once))
    while turns:
        source = turns.popleft()
        try:
            yield next(source)
        except StopIteration:
            turns.extend(itertools.islice(waiting, 1))
        else:
            turns.append(source)


def _shuffled(source: Iterator[_T], size: int, draw: Callable[[int], int]) -> Iterator[_T]:
    """Keeps some of a source back, and yields one of them at random for each that comes."""
    kept = list(itertools.islice(source, size))
    for one in source:
        drawn = draw(len(kept))
        yield kept[drawn]
        kept[drawn] = one
    while kept:
        drawn = draw(len(kept))
        yield kept[drawn]
        kept[drawn] = kept[-1]
        kept.pop()
