"""The images a second that one core reads, decodes and hands to a training step, and where its time goes.

    python tests/benchmarks/input_pipeline.py [--check] [--data out/sample]

The process is pinned to one core before TensorFlow starts. Rates count CPU time, which on one core is the wall time of
an idle machine; the shards lie in the page cache, so no disk is waited for. An epoch shows one of a cell's years and
reads all of them: the first two rows are for all years, and grow with their number. Under --check the exit code is 1
when a bound is missed.

The second table shows what a step waits for: a step is a pause of given length, as when an accelerator works and the
core is free for the input.
"""

import argparse
import dataclasses
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
if hasattr(os, "sched_setaffinity"):  # Linux
    # Before TensorFlow is imported: it makes as many threads as it sees cores.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import tensorflow as tf

from beam_pipeline.records.schema import FEATURES, slot_prefix
from beam_pipeline.records.statistics import INPUT_BANDS
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data.batches import make_dataset
from model_tf.data.decoding import check_label, decode_pair, label_of_images, parse_example, standardise
from model_tf.data.epoch import SHUFFLE_EXAMPLES, examples_in_order, shuffled_cells
from model_tf.data.info import DatasetInfo, load_info

MIN_RATE = 120
"""Least images a CPU second with augmentation, a pair counting two."""

PAIRS_PER_BATCH = 16
STEP_RATES = (60, 120, 180, 240)
"""Images a second that the steps of the second table would take if they never waited."""

_PAIRS = 256
_ROUNDS = 3
_STEPS = 30


def enlarge(info: DatasetInfo, pairs: int) -> DatasetInfo:
    """Lists the training shards again and again, until an epoch shows at least so many pairs."""
    times = -(-pairs // info.cells["training"])
    return dataclasses.replace(
        info,
        shards={"training": info.shards["training"] * times},
        shard_examples={"training": info.shard_examples["training"] * times},
        cells={"training": info.cells["training"] * times},
    )


def cpu_seconds(dataset: tf.data.Dataset) -> float:
    """Runs through a dataset; returns the CPU time of all threads."""
    started = time.process_time()
    for _ in dataset:
        pass
    return time.process_time() - started


def pairs_of(info: DatasetInfo, augment: bool) -> tf.data.Dataset:
    """Returns the batches of an epoch."""
    return make_dataset(
        info,
        "training",
        pairs_per_batch=PAIRS_PER_BATCH,
        statistics=info.statistics,
        epoch=0,
        augment=augment,
    )


def stages(info: DatasetInfo) -> dict[str, tf.data.Dataset]:
    """Returns the pipeline cut off after each stage, made of the same functions as `make_dataset`."""
    paths = info.shards["training"]

    def decoded(payload: Any, _: Any) -> dict[str, Any]:
        return decode_pair(parse_example(payload))

    def checked(payload: Any, shard: Any) -> dict[str, Any]:
        pair = decoded(payload, shard)
        check_label(pair, shard, info.categories)
        return pair

    def standardised(payload: Any, shard: Any) -> tuple[Any, Any]:
        pair = checked(payload, shard)
        x = {g: standardise(pair[g], pair["boa_add_offset"], info.statistics, g) for g in INPUT_BANDS}
        return x, label_of_images(pair["label"], pair["gsd_10"])

    chosen = shuffled_cells(paths, 0, 0)
    cut_off = {
        "read": examples_in_order(paths),
        "choose, shuffle": chosen,
        "parse": chosen.map(lambda payload, _: parse_example(payload)),
        "decode": chosen.map(decoded),
        "check labels": chosen.map(checked),
        "standardise": chosen.map(standardised),
    }
    # Python sees none of their elements: it would take time for each.
    unseen = {name: dataset.filter(lambda *_: False) for name, dataset in cut_off.items()}
    return unseen | {"batch": pairs_of(info, augment=False), "augment": pairs_of(info, augment=True)}


def unused(info: DatasetInfo) -> tf.data.Dataset:
    """Decodes what training leaves alone: gsd_60 and scl of both images."""
    names = [slot_prefix(slot) + name for slot in (0, 1) for name in ("gsd_60", "scl")]

    def decode(payload: Any, _: Any) -> list[Any]:
        parsed = tf.io.parse_single_example(
            payload, {name: tf.io.FixedLenFeature([], tf.string) for name in names}
        )
        return [tf.io.decode_png(parsed[name], dtype=FEATURES[name].dtype) for name in names]

    return shuffled_cells(info.shards["training"], 0, 0).map(decode).filter(lambda *_: False)


def measure(datasets: dict[str, tf.data.Dataset]) -> dict[str, float]:
    """Returns the least CPU seconds of each, measured in turn: what else runs on the machine only adds to them."""
    measured: dict[str, list[float]] = {name: [] for name in datasets}
    for _ in range(_ROUNDS):
        for name, dataset in datasets.items():
            measured[name].append(cpu_seconds(dataset))
    return {name: min(values) for name, values in measured.items()}


def report_stages(info: DatasetInfo) -> bool:
    """Prints the rates and where the time goes; returns whether the bound is kept."""
    pairs = info.cells["training"]
    years = info.examples["training"] / pairs
    cumulative = stages(info)
    seconds = measure(cumulative | {"unused": unused(info)})
    rate = 2 * pairs / seconds["augment"]
    print(f"{'images a CPU second':24} {'':>8} {'bound':>6}")
    print(f"{'with augmentation':24} {rate:8.0f} {MIN_RATE:>6}")
    print(f"{'without':24} {2 * pairs / seconds['batch']:8.0f}")
    print(f"\n{f'ms a pair, {years:.1f} years a cell':24} {'':>8} {'share':>6}")
    before = 0.0
    for name in cumulative:
        spent = seconds[name] - before
        print(f"{name:24} {spent / pairs * 1e3:8.2f} {spent / seconds['augment']:6.0%}")
        before = seconds[name]
    print(f"{'in all':24} {seconds['augment'] / pairs * 1e3:8.2f}")
    saved = (seconds["unused"] - seconds["choose, shuffle"]) / pairs * 1e3
    print(f"{'not done: gsd_60, scl':24} {saved:8.2f}")
    return rate >= MIN_RATE


def report_waits(info: DatasetInfo) -> None:
    """Prints how long steps of several lengths wait for their batch."""
    print(f"\n{'wall ms of a step':24} {'itself':>8} {'waits':>8} {'first batch':>12}")
    for rate in STEP_RATES:
        pause = 2 * PAIRS_PER_BATCH / rate
        waits = wait_for_batches(pairs_of(info, augment=True), lambda pause=pause: time.sleep(pause))
        print(
            f"{f'{rate} images/s':24} {pause * 1e3:8.0f} {statistics.median(waits[1:]) * 1e3:8.1f} "
            f"{waits[0] * 1e3:12.0f}"
        )


def wait_for_batches(dataset: tf.data.Dataset, step: Callable[[], None]) -> list[float]:
    """Takes batches with a step after each; returns the seconds waited for each batch."""
    waits = []
    started = time.perf_counter()
    for _ in dataset.take(_STEPS):
        waits.append(time.perf_counter() - started)
        step()
        started = time.perf_counter()
    return waits


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--data", default="out/sample", help="a built dataset")
    given = parser.parse_args()
    try:
        info = load_info(given.data)
        info.require_examples("training")
    except InvalidInputError as error:
        print(error, file=sys.stderr)
        return 2
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # More cells than the shuffle buffer holds, so that it is full.
    cpu_seconds(pairs_of(enlarge(info, 2 * SHUFFLE_EXAMPLES), augment=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = report_stages(enlarge(info, _PAIRS))
    report_waits(enlarge(info, _STEPS * PAIRS_PER_BATCH))
    print(f"\nmemory for an epoch: {(peak - before) / 1024:.0f} MB")
    if not kept:
        print("\na bound is missed")
    return 1 if given.check and not kept else 0


if __name__ == "__main__":
    sys.exit(main())
