"""How many images a second PyTorch is fed, beside tf.data on the same core.

    python tests/benchmarks/torch_input.py [--check] [--data out/sample]

The process and its workers are pinned to one core, as `input_pipeline.py` is, whose epochs with augmentation it takes.
Rates count CPU time of all processes together, which on one core is the wall time of an idle machine; the shards lie
in the page cache. An epoch shows one of a cell's years: tf.data reads all of them, `readers` only that one. Under
--check the exit code is 1 when a bound is missed.
"""

import argparse
import resource
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.input_pipeline import PAIRS_PER_BATCH, enlarge, pairs_of  # noqa: I001 - pins to a core

from torch.utils.data import DataLoader

from beam_pipeline.readers.torch_dataset import EpochSampler, ImagePairs, ImagePairStream
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data.info import load_info

MIN_RATIO = 0.8
"""Least images a CPU second with workers, as a share of tf.data's."""

_PAIRS = 512
_ROUNDS = 3


def spent() -> float:
    """Returns the CPU seconds of this process and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def tf_data(data: str) -> Callable[[], int]:
    """Returns what runs through an epoch of tf.data and counts its images."""
    info = enlarge(load_info(data), _PAIRS)

    def run() -> int:
        return sum(len(y) for _, y in pairs_of(info, augment=True))

    return run


def map_style(data: str, workers: int) -> Callable[[], int]:
    """Returns what runs through epochs of `ImagePairs` and counts their images."""
    pairs = ImagePairs(data, "training")
    sampler = EpochSampler(pairs, augment=True)

    def run() -> int:
        return run_epochs(DataLoader(pairs, PAIRS_PER_BATCH, sampler=sampler, **loading(workers)), sampler)

    return run


def stream(data: str, workers: int) -> Callable[[], int]:
    """Returns what runs through epochs of `ImagePairStream` and counts their images."""
    pairs = ImagePairStream(data, "training", augment=True)

    def run() -> int:
        return run_epochs(DataLoader(pairs, PAIRS_PER_BATCH, **loading(workers)), pairs)

    return run


def loading(workers: int) -> dict[str, object]:
    """Returns the arguments of a `DataLoader` whose workers live on."""
    return {"num_workers": workers, "persistent_workers": workers > 0}


def run_epochs(loader: DataLoader, follower: EpochSampler | ImagePairStream) -> int:
    """Runs through epochs until there were so many pairs; returns the number of images."""
    images = epoch = 0
    while images < 2 * _PAIRS:
        follower.set_epoch(epoch)
        images += sum(batch["slot"].numel() for batch in loader)
        epoch += 1
    return images


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--data", default="out/sample", help="a built dataset")
    given = parser.parse_args()
    try:
        ways = {
            "tf.data": tf_data(given.data),
            "ImagePairs, 1 worker": map_style(given.data, 1),
            "ImagePairs, no worker": map_style(given.data, 0),
            "ImagePairStream, 1 worker": stream(given.data, 1),
            "ImagePairStream, no worker": stream(given.data, 0),
        }
    except InvalidInputError as error:
        print(error, file=sys.stderr)
        return 2
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, run in ways.items():
            before = spent()
            images = run()
            rates[name].append(images / (spent() - before))
    print(f"{'images a CPU second':28} {'':>6} {'/tf.data':>9} {'bound':>6}")
    kept = True
    for name, values in rates.items():
        ratio = statistics.median(one / other for one, other in zip(values, rates["tf.data"], strict=True))
        bound = MIN_RATIO if "1 worker" in name else None
        kept &= bound is None or ratio >= bound
        shown = "" if bound is None else f"{bound:.2f}"
        print(f"{name:28} {statistics.median(values):6.0f} {ratio:9.2f} {shown:>6}")
    if not kept:
        print("\na bound is missed")
    return 1 if given.check and not kept else 0


if __name__ == "__main__":
    sys.exit(main())
