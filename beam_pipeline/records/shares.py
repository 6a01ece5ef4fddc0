"""Deals the shards of a dataset to hosts, ranks and workers, so that all have about as much to do."""

import dataclasses
import heapq
from collections.abc import Sequence

from beam_pipeline.records.info import DatasetInfo


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of a split that one host shows.

    Attributes:
        paths: Its shards, in order.
        count: Cells in them, or examples where every year is shown.
    """

    paths: tuple[str, ...]
    count: int


def host_shares(info: DatasetInfo, split: str, epoch: int | None, hosts: int) -> tuple[Share, ...]:
    """Deals the shards of a split to hosts so that all have about as much to do.

    Args:
        info: The dataset.
        split: The split.
        epoch: None where every year is shown, else the epoch.
        hosts: Number of hosts.

    Returns:
        The share of each host; shards without examples are left out.
    """
    paths, examples = info.shards[split], info.shard_examples[split]
    if hosts == 1:
        # One host need not know which cells are where, and is spared the reading of all summaries.
        count = info.examples[split] if epoch is None else info.cells[split]
        return (Share(tuple(path for path, held in zip(paths, examples, strict=True) if held), count),)
    counts = examples if epoch is None else info.shard_cells[split]
    return tuple(
        Share(tuple(paths[index] for index in dealt), sum(counts[index] for index in dealt))
        for dealt in deal(counts, hosts)
    )


def deal(counts: Sequence[int], hosts: int) -> list[list[int]]:
    """Deals shards: the largest first, each to whoever has least.

    Args:
        counts: What each shard holds; those that hold nothing are left out.
        hosts: Number of hosts.

    Returns:
        The indices of each host's shards, ascending.
    """
    dealt: list[list[int]] = [[] for _ in range(hosts)]
    loads = [(0, host) for host in range(hosts)]
    for index in sorted(range(len(counts)), key=lambda index: (-counts[index], index)):
        if counts[index]:
            load, host = heapq.heappop(loads)
            dealt[host].append(index)
            heapq.heappush(loads, (load + counts[index], host))
    return [sorted(shards) for shards in dealt]
