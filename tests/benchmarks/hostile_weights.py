"""Peak memory and CPU of reading checkpoints of strangers that are small and claim to be large.

    python tests/benchmarks/hostile_weights.py [--check] [--code FOLDER]

A sound checkpoint of the tiny net is changed in one place and is loaded as evaluate.py and train.py load it, each in
a process of its own. The first row is the sound one: what Keras and TensorFlow take. `--code` is the root of another
version of the code, to compare. Under --check the exit code is 1 when a bound is missed.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import h5py
import keras

from model_tf.network.archive import CONFIG_FILE, WEIGHTS_FILE
from model_tf.network.hrnet import build_hrnet
from model_tf.training.checkpoints import TrainState, save_last

ROOT = Path(__file__).resolve().parents[2]

MOST_MORE_MIB = 64
"""Bytes that a hostile checkpoint may take beyond the sound one."""

MOST_MORE_S = 1.0
"""CPU seconds likewise."""

_CLAIMED = 1 << 31  # bytes

_LOAD = """
import os, resource, sys
sys.path.insert(0, os.getcwd())
import keras
from model_tf.network.hrnet import build_hrnet
from model_tf.training.checkpoints import load_last
import model_tf.evaluation.trained_net as trained_net
from model_tf.training.settings import TrainSettings
kind, folder = sys.argv[1:]
model = build_hrnet("tiny", 15)
optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
model.compile(optimizer=optimizer, loss="mse")
optimizer.build(model.trainable_variables)
class Run:
    settings, categories = TrainSettings(width="tiny"), range(15)
def usage():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_maxrss / 1024, used.ru_utime + used.ru_stime
_, before = usage()
try:
    load_last(model, folder) if kind == "train" else trained_net.load_net(folder, Run, "last")
    said = "loaded"
except Exception as error:
    said = f"{type(error).__name__}: {error}".partition("(")[2].split(")")[0] or str(error)
peak, after = usage()
print("MEASURED", peak, after - before, said.partition(chr(10))[0][:80], sep="|")
"""


def sound_checkpoint(folder: Path) -> dict[str, bytes]:
    """Returns the members of a `last.keras` of the tiny net."""
    model = build_hrnet("tiny", 15, seed=1)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer=optimizer, loss="mse")
    optimizer.build(model.trainable_variables)
    save_last(model, TrainState(), str(folder))
    with zipfile.ZipFile(folder / "last.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_claim(prefix: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    """Returns what replaces one of the weights by one that claims 2 GiB, of which none is in the file."""

    def change(members: dict[str, bytes]) -> dict[str, bytes]:
        buffer = io.BytesIO(members[WEIGHTS_FILE])
        with h5py.File(buffer, "r+") as weights:
            names: list[str] = []
            weights.visititems(lambda name, it: names.append(name) if isinstance(it, h5py.Dataset) else None)
            name = max((it for it in names if it.startswith(prefix)), key=lambda it: weights[it].size)
            rank = weights[name].ndim
            del weights[name]
            shape = (_CLAIMED // 4, *[1] * (rank - 1))
            weights.create_dataset(name, shape, "f4", chunks=(1 << 20, *[1] * (rank - 1)), compression="gzip")
        return {**members, WEIGHTS_FILE: buffer.getvalue()}

    return change


CASES: dict[str, tuple[Callable[[dict[str, bytes]], dict[str, bytes]], int]] = {
    "sound": (lambda members: members, zipfile.ZIP_STORED),
    "a weight claims 2 GiB": (with_claim("layers/"), zipfile.ZIP_STORED),
    "a momentum claims 2 GiB": (with_claim("optimizer/"), zipfile.ZIP_STORED),
    "state.json unpacks to 1 GiB": (
        lambda members: {**members, "state.json": bytes(1 << 30)},
        zipfile.ZIP_DEFLATED,
    ),
    "config.json unpacks to 1 GiB": (
        lambda members: {**members, CONFIG_FILE: bytes(1 << 30)},
        zipfile.ZIP_DEFLATED,
    ),
}


def main() -> int:
    """Prints a table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--code", type=Path, default=ROOT)
    given = parser.parse_args()
    missed = False
    print("checkpoint                        KiB  read by     peak MiB  CPU s  said")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        members = sound_checkpoint(folder)
        base: dict[str, tuple[float, float]] = {}
        for case, (change, compression) in CASES.items():
            path = folder / "last.keras"
            with zipfile.ZipFile(path, "w", compression) as archive:
                for name, content in change(members).items():
                    archive.writestr(name, content)
            for kind in ("evaluate", "train"):
                done = subprocess.run(
                    [sys.executable, "-c", _LOAD, kind, temporary],
                    cwd=given.code,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                _, peak, cpu, said = done.stdout.partition("MEASURED")[2].strip().split("|")
                mib, seconds = float(peak), float(cpu)
                size = path.stat().st_size / 1024
                print(f"{case:30} {size:6.0f}  {kind:8}  {mib:10.0f}  {seconds:5.2f}  {said}", flush=True)
                usual_mib, usual_s = base.setdefault(kind, (mib, seconds))
                missed |= mib > usual_mib + MOST_MORE_MIB or seconds > usual_s + MOST_MORE_S
    if given.check and missed:
        print(f"a checkpoint takes more than {MOST_MORE_MIB} MiB or {MOST_MORE_S} s beyond the sound one")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
