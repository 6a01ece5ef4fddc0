"""A Flink of our own: the jars of `pom.xml`, brought by Maven once, and a standalone cluster of separate processes.

python -m tests.engines.flink job-server.jar    # writes what --flink_job_server_jar takes
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
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

from beam_pipeline.runtime.cache import cache_folder

ROOT = Path(__file__).parents[2]
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
    "network.min": 128,
    "network.max": 128,
    "managed.size": 128,
    "framework.heap.size": 128,
    "framework.off-heap.size": 128,
    "jvm-metaspace.size": 256,
    "jvm-overhead.min": 192,
    "jvm-overhead.max": 192,
}
"""Of a TaskManager, MiB. Flink's own scripts work it out from `taskmanager.memory.process.size`."""

HEARTBEAT_TIMEOUT_MS = 8_000


class NotThereError(Exception):
    """Flink cannot be had on this machine; says why."""


def flink_libraries() -> Path:
    """Returns the folder of the jars, which are brought once into the user's cache."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise NotThereError(f"{program} is not installed: apt-get install openjdk-17-jre-headless maven")
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
                raise NotThereError(f"Maven could not bring Beam's Flink runner: {said}")
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


def process_workers(folder: Path) -> tuple[list[str], Path]:
    """Returns the flags of a job whose workers are processes, and the file that gets a line for each start of one."""
    script, started = folder / "worker", folder / "workers.txt"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {started}\ncd {ROOT}\n'
        f'exec {sys.executable} -m beam_pipeline.jobs.process_worker "$@"\n'
    )
    script.chmod(0o755)
    config = json.dumps({"command": str(script)})
    return ["--environment_type=PROCESS", f"--environment_config={config}"], started


class FlinkCluster:
    """A JobManager, TaskManagers of one slot each, and Beam's job server in front of them.

    Args:
        folder: Of configuration, logs and what is staged; made here.
        libraries: From `flink_libraries`.
        settings: Of Flink's, beside those that it needs.
    """

    def __init__(self, folder: Path, libraries: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self._libraries = libraries
        self._rest, rpc, *self._job_ports = free_ports(5)
        self._running = contextlib.ExitStack()
        self._task_managers: list[subprocess.Popen[bytes]] = []
        whole = {
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": rpc,
            "rest.address": "localhost",
            "rest.port": self._rest,
            "taskmanager.host": "localhost",
            "taskmanager.numberOfTaskSlots": 1,
            # Beam's classes are the cluster's own: so a TaskManager keeps its workers between two stages.
            "classloader.resolve-order": "parent-first",
            "heartbeat.interval": 2_000,
            "heartbeat.timeout": HEARTBEAT_TIMEOUT_MS,
            "io.tmp.dirs": str(folder / "tmp"),
            **settings,
        }
        for name in ("conf", "tmp"):
            (folder / name).mkdir(parents=True)
        for name in ("config.yaml", "flink-conf.yaml"):
            (folder / "conf" / name).write_text("".join(f"{key}: {value}\n" for key, value in whole.items()))
        self._configured = ("--configDir", str(folder / "conf"))
        self._worker_flags, self._workers = process_workers(folder)

    def start(self, task_managers: int) -> None:
        self._java("job-manager", JOB_MANAGER, *self._configured)
        for _ in range(task_managers):
            self.start_task_manager()
        job, artifact, expansion = map(str, self._job_ports)
        self._java(
            "job-server",
            JOB_SERVER,
            *("--flink-master", f"localhost:{self._rest}", "--artifacts-dir", str(self.folder / "artifacts")),
            *("--job-port", job, "--artifact-port", artifact, "--expansion-port", expansion),
        )
        wait_for("all TaskManagers", lambda: self.free_slots() == task_managers)
        wait_for("the job server", lambda: answers(self._job_ports[0]))

    def stop(self) -> None:
        self._running.close()

    def start_task_manager(self) -> None:
        sizes = [f"taskmanager.memory.{name}={size * MIB}b" for name, size in MEMORY.items()]
        more = [word for one in ("taskmanager.cpu.cores=1.0", *sizes) for word in ("-D", one)]
        name = f"task-manager-{len(self._task_managers)}"
        self._task_managers.append(self._java(name, TASK_MANAGER, *self._configured, *more))

    def kill_task_manager(self) -> None:
        """Kills the first one and its workers, -9, as a machine does that is gone."""
        victim = self._task_managers[0]
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()

    def job_flags(self, parallelism: int) -> list[str]:
        """The flags of a job that runs here, with a worker process for each TaskManager."""
        return [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{self._job_ports[0]}",
            f"--parallelism={parallelism}",
            *self._worker_flags,
            "--environment_cache_millis=60000",
        ]

    def ask(self, path: str) -> Any:
        """Asks the JobManager's REST API, which its page in the browser shows."""
        with urllib.request.urlopen(f"http://localhost:{self._rest}{path}", timeout=10) as answer:
            return json.load(answer)

    def free_slots(self) -> int:
        try:
            return int(self.ask("/overview")["slots-available"])
        except (urllib.error.URLError, ConnectionError):
            return 0

    def workers(self) -> list[str]:
        """The arguments with which each worker was started."""
        return self._workers.read_text().splitlines()

    def _java(self, name: str, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Runs a program of the jars in a process group of its own, to which its workers belong."""
        opened = [f"--add-opens={one}=ALL-UNNAMED" for one in OPENED]
        # What a short run gains nothing from costs the other processes their cores.
        quick = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        command = ["java", *quick, *opened, "-cp", f"{self._libraries}/*", main, *arguments]
        log = self._running.enter_context((self.folder / f"{name}.log").open("w"))
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(self.folder / "tmp")},
            start_new_session=True,
        )
        self._running.callback(_end, process)
        return process


@contextlib.contextmanager
def flink_cluster(
    folder: Path, libraries: Path, settings: Mapping[str, Any] | None = None
) -> Iterator[FlinkCluster]:
    """Starts a cluster of two TaskManagers, and ends all of it."""
    cluster = FlinkCluster(folder, libraries, settings or {})
    try:
        cluster.start(2)
        yield cluster
    finally:
        cluster.stop()


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    try:
        jars = [*flink_libraries().iterdir()]
        make_job_server(flink_libraries(), Path(sys.argv[1]))
        print(f"names {len(jars)} jars, {sum(jar.stat().st_size for jar in jars) / 1e6:.0f} MB")
    except NotThereError as missing:
        sys.exit(f"error: {missing}")
