import datetime
import email.utils
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryAfterFault, RetryPolicy, retry_after_s


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
    assert RetryPolicy(attempts=7, base_s=1.0, cap_s=4.0).call(flaky, sleep=waits.append) == "done"
    assert flaky.calls == 7
    assert all(0 <= wait <= limit for wait, limit in zip(waits, [1, 2, 4, 4, 4, 4], strict=True))


def test_gives_up_with_the_last_fault() -> None:
    flaky = Flaky(*[TransientFault("reset", str(i)) for i in range(3)])
    with pytest.raises(TransientFault, match="reset: 2"):
        RetryPolicy(attempts=3).call(flaky, sleep=lambda _s: None)


def test_permanent_faults_and_bugs_pass_at_once() -> None:
    for fault in (PermanentFault("not_found", "404"), KeyError("bug")):
        flaky = Flaky(fault)
        with pytest.raises(type(fault)):
            RetryPolicy().call(flaky, sleep=lambda _s: None)
        assert flaky.calls == 1


def test_retry_after_is_honoured_within_the_cap() -> None:
    waits: list[float] = []
    seen: list[TransientFault] = []
    flaky = Flaky(RetryAfterFault("throttled", "429", 7.0), RetryAfterFault("throttled", "429", 900.0))
    policy = RetryPolicy(base_s=0.001, cap_s=30.0)
    policy.call(flaky, sleep=waits.append, on_retry=seen.append)
    assert waits == [7.0, 30.0]
    assert len(seen) == 2


def test_faults_survive_pickling() -> None:
    for fault in (PermanentFault("a", "b"), RetryAfterFault("c", "d", 3.5)):
        copy = pickle.loads(pickle.dumps(fault))
        assert (type(copy), copy.reason, copy.detail) == (type(fault), fault.reason, fault.detail)
    assert copy.retry_after_s == 3.5


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
        ("9" * 400, math.inf),
        ("Mon, 01 Jan 2024 00:00:00 +9999999999999999", 0.0),
        ("Mon, 01 Jan 9999999999999999 00:00:00 GMT", 0.0),
        ("Mon, 99999999999999999999 Jan 2024 00:00:00 GMT", 0.0),
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
