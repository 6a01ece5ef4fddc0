"""The images a second that PyTorch is fed, beside tf.data on the same core.

    python tests/benchmarks/torch_input.py [--check] [--data out/sample]

The process and its workers are pinned to one core, as `input_pipeline.py` is, whose epochs with augmentation it takes.
Rates count CPU time of all processes together, which on one core is the wall time of an idle machine; the shards lie
in the page cache. An epoch shows one of a cell's years: tf.data reads all of them, `readers` only that one. Under
--check the exit code is 1 when a bound is missed.
"""

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
if hasattr(os, "sched_setaffinity"):  # Linux
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

from beam_pipeline.readers.pair_reader import open_split
from beam_pipeline.runtime.faults import InvalidInputError

MIN_RATIO = 0.8
"""Least images a CPU second with workers, as a share of tf.data's."""

READERS = ("tf.data", "torch")
PAIRS_PER_BATCH = 16
_PAIRS = 512
_ROUNDS = 3


def spent() -> float:
    """Returns the CPU seconds of this process and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def tf_data(data: str) -> Callable[[], int]:
    """Returns what runs through an epoch of tf.data and counts its images."""
    from model_tf.data.info import load_info
    from tests.benchmarks.input_pipeline import enlarge, pairs_of

    info = enlarge(load_info(data), _PAIRS)

    def run() -> int:
        return sum(len(y) for _, y in pairs_of(info, augment=True))

    return run


def torch_ways(data: str) -> dict[str, Callable[[], int]]:
    """Returns what runs through epochs of both datasets and counts their images."""
    from torch.utils.data import DataLoader

    from beam_pipeline.readers.torch_dataset import EpochSampler, ImagePairs, ImagePairStream

    pairs = ImagePairs(data, "training")
    sampler = EpochSampler(pairs, augment=True)
    stream = ImagePairStream(data, "training", augment=True)

    def epochs(workers: int, shown: ImagePairs | ImagePairStream, sampler: EpochSampler | None) -> int:
        follower = stream if sampler is None else sampler
        loader = DataLoader(
            shown, PAIRS_PER_BATCH, sampler=sampler, num_workers=workers, persistent_workers=workers > 0
        )
        images = epoch = 0
        while images < 2 * _PAIRS:
            follower.set_epoch(epoch)
            images += sum(batch["slot"].numel() for batch in loader)
            epoch += 1
        return images

    return {
        f"{name}, {workers or 'no'} worker": functools.partial(epochs, workers, *given)
        for name, given in (("ImagePairs", (pairs, sampler)), ("ImagePairStream", (stream, None)))
        for workers in (1, 0)
    }


def measure(reader: str, data: str) -> dict[str, float]:
    """Returns images a CPU second of each way, the most of some rounds: what else runs only takes from them."""
    ways = torch_ways(data) if reader == "torch" else {reader: tf_data(data)}
    rates = dict.fromkeys(ways, 0.0)
    for _ in range(_ROUNDS):
        for name, run in ways.items():
            before = spent()
            images = run()
            rates[name] = max(rates[name], images / (spent() - before))
    return rates


def in_a_process(reader: str, data: str) -> dict[str, float]:
    """Measures in a process of its own: workers are forked from one that TensorFlow has not filled."""
    command = [sys.executable, __file__, "--data", data, "--reader", reader]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    rates: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return rates


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--data", default="out/sample", help="a built dataset")
    parser.add_argument("--reader", choices=READERS, help="measure this one only, and print JSON")
    given = parser.parse_args()
    if given.reader:
        print(json.dumps(measure(given.reader, given.data)))
        return 0
    try:
        open_split(given.data, "training")
    except InvalidInputError as error:
        print(error, file=sys.stderr)
        return 2
    rates = {name: rate for reader in READERS for name, rate in in_a_process(reader, given.data).items()}
    print(f"{'images a CPU second':28} {'':>6} {'/tf.data':>9} {'bound':>6}")
    kept = True
    for name, rate in rates.items():
        bound = MIN_RATIO if "1 worker" in name else None
        kept &= bound is None or rate >= bound * rates["tf.data"]
        shown = "" if bound is None else f"{bound:.2f}"
        print(f"{name:28} {rate:6.0f} {rate / rates['tf.data']:9.2f} {shown:>6}")
    if not kept:
        print("\na bound is missed")
    return 1 if given.check and not kept else 0


if __name__ == "__main__":
    sys.exit(main())
