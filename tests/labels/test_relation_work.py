import itertools

import numpy as np
import pytest

from beam_pipeline.labels.relation_work import AssemblingWork, Way, counting_ns, least_ns

MUCH = 1e15
A_SECOND = 1e9


def way(*places: tuple[int, int]) -> Way:
    return np.array(places, dtype=np.int32).reshape(-1, 2)


def assembling_ns(ways: list[Way], most_ns: float) -> float:
    return AssemblingWork([ways]).ns(0, most_ns)


def square(x: int, y: int, half: int) -> Way:
    return way(
        (x - half, y - half),
        (x + half, y - half),
        (x + half, y + half),
        (x - half, y + half),
        (x - half, y - half),
    )


def ring_of(joints: int, each: int) -> list[Way]:
    """Ways, `each` from one of the joints to the next, in a ring."""
    ends = [(1000 * i, i * (joints - i)) for i in range(joints)]
    return [
        way(here, (1000 * i + 500, 100_000 * (k + 1) + i), there)
        for i, (here, there) in enumerate(itertools.pairwise([*ends, ends[0]]))
        for k in range(each)
    ]


def test_what_is_mapped_takes_microseconds_a_node() -> None:
    angle = 2 * np.pi * np.arange(20_001) / 20_000
    coast = np.rint(1e7 * np.column_stack([np.cos(angle), np.sin(angle)])).astype(np.int32)
    parts = [coast[i : i + 1001] for i in range(0, 20_000, 1000)]
    islands = [square(i * 1000, j * 1000, 300) for i in range(30) for j in range(30)]
    ways = [*parts, *islands]
    nodes = sum(map(len, ways))
    assert 1_000 * nodes < assembling_ns(ways, MUCH) < 10_000 * nodes
    assert assembling_ns([], MUCH) == 0
    assert assembling_ns([way(), way((1, 1))], MUCH) < 10_000


def test_ways_over_the_same_ground_take_time_by_the_square() -> None:
    there = way(*((i, i % 7) for i in range(2000)))
    once, ten, twenty = (assembling_ns([there] * times, MUCH) for times in (2, 10, 20))
    assert ten > 15 * once
    assert twenty == pytest.approx(4 * ten, rel=0.3)
    assert assembling_ns([way(*[(0, 0), (1, 1)] * 500_000)], MUCH) > 100 * A_SECOND


def test_segments_beside_each_other_take_time_by_the_square() -> None:
    few, many = (
        assembling_ns([way(*((1000 * (i % 2), i) for i in range(count)))], MUCH) for count in (20_000, 40_000)
    )
    assert many > 3 * few > A_SECOND


def test_many_rings_take_time_for_each_segment_before_them() -> None:
    few, many = (
        assembling_ns([square(100 * i, 0, 10) for i in range(count)], MUCH) for count in (10_000, 40_000)
    )
    assert many > 8 * few
    assert many > A_SECOND


def test_ways_that_join_the_same_nodes_take_time_without_end() -> None:
    two, four, twelve, twenty = (assembling_ns(ring_of(joints, 4), MUCH) for joints in (2, 4, 12, 20))
    assert two < four < 0.1 * A_SECOND
    assert twelve == twenty == np.inf


def test_counting_ends_where_it_is_too_much() -> None:
    ways = ring_of(20, 4)
    assert least_ns(ways) <= assembling_ns(ways, 1.0) < counting_ns(ways)


def test_with_more_joints_than_the_assembler_looks_at_nothing_is_searched() -> None:
    assert assembling_ns(ring_of(101, 4), MUCH) < 0.1 * A_SECOND


def test_closed_ways_that_meet_in_a_node_need_no_search() -> None:
    petals = [way((0, 0), (10 * i, 1000), (10 * i + 5, 1000), (0, 0)) for i in range(50)]
    assert assembling_ns(petals, MUCH) < 0.01 * A_SECOND


def test_relations_looked_at_together_take_what_each_takes_alone() -> None:
    draw = np.random.default_rng(0)
    shared = [square(100 * i, 0, 10) for i in range(5)]
    line = np.cumsum(draw.integers(-2, 3, (300, 2)), axis=0).astype(np.int32)
    relations = [
        shared,
        [],
        [way(), way((1, 1))],
        ring_of(4, 4),
        [line, line[::-1], *shared],
        ring_of(12, 4),
        [way((-(10**9), -(10**9)), (10**9, 10**9), (0, 5), (-(10**9), -(10**9)))],
        [line[100:150]],
        ring_of(2, 4),
        shared[:1],
    ]
    together = AssemblingWork(relations)
    for number, ways in enumerate(relations):
        assert together.ns(number, MUCH) == assembling_ns(ways, MUCH)
    assert {together.ns(number, MUCH) for number in (1, 2)} == {0.0, 2_000.0}
