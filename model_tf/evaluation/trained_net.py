"""Loads the net of a training run."""

import dataclasses
import hashlib
import io

import numpy as np
import tensorflow as tf

from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from model_tf.data.storage import opened
from model_tf.network.archive import SavedNet, explain_load_faults, open_archive
from model_tf.network.hrnet import WIDTHS, HRNetSegmenter, build_hrnet
from model_tf.network.saved_weights import fill_in_weights
from model_tf.training.run_folder import BEST_FILE, LAST_FILE, RunInfo

_ADVICE = "Give another --checkpoint"
_NAMED = {"best": BEST_FILE, "last": LAST_FILE}


@dataclasses.dataclass(frozen=True)
class TrainedNet:
    """A net and where it is from.

    Attributes:
        model: The net, not compiled.
        path: Of the checkpoint.
        sha256: Of the checkpoint's bytes.
    """

    model: HRNetSegmenter
    path: str
    sha256: str


def load_net(folder: str, run: RunInfo, checkpoint: str = "best") -> TrainedNet:
    """Loads a checkpoint of a run.

    Args:
        folder: The run's folder, local or gs://.
        run: What the folder says of the run.
        checkpoint: "best", "last" or the path of a `.keras` file of the same architecture.

    Returns:
        The net.

    Raises:
        InvalidInputError: There is no such checkpoint, it cannot be read, it is of another architecture, or its
            training diverged.
    """
    path = join(folder, _NAMED[checkpoint]) if checkpoint in _NAMED else checkpoint
    _require_file(path, folder)
    with opened(path) as file:
        model = _load(file, path, run)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise InvalidInputError(
            f"{path} must hold finite weights. Received: NaN or infinity, so its training diverged. Give another "
            "--checkpoint, or train a new run, in another --output, with a lower --peak_rate."
        )
    return TrainedNet(model, path, digest)


def _load(file: io.BufferedReader, path: str, run: RunInfo) -> HRNetSegmenter:
    """Builds the run's net and fills in a checkpoint's weights.

    `keras.saving.load_model` would build whatever the file describes, of whatever classes it names. The file may be a
    stranger's, so of its description sizes are compared and nothing is built.
    """
    with explain_load_faults(path, _ADVICE):
        archive = open_archive(file)
        saved = SavedNet.of_archive(archive)
    _require_architecture(path, saved, run)
    dtype = "mixed_bfloat16" if run.settings.precision == "bfloat16" else "float32"
    # What goes wrong here is no fault of the file.
    model = build_hrnet(
        run.settings.width, len(run.categories), dtype=dtype, upsample_20m=run.settings.upsample_20m
    )
    with explain_load_faults(path, _ADVICE):
        fill_in_weights(archive, model)
    return model


def _require_file(path: str, folder: str) -> None:
    is_folder = tf.io.gfile.isdir(path)
    if is_folder or not path.endswith(".keras") or not tf.io.gfile.exists(path):
        found = sorted(name for name in tf.io.gfile.listdir(folder) if name.endswith(".keras"))
        raise InvalidInputError(
            f"--checkpoint must be best, last or the path of a .keras file that is there. Received: {path}"
            f"{', which is a folder' if is_folder else ''}. "
            f"{folder} holds {', '.join(found) or 'no checkpoint yet: train it first'}."
        )


def _require_architecture(path: str, saved: SavedNet, run: RunInfo) -> None:
    if saved.class_name != HRNetSegmenter.__name__:
        raise InvalidInputError(
            f"{path} must hold a net of train.py. Received: a {saved.class_name}. Give another --checkpoint."
        )
    sizes = dataclasses.asdict(WIDTHS[run.settings.width]) | {"upsample_20m": run.settings.upsample_20m}
    # JSON has lists where the sizes have tuples.
    wanted = {name: list(size) if isinstance(size, tuple) else size for name, size in sizes.items()}
    received = {name: saved.sizes.get(name) for name in wanted}
    num_categories = saved.sizes.get("num_categories")
    if received != wanted or num_categories != len(run.categories):
        raise InvalidInputError(
            f"{path} must be of the run's architecture, --width {run.settings.width} ({wanted}) with "
            f"{len(run.categories)} categories. Received: {received} with {num_categories} categories. Give a "
            "checkpoint of this run, or the --run of this checkpoint."
        )
