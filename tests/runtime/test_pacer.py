"""Pacing, on a clock that goes on only where somebody waits."""

import itertools
import random
import threading
import time

import pytest

from beam_pipeline.runtime.pacer import LEAST_PER_SECOND, RECOVERY_S, Pacer

START = 1000.0


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def times_of(pacer: Pacer, clock: Clock, turns: int) -> list[float]:
    """Takes turns, and returns when each came."""
    times = []
    for _ in range(turns):
        pacer.turn()
        times.append(clock.now)
    return times


def test_requests_are_spaced_evenly() -> None:
    clock = Clock()
    times = times_of(Pacer(4.0, clock, clock.sleep), clock, 9)
    assert times == [pytest.approx(START + number / 4) for number in range(9)]


def test_no_window_holds_more_than_the_rate() -> None:
    """Whatever the pauses between the turns, however many requests one is for, and whatever is refused."""
    generator = random.Random(0)
    for rate in (0.5, 3.0, 40.0):
        clock = Clock()
        pacer = Pacer(rate, clock, clock.sleep)
        sent: list[float] = []
        for _ in range(500):
            clock.now += generator.choice([0.0, 0.0, 0.3, 2.0]) / rate
            requests = generator.choice([1, 1, 2])
            pacer.turn(requests)
            sent += [clock.now] * requests
            if generator.random() < 0.01:
                pacer.back_off()
        for seconds in (1 / rate, 1.0, 10.0):
            most = max(sum(start <= at < start + seconds for at in sent) for start in sent)
            assert most <= rate * seconds + 2


def test_idle_time_is_not_saved_up() -> None:
    clock = Clock()
    pacer = Pacer(2.0, clock, clock.sleep)
    pacer.turn()
    clock.now += 3600.0
    before = clock.now
    assert times_of(pacer, clock, 5)[-1] - before == pytest.approx(2.0)


def test_what_was_sent_without_a_turn_is_waited_for() -> None:
    clock = Clock()
    pacer = Pacer(2.0, clock, clock.sleep)
    pacer.turn()
    pacer.charge(3)
    pacer.turn()
    assert clock.now - START == pytest.approx(2.0)


def test_without_a_limit_nobody_waits() -> None:
    clock = Clock()
    pacer = Pacer(None, clock, clock.sleep)
    for _ in range(100):
        pacer.turn(2)
        pacer.charge(2)
    assert clock.now == START
    assert pacer.per_second == float("inf")


def test_a_refusal_halves_the_rate_and_it_comes_back_evenly() -> None:
    clock = Clock()
    pacer = Pacer(8.0, clock, clock.sleep)
    times_of(pacer, clock, 80)
    pacer.back_off()
    assert pacer.per_second == pytest.approx(4.0)
    for seconds, rate in ((RECOVERY_S / 4, 6.0), (RECOVERY_S / 2, 8.0), (RECOVERY_S, 8.0)):
        began = clock.now
        clock.now += seconds
        assert pacer.per_second == pytest.approx(rate)
        clock.now = began


def test_after_a_refusal_requests_are_farther_apart() -> None:
    clock = Clock()
    pacer = Pacer(8.0, clock, clock.sleep)
    times_of(pacer, clock, 80)
    pacer.back_off()
    times = times_of(pacer, clock, 20)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[0] == pytest.approx(1 / 4, rel=0.02)
    assert gaps == sorted(gaps, reverse=True)
    assert 1 / 8 < gaps[-1] < 1 / 4


def test_refusals_at_once_are_one() -> None:
    """Eight threads that are refused together have met one limit, not eight."""
    clock = Clock()
    pacer = Pacer(8.0, clock, clock.sleep)
    for _ in range(8):
        pacer.back_off()
        clock.now += 0.1
    assert 4.0 <= pacer.per_second < 4.2
    clock.now += 0.3
    pacer.back_off()
    assert 2.0 <= pacer.per_second < 2.2


@pytest.mark.parametrize("most", [100.0, None])
def test_who_sends_less_than_it_may_gives_up_half_of_what_it_sends(most: float | None) -> None:
    clock = Clock()
    pacer = Pacer(most, clock, clock.sleep)
    for _ in range(40):
        pacer.turn()
        clock.now += 0.5
    pacer.back_off()
    assert pacer.per_second == pytest.approx(1.0, rel=0.05)


def test_without_a_limit_the_rate_grows_as_far_as_no_host_refuses() -> None:
    clock = Clock()
    pacer = Pacer(None, clock, clock.sleep)
    for _ in range(40):
        pacer.turn()
        clock.now += 0.1
    pacer.back_off()
    low = pacer.per_second
    assert low == pytest.approx(5.0, rel=0.05)
    clock.now += RECOVERY_S
    assert pacer.per_second == pytest.approx(3 * low)  # what it was, half and once more
    clock.now += RECOVERY_S
    assert pacer.per_second == pytest.approx(5 * low)


def test_a_host_that_refuses_all_is_asked_once_a_minute() -> None:
    clock = Clock()
    pacer = Pacer(0.02, clock, clock.sleep)
    for _ in range(50):
        pacer.back_off()
        clock.now += 1.0
    assert pacer.per_second >= LEAST_PER_SECOND
    assert times_of(pacer, clock, 2)[1] - START < 50 + 2 * 60


def test_threads_share_the_rate() -> None:
    pacer = Pacer(200.0)
    sent: list[float] = []

    def ask() -> None:
        for _ in range(5):
            pacer.turn()
            sent.append(time.monotonic())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(sent) - min(sent) >= 38 / 200  # the first of 40 may be late, the last cannot be early
