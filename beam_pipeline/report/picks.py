"""Which examples a report shows: those of the smallest keyed hashes, whatever the order in which units come."""

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.dataset.units import Unit
from beam_pipeline.runtime.keyed_hash import keyed_hash, keyed_hashes

_SEED = 0
_PURPOSE = "report"


class Pick(NamedTuple):
    """An example that may be shown; the smaller the more it is wanted.

    Attributes:
        rank: Its hash.
        unit: The unit in whose shard it lies.
        record: Its place there.
        cell_id: The cell; None where the summary does not say.
        year: The year; None likewise.
    """

    rank: int
    unit: str
    record: int
    cell_id: int | None
    year: int | None


def picks_of(unit: Unit, summary: UnitSummary, most: int) -> list[Pick]:
    """Picks examples of a unit, one a cell; of a version before 1.1 the first of the shard.

    Args:
        unit: The unit.
        summary: Its summary.
        most: How many at most.
    """
    if summary.contents is None:
        # Which cells it holds is not said; the example itself tells when it is read.
        return [Pick(unit_rank(unit, "example"), unit.name, 0, None, None)][: min(most, summary.examples)]
    ranks = keyed_hashes(_SEED, _PURPOSE, (content.cell_id for content in summary.contents)).tolist()
    chosen = {
        place for _, place in heapq.nsmallest(most, ((rank, place) for place, rank in enumerate(ranks)))
    }
    found, record = [], 0
    for place, content in enumerate(summary.contents):
        # Records are sorted by cell and year; the images of a year lie in one.
        years = sorted({year for year, *_ in content.images})
        if place in chosen and years:
            year = min(years, key=lambda year: keyed_hash(_SEED, _PURPOSE, content.cell_id, year))
            found.append(Pick(ranks[place], unit.name, record + years.index(year), content.cell_id, year))
        record += len(years)
    return sorted(found)


def unit_rank(unit: Unit, purpose: str) -> int:
    """Returns the hash by which a unit is picked."""
    return keyed_hash(_SEED, f"{_PURPOSE} {purpose}", unit.name)


def best_picks(picks: Iterable[Pick], most: int) -> list[Pick]:
    """Returns the most wanted, in order."""
    return heapq.nsmallest(most, picks)
