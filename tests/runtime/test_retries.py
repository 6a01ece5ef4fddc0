import datetime
import email.utils
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryAfterFault, RetryPolicy, retry_after_s

SIX_HOURS_S = 21_600.0
"""The longest wait that urllib3 takes to be meant."""


class Flaky:
    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        return "done"


def test_waits_double_up_to_the_cap() -> None:
    waits: list[float] = []
    flaky = Flaky(*[TransientFault("throttled", "503")] * 6)
    assert RetryPolicy(attempts=7, base_s=1.0, cap_s=4.0, sleep=waits.append).call(flaky) == "done"
    assert flaky.calls == 7
    assert all(0 <= wait <= limit for wait, limit in zip(waits, [1, 2, 4, 4, 4, 4], strict=True))


@pytest.mark.parametrize(("attempt", "longest"), [(0, 2.0), (1, 4.0), (2, 8.0), (3, 10.0), (40, 10.0)])
def test_waits_are_drawn_between_nothing_and_the_longest(attempt: int, longest: float) -> None:
    """Full jitter: clients that failed together come back apart."""
    policy = RetryPolicy(base_s=2.0, cap_s=10.0)
    waits = [policy.wait_s(attempt) for _ in range(2000)]
    assert 0.0 <= min(waits) < 0.05 * longest
    assert 0.95 * longest < max(waits) <= longest
    assert sum(waits) / len(waits) == pytest.approx(longest / 2, rel=0.1)  # by chance once in 10^14


def test_there_is_a_wait_before_each_further_try() -> None:
    events: list[object] = []

    def fail() -> None:
        events.append("try")
        raise TransientFault("throttled", "503")

    with pytest.raises(TransientFault):
        RetryPolicy(attempts=4, sleep=events.append).call(fail, lambda fault: events.append(fault.reason))
    tries, told, waits = events[0::3], events[1::3], events[2::3]
    assert (tries, told) == (["try"] * 4, ["throttled"] * 3)
    assert all(isinstance(wait, float) and wait > 0.0 for wait in waits)
    assert len(waits) == 3


def test_it_sleeps_unless_told_otherwise() -> None:
    started = time.monotonic()
    RetryPolicy(base_s=0.0).call(Flaky(RetryAfterFault("throttled", "429", 0.05)))
    assert time.monotonic() - started >= 0.05


def test_what_a_server_asks_for_is_the_least_wait() -> None:
    policy = RetryPolicy(attempts=3, base_s=8.0, cap_s=20.0)
    waits = [policy.wait_after_s(RetryAfterFault("throttled", "429", 6.0), 1) for _ in range(400)]
    assert min(waits) == 6.0
    assert 6.0 < max(waits) <= 8.0
    assert policy.wait_after_s(RetryAfterFault("throttled", "429", 900.0), 2) == 20.0
    with pytest.raises(RetryAfterFault):
        policy.wait_after_s(RetryAfterFault("throttled", "429", 6.0), 3)


def test_gives_up_with_the_last_fault() -> None:
    flaky = Flaky(*[TransientFault("reset", str(i)) for i in range(3)])
    with pytest.raises(TransientFault, match="reset: 2"):
        RetryPolicy(attempts=3, sleep=lambda _s: None).call(flaky)


def test_permanent_faults_and_bugs_pass_at_once() -> None:
    for fault in (PermanentFault("not_found", "404"), KeyError("bug")):
        flaky = Flaky(fault)
        with pytest.raises(type(fault)):
            RetryPolicy(sleep=lambda _s: None).call(flaky)
        assert flaky.calls == 1


def test_retry_after_is_honoured_within_the_cap() -> None:
    waits: list[float] = []
    seen: list[TransientFault] = []
    flaky = Flaky(RetryAfterFault("throttled", "429", 7.0), RetryAfterFault("throttled", "429", 900.0))
    RetryPolicy(base_s=0.001, cap_s=30.0, sleep=waits.append).call(flaky, seen.append)
    assert waits == [7.0, 30.0]
    assert len(seen) == 2


def test_a_server_that_names_no_time_adds_none() -> None:
    assert RetryPolicy(base_s=0.0).wait_after_s(RetryAfterFault("throttled", "429"), 1) == 0.0


def test_unless_told_otherwise_there_are_eight_tries() -> None:
    """As docs/running.md says: eight tries, a first wait of half a second at most, none longer than a minute."""
    policy = RetryPolicy.default()
    fault, patient = TransientFault("throttled", "503"), RetryAfterFault("throttled", "429", 900.0)
    first_waits = [policy.wait_after_s(fault, 1) for _ in range(400)]
    assert 0.45 < max(first_waits) <= 0.5
    assert policy.wait_after_s(patient, 7) == 60.0
    with pytest.raises(TransientFault):
        policy.wait_after_s(fault, 8)


def test_faults_survive_pickling() -> None:
    for fault, reason, detail in (
        (PermanentFault("a", "b"), "a", "b"),
        (RetryAfterFault("c", "d", 3.5), "c", "d"),
    ):
        copy = pickle.loads(pickle.dumps(fault))
        assert (type(copy), copy.reason, copy.detail) == (type(fault), reason, detail)
    assert copy.retry_after_s == 3.5


def test_one_attempt_is_no_second_try() -> None:
    flaky = Flaky(TransientFault("reset", "gone"))
    with pytest.raises(TransientFault, match="reset: gone"):
        RetryPolicy(attempts=1, sleep=lambda _s: pytest.fail("there is nothing to wait for")).call(flaky)
    assert flaky.calls == 1


def test_no_attempts_is_refused() -> None:
    with pytest.raises(ValueError, match="Received: 0"):
        RetryPolicy(attempts=0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        (None, 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("1.5", 0.0),
        ("9" * 400, SIX_HOURS_S),
        ("9" * 5000, 0.0),
        ("Mon, 01 Jan 2024 00:00:00 +9999999999999999", 0.0),
        ("Mon, 01 Jan 9999999999999999 00:00:00 GMT", 0.0),
        ("Mon, 99999999999999999999 Jan 2024 00:00:00 GMT", SIX_HOURS_S),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_seconds_of_retry_after(header: str | None, seconds: float) -> None:
    assert retry_after_s(header) == seconds


def test_dates_of_retry_after() -> None:
    now = datetime.datetime.now(datetime.UTC)
    ahead = now + datetime.timedelta(seconds=90)
    assert 85 < retry_after_s(email.utils.format_datetime(ahead, usegmt=True)) <= 90
    assert 85 < retry_after_s(ahead.strftime("%a, %d %b %Y %H:%M:%S")) <= 90
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


@given(
    st.text("MonJa 0123456789:,+-GTZ", max_size=60)
    | st.dates().map("{:%a, %d %b %Y} 10:00:00 +".format)
    | st.text()
)
def test_no_header_is_a_hindrance(header: str) -> None:
    assert retry_after_s(header) >= 0
