"""Scores the net of a run on a split and writes what comes out."""

import dataclasses
import json
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import tensorflow as tf

from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.description import require_map
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from model_tf.data.info import DatasetInfo, load_info
from model_tf.data.storage import require_own_folders, write_bytes
from model_tf.evaluation.flags import RESULTS_FOLDER, EvaluateCommand
from model_tf.evaluation.scoring import SplitScores, require_cells, score_split
from model_tf.evaluation.trained_net import load_net
from model_tf.scores.plots import panel_figure, roc_figure, to_png
from model_tf.scores.report import ScoreReport
from model_tf.training.distributed import make_devices
from model_tf.training.run_folder import RunInfo, read_run, require_own_folder, tidy

_PACKAGES = ("keras", "matplotlib", "numpy", "tensorflow")
_BACKEND_PACKAGES = {"tensorflow": (), "jax": ("jax",), "torch": ("torch",)}

_SCORES_FILE = "scores.json"
_RESULTS = re.compile(rf"{re.escape(_SCORES_FILE)}|panel\.png|roc_curves\.json|roc_\w+\.png")
"""Files that `write_results` names so. Nothing else in the folder is touched."""


def evaluate(command: EvaluateCommand) -> None:
    """Scores a run's net and writes the results.

    Raises:
        InvalidInputError: Something given cannot be used; it is found before anything is computed, but for damage
            within a shard.
    """
    if command.output == join(command.run, RESULTS_FOLDER):  # which nobody named
        require_own_folders(command.run, (RESULTS_FOLDER,))
    require_own_folder(command.output, "scores")
    run = read_run(command.run)
    info = load_info(command.data)
    require_map(info.grid_name, info.folder)
    require_same_categories(command, run, info)
    info.require_examples(command.split)
    if command.cells:
        require_cells(info, command.split, command.cells)
    settings = dataclasses.replace(
        run.settings,
        backend=command.backend,
        strategy="none",
        pairs_per_batch=command.pairs_per_batch or run.settings.pairs_per_batch,
    )
    devices = make_devices(settings)
    net = load_net(command.run, run, command.checkpoint)
    tidy(command.output)
    scored = score_split(
        devices.predictor(net.model),
        info,
        command.split,
        statistics=run.statistics,
        pairs_per_batch=settings.pairs_per_batch,
        cells=command.cells,
        net=net.path,
    )
    report = ScoreReport(scored.histogram)
    print(report.table())
    content = {
        "settings": {
            **dataclasses.asdict(command),
            "pairs_per_batch": settings.pairs_per_batch,
        },
        "run": run.to_json(),
        "checkpoint": {"path": net.path, "sha256": net.sha256},
        "data": {
            "fingerprint": info.fingerprint,
            "examples": info.examples[command.split],
            "cells": info.cells[command.split],
            "images": scored.images,
        },
        "software": {
            name: metadata.version(name) for name in (*_PACKAGES, *_BACKEND_PACKAGES[command.backend])
        },
        **report.to_json(),
    }
    write_results(command, report, scored, content)


def write_results(
    command: EvaluateCommand, report: ScoreReport, scored: SplitScores, content: Mapping[str, Any]
) -> None:
    """Writes figures and numbers: where there is a scores.json, all that lies beside it is of the same evaluation.

    What an earlier one left is deleted first, its scores.json before all else, and the new scores.json is written
    last. So a disk that fails in between leaves figures without scores, never the scores of one evaluation beside the
    figures of another.
    """
    files = {"panel.png": to_png(panel_figure(scored.predictions, scored.histogram.categories))}
    for group in report.groups:
        scores = [report.scores[name] for name in group.names]
        title = f"{group.title} ({command.split} split)"
        files[f"roc_{group.key}.png"] = to_png(roc_figure(scores, title))
    files["roc_curves.json"] = json.dumps(report.curves()).encode()
    files[_SCORES_FILE] = (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
    tf.io.gfile.makedirs(command.output)
    _delete_results(command.output)
    for name, data in files.items():
        write_bytes(join(command.output, name), data)
        print(join(command.output, name))


def _delete_results(folder: str) -> None:
    names = [name for name in tf.io.gfile.listdir(folder) if _RESULTS.fullmatch(name)]
    for name in sorted(names, key=lambda name: name != _SCORES_FILE):
        tf.io.gfile.remove(join(folder, name))


def require_same_categories(command: EvaluateCommand, run: RunInfo, info: DatasetInfo) -> None:
    """Checks that logits and labels mean the same.

    Raises:
        InvalidInputError: They do not.
    """
    if run.categories != info.categories:
        differing = sorted({*_described(run.categories)} ^ {*_described(info.categories)})
        raise InvalidInputError(
            f"--run and --data must have the same categories. Received: {command.run} with {len(run.categories)}, "
            f"{command.data} with {len(info.categories)}; only in one of them: {', '.join(differing) or 'the order'}. "
            "Give a dataset of the ontology that the run was trained on, or train on this one."
        )


def _described(categories: CategoryTable) -> list[str]:
    rows = zip(categories.names, categories.channels, categories.values, strict=True)
    return [f"{name} (channel {channel}, value {value})" for name, channel, value in rows]
