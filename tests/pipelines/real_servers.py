"""Servers that others wrote, started for a test on a free local port and stopped behind it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

WAIT_S = 60.0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def find_program(name: str, advice: str, folders: Sequence[str] = ()) -> str:
    """The path of a program; skips the test where it is not installed."""
    path = os.pathsep.join([*folders, sysconfig.get_path("scripts"), os.environ["PATH"], "/usr/sbin"])
    program = shutil.which(name, path=path)
    if program is None:
        pytest.skip(f"needs {name}: {advice}")
    return program


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, ready_url: str, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Runs a server until the block ends; fails with its log where it does not answer."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env={**os.environ, **(environment or {})}
        )
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                with urllib.request.urlopen(ready_url, timeout=5):
                    break
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError):
                    break  # it answers
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} gave no answer: {log.read_text()[-2000:]}") from error
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def rustac(content: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """A STAC API of rustac's memory backend, of a collection or a FeatureCollection of items; gives its URL."""
    program = find_program("rustac", "pip install -r tests/requirements.txt")
    path = folder / "content.json"
    path.write_text(json.dumps(content))
    address = f"127.0.0.1:{free_port()}"
    command = [program, "serve", str(path), "--create-collections", "--addr", address]
    with running(command, folder / "rustac.log", f"http://{address}/"):
        yield f"http://{address}"


@contextlib.contextmanager
def nginx(root: Path, folder: Path) -> Iterator[str]:
    """An nginx that serves a folder; gives its URL. Its log says every range that was sent."""
    program = find_program("nginx", "apt-get install nginx")
    port = free_port()
    config = folder / "nginx.conf"
    # As root it would hand over to a user who may not read a test's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(f"""
daemon off; {user} worker_processes 2; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format ranges '$request_method $uri $status $body_bytes_sent "$http_range"';
    access_log {folder}/access.log ranges;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
""")
    command = [program, "-c", str(config), "-e", str(folder / "start.log")]
    with running(command, folder / "nginx.log", f"http://127.0.0.1:{port}/"):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[dict[str, str]]:
    """A PostgreSQL with PostGIS, empty; gives the PG* variables of a client. Skips where either is missing."""
    advice = "apt-get install postgresql-15 postgresql-15-postgis-3"
    bins = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    initdb, server = (find_program(name, advice, bins) for name in ("initdb", "postgres"))
    share = Path(server).resolve().parents[1] / "share"
    extensions = [Path(f"/usr/share/postgresql/{share.parent.name}/extension"), share / "extension"]
    if not any((path / "postgis.control").is_file() for path in extensions):
        pytest.skip(f"needs PostGIS: {advice}")
    # PostgreSQL refuses to run as root, and another user may not enter a test's folder.
    other = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp") as home:
        if other:
            shutil.chown(home, other["user"], other["group"])
        data, port = f"{home}/data", str(free_port())
        create = [initdb, "-D", data, "-U", "tests", "-A", "trust", "-E", "UTF8"]
        subprocess.run(create, check=True, capture_output=True, cwd=home, **other)
        client = {"PGHOST": "127.0.0.1", "PGPORT": port, "PGUSER": "tests", "PGPASSWORD": "-"}
        client["PGDATABASE"] = "postgres"
        command = [server, "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1"]
        command += ["-c", "unix_socket_directories=", "-c", "fsync=off"]
        with (folder / "postgres.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, **other)
        try:
            ready = [find_program("pg_isready", advice, bins), "-q"]
            deadline = time.monotonic() + WAIT_S
            while subprocess.run(ready, env={**os.environ, **client}, check=False).returncode:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"no PostgreSQL: {(folder / 'postgres.log').read_text()[-2000:]}")
                time.sleep(0.1)
            yield client
        finally:
            process.send_signal(signal.SIGINT)  # stops without waiting for clients
            process.wait(30)


@contextlib.contextmanager
def pgstac(items: Sequence[Mapping[str, Any]], collection: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """stac-fastapi-pgstac on a PostgreSQL of its own; gives its URL."""
    advice = (
        "its packages clash with the lock, so it takes a venv of its own: python -m venv V; V/bin/pip install "
        "stac-fastapi.pgstac==7.2.0 'pypgstac[psycopg]==0.10.0' uvicorn; PGSTAC_VENV=V python -m pytest -m servers"
    )
    bins = [f"{os.environ['PGSTAC_VENV']}/bin"] if "PGSTAC_VENV" in os.environ else []
    pypgstac, uvicorn = (find_program(name, advice, bins) for name in ("pypgstac", "uvicorn"))
    (folder / "collections.ndjson").write_text(json.dumps(collection) + "\n")
    (folder / "items.ndjson").write_text("".join(json.dumps(item) + "\n" for item in items))
    with postgres(folder) as client:
        for step in (
            ["migrate"],
            ["load", "collections", str(folder / "collections.ndjson")],
            ["load", "items", str(folder / "items.ndjson")],
        ):
            done = subprocess.run(
                [pypgstac, *step], env={**os.environ, **client}, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        port = str(free_port())
        command = [uvicorn, "--factory", "stac_fastapi.pgstac.app:create_app", "--port", port]
        url = f"http://127.0.0.1:{port}"
        with running(command, folder / "pgstac.log", f"{url}/", client):
            yield url
