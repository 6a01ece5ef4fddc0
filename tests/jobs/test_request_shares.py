"""Limits of the job: their division, and the requests that a host sees."""

import pytest

from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.request_shares import API_ON_DATAFLOW, FILES_ON_DATAFLOW
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.traffic import Share
from tests.benchmarks.rate_limits import Scene, Simulation

NEEDED = ["--output", "out", "--osm", "a.osm.pbf"]
DATAFLOW = ["--runner=DataflowRunner", "--project=p", "--region=europe-west1", "--temp_location=gs://b/tmp"]
FOUR = ["--direct_running_mode=multi_processing", "--direct_num_workers=4"]
SMALL = ["--max_num_workers=2", "--machine_type=n1-standard-2", "--number_of_worker_harness_threads=2"]


def flink(processes: int) -> list[str]:
    return ["--runner=FlinkRunner", "--flink_master=flink:8081", f"--parallelism={processes}"]


@pytest.mark.parametrize(
    ("flags", "api", "files"),
    [
        # Nothing is divided where nothing is limited.
        ([], Share(), Share()),
        ([*flink(800)], Share(), Share()),
        (["--reads_in_flight=5"], Share(in_flight=5), Share(in_flight=5)),
        # Few processes: each has its part.
        (["--max_requests_per_second=10"], Share(), Share(10.0)),
        ([*FOUR, "--max_requests_per_second=100"], Share(None, 8, 4), Share(25.0, 8, 4)),
        ([*FOUR, "--max_api_requests_per_second=8"], Share(2.0, 8, 4), Share(None, 8, 4)),
        ([*FOUR, "--max_requests_in_flight=11"], Share(None, 2, 4), Share(None, 2, 4)),
        ([*FOUR, "--max_requests_in_flight=1000", "--reads_in_flight=5"],) + (Share(None, 5, 4),) * 2,
        # Too many for the limit: lanes, of 20 requests a second for files and of one to the API.
        (
            [*flink(800), "--max_requests_per_second=400", "--max_api_requests_per_second=10"],
            Share(1.0, 8, 10, by_lane=True),
            Share(20.0, 8, 20, by_lane=True),
        ),
        ([*FOUR, "--max_requests_per_second=30"], Share(None, 8, 4), Share(30.0, 8, 1, by_lane=True)),
        ([*FOUR, "--max_requests_per_second=0.5"], Share(None, 8, 4), Share(0.5, 8, 1, by_lane=True)),
        (
            [*flink(800), "--max_requests_in_flight=40"],
            Share(None, 1, 40, by_lane=True),
            Share(None, 2, 20, by_lane=True),
        ),
        (
            [*FOUR, "--max_requests_in_flight=1"],
            Share(None, 1, 1, by_lane=True),
            Share(None, 1, 1, by_lane=True),
        ),
        # Dataflow starts as many as it likes: lanes, and limits of ours unless others are given.
        (DATAFLOW, Share(1.0, 8, 20, by_lane=True), Share(20.0, 8, 25, by_lane=True)),
        (
            [*DATAFLOW, "--max_requests_per_second=2000", "--max_api_requests_per_second=3"],
            Share(1.0, 8, 3, by_lane=True),
            Share(20.0, 8, 100, by_lane=True),
        ),
        ([*DATAFLOW, *SMALL], Share(2.5, 8, 8, by_lane=True), Share(62.5, 8, 8, by_lane=True)),
    ],
)
def test_shares(flags: list[str], api: Share, files: Share) -> None:
    settings = build_settings(*parse_build_flags([*NEEDED, *flags]))
    assert (settings.api, settings.files) == (api, files)


def test_the_shares_of_a_limit_are_no_more_than_the_limit() -> None:
    """For 1 to 800 processes, and limits from a request in 10 seconds to many."""
    for processes in (1, 2, 7, 40, 800):
        for rate in (0.1, 1.0, 19.0, 55.5, 400.0, 5000.0):
            for at_once in (1, 3, 16, 900):
                flags = [f"--max_requests_per_second={rate}", f"--max_requests_in_flight={at_once}"]
                flags += [f"--max_api_requests_per_second={rate}"]
                settings = build_settings(*parse_build_flags([*NEEDED, *flink(processes), *flags]))
                for share in (settings.api, settings.files):
                    assert share.per_second is not None
                    assert share.per_second * share.parts == pytest.approx(rate)
                    assert 1 <= share.in_flight * share.parts <= at_once
                    assert share.by_lane or share.parts == processes


def test_on_dataflow_public_hosts_are_spared_by_default() -> None:
    settings = build_settings(*parse_build_flags([*NEEDED, *DATAFLOW]))
    assert settings.files.per_second is not None
    assert settings.api.per_second is not None
    assert settings.files.per_second * settings.files.parts == FILES_ON_DATAFLOW <= 5500 / 10
    assert settings.api.per_second * settings.api.parts == API_ON_DATAFLOW


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        *((f"--max_requests_per_second={bad}", "must lie above 0") for bad in ("0", "-1", "nan", "inf")),
        *((f"--max_api_requests_per_second={bad}", "must lie above 0") for bad in ("0", "-1", "nan", "inf")),
        ("--max_requests_in_flight=0", "must be 1 or more"),
    ],
)
def test_limits_that_are_none_are_refused(flag: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"{flag.partition('=')[0]} {said}.* Received"):
        build_settings(*parse_build_flags([*NEEDED, *FOUR, flag]))


@pytest.mark.parametrize("there", [200, 10])
def test_a_limit_is_made_use_of_however_many_processes_there_are(there: int) -> None:
    scene = Scene("", 200, there, 200, 200, units=100, requests=100, in_lanes=there < 200)
    by_process, in_lanes = Simulation(scene, lanes=False), Simulation(scene, lanes=True)
    assert in_lanes.share.by_lane
    assert max(in_lanes.host.seen.values()) <= scene.limit + in_lanes.share.parts
    assert in_lanes.host.refused == 0
    assert in_lanes.ended < 0.6 * by_process.ended
    assert max(in_lanes.took) < 0.2 * max(by_process.took)


def test_a_host_that_bears_less_is_found_out() -> None:
    scene = Scene("", 200, 200, 200, 100, units=400, requests=100)
    by_process, in_lanes = Simulation(scene, lanes=False), Simulation(scene, lanes=True)
    assert in_lanes.lost == 0
    assert in_lanes.host.refused / sum(in_lanes.host.seen.values()) < 0.05
    assert by_process.host.refused / sum(by_process.host.seen.values()) > 0.05
    assert sum(in_lanes.host.seen.values()) / in_lanes.ended > 0.7 * scene.host
