"""A Flink of our own: the jars of `pom.xml`, brought by Maven once, and a standalone cluster of separate processes."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.runtime.cache import cache_folder

POM = Path(__file__).with_name("pom.xml")

# What Flink and Beam look into, which Java has closed since 17.
# Source: env.java.opts.all in flink-dist/src/main/resources/config.yaml of Flink 1.19
OPENED = [
    f"java.base/{package}"
    for package in (
        *("java.lang", "java.util", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect"),
        *("java.text", "java.time", "java.util.concurrent", "java.util.concurrent.atomic"),
        "java.util.concurrent.locks",
    )
]

JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"

MIB = 1 << 20
MEMORY = {
    "task.heap.size": 384,
    "task.off-heap.size": 0,
    "network.min": 64,
    "network.max": 64,
    "managed.size": 128,
    "framework.heap.size": 128,
    "framework.off-heap.size": 128,
    "jvm-metaspace.size": 256,
    "jvm-overhead.min": 192,
    "jvm-overhead.max": 192,
}
"""Of a TaskManager, MiB. Flink's own scripts work it out from `taskmanager.memory.process.size`."""

HEARTBEAT_TIMEOUT_MS = 8_000


def flink_libraries() -> Path:
    """Returns the folder of the jars, which are brought once into the user's cache; skips where that cannot be."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install openjdk-17-jre-headless maven")
    folder = cache_folder(f"engines/flink-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            aside = folder.with_suffix(".part")
            shutil.rmtree(aside, ignore_errors=True)
            wanted = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={aside}")
            brought = subprocess.run(
                ["mvn", "-q", "-B", "-f", str(POM), *wanted], capture_output=True, text=True, check=False
            )
            if brought.returncode != 0:
                said = " ".join(brought.stdout.split())[:300]
                pytest.skip(f"Maven could not bring Beam's Flink runner: {said}")
            aside.rename(folder)
    return folder


def make_job_server(libraries: Path, jar: Path) -> Path:
    """Writes a jar that holds nothing but which others are to be loaded: `java -jar` starts Beam's job server."""
    manifest = {
        "Manifest-Version": "1.0",
        "Main-Class": JOB_SERVER,
        "Add-Opens": " ".join(OPENED),
        "Class-Path": " ".join(sorted(path.as_uri() for path in libraries.iterdir())),
    }
    with zipfile.ZipFile(jar, "w") as file:
        file.writestr("META-INF/MANIFEST.MF", "".join(f"{_folded(k, v)}\r\n" for k, v in manifest.items()))
    return jar


def _folded(key: str, value: str) -> str:
    """Returns an attribute in lines of at most 72 bytes. Source: the JAR File Specification."""
    line = f"{key}: {value}"
    rest = [line[start : start + 71] for start in range(72, len(line), 71)]
    return "\r\n ".join([line[:72], *rest])


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def wait_for(what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclasses.dataclass
class FlinkCluster:
    """A JobManager, TaskManagers of one slot each, and Beam's job server in front of them.

    Attributes:
        folder: Of configuration, logs and what is staged.
        libraries: The jars.
        ports: Of the JobManager's REST API, its RPC, and the three services of Beam's job server.
        task_managers: Their processes.
    """

    folder: Path
    libraries: Path
    ports: list[int]
    task_managers: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)

    @property
    def job_flags(self) -> list[str]:
        """The flags of a job that runs here, with a worker process for each TaskManager."""
        return [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{self.ports[2]}",
            f"--parallelism={len(self.task_managers)}",
            "--environment_type=PROCESS",
            "--environment_config=" + json.dumps({"command": str(self._worker_script())}),
        ]

    def get(self, path: str) -> Any:
        """Asks the JobManager's REST API."""
        with urllib.request.urlopen(f"http://localhost:{self.ports[0]}{path}", timeout=10) as answer:
            return json.load(answer)

    def slots(self) -> int:
        try:
            return int(self.get("/overview")["slots-total"])
        except (urllib.error.URLError, ConnectionError):
            return 0

    def _worker_script(self) -> Path:
        script = self.folder / "worker"
        if not script.exists():
            # A TaskManager's worker must end with it, or a killed one would leave its own behind.
            script.write_text(f'#!/bin/sh\nexec {sys.executable} -m beam_pipeline.jobs.process_worker "$@"\n')
            script.chmod(0o755)
        return script


@contextlib.contextmanager
def flink_cluster(
    folder: Path, task_managers: int, more: Mapping[str, Any] | None = None
) -> Iterator[FlinkCluster]:
    """Starts a standalone cluster with a job server, and ends all of it.

    Args:
        folder: For its files; made here.
        task_managers: How many there are.
        more: Settings of Flink's beside those that it needs.
    """
    libraries = flink_libraries()
    cluster = FlinkCluster(folder, libraries, free_ports(5))
    rest, rpc, job, artifact, expansion = cluster.ports
    settings = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": rpc,
        "rest.address": "localhost",
        "rest.port": rest,
        "taskmanager.host": "localhost",
        "taskmanager.numberOfTaskSlots": 1,
        "heartbeat.interval": 2_000,
        "heartbeat.timeout": HEARTBEAT_TIMEOUT_MS,
        "akka.ask.timeout": "10 s",
        "io.tmp.dirs": str(folder / "tmp"),
        **(more or {}),
    }
    (folder / "conf").mkdir(parents=True)
    (folder / "tmp").mkdir()
    for name in ("config.yaml", "flink-conf.yaml"):
        (folder / "conf" / name).write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    configured = ("--configDir", str(folder / "conf"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(_java(cluster, "job-manager", JOB_MANAGER, *configured))
        wait_for("the JobManager", lambda: answers(rest))
        for number in range(task_managers):
            manager = _java(cluster, f"task-manager-{number}", TASK_MANAGER, *configured, *_memory())
            cluster.task_managers.append(stack.enter_context(manager))
        stack.enter_context(
            _java(
                cluster,
                "job-server",
                JOB_SERVER,
                *("--flink-master", f"localhost:{rest}", "--artifacts-dir", str(folder / "artifacts")),
                *(
                    "--job-port",
                    str(job),
                    "--artifact-port",
                    str(artifact),
                    "--expansion-port",
                    str(expansion),
                ),
            )
        )
        wait_for("all TaskManagers", lambda: cluster.slots() == task_managers)
        wait_for("the job server", lambda: answers(job))
        yield cluster


def _memory() -> list[str]:
    sizes = [f"taskmanager.memory.{name}={size * MIB}b" for name, size in MEMORY.items()]
    return [word for one in ("taskmanager.cpu.cores=1.0", *sizes) for word in ("-D", one)]


@contextlib.contextmanager
def _java(cluster: FlinkCluster, name: str, main: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program of the jars in a process group of its own, to which its workers belong."""
    opened = [f"--add-opens={one}=ALL-UNNAMED" for one in OPENED]
    command = ["java", "-Xmx512m", *opened, "-cp", f"{cluster.libraries}/*", main, *arguments]
    with (cluster.folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TMPDIR": str(cluster.folder / "tmp")},
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)  # the workers
