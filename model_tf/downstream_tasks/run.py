"""Embeds patches with frozen encoders, classifies them and writes tables and figures."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.foreign_text import one_line
from beam_pipeline.runtime.keyed_draw import MOST_VALUES, keyed_draws
from model_tf.data.storage import require_own_folders, write_bytes
from model_tf.downstream_tasks import encoders
from model_tf.downstream_tasks.cache import require_room
from model_tf.downstream_tasks.embedding import cache_of, embed
from model_tf.downstream_tasks.figures import cmc_figure, confusion_figure, embeddings_figure
from model_tf.downstream_tasks.fits import FITS_FILE, PACKAGES, Fits
from model_tf.downstream_tasks.flags import CACHE_FOLDER, DownstreamCommand
from model_tf.downstream_tasks.head import LEAST_GRID
from model_tf.downstream_tasks.inputs import Preparation, Survey, margin_of, survey
from model_tf.downstream_tasks.notices import licences_md
from model_tf.downstream_tasks.patch_set import PatchSet
from model_tf.downstream_tasks.scoring import Cell, Features, Protocol, Scores, draw_splits, score
from model_tf.downstream_tasks.tables import table_csv, table_json, table_md, top_k_csv
from model_tf.downstream_tasks.tasks import TASKS
from model_tf.evaluation.trained_net import load_net
from model_tf.scores.plots import to_png
from model_tf.training.run_folder import RunInfo, read_run, require_own_folder, tidy

_CATEGORIES = 15
"""Of a net without a run; its embeddings do not depend on it."""

LICENCES = "LICENSES.md"
"""In the output folder, and beside the embeddings of each cache."""

TRAINED = "trained encoder"

RESULTS = (
    *("table1.json", "table1.md", "table1.csv", "topk.csv"),
    *("cmc.png", "confusion.png", "embeddings.png", LICENCES),
)
"""Files of the output folder; the first is deleted first and written last."""

NORM_SAMPLE = 64
"""Patches whose statistics stand for those of all where normalisation is not by image."""


def downstream(command: DownstreamCommand) -> None:
    """Does what a command asks for.

    Raises:
        InvalidInputError: Something given cannot be used.
    """
    require_own_folder(command.output, "results")
    run = read_run(command.run) if command.run is not None else None
    task = TASKS[command.task]
    frozen, origin = _encoders(command, run)
    patches = task.read(command.patches)
    _say(f"{patches.title} ({patches.level}): {len(patches.patches):,} patches; {_listed(patches.counts())}")
    protocol = _protocol(command, patches)
    drawn = draw_splits(patches, protocol)
    for (kind, column), reason in drawn.empty.items():
        _say(f"column {column} of {kind} splits stays empty: {reason}")
    if command.cache == join(command.output, CACHE_FOLDER):  # which nobody named
        require_own_folders(command.output, (CACHE_FOLDER,))
    tidy(command.output)
    fits = Fits(join(command.output, FITS_FILE), len(patches.classes))
    surveyed = survey(patches)
    if surveyed.without_data:
        _say(f"{surveyed.without_data:,} pixels have no data: they are taken for the mean")
    features = _features(command, run, patches, surveyed, frozen)
    scores = score(patches, features, protocol, drawn, fits)
    for name, weights in scores.head_weights.items():
        _say(f"head on {name}: {weights:,} weights")
    written = table_md(patches, task, protocol, scores)
    _say(written)
    content = {
        "command": {**dataclasses.asdict(command), "columns": [it.name for it in command.columns]},
        "run": run.to_json() if run is not None else None,
        "encoders": origin,
        "statistics": _statistics_of(command, patches),
        "software": {name: metadata.version(name) for name in PACKAGES},
        **table_json(patches, task, protocol, scores),
    }
    files = {
        "topk.csv": top_k_csv(patches, scores).encode(),  # first: it shows whose folder this is
        LICENCES: licences_md(patches, trained=run is not None).encode(),
        **_figures(patches, features, protocol, scores),
        "table1.csv": table_csv(patches, task, protocol, scores).encode(),
        "table1.md": written.encode(),
        "table1.json": (json.dumps(content, indent=1, allow_nan=False) + "\n").encode(),
    }
    _write_results(command.output, files)


def _protocol(command: DownstreamCommand, patches: PatchSet) -> Protocol:
    """Checks what is asked for against the patches, and returns what is scored."""
    if "published" in command.splits and not all(patch.split for patch in patches.patches):
        raise InvalidInputError(
            "--splits published takes patches that bring their splits, as fMoW's places do. Received: "
            f"{command.patches}, whose patches bring none"
        )
    if patches.crop % command.grid or patches.crop // command.grid < 1:
        raise InvalidInputError(
            f"--grid must divide {patches.crop}, the patches' side. Received: {command.grid}"
        )
    if "cnn" in command.methods and command.grid < LEAST_GRID:
        raise InvalidInputError(
            f"--grid must be at least {LEAST_GRID} for the CNN head. Received: {command.grid}. Give --methods "
            "knn,linear for the others alone"
        )
    return Protocol(
        command.columns,
        command.splits,
        command.methods,  # type: ignore[arg-type]
        command.seeds,
        command.head_seeds,
        command.seed,
    )


def _write_results(folder: str, files: Mapping[str, bytes]) -> None:
    """Writes what came out; where there is a table1.json, all that lies beside it is of the same command."""
    for name in RESULTS:
        with contextlib.suppress(FileNotFoundError):
            os.remove(join(folder, name))
    for name, data in files.items():
        write_bytes(join(folder, name), data)
        _say(join(folder, name))


def _encoders(
    command: DownstreamCommand, run: RunInfo | None
) -> tuple[list[encoders.Encoder], dict[str, Any]]:
    """Returns the frozen encoders, the trained one first, and where they are from."""
    frozen: list[encoders.Encoder] = []
    origin: dict[str, Any] = {}
    width, num_categories, upsample_20m = command.width, _CATEGORIES, False
    if run is not None and command.run is not None:
        net = load_net(command.run, run, command.checkpoint)
        frozen.append(encoders.of_net(net.model, TRAINED, f"net {net.sha256}"))
        origin[TRAINED] = {"path": net.path, "sha256": net.sha256}
        width, num_categories = run.settings.width, len(run.categories)
        upsample_20m = run.settings.upsample_20m
    frozen.append(encoders.random_net(width, num_categories, command.seed, upsample_20m))
    origin[frozen[-1].name] = {"seed": command.seed}
    return frozen, origin


def _normalised(
    command: DownstreamCommand,
    patches: PatchSet,
    preparation: Preparation,
    frozen: list[encoders.Encoder],
) -> list[encoders.Encoder]:
    """Returns each encoder with each of the normalisations that are asked for."""
    if "patches" not in command.norms:
        return frozen
    draws = keyed_draws(
        [patch.name for patch in patches.patches], MOST_VALUES, command.seed, "downstream norm"
    )
    sample = sorted(np.argsort(draws, kind="stable")[:NORM_SAMPLE].tolist())
    parts = [preparation.images(patches.read(range(index, index + 1))) for index in sample]
    images = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    by_patches = [encoders.normalised_by(one, images, f"{command.seed} {len(sample)}") for one in frozen]
    if "image" not in command.norms:
        return by_patches
    return [encoder for pair in zip(frozen, by_patches, strict=True) for encoder in pair]


def _features(
    command: DownstreamCommand,
    run: RunInfo | None,
    patches: PatchSet,
    surveyed: Survey,
    frozen: list[encoders.Encoder],
) -> list[Features]:
    """Embeds the patches with every encoder."""
    by_run = _statistics_of(command, patches) == "run" and run is not None
    statistics = run.statistics if by_run and run is not None else surveyed.statistics()
    preparation = Preparation(statistics, margin_of(patches, command.context))  # type: ignore[arg-type]
    plain = Preparation(statistics, 0)
    each = [
        *((encoder, preparation) for encoder in _normalised(command, patches, preparation, frozen)),
        (encoders.raw_reflectance(), plain),
    ]
    caches = [cache_of(command.cache, patches, encoder, how, command.grid) for encoder, how in each]
    for (encoder, _), cache in zip(each, caches, strict=True):
        _say(
            f"embeddings, {encoder.name}: {cache.num_bytes:,} bytes ({cache.count:,} patches of {cache.grid} x "
            f"{cache.grid} x {cache.width} float16, and their means) in {cache.path}"
        )
    require_room(caches)
    reach = int(np.abs(patches.offsets).max())
    features = []
    for (encoder, how), cache in zip(each, caches, strict=True):
        of_images = encoders.Pooled(encoder, patches.side + 2 * how.margin, patches.crop, cache.grid, reach)
        embed(patches, of_images, how, cache, command.at_once)
        notices = licences_md(patches, trained=encoder.name.startswith(TRAINED))
        write_bytes(join(cache.path, LICENCES), notices.encode())
        features.append(Features(encoder.name, cache.means(), cache, cache.key))
    both = np.concatenate([surveyed.mean, surveyed.deviation], axis=1)
    return [*features, Features("image statistics", both, None, f"statistics {patches.crop_key}")]


def _statistics_of(command: DownstreamCommand, patches: PatchSet) -> str:
    """Tells by whose statistics patches are standardised: encoders know L2A, and L1C is brighter."""
    default = "run" if patches.level == "L2A" and command.run is not None else "patches"
    return command.statistics or default


def _figures(
    patches: PatchSet, features: list[Features], protocol: Protocol, scores: Scores
) -> dict[str, bytes]:
    files = {"embeddings.png": to_png(embeddings_figure(patches, features))}
    counted = [column.name for column in protocol.columns if column.count is not None]
    if any(cell.method != "knn" and cell.column in counted for cell in scores.cells):
        files["cmc.png"] = to_png(cmc_figure(patches, scores, counted))
    if scores.cells:
        files["confusion.png"] = to_png(confusion_figure(patches, scores, _main_cell(features, scores)))
    return files


def _main_cell(features: list[Features], scores: Scores) -> Cell:
    """Chooses what the confusion matrix shows: the first encoder, its first classifier, the last column."""
    of_first = [cell for cell in scores.cells if cell.features == features[0].name]
    first = of_first[0]
    return [cell for cell in of_first if (cell.method, cell.kind) == (first.method, first.kind)][-1]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{one_line(name)} {count:,}" for name, count in counts.items())


def _say(text: str) -> None:
    print(text, flush=True)
