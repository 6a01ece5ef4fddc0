"""How a limit of the job is divided, and which flag is asked for where it cannot be."""

import os

import pytest

from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.worker_processes import most_processes
from beam_pipeline.runtime.faults import InvalidInputError

NEEDED = ["--output", "out", "--osm", "a.osm.pbf"]
DATAFLOW = ["--runner=DataflowRunner", "--project=p", "--region=europe-west1", "--temp_location=gs://b/tmp"]
MANY = ["--direct_running_mode=multi_processing"]


@pytest.mark.parametrize(
    ("flags", "processes"),
    [
        ([], 1),
        (["--runner=DirectRunner"], 1),
        (["--runner=PrismRunner"], 1),
        (["--direct_num_workers=4"], 1),  # has no effect in one process
        ([*MANY, "--direct_num_workers=4"], 4),
        ([*MANY, "--direct_num_workers=0"], os.cpu_count()),
        ([*DATAFLOW, "--max_num_workers=50", "--machine_type=n1-standard-4"], 200),
        ([*DATAFLOW, "--max_num_workers=3", "--machine_type=n2d-highmem-16"], 48),
        ([*DATAFLOW, "--max_num_workers=3", "--machine_type=c3-standard-4-lssd"], 12),
        ([*DATAFLOW, "--max_num_workers=3", "--machine_type=custom-2-7680"], 6),
        ([*DATAFLOW, "--max_num_workers=3", "--machine_type=n2-custom-6-7680"], 18),
        ([*DATAFLOW, "--max_num_workers=3", "--machine_type=e2-medium"], 6),
        ([*DATAFLOW, "--max_num_workers=3", "--machine_type=zones/z/machineTypes/n1-standard-2"], 6),
        ([*DATAFLOW, "--max_num_workers=3", "--experiments=no_use_multiple_sdk_containers"], 3),
        (
            [
                *(*DATAFLOW, "--num_workers=5", "--autoscaling_algorithm=NONE"),
                *("--experiments=shuffle_mode=service", "--experiments=no_use_multiple_sdk_containers"),
            ],
            5,
        ),
        (["--runner=FlinkRunner"], 1),  # Beam's own cluster, whose workers are threads of the launcher
        (["--runner=FlinkRunner", "--flink_master=flink:8081", "--parallelism=8"], 8),
        (["--runner=PortableRunner", "--parallelism=8", "--sdk_worker_parallelism=2"], 16),
        (["--runner=PortableRunner", "--environment_type=LOOPBACK"], 1),
    ],
)
def test_processes_by_the_runners_flags(flags: list[str], processes: int) -> None:
    assert most_processes(parse_build_flags([*NEEDED, *flags])[1], "max_requests_per_second") == processes


@pytest.mark.parametrize(
    ("flags", "to_add"),
    [
        ([*DATAFLOW, "--machine_type=n1-standard-4"], "--max_num_workers=N"),
        ([*DATAFLOW, "--num_workers=4", "--machine_type=n1-standard-4"], "--max_num_workers=N"),
        ([*DATAFLOW, "--max_num_workers=4"], "--machine_type"),
        ([*DATAFLOW, "--max_num_workers=4", "--machine_type=a2-highgpu-1g"], "--machine_type"),
        (["--runner=FlinkRunner", "--flink_master=flink:8081"], "--parallelism=N"),
        (
            ["--runner=PortableRunner", "--parallelism=2", "--sdk_worker_parallelism=0"],
            "--sdk_worker_parallelism=N",
        ),
        (["--runner=SparkRunner"], "Leave it out"),
        (["--runner=PrismRunner", "--environment_type=DOCKER"], "Leave it out"),
    ],
)
@pytest.mark.parametrize("limit", ["--max_requests_per_second=10", "--max_requests_in_flight=10"])
def test_what_is_left_open_is_refused(flags: list[str], to_add: str, limit: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        build_settings(*parse_build_flags([*NEEDED, *flags, limit]))
    assert to_add in str(caught.value)
    assert limit.partition("=")[0] in str(caught.value)
    build_settings(*parse_build_flags([*NEEDED, *flags]))  # without a limit it does not matter


def test_shares() -> None:
    four = [*NEEDED, *MANY, "--direct_num_workers=4"]
    settings = build_settings(
        *parse_build_flags([*four, "--max_requests_per_second=50", "--max_requests_in_flight=11"])
    )
    assert settings.requests_per_second == 12.5
    assert settings.reads_in_flight == 2
    none = build_settings(*parse_build_flags(four))
    assert none.requests_per_second is None
    assert none.reads_in_flight == 8
    wide = build_settings(*parse_build_flags([*four, "--max_requests_in_flight=1000", "--reads_in_flight=5"]))
    assert wide.reads_in_flight == 5
    with pytest.raises(InvalidInputError, match=r"each of the 4 worker processes.* Received: 3"):
        build_settings(*parse_build_flags([*four, "--max_requests_in_flight=3"]))
    for bad in ("0", "-1", "nan", "inf"):
        with pytest.raises(InvalidInputError, match="--max_requests_per_second must lie above 0"):
            build_settings(*parse_build_flags([*four, f"--max_requests_per_second={bad}"]))
