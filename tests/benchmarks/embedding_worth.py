"""Looks for what an embedding loses: probes of several layers, with several statistics, on real tiles.

    python -m tests.benchmarks.embedding_worth --tiles EUROSAT [--run RUN] [--timeseries DIR] [--only apart]

EUROSAT holds tiles of EuroSAT as published (L1C). Rows are linear probes on one vector a tile, top-1 in percent for
1, 5 and 10 training tiles a class, mean over 20 random splits. `R2` is the share of the variance of a tile's ten band
means, and of its ten band deviations, that a ridge regression finds in its vector, on tiles that it was not fitted to:
1, if they are all there. `apart` takes spectra and textures of the tiles apart: with the pixels of each tile in random
order only spectra are left; with each band of each tile brought to mean 0 and deviation 1 only textures are. DIR holds
time series of places (npz of gsd_10, gsd_20, scl; L2A): how alike embeddings of one place are over its clear dates, and
those of two places.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from beam_pipeline.records.statistics import BandStatistics
from model_tf.downstream_tasks.classifiers import linear_probe
from model_tf.downstream_tasks.eurosat import read_eurosat
from model_tf.downstream_tasks.inputs import BANDS, Preparation, Survey, survey
from model_tf.downstream_tasks.patch_set import PatchSet, Pixels
from model_tf.downstream_tasks.splits import Column, Split, split
from model_tf.evaluation.trained_net import load_net
from model_tf.network.hrnet import HRNetBackbone, build_hrnet, embedding_model
from model_tf.network.layers import GroupNorm
from model_tf.training.run_folder import RunInfo, read_run

COLUMNS = ("1", "5", "10")
SEEDS = 20

LAYERS = ("stem10_1_conv", "stem10_1_norm", "stem10_2_relu", "stage1_0_relu", "transition1_to0_relu")
"""Of the 10 m branch, from the input on; the first comes before any normalisation."""

AT_ONCE = 50

CLEAR_SCL = (2, 4, 5, 6, 7, 11)
LEAST_CLEAR = 0.95


class Probes:
    """Probes of one set of tiles."""

    def __init__(self, patches: PatchSet) -> None:
        self.patches = patches
        self.pixels = patches.read(range(len(patches.patches)))
        self.survey: Survey = survey(patches)
        self.splits = {
            name: [split(patches, Column.of(name), "random", seed) for seed in range(SEEDS)]
            for name in COLUMNS
        }

    def top1(self, vectors: np.ndarray) -> dict[str, float]:
        """Returns the linear probe's top-1 in percent for each column, mean over the splits."""
        vectors, labels = vectors.astype(np.float32), self.patches.labels

        def right(part: Split) -> float:
            found = linear_probe(vectors[part.training], labels[part.training], vectors[part.testing])
            return float((found.argmax(axis=1) == labels[part.testing]).mean())

        return {name: 100 * float(np.mean([*map(right, parts)])) for name, parts in self.splits.items()}

    def show(self, name: str, vectors: np.ndarray) -> None:
        """Prints a row."""
        scores = [f"{score:7.1f}" for score in self.top1(vectors).values()]
        image = [recovered(vectors, of_bands) for of_bands in (self.survey.mean, self.survey.deviation)]
        found = " ".join(f"{share:5.2f}" for share in image)
        print(f"{name:66}{''.join(scores)}   R2 {found}   {vectors.shape[1]} numbers", flush=True)


def recovered(vectors: np.ndarray, wanted: np.ndarray) -> float:
    """The mean share of the variance of some numbers that a ridge regression finds."""
    standard = StandardScaler().fit_transform(vectors)
    folds = KFold(5, shuffle=True, random_state=0)
    found = cross_val_predict(RidgeCV(np.logspace(-3, 4, 15)), standard, wanted, cv=folds)
    left = ((wanted - found) ** 2).sum(axis=0)
    return float((1 - left / ((wanted - wanted.mean(axis=0)) ** 2).sum(axis=0)).mean())


def means(grid: np.ndarray) -> np.ndarray:
    return grid.mean(axis=(1, 2))


def means_and_deviations(grid: np.ndarray) -> np.ndarray:
    return np.concatenate([grid.mean(axis=(1, 2)), grid.std(axis=(1, 2))], axis=1)


def outputs(model: keras.Model, images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Returns a model's outputs, batch by batch; a list even of one output."""
    count = len(images["gsd_10"])
    parts = [
        keras.tree.flatten(
            model({name: it[start : start + AT_ONCE] for name, it in images.items()}, training=False)
        )
        for start in range(0, count, AT_ONCE)
    ]
    return [np.concatenate([np.asarray(part[index]) for part in parts]) for index in range(len(parts[0]))]


class SetNorm:
    """While it lasts, normalisation takes mean and variance over all images of a batch, not of each image."""

    def __enter__(self) -> None:
        self._of_image = GroupNorm._group_mean

        def of_batch(layer: GroupNorm, per_channel):
            grouped = self._of_image(layer, per_channel)
            return keras.ops.broadcast_to(keras.ops.mean(grouped, axis=0, keepdims=True), grouped.shape)

        GroupNorm._group_mean = of_batch

    def __exit__(self, *_: object) -> None:
        GroupNorm._group_mean = self._of_image


def probe_net(probes: Probes, backbone: HRNetBackbone, statistics: BandStatistics, name: str) -> None:
    images = Preparation(statistics, 0).images(probes.pixels)
    layers = [backbone.get_layer(layer).output for layer in LAYERS]
    *inner, embedding = outputs(keras.Model(backbone.inputs, [*layers, backbone.output]), images)
    for layer, grid in zip(LAYERS, inner, strict=True):
        probes.show(f"{name}, {layer}: means and deviations", means_and_deviations(grid))
    edges = np.cumsum([0, *backbone.architecture.branch_widths])
    for branch, metres in enumerate((10, 20, 40)):
        probes.show(
            f"{name}, branch of {metres} m: means", means(embedding[..., edges[branch] : edges[branch + 1]])
        )
    probes.show(f"{name}, embedding: means", means(embedding))
    probes.show(f"{name}, embedding: means and deviations", means_and_deviations(embedding))
    with SetNorm():
        of_set = np.asarray(backbone(images, training=False))
    probes.show(f"{name}, norm over all tiles: means", means(of_set))
    probes.show(f"{name}, norm over all tiles: means and deviations", means_and_deviations(of_set))
    image = np.concatenate([probes.survey.mean, probes.survey.deviation], axis=1)
    probes.show(f"{name}, means beside image statistics", np.concatenate([means(embedding), image], axis=1))
    probes.show(
        f"{name}, norm over all tiles, beside image statistics",
        np.concatenate([means(of_set), image], axis=1),
    )


def spectra_alone(pixels: Pixels) -> Pixels:
    """Puts the pixels of each tile in random order: squares of 20 m, with all their bands."""
    count, side = pixels.gsd_20.shape[:2]
    order = np.random.default_rng(0).permuted(np.tile(np.arange(side**2), (count, 1)), axis=1)
    fours = pixels.gsd_10.reshape(count, side, 2, side, 2, 4).transpose(0, 1, 3, 2, 4, 5)
    fours = np.take_along_axis(fours.reshape(count, side**2, 16), order[..., None], axis=1)
    ten = fours.reshape(count, side, side, 2, 2, 4).transpose(0, 1, 3, 2, 4, 5).reshape(pixels.gsd_10.shape)
    twenty = np.take_along_axis(pixels.gsd_20.reshape(count, side**2, 6), order[..., None], axis=1)
    return Pixels(np.ascontiguousarray(ten), twenty.reshape(pixels.gsd_20.shape))


def textures_alone(grid: np.ndarray) -> np.ndarray:
    """Brings each band of each tile, already standardised, to mean 0 and deviation 1."""
    mean, deviation = (
        grid.mean(axis=(1, 2), keepdims=True),
        grid.std(axis=(1, 2), keepdims=True),
    )
    standard: np.ndarray = (grid - mean) / np.maximum(deviation, 1e-6)
    return standard


def apart(probes: Probes, nets: Mapping[str, HRNetBackbone]) -> None:
    """Prints what nets make of spectra alone and of textures alone."""
    preparation = Preparation(probes.survey.statistics(), 0)
    plain = preparation.images(probes.pixels)
    kinds = {
        "tiles as they are": plain,
        "spectra alone": preparation.images(spectra_alone(probes.pixels)),
        "textures alone": {name: textures_alone(grid) for name, grid in plain.items()},
    }
    for kind, images in kinds.items():
        for name, net in nets.items():
            probes.show(f"{kind}, {name}: means", means(outputs(net, images)[0]))
            with SetNorm():
                of_set = means(np.asarray(net(images, training=False)))
            probes.show(f"{kind}, {name}, norm over all tiles: means", of_set)


def series(folder: Path) -> Iterator[tuple[str, Pixels]]:
    """Yields the clear dates of each place."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            clear = np.isin(stored["scl"], CLEAR_SCL).mean(axis=(1, 2)) >= LEAST_CLEAR
            grids = [stored[name][clear].astype(np.float32) / 10_000 for name in ("gsd_10", "gsd_20")]
        yield path.stem, Pixels(*grids)


class Dates:
    """The clear dates of a few places, standardised by their own statistics.

    Attributes:
        names: What there is, for people.
        band_means: (dates, bands).
        images: What a net takes, of all dates.
    """

    def __init__(self, folder: Path) -> None:
        places = list(series(folder))
        grids = [np.concatenate([getattr(it, name) for _, it in places]) for name in ("gsd_10", "gsd_20")]
        self.names = ", ".join(f"{name} {len(it.gsd_10)}" for name, it in places)
        self.band_means = np.concatenate([grid.mean(axis=(1, 2)) for grid in grids], axis=1)
        self._place = np.repeat(np.arange(len(places)), [len(it.gsd_10) for _, it in places])
        variances = np.concatenate([grid.reshape(-1, grid.shape[-1]).var(axis=0) for grid in grids])
        statistics = BandStatistics(
            dict(zip(BANDS, self.band_means.mean(axis=0).tolist(), strict=True)),
            dict(zip(BANDS, variances.tolist(), strict=True)),
        )
        self.images = Preparation(statistics, 0).images(Pixels(*grids))

    def alikeness(self, vectors: np.ndarray) -> tuple[float, float, float]:
        """Returns how alike the dates of a place are in vectors (dates, E), each number of them standardised.

        Returns:
            The mean cosine within a place, that between places, and the share of dates whose nearest other date is of
            the same place.
        """
        standard = StandardScaler().fit_transform(vectors)
        standard /= np.linalg.norm(standard, axis=1, keepdims=True)
        cosines = standard @ standard.T
        same, itself = self._place[:, None] == self._place, np.eye(len(cosines), dtype=bool)
        nearest = np.where(itself, -2, cosines).argmax(axis=1)
        right = (self._place[nearest] == self._place).mean()
        return float(cosines[same & ~itself].mean()), float(cosines[~same].mean()), float(right)


def stability(folder: Path, nets: Mapping[str, HRNetBackbone]) -> None:
    """Prints how alike mean embeddings of a place are over its dates."""
    dates = Dates(folder)
    print(f"\nclear dates: {dates.names} (L2A)")
    vectors = {"band means": dates.band_means}
    vectors |= {name: means(outputs(net, dates.images)[0]) for name, net in nets.items()}
    for name, of_dates in vectors.items():
        within, between, nearest = dates.alikeness(of_dates)
        print(
            f"{name:30} cosine within {within:6.3f}   between {between:6.3f}   nearest date is of the "
            f"same place {nearest:.3f}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiles", required=True)
    parser.add_argument("--run")
    parser.add_argument("--timeseries", type=Path)
    parser.add_argument("--only", choices=("layers", "apart", "timeseries"))
    given = parser.parse_args(argv)
    run = read_run(given.run) if given.run else None
    trained = embedding_model(load_net(given.run, run).model) if run is not None else None
    nets = {"random tiny": embedding_model(build_hrnet("tiny", 15))}
    nets |= {"trained": trained} if trained is not None else {}
    probes = Probes(read_eurosat(given.tiles))
    print(
        f"{'top-1 in percent (L1C), training tiles a class:':66}{''.join(f'{name:>7}' for name in COLUMNS)}"
    )
    if given.only in (None, "layers"):
        by_layers(probes, nets, run)
    if given.only in (None, "apart"):
        others = {
            f"random tiny, seed {seed}": embedding_model(build_hrnet("tiny", 15, seed)) for seed in (1, 2)
        }
        apart(probes, {**nets, **others})
    if given.timeseries and given.only in (None, "timeseries"):
        stability(given.timeseries, nets)
    return 0


def by_layers(probes: Probes, nets: Mapping[str, HRNetBackbone], run: RunInfo | None) -> None:
    """Prints what is found in bands, and in the layers of each net."""
    own = probes.survey.statistics()
    mean, deviation = probes.survey.mean, probes.survey.deviation
    probes.show("image statistics: means and deviations of bands", np.concatenate([mean, deviation], axis=1))
    probes.show("means of bands", mean)
    probes.show("deviations of bands", deviation)
    probes.show("means of bands over their sum: the spectrum's shape", mean / mean.sum(axis=1, keepdims=True))
    for name, net in nets.items():
        probe_net(probes, net, own, name)
    if run is None:
        return
    images = Preparation(run.statistics, 0).images(probes.pixels)
    probes.show(
        "trained, the run's statistics, embedding: means",
        means(outputs(nets["trained"], images)[0]),
    )
    print("\nband: mean and deviation of reflectance, tiles (L1C) / training images")
    for band in BANDS:
        of_both = [f"{it.mean[band]:.3f} {it.variance[band] ** 0.5:.3f}" for it in (own, run.statistics)]
        print(f"{band}: {' / '.join(of_both)}")


if __name__ == "__main__":
    sys.exit(main())
