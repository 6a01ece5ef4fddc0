"""Shows that the preset tiny learns from the sample world, and that it learns nothing where there is nothing.

    python -m beam_pipeline.build_dataset --sample --sample_cells 840 --output out/sample840
    python -m tests.benchmarks.learning --data out/sample840 [--shuffles 3] [--check]

It runs train.py and evaluate.py as anybody would, on the data and on copies whose labels are dealt to other cells of
the same split, and prints the AUC on the testing split. Under --check the exit code is 1 when a bound is missed.

Costs are of train.py, with its validation and its start. CPU time is that of all cores, so on 2 idle cores it takes
half as long or a little more. A busy machine has no say in it.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.benchmarks.dataset_copy import write_shuffled

ROOT = Path(__file__).resolve().parents[2]

LEAST_AUC = {"water": 0.9, "wooded": 0.9, "agricultural": 0.9}
LEAST_MEAN_AUC = 0.75
"""Of the categories present in the testing split."""

CHANCE, MOST_OFF_CHANCE = 0.5, 0.05
"""Mean AUC of the categories present and all shuffles, where labels say nothing of the images."""

LEAST_TESTING_CELLS = 100
MOST_CPU_SECONDS = 2 * 600
"""Ten minutes on two cores."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One training and its evaluation.

    Attributes:
        scores: `scores.json`.
        seconds: Wall time of the training.
        cpu_seconds: Time of all its cores.
    """

    scores: Mapping[str, Any]
    seconds: float
    cpu_seconds: float

    @property
    def auc(self) -> dict[str, float]:
        """AUC of the categories that are scored."""
        categories = self.scores["categories"].items()
        return {name: score["auc"] for name, score in categories if score["auc"] is not None}

    @property
    def mean_auc(self) -> float:
        return sum(self.auc.values()) / len(self.auc)


_SCORING = ("--pairs_per_batch", "8")


def learn(data: Path, run: Path, flags: Sequence[str]) -> Outcome:
    """Trains on a dataset and scores the last net on its testing split.

    The last one, not the best: shuffled labels are to have no choice of nets either.
    """
    train = ["model_tf/train.py", "--data", str(data), "--preset", "tiny", "--output", str(run), *flags]
    seconds, cpu_seconds = _run(train)
    _run(["model_tf/evaluate.py", "--run", str(run), "--data", str(data), "--checkpoint", "last", *_SCORING])
    return Outcome(json.loads((run / "evaluation" / "scores.json").read_text()), seconds, cpu_seconds)


def _run(argv: Sequence[str]) -> tuple[float, float]:
    """Runs a script of the repository; returns wall and CPU seconds."""
    print("python", *argv, file=sys.stderr)
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *argv], cwd=ROOT, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(argv)} failed")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime


def table(real: Outcome, shuffled: Sequence[Outcome]) -> str:
    """Returns the table of all outcomes."""
    heads = [f"shuffle {index}" for index in range(len(shuffled))]
    lines = [f"{'testing AUC':20}{'labels':>9}" + "".join(f"{head:>11}" for head in heads) + f"{'cells':>8}"]
    for name, score in real.scores["categories"].items():
        if score["auc"] is None:
            lines.append(f"{name:20} not scored: {score['reason']}")
            continue
        columns = "".join(f"{outcome.auc[name]:11.3f}" for outcome in shuffled)
        lines.append(f"{name:20}{score['auc']:9.3f}{columns}{score['cells']:8}")
    for title, key, digits in (
        ("mean", "mean_auc", 3),
        ("wall s of training", "seconds", 0),
        ("CPU s of training", "cpu_seconds", 0),
    ):
        columns = "".join(f"{getattr(outcome, key):11.{digits}f}" for outcome in shuffled)
        lines.append(f"{title:20}{getattr(real, key):9.{digits}f}{columns}")
    return "\n".join(lines)


def misses(real: Outcome, shuffled: Sequence[Outcome]) -> list[str]:
    """Returns the bounds that are missed."""
    found = [
        f"{name}: AUC {real.auc[name]:.3f}, at least {least}"
        for name, least in LEAST_AUC.items()
        if real.auc[name] < least
    ]
    if real.mean_auc < LEAST_MEAN_AUC:
        found.append(f"mean AUC {real.mean_auc:.3f}, at least {LEAST_MEAN_AUC}")
    if real.cpu_seconds > MOST_CPU_SECONDS:
        found.append(f"CPU time {real.cpu_seconds:.0f} s, at most {MOST_CPU_SECONDS} s")
    if shuffled:
        mean = sum(outcome.mean_auc for outcome in shuffled) / len(shuffled)
        if abs(mean - CHANCE) > MOST_OFF_CHANCE:
            found.append(f"shuffled labels: mean AUC {mean:.3f}, {CHANCE} +- {MOST_OFF_CHANCE}")
        cells = real.scores["data"]["cells"]
        if cells < LEAST_TESTING_CELLS:
            found.append(f"{cells} testing cells, at least {LEAST_TESTING_CELLS}: build a larger sample")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a sample of 840 cells or more")
    parser.add_argument("--epochs", default="3", help="of every training (%(default)s)")
    parser.add_argument("--shuffles", type=int, default=3, help="copies with shuffled labels (%(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bound is missed")
    given = parser.parse_args(argv)
    flags = ["--epochs", given.epochs]
    shuffled = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        real = learn(given.data.resolve(), folder / "run", flags)
        print(table(real, []), flush=True)
        for index in range(given.shuffles):
            with tempfile.TemporaryDirectory(dir=folder) as copy:
                write_shuffled(given.data, Path(copy) / "set", seed=index)
                shuffled.append(learn(Path(copy) / "set", Path(copy) / "run", flags))
    print(table(real, shuffled))
    missed = misses(real, shuffled)
    print("\n".join(f"MISSED {miss}" for miss in missed) or "all bounds hold")
    return 1 if given.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
