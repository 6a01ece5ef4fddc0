"""Images built without a registry: stand-ins for the two base images, and ours on top of them.

The stand-in for Beam's image is a Debian of debootstrap with the packages that Beam's own list of that image pins, and
Beam's own program that starts workers, which Go's module proxy has. The stand-in for Google's launcher is a script
that does with parameters what the launcher's logs show. Needs root, debootstrap, buildah and Go.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("debootstrap", "buildah", "go")
BEAM_STAND_IN = "localhost/beam-stand-in"
LAUNCHER_STAND_IN = "localhost/launcher-stand-in"
LAUNCHER = "opt/google/dataflow/python_template_launcher"
CERTIFICATES = "/etc/ssl/certs"

_LAUNCHER_SCRIPT = '#!/bin/sh\nexec python "$FLEX_TEMPLATE_PYTHON_PY_FILE" "$@"\n'
_PIP_CONF = f"[global]\ncert = {CERTIFICATES}/ca-certificates.crt\ndisable-pip-version-check = true\n"


def missing() -> str:
    """Says what is missing on this machine; "" where images can be built."""
    absent = [program for program in NEEDED if shutil.which(program) is None]
    if os.geteuid() != 0:
        return "needs root, as debootstrap does"
    return f"needs {', '.join(absent)}: apt-get install debootstrap buildah golang" if absent else ""


def run(*command: str | Path, **settings: object) -> str:
    """Runs a command and returns what it printed; fails with what it said."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **settings)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return str(done.stdout)


class Images:
    """A store of images below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def options(self) -> list[str]:
        """Of every call of buildah: a store of its own, and none of the machine's."""
        return [f"--root={self.folder / 'store'}", f"--runroot={self.folder / 'run'}"]

    def buildah(self, *words: str | Path) -> str:
        return run("buildah", *self.options, *words)

    def has(self, name: str) -> bool:
        return any(
            name in (image.get("names") or [""])[0]
            for image in json.loads(self.buildah("images", "--json") or "[]")
        )

    @contextlib.contextmanager
    def container(self, image: str) -> Iterator[tuple[str, Path]]:
        """Yields a container's name, and where its files lie on this machine."""
        name = self.buildah("from", image).strip()
        try:
            yield name, Path(self.buildah("mount", name).strip())
        finally:
            self.buildah("umount", name)
            self.buildah("rm", name)

    def commit(self, container: str, image: str) -> None:
        self.buildah("commit", "--quiet", "--format=docker", container, image)

    def command(self, container: str, environment: dict[str, str], *words: str) -> list[str]:
        """Returns the command that runs words in a container, which shares nothing with others but the network."""
        given = [f"--env={name}={value}" for name, value in environment.items()]
        return ["buildah", *self.options, "run", "--isolation=chroot", *given, container, "--", *words]


def make_stand_ins(images: Images) -> None:
    """Makes both stand-ins, if the store has none."""
    if not images.has(LAUNCHER_STAND_IN):
        with images.container("scratch") as (container, files):
            script = files / LAUNCHER
            script.parent.mkdir(parents=True)
            script.write_text(_LAUNCHER_SCRIPT)
            script.chmod(0o755)
            images.commit(container, LAUNCHER_STAND_IN)
    if not images.has(BEAM_STAND_IN):
        with images.container("scratch") as (container, files):
            _fill_beam(files, images.folder)
            images.commit(container, BEAM_STAND_IN)


def beam_version() -> str:
    """Returns the version of Beam that workers have."""
    (pin,) = re.findall(r"(?m)^apache-beam==(\S+)$", (ROOT / "templates/requirements-worker.txt").read_text())
    return str(pin)


def install_boot(folder: Path) -> Path:
    """Installs Beam's program that is the entrypoint of its images, and returns its path."""
    module = f"github.com/apache/beam/sdks/v2/python/container@v{beam_version()}"
    run("go", "install", module, env={**os.environ, "GOBIN": str(folder)})
    return folder / "container"


def _fill_beam(files: Path, scratch: Path) -> None:
    run(
        "debootstrap", "--variant=minbase", "--include=python3,python3-pip,ca-certificates", "bookworm", files
    )
    (files / "usr/bin/python").symlink_to("python3.11")
    (files / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink()
    boot = files / "opt/apache/beam/boot"
    boot.parent.mkdir(parents=True)
    shutil.copy(install_boot(scratch), boot)
    pin = beam_version()
    module = json.loads(run("go", "mod", "download", "-json", f"github.com/apache/beam/sdks/v2@v{pin}"))
    pins = Path(module["Dir"], "python/container/py311/base_image_requirements.txt")
    target = files / "usr/local/lib/python3.11/dist-packages"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", target)
    run(*pip, "--requirement", pins, f"apache-beam=={pin}")
    for folder in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(files / folder)


def build_image(images: Images, entry: str, scratch: Path) -> str:
    """Has build.sh build an image on the stand-ins, with programs in place of docker and gcloud; returns its name."""
    programs = scratch / "programs"
    programs.mkdir()
    (scratch / "pip.conf").write_text(_PIP_CONF)
    mounts = f"--volume={CERTIFICATES}:{CERTIFICATES}:ro --volume={scratch}/pip.conf:/etc/pip.conf:ro"
    build = f"buildah {' '.join(images.options)} build --isolation=chroot --format=docker {mounts}"
    for name, script in (
        ("builder", f'[ "$1" = push ] && exit 0\nshift\nexec {build} "$@"\n'),
        ("gcloud", "exit 0\n"),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{script}")
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "BUILDER": "builder",
        "BEAM_IMAGE": BEAM_STAND_IN,
        "LAUNCHER_IMAGE": LAUNCHER_STAND_IN,
        "TAG": "test",
    }
    said = run(ROOT / "templates/build.sh", entry, "localhost", "gs://bucket/templates", env=environment)
    (image,) = re.findall(r"(?m)^image: +(\S+)$", said)
    return str(image)
