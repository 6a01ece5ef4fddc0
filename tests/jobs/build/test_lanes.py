"""Lanes: what is in one is done one after the other, and nothing is lost."""

import collections
import itertools
from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that

from beam_pipeline.jobs.build.lanes import InLanes, lane_of_search, lane_of_unit
from beam_pipeline.records.shards import shard_name
from beam_pipeline.runtime.traffic import Share

NAMES = [shard_name("training", index, 100) for index in range(100)]


class _Numbered(beam.DoFn):
    """Numbers what it is given, in the order of its coming."""

    def __init__(self) -> None:
        self.count = 0

    def process(self, pair: tuple[str, int]) -> Iterator[tuple[int, str, int]]:
        self.count += 1
        yield self.count, *pair


@pytest.mark.parametrize("lanes", [0, 1, 7])
def test_a_lane_is_done_in_one_go(lanes: int) -> None:
    share = Share(parts=max(1, lanes), by_lane=bool(lanes))

    def check(done: list[tuple[int, str, int]]) -> None:
        assert sorted((name, value) for _, name, value in done) == [
            (name, index) for index, name in enumerate(NAMES)
        ]
        in_order = [lane_of_unit(name, lanes) for _, name, _ in sorted(done)] if lanes else []
        changes = sum(one != other for one, other in itertools.pairwise(in_order))
        assert changes == max(0, lanes - 1)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        done = (
            pipeline
            | beam.Create([(name, index) for index, name in enumerate(NAMES)])
            | InLanes(share, lane_of_unit)
            | beam.ParDo(_Numbered())
        )
        assert_that(done, check)


def test_lanes_have_as_many_units() -> None:
    counts = collections.Counter(lane_of_unit(name, 8) for name in NAMES)
    assert sorted(counts) == list(range(8))
    assert set(counts.values()) == {12, 13}


def test_lanes_have_about_as_many_searches() -> None:
    tiles = [f"{zone}TWN" for zone in range(10, 60)]
    counts = collections.Counter(
        lane_of_search((tile, year), 4) for tile in tiles for year in range(2017, 2025)
    )
    assert set(counts) == set(range(4))
    assert all(100 - 40 < count < 100 + 40 for count in counts.values())  # binomial: 4.6 standard deviations
