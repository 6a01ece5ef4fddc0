"""Asks what is worth having in training: pairs, an input of their own for 20 m bands, more labelled cells.

    opensentinelmap build --sample --sample_cells 840 --output out/sample840
    python -m tests.benchmarks.label_worth --data out/sample840 --tiles EUROSAT --timeseries DIR --output out/worth

trains the net `tiny` again and again, as many images a training, and prints a table: mean and deviation over the seeds
of the testing AUC of the last net, of a linear probe's top-1 on tiles of EuroSAT as published (L1C; mean embeddings;
10 training tiles a class, 20 random splits), and of how alike embeddings of a place are over its clear dates (L2A). The
tiles are embedded twice: with each image's own group normalisation, and with that over all tiles.

The sample world is made up, so the table says how these nets learn a made-up place, and no preset follows from it.

It goes on where it was stopped: trainings in OUTPUT, scores in OUTPUT/scores.jsonl.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np

from model_tf.downstream_tasks.eurosat import read_eurosat
from model_tf.downstream_tasks.inputs import Preparation
from model_tf.evaluation.trained_net import load_net
from model_tf.network.hrnet import HRNetBackbone, build_hrnet, embedding_model
from model_tf.training.run_folder import read_run
from tests.benchmarks.dataset_copy import write_fewer
from tests.benchmarks.embedding_worth import Dates, Probes, SetNorm, means, outputs

ROOT = Path(__file__).resolve().parents[2]

WARMUP = 0.25
"""Share of the first epoch of a training on all cells."""

COLUMNS = {
    "testing AUC": 3,
    "probe, N = 10": 1,
    "over all tiles": 1,
    "cosine within": 2,
    "between": 2,
    "nearest": 2,
}
"""Scores of a net, and the digits that are shown."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        name: For people.
        flags: Of train.py, beside those of all variants.
        share: Of the training cells.
        epochs: For each epoch of a training with pairs of all cells: so that all take as many images.
    """

    name: str
    flags: tuple[str, ...] = ()
    share: float = 1.0
    epochs: int = 1


VARIANTS = (
    Variant("pairs, two inputs, all cells"),
    Variant("single images", ("--single_images",), epochs=2),
    Variant("20 m bands upsampled", ("--upsample_20m",)),
    Variant("1/2 of the cells", share=1 / 2, epochs=2),
    Variant("1/4 of the cells", share=1 / 4, epochs=4),
    Variant("1/8 of the cells", share=1 / 8, epochs=8),
)


class Measures:
    """What a net is scored by, beside the dataset's own testing split."""

    def __init__(self, tiles: str, timeseries: Path) -> None:
        self._probes = Probes(read_eurosat(tiles))
        self._images = Preparation(self._probes.survey.statistics(), 0).images(self._probes.pixels)
        self._dates = Dates(timeseries)

    def of(self, net: HRNetBackbone) -> dict[str, float]:
        """Returns its scores by name."""
        own = means(outputs(net, self._images)[0])
        with SetNorm():
            over_all = means(np.asarray(net(self._images, training=False)))
        within, between, nearest = self._dates.alikeness(means(outputs(net, self._dates.images)[0]))
        return {
            "probe, N = 10": self._probes.top1(own)["10"],
            "over all tiles": self._probes.top1(over_all)["10"],
            "cosine within": within,
            "between": between,
            "nearest": nearest,
        }


class Trainings:
    """The trainings of all variants in a folder.

    Args:
        data: The dataset.
        output: The folder.
        epochs: Of a training with pairs of all cells.
        measures: Scores what is trained.
    """

    def __init__(self, data: Path, output: Path, epochs: int, measures: Measures) -> None:
        self._data, self._output, self._epochs, self._measures = data, output, epochs, measures
        self._log = output / "scores.jsonl"
        output.mkdir(parents=True, exist_ok=True)

    def scores(self, seeds: int) -> Iterator[tuple[str, int, dict[str, float]]]:
        """Yields variant, seed and scores; trains what is not yet trained, one seed of all variants after the other."""
        kept = {}
        if self._log.exists():
            kept = {tuple(row["of"]): row["scores"] for row in map(json.loads, self._log.open())}
        for seed in range(seeds):
            for name, make in self._nets(seed):
                of = (name, seed, self._epochs)
                if of not in kept:
                    began = time.monotonic()
                    kept[of] = make()
                    with self._log.open("a") as log:
                        log.write(json.dumps({"of": of, "scores": kept[of]}) + "\n")
                    print(f"{of}: {kept[of]} in {time.monotonic() - began:.0f} s", file=sys.stderr)
                yield name, seed, kept[of]

    def _nets(self, seed: int) -> Iterator[tuple[str, Any]]:
        yield "random weights", lambda: self._measures.of(embedding_model(build_hrnet("tiny", 15, seed)))
        for variant in VARIANTS:
            yield variant.name, lambda variant=variant: self._train(variant, seed)

    def _train(self, variant: Variant, seed: int) -> dict[str, float]:
        run = self._output / f"{VARIANTS.index(variant)}-{seed}"
        epochs = variant.epochs * self._epochs
        _run(
            *("model_tf/train.py", "--data", str(self._cells(variant.share)), "--output", str(run)),
            *("--preset", "tiny", "--seed", str(seed), "--validation_pairs", "8", "--epochs", str(epochs)),
            *("--warmup_epochs", str(variant.epochs * WARMUP), *variant.flags),
        )
        _run(
            *("model_tf/evaluate.py", "--run", str(run), "--data", str(self._data), "--checkpoint", "last"),
            *("--pairs_per_batch", "8"),
        )
        auc = json.loads((run / "evaluation" / "scores.json").read_text())["categories"]
        scored = [score["auc"] for score in auc.values() if score["auc"] is not None]
        net = embedding_model(load_net(str(run), read_run(str(run)), "last").model)
        return {"testing AUC": float(np.mean(scored)), **self._measures.of(net)}

    def _cells(self, share: float) -> Path:
        if share == 1:
            return self._data
        copy = self._output / f"cells-{share:g}"
        if not (copy / "dataset.json").exists():
            aside = self._output / f"cells-{share:g}.tmp-{os.getpid()}"
            write_fewer(self._data, aside, share)
            aside.rename(copy)
        return copy


def _run(*argv: str) -> None:
    """Runs a script of the repository."""
    subprocess.run([sys.executable, *argv], cwd=ROOT, stdout=sys.stderr, check=True)


def table(rows: Sequence[tuple[str, int, dict[str, float]]]) -> str:
    """Returns the table: for each variant the mean and the sample deviation of each score over the seeds."""
    lines = ["| training | " + " | ".join(COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for name in dict.fromkeys(name for name, _, _ in rows):
        of_seeds = [scores for other, _, scores in rows if other == name]
        cells = []
        for column, digits in COLUMNS.items():
            values = [scores[column] for scores in of_seeds if column in scores]
            spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.{digits}f}{spread}" if values else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a sample of 840 cells or more")
    parser.add_argument("--tiles", required=True, help="tiles of EuroSAT as published")
    parser.add_argument("--timeseries", type=Path, required=True, help="npz of gsd_10, gsd_20 and scl")
    parser.add_argument("--output", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--epochs", type=int, default=2, help="with pairs of all cells (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="of each training (%(default)s)")
    given = parser.parse_args(argv)
    measures = Measures(given.tiles, given.timeseries)
    trainings = Trainings(given.data.resolve(), given.output.resolve(), given.epochs, measures)
    rows = []
    for row in trainings.scores(given.seeds):
        rows.append(row)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
