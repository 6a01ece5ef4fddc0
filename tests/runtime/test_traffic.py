import random
import threading
import time

import pytest

from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.runtime.traffic import Pacer, Traffic


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def test_requests_are_spaced_evenly() -> None:
    clock = Clock()
    pacer = Pacer(4.0, clock, clock.sleep)
    times = []
    for _ in range(9):
        pacer.turn()
        times.append(clock.now - 1000.0)
    assert times == [pytest.approx(number / 4) for number in range(9)]


def test_no_window_holds_more_than_the_rate() -> None:
    """Whatever the pauses between the turns and however many requests one is for."""
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
        for seconds in (1 / rate, 1.0, 10.0):
            most = max(sum(start <= at < start + seconds for at in sent) for start in sent)
            assert most <= rate * seconds + 2


def test_idle_time_is_not_saved_up() -> None:
    clock = Clock()
    pacer = Pacer(2.0, clock, clock.sleep)
    pacer.turn()
    clock.now += 3600.0
    before = clock.now
    for _ in range(5):
        pacer.turn()
    assert clock.now - before == pytest.approx(2.0)


def test_what_was_sent_without_a_turn_is_waited_for() -> None:
    clock = Clock()
    pacer = Pacer(2.0, clock, clock.sleep)
    pacer.turn()
    pacer.charge(3)
    pacer.turn()
    assert clock.now - 1000.0 == pytest.approx(2.0)


def test_without_a_limit_nobody_waits() -> None:
    clock = Clock()
    pacer = Pacer(None, clock, clock.sleep)
    for _ in range(100):
        pacer.turn(2)
        pacer.charge(2)
    assert clock.now == Clock().now


def test_threads_share_the_rate() -> None:
    traffic = [Traffic.of_process(200.0, 3), Traffic.of_process(200.0, 3)]
    sent: list[float] = []

    def ask(number: int) -> None:
        for _ in range(5):
            traffic[number % 2].turn()
            sent.append(time.monotonic())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(sent) - min(sent) >= 38 / 200  # the first of 40 may be late, the last cannot be early


def test_slots_are_shared_by_the_process() -> None:
    one, other = Traffic.of_process(None, 2), Traffic.of_process(None, 2)
    entered = threading.Event()

    def enter() -> None:
        with other.slot():
            entered.set()

    third = threading.Thread(target=enter)
    with one.slot():
        with other.slot():
            third.start()
            assert not entered.wait(0.2)
        assert entered.wait(60.0)
    third.join()


def test_what_was_tried_again_is_counted_for_each_stage() -> None:
    one, other = Traffic.of_process(None, 2), Traffic.of_process(None, 2)
    for reason in ("timeout", "throttled", "timeout"):
        one.retried(TransientFault(reason, ""))
    assert other.take_retried() == {}
    assert one.take_retried() == {"timeout": 2, "throttled": 1}
    assert one.take_retried() == {}
