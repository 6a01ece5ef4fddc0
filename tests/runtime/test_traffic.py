import threading

import pytest

from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.runtime.pacer import Pacer
from beam_pipeline.runtime.traffic import Share, Traffic


@pytest.fixture
def pacers(monkeypatch: pytest.MonkeyPatch) -> list[Pacer]:
    """Those that are made, on a clock that stands still; nobody sleeps."""
    made: list[Pacer] = []

    def make(per_second: float | None) -> Pacer:
        made.append(Pacer(per_second, lambda: 1000.0, lambda seconds: None))
        return made[-1]

    monkeypatch.setattr(Pacer, "default", make)
    return made


def test_stages_share_a_rate_for_each_kind_of_host(pacers: list[Pacer]) -> None:
    share = Share(4.0, 2)
    for _ in range(3):
        Traffic.of_job("rates", "files", share).turn()
    Traffic.of_job("rates", "api", share).turn()
    assert [pacer.reserve() for pacer in pacers] == [pytest.approx(3 / 4), pytest.approx(1 / 4)]


def test_each_job_has_its_own(pacers: list[Pacer]) -> None:
    for job in ("one", "other"):
        Traffic.of_job(job, "files", Share(4.0)).turn()
    assert [pacer.reserve() for pacer in pacers] == [pytest.approx(1 / 4)] * 2


def test_each_lane_has_its_own_rate_wherever_its_work_is_done(pacers: list[Pacer]) -> None:
    share = Share(4.0, 2, parts=3, by_lane=True)
    one, other = Traffic.of_job("lanes", "files", share), Traffic.of_job("lanes", "files", share)
    for lane, traffic in ((1, one), (2, other), (1, other)):
        traffic.enter(lane)
        traffic.turn()
    first, lane_1, lane_2 = pacers
    assert first.reserve() == 0.0
    assert (lane_1.reserve(), lane_2.reserve()) == (pytest.approx(2 / 4), pytest.approx(1 / 4))


def test_where_processes_have_parts_there_are_no_lanes(pacers: list[Pacer]) -> None:
    traffic = Traffic.of_job("no lanes", "files", Share(4.0, 2, parts=3))
    for lane in range(3):
        traffic.enter(lane)
        traffic.turn()
    (pacer,) = pacers
    assert pacer.reserve() == pytest.approx(3 / 4)


def test_the_same_limit_divided_otherwise() -> None:
    """20 searches a second in 20 lanes; while 5 lanes of 40 read files, each may ask the API 4 times."""
    api, files = Share(1.0, 1, 20, by_lane=True), Share(40.0, 8, 5, by_lane=True)
    assert api.among(files) == Share(4.0, 8, 5, by_lane=True)
    assert Share().among(files) == Share(None, 8, 5, by_lane=True)
    assert (api.whole(), files.whole()) == (Share(20.0, 1), Share(200.0, 8))


def test_slots_are_shared_by_the_process() -> None:
    one, other = (Traffic.of_job("slots", host, Share(in_flight=2)) for host in ("api", "files"))
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
    one, other = (Traffic.of_job("counts", "files", Share()) for _ in range(2))
    for reason in ("timeout", "throttled", "timeout"):
        one.retried(TransientFault(reason, ""))
    assert other.take_retried() == {}
    assert one.take_retried() == {"timeout": 2, "throttled": 1}
    assert one.take_retried() == {}


@pytest.mark.parametrize(("reason", "rate"), [("throttled", 4.0), ("timeout", 8.0), ("server_error", 8.0)])
def test_only_who_asks_too_often_slows_down(reason: str, rate: float) -> None:
    pacer = Pacer(8.0, lambda: 1000.0)
    Traffic(pacer).retried(TransientFault(reason, ""))
    assert pacer.per_second == rate
