"""The speed of counting scores, beside the network that makes them and scikit-learn on all scores at once.

    python tests/benchmarks/count_scores.py [--check]

Logits and labels are made up: patches of labels, and logits as a trained net gives them, as an untrained one does
(close together), and rounded to bfloat16. The rate counts CPU time of one thread. Under --check the exit code is 1
when a bound is missed.
"""

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import ml_dtypes
import numpy as np
from sklearn import metrics

from model_tf.network.hrnet import build_hrnet
from model_tf.scores.histogram import ScoreHistogram
from tests.model_tf.made_dataset import ONTOLOGY, made_label, table_of

MAX_OF_NETWORK = 0.5
"""Most CPU time to count an image's scores, as a share of what the smallest network needs to make them."""

MAX_AUC_ERROR = 1e-3

_CATEGORIES = table_of(ONTOLOGY)
_IMAGES = 8  # a batch
_BATCHES = 6

Batch = tuple[np.ndarray, np.ndarray]


def made_batch(kind: str, seed: int) -> Batch:
    """Logits (8, 192, 192, 15) and label (8, 192, 192, 3)."""
    rng = np.random.default_rng(seed)
    label = np.stack([made_label(rng) for _ in range(_IMAGES)])
    held = label[..., list(_CATEGORIES.channels)] == np.array(_CATEGORIES.values)
    logits = rng.normal(size=held.shape, loc=-4, scale=2) + 3 * held
    if kind == "untrained":
        logits = -3 + 1e-4 * logits
    if kind == "bfloat16":
        logits = logits.astype(ml_dtypes.bfloat16)
    return logits.astype(np.float32), label


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def network_seconds() -> float:
    """CPU seconds an image that the net `tiny` takes, on TensorFlow or what KERAS_BACKEND names."""
    net = build_hrnet("tiny", len(_CATEGORIES))
    x = {
        "gsd_10": np.zeros((_IMAGES, 192, 192, 4), np.float32),
        "gsd_20": np.zeros((_IMAGES, 96, 96, 6), np.float32),
    }
    net.predict_on_batch(x)  # compiles
    return min(cpu_seconds(lambda: net.predict_on_batch(x)) for _ in range(_BATCHES)) / _IMAGES


def sklearn_aucs(batches: Sequence[Batch]) -> list[float]:
    """AUC of every category, from all scores at once."""
    found = []
    for index, channel in enumerate(_CATEGORIES.channels):
        truth = np.concatenate([label[..., channel].reshape(-1) for _, label in batches])
        scores = np.concatenate([logits[..., index].reshape(-1) for logits, _ in batches])
        known = truth != 255
        found.append(metrics.roc_auc_score(truth[known] == _CATEGORIES.values[index], scores[known]))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bound is missed")
    given = parser.parse_args(argv)
    network = network_seconds()
    print(f"network tiny: {network * 1e3:.1f} CPU ms an image\n")
    print(
        f"{'logits':12}{'ms/image':>10}{'M scores/s':>12}{'/network':>10}{'/sklearn':>10}{'MB':>7}{'s to rank':>11}"
        f"{'AUC off':>10}"
    )
    missed = False
    for kind in ("trained", "untrained", "bfloat16"):
        batches = [made_batch(kind, seed) for seed in range(_BATCHES)]
        histogram = ScoreHistogram(_CATEGORIES)
        times = [cpu_seconds(functools.partial(histogram.update, *batch)) / _IMAGES for batch in batches]
        # The first batches find out where scores are crowded; all others cost what the last ones do.
        count = min(times[_BATCHES // 2 :])
        start = time.process_time()
        scores = histogram.scores()
        rank = time.process_time() - start
        start = time.process_time()
        expected = sklearn_aucs(batches)
        sklearn = (time.process_time() - start) / (_IMAGES * _BATCHES)
        off = max(abs(score.auc - auc) for score, auc in zip(scores.values(), expected, strict=True))
        rate = len(_CATEGORIES) * 192 * 192 / count / 1e6
        print(
            f"{kind:12}{count * 1e3:>10.1f}{rate:>12.0f}{count / network:>10.2f}{count / sklearn:>10.2f}"
            f"{histogram.num_bytes / 1e6:>7.0f}{rank:>11.2f}{off:>10.0e}"
        )
        missed |= count > MAX_OF_NETWORK * network or off > MAX_AUC_ERROR
    print(f"\nbounds: {MAX_OF_NETWORK} of the network, AUC {MAX_AUC_ERROR:g}")
    return int(given.check and missed)


if __name__ == "__main__":
    sys.exit(main())
