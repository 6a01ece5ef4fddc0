"""Where a job's workers are, by its flags, and what is found out before they start."""

import socket
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import JobServerOptions, PortableOptions

from beam_pipeline.build_dataset import main
from beam_pipeline.jobs import runners
from beam_pipeline.jobs.build.options import parse_build_flags
from beam_pipeline.jobs.engines import cause_of, run_job
from beam_pipeline.jobs.runners import make_pipeline, runner_name, runs_locally
from beam_pipeline.runtime.faults import InvalidInputError

NEEDED = ["--output", "out", "--osm", "a.osm.pbf"]
PORTABLE = "--runner=PortableRunner"
FLINK = "--runner=FlinkRunner"


@pytest.mark.parametrize(
    ("flags", "here"),
    [
        ([], True),
        (["--runner=DirectRunner"], True),
        (["--runner=PrismRunner"], True),
        (["--runner=PrismRunner", "--environment_type=docker"], False),
        ([FLINK], True),
        ([FLINK, "--flink_master=[local]"], True),
        ([FLINK, "--flink_master=[local]", "--environment_type=DOCKER"], False),
        ([FLINK, "--flink_master=[auto]", "--environment_type=PROCESS"], True),
        ([FLINK, "--flink_master=flink:8081"], False),
        ([FLINK, "--flink_master=https://flink:8081", "--environment_type=PROCESS"], False),
        ([FLINK, "--flink_master=localhost:8081"], False),  # Beam takes containers
        ([FLINK, "--flink_master=http://localhost:8081", "--environment_type=PROCESS"], True),
        ([FLINK, "--flink_master=flink:8081", "--environment_type=LOOPBACK"], True),
        ([FLINK, "--job_endpoint=flink:8099", "--environment_type=EXTERNAL"], False),
        ([PORTABLE, "--job_endpoint=localhost:8099"], False),
        ([PORTABLE, "--job_endpoint=localhost:8099", "--environment_type=PROCESS"], True),
        ([PORTABLE, "--job_endpoint=127.0.0.7:8099", "--environment_type=EXTERNAL"], True),
        ([PORTABLE, "--job_endpoint=[::1]:8099", "--environment_type=EXTERNAL"], True),
        ([PORTABLE, "--job_endpoint=10.0.0.7:8099", "--environment_type=EXTERNAL"], False),
        ([PORTABLE, "--job_endpoint=localhost.example:8099", "--environment_type=PROCESS"], False),
        ([PORTABLE, "--job_endpoint=flink:8099", "--environment_type=LOOPBACK"], True),
        (["--runner=SparkRunner"], False),
        (["--runner=DataflowRunner"], False),
    ],
)
def test_where_the_workers_are(flags: list[str], here: bool) -> None:
    assert runs_locally(parse_build_flags([*NEEDED, *flags])[1]) is here


def test_a_sample_is_refused_where_workers_do_not_see_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = ["--sample", "--output", str(tmp_path / "set")]
    for flags in ([FLINK, "--flink_master=flink:8081"], [FLINK, "--environment_type=DOCKER"]):
        assert main([*sample, *flags]) == 2
        assert "--sample works where the workers are on this machine" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_a_job_server_that_does_not_answer_is_found_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "_LONGEST_CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as dumb:  # takes connections, and says nothing
        for endpoint in (f"localhost:{dumb.getsockname()[1]}", "localhost:1", "localhost", "no host:http"):
            flags = [PORTABLE, f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK"]
            assert main(["--sample", "--output", str(tmp_path / "set"), *flags]) == 2
            said = capsys.readouterr().err
            assert "--job_endpoint must be HOST:PORT of a job server" in said
            assert said.endswith(f"Received: {endpoint}\n")
    assert not (tmp_path / "set").exists()


def test_a_runner_that_cannot_be_started_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # Beam tries three times
    jar = tmp_path / "no.jar"
    jar.write_text("#!/bin/sh\necho of another Java >&2\nexit 1\n")
    jar.chmod(0o755)
    options = parse_build_flags([*NEEDED, FLINK, f"--flink_job_server_jar={jar}"])[1]
    options.view_as(JobServerOptions).job_server_java_launcher = str(jar)
    pipeline = make_pipeline(options)
    pipeline | beam.Create([1])
    with pytest.raises(
        InvalidInputError, match=r"--runner cannot be used: .*error 1; it said: of another Java\. Rec"
    ):
        run_job(pipeline)


def test_no_job_is_given_up_while_it_runs() -> None:
    for flags in ([], ["--runner=PrismRunner", "--job_server_timeout=5"]):
        options = parse_build_flags([*NEEDED, *flags])[1]
        assert options.view_as(PortableOptions).job_server_timeout > 30 * 24 * 3600


def test_several_processes_are_wanted_of_the_runner_that_has_them() -> None:
    several = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    options = parse_build_flags([*NEEDED, "--runner=DirectRunner", *several])[1]
    assert runner_name(options) == "FnApiRunner"


JAVA = """\
org.apache.flink.runtime.client.JobExecutionException: Job execution failed.
\tat org.apache.flink.runtime.jobmaster.JobResult.toJobExecutionResult(JobResult.java:144)
Caused by: org.apache.flink.runtime.JobException: Recovery is suppressed by NoRestartBackoffTimeStrategy
\tat org.apache.flink.runtime.executiongraph.failover.ExecutionFailureHandler.handleFailure(...)
\t... 4 more
Caused by: java.util.concurrent.TimeoutException: Heartbeat of TaskManager with id localhost:33725-b34719 timed out.
\tat org.apache.flink.runtime.jobmaster.JobMaster.notifyHeartbeatTimeout(JobMaster.java:1447)
"""

PYTHON = """\
Pipeline job-001 failed in state FAILED: bundle inst004 stage-007 failed:Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
MemoryError: out of memory

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/work/transforms.py", line 31, in work
    raise MemoryError("out of memory")
MemoryError: out of memory [while running 'WriteUnits/WriteShards/ParDo(_Write)']
"""


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("CANCELLED: client cancelled", "CANCELLED: client cancelled"),
        (
            JAVA,
            "java.util.concurrent.TimeoutException: Heartbeat of TaskManager with id localhost:33725-b34719 timed out.",
        ),
        (PYTHON, "MemoryError: out of memory [while running 'WriteUnits/WriteShards/ParDo(_Write)']"),
        ("\tat a.b(C.java)", "at a.b(C.java)"),
        ("", "no cause was given"),
    ],
)
def test_the_cause_is_the_line_that_names_it(text: str, cause: str) -> None:
    assert cause_of(text) == cause
