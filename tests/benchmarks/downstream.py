"""Pace of embedding patches, of reading embeddings, and of the whole protocol of EuroSAT.

    python -m tests.benchmarks.downstream [--width w18] [--tiles 160] [--only embedding] [--check]

Embedding: made-up tiles of EuroSAT's form, read, embedded, averaged and written, beside the net's bare forward pass of
the same batches held in memory. Both are traced before; they take turns, and each counts by its quickest turn. Cache:
mean embeddings of 27,000 patches, read from files as kNN gets them. Protocol: kNN and linear probe of 27,000 made-up
embeddings, the paper's 13 columns, 5 seeds, random splits. Head: one column is trained, and the others are extrapolated
by their numbers of steps. Under --check the exit code is 1 when a bound is missed.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import tensorflow as tf

from beam_pipeline.places.eurosat_tile import CLASSES
from model_tf.downstream_tasks import encoders, head
from model_tf.downstream_tasks.cache import EmbeddingCache
from model_tf.downstream_tasks.embedding import cache_of, embed
from model_tf.downstream_tasks.eurosat import read_eurosat
from model_tf.downstream_tasks.flags import COLUMNS
from model_tf.downstream_tasks.head import Head
from model_tf.downstream_tasks.inputs import Preparation, survey
from model_tf.downstream_tasks.patch_set import Patch, PatchSet
from model_tf.downstream_tasks.scoring import Features, Protocol, draw_splits, score
from model_tf.downstream_tasks.splits import Column, split
from model_tf.network.hrnet import build_hrnet, embedding_model
from tests.model_tf.downstream_tasks.made_tiles import write_tiles

PATCHES, WIDTH, GRID = 27_000, 126, 16
"""EuroSAT's number, and w18's embedding on the default grid."""

SEEDS = 5
AT_ONCE = 32
TURNS = 3

LEAST_OF_FORWARD = 0.9
LEAST_READ = 50_000
"""Embeddings a second."""

MOST_SECONDS = 600


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def embedding(width: str, tiles: int, folder: Path) -> float:
    """Prints images a second, embedded and bare; returns the ratio."""
    patches = read_eurosat(str(write_tiles(folder / "tiles", -(-tiles // len(CLASSES)))))
    preparation = Preparation(survey(patches).statistics(), 0)
    net = build_hrnet(width, 15, 0)
    encoder, backbone = encoders.of_net(net, f"random weights ({width})", "made"), embedding_model(net)
    count = len(patches.patches)
    batches = [
        preparation.images(patches.read(range(start, min(start + AT_ONCE, count))))
        for start in range(0, count, AT_ONCE)
    ]
    of_images = encoders.Pooled(encoder, patches.side, patches.crop, GRID)
    forward = tf.function(lambda images: backbone(images, training=False))
    held = [{name: tf.constant(it) for name, it in images.items()} for images in batches]

    def bare() -> None:
        for images in held:
            forward(images)

    def embedded(turn: object) -> None:
        cache = cache_of(str(folder / f"cache{turn}"), patches, encoder, preparation, GRID)
        embed(patches, of_images, preparation, cache, AT_ONCE)

    tracing, _ = timed(lambda: of_images(batches[0], patches.offsets[:AT_ONCE]))
    bare()
    seconds: dict[str, list[tuple[float, float]]] = {"embedded": [], "bare": []}
    for turn in range(TURNS):
        works = {"embedded": lambda turn=turn: embedded(turn), "bare": bare}
        for name in works if turn % 2 else reversed(works):
            seconds[name].append(timed(works[name]))
    best = {name: [min(times) for times in zip(*of_turns, strict=True)] for name, of_turns in seconds.items()}
    for name, (wall, cpu) in best.items():
        print(f"{width}, {name:9}{count / wall:9.1f} images/s{count / cpu:9.1f} images a CPU second")
    (wall, cpu), (bare_wall, bare_cpu) = best["embedded"], best["bare"]
    ratio = bare_wall / wall
    print(
        f"embedded over bare: {ratio:.2f}, by CPU seconds {bare_cpu / cpu:.2f}; {count:,} tiles, {TURNS} turns"
    )
    print(f"tracing, once an encoder: {tracing:.1f} s")
    return ratio


def reading(folder: Path) -> float:
    """Prints and returns the mean embeddings that are read in a second."""
    cache = EmbeddingCache(str(folder / "read"), "made", PATCHES, WIDTH, 1)
    draw = np.random.default_rng(0)
    for part in cache.parts:
        shape = (len(cache.patches_of(part)), WIDTH)
        cache.write(
            part, draw.normal(size=shape).astype(np.float32), np.zeros((shape[0], 1, 1, WIDTH), np.float16)
        )
    rate = PATCHES / min(timed(cache.means)[0] for _ in range(TURNS))
    print(f"cache: {rate:,.0f} embeddings/s")
    return rate


def made_patches() -> tuple[PatchSet, np.ndarray]:
    """27,000 patches of ten classes, and embeddings from which some, not all, can be told."""
    draw = np.random.default_rng(1)
    labels = np.arange(PATCHES) % 10
    vectors = draw.normal(size=(10, WIDTH))[labels] + 2.5 * draw.normal(size=(PATCHES, WIDTH))

    def read(_: range):
        raise AssertionError

    patches = tuple(Patch(f"p{index}", int(label), 0.0, 0.0) for index, label in enumerate(labels))
    return PatchSet("made", "L2A", CLASSES, patches, 64, 64, "made", (), read), vectors.astype(np.float32)


def protocol() -> float:
    """Prints and returns the seconds of kNN and probe on the whole protocol."""
    patches, vectors = made_patches()
    columns = tuple(Column.of(name) for name in COLUMNS.split(","))
    seconds = 0.0
    for method in ("knn", "linear"):
        asked = Protocol(columns, ("random",), (method,), SEEDS, SEEDS, 0)  # type: ignore[arg-type]
        wall, cpu = timed(
            lambda asked=asked: score(
                patches, [Features("made", vectors, None, "made")], asked, draw_splits(patches, asked)
            )
        )
        print(
            f"{method:7}{wall:8.1f} s, {cpu:8.1f} CPU s: {len(columns)} columns, {SEEDS} seeds, {PATCHES:,} patches"
        )
        seconds += wall
    return seconds


def one_head() -> None:
    """Prints the seconds of one column's head, and what those of all columns would take."""
    patches, _ = made_patches()
    parts = split(patches, Column.of("10"), "random", 0)
    draw = np.random.default_rng(2)
    grids = draw.normal(size=(len(parts.training), GRID, GRID, WIDTH)).astype(np.float16)
    net = Head(WIDTH, GRID, len(CLASSES))
    net.fit(grids[: head.AT_ONCE], patches.labels[parts.training][: head.AT_ONCE], 0)  # compiles
    fitting, _ = timed(lambda: net.fit(grids, patches.labels[parts.training], 0))
    step = fitting / head.LEAST_STEPS
    testing, _ = timed(lambda: net.probabilities(grids[:100]))
    total = 0.0
    for name in COLUMNS.split(","):
        column = split(patches, Column.of(name), "random", 0)
        total += step * max(head.LEAST_STEPS, head.EPOCHS * len(column.training) // head.AT_ONCE)
        total += testing / 100 * len(column.testing)
    print(
        f"head ({net.num_weights:,} weights): {step * 1000:.0f} ms a step of {head.AT_ONCE} patches, column 10: "
        f"{fitting:.0f} s; extrapolated to all columns and {SEEDS} seeds: {SEEDS * total / 3600:.1f} h"
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", default="w18")
    parser.add_argument("--tiles", type=int, default=160)
    parser.add_argument("--only", choices=("embedding", "reading", "protocol", "head"))
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args(argv)
    holds = {}
    with tempfile.TemporaryDirectory() as folder:
        if given.only in (None, "embedding"):
            ratio = embedding(given.width, given.tiles, Path(folder))
            holds[f"embedded over bare at least {LEAST_OF_FORWARD}"] = ratio >= LEAST_OF_FORWARD
        if given.only in (None, "reading"):
            holds[f"{LEAST_READ:,} embeddings/s"] = reading(Path(folder)) >= LEAST_READ
    if given.only in (None, "protocol"):
        holds[f"protocol in {MOST_SECONDS} s"] = protocol() <= MOST_SECONDS
    if given.only in (None, "head"):
        one_head()
    missed = [bound for bound, is_held in holds.items() if not is_held]
    print("missed: " + ", ".join(missed) if missed else "all bounds hold")
    return 1 if given.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
