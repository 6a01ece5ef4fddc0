"""The number of processes of a job, and the flag that is asked for where nothing says it."""

import os

import pytest

from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.worker_processes import most_processes, most_threads_on_dataflow
from beam_pipeline.runtime.faults import InvalidInputError

NEEDED = ["--output", "out", "--osm", "a.osm.pbf"]
DATAFLOW = ["--runner=DataflowRunner", "--project=p", "--region=europe-west1", "--temp_location=gs://b/tmp"]
THREADS = "--number_of_worker_harness_threads=5"
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
        (["--runner=FlinkRunner", "--flink_master=flink:8081"], "--parallelism=N"),
        (
            ["--runner=PortableRunner", "--parallelism=2", "--sdk_worker_parallelism=0"],
            "--sdk_worker_parallelism=N",
        ),
        (["--runner=SparkRunner"], "Leave it out"),
        (["--runner=PrismRunner", "--environment_type=DOCKER"], "Leave it out"),
    ],
)
@pytest.mark.parametrize(
    "limit",
    ["--max_requests_per_second=10", "--max_api_requests_per_second=10", "--max_requests_in_flight=10"],
)
def test_what_is_left_open_is_refused(flags: list[str], to_add: str, limit: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        build_settings(*parse_build_flags([*NEEDED, *flags, limit]))
    assert to_add in str(caught.value)
    assert limit.partition("=")[0] in str(caught.value)
    build_settings(*parse_build_flags([*NEEDED, *flags]))  # without a limit it does not matter


@pytest.mark.parametrize(
    ("flags", "threads"),
    [
        (["--max_num_workers=50", "--machine_type=n1-standard-4", THREADS], 1000),
        (["--max_num_workers=3", "--machine_type=n2d-highmem-16", THREADS], 240),
        (["--max_num_workers=3", "--machine_type=c3-standard-4-lssd", THREADS], 60),
        (["--max_num_workers=3", "--machine_type=custom-2-7680", THREADS], 30),
        (["--max_num_workers=3", "--machine_type=n2-custom-6-7680", THREADS], 90),
        (["--max_num_workers=3", "--machine_type=e2-medium", THREADS], 30),
        (["--max_num_workers=3", "--machine_type=zones/z/machineTypes/n1-standard-2", THREADS], 30),
        (["--max_num_workers=3", "--experiments=no_use_multiple_sdk_containers", THREADS], 15),
        (
            [
                *("--num_workers=5", "--autoscaling_algorithm=NONE", THREADS),
                *("--experiments=shuffle_mode=service", "--experiments=no_use_multiple_sdk_containers"),
            ],
            25,
        ),
        (["--max_num_workers=50", "--machine_type=n1-standard-4"], None),
        (["--machine_type=n1-standard-4", THREADS], None),
        (["--num_workers=4", "--machine_type=n1-standard-4", THREADS], None),
        (["--max_num_workers=4", THREADS], None),
        (["--max_num_workers=4", "--machine_type=a2-highgpu-1g", THREADS], None),
    ],
)
def test_threads_by_the_flags_of_dataflow(flags: list[str], threads: int | None) -> None:
    assert most_threads_on_dataflow(parse_build_flags([*NEEDED, *DATAFLOW, *flags])[1]) == threads
