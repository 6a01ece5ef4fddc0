"""Checkpoints: the last one with all that training goes on from, and the best net.

`last.keras` is a Keras archive of the compiled net: weights, momenta and the optimizer's count of updates. It also
carries the run's position, so that one rename moves both: weights and position can never disagree, wherever a run is
killed. `state.json` beside it is a copy to look at.
"""

import dataclasses
import json
import tempfile
import zipfile
from pathlib import Path

import keras
import pydantic

from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.parsing import parse_json
from model_tf.data.storage import opened, publish, size, write_bytes
from model_tf.network.archive import SavedNet, explain_load_faults, open_archive
from model_tf.network.saved_weights import fill_in_weights
from model_tf.training.run_folder import BEST_FILE, LAST_FILE, STATE_FILE

_ADVICE = "Give another --output, or delete the file to begin from the first step"


@dataclasses.dataclass(frozen=True)
class TrainState:
    """Where a run is.

    Attributes:
        step: Updates done since the run began.
        epochs: Epochs that are trained, validated and logged.
        loss_total: Sum of the weighted cross-entropies of the known entries of the epoch under way.
        loss_known: Sum of the weights of those entries.
        booked_steps: Steps of the epoch that are in these sums. They are fewer than were done where a version that kept
            other sums began the epoch.
        seconds: Wall time spent on the epoch under way.
        cpu_seconds: Time of all the process's cores spent on it.
        best_auc: Best mean AUC on the validation split so far; None where none was scored.
        best_epoch: The epoch that reached it, from 1.
    """

    step: int = 0
    epochs: int = 0
    loss_total: float = 0.0
    loss_known: float = 0.0
    booked_steps: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    best_auc: float | None = None
    best_epoch: int | None = None

    def to_json(self) -> str:
        """Returns the text of `state.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


_STATE = pydantic.TypeAdapter(TrainState)


def save_last(model: keras.Model, state: TrainState, folder: str, *, publishes: bool = True) -> None:
    """Saves all that training goes on from.

    Args:
        model: The compiled net.
        state: Where the run is.
        folder: The run's folder.
        publishes: False on all but one host, where a batch is spread over several: reading a variable may need
            all of them, writing the file needs one.
    """
    with tempfile.TemporaryDirectory() as local:
        path = Path(local) / LAST_FILE
        model.save(path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(STATE_FILE, state.to_json())
        if publishes:
            publish(str(path), join(folder, LAST_FILE))
            write_bytes(join(folder, STATE_FILE), state.to_json().encode())


def save_best(model: keras.Model, folder: str, *, publishes: bool = True) -> None:
    """Saves the net without its optimizer: to load it, `keras` needs `model_tf.network.hrnet` imported, no more."""
    weights = model.get_weights()
    if publishes:
        bare = type(model).from_config(model.get_config())
        bare.set_weights(weights)
        with tempfile.TemporaryDirectory() as local:
            path = Path(local) / BEST_FILE
            bare.save(path)
            publish(str(path), join(folder, BEST_FILE))


def load_last(model: keras.Model, folder: str) -> TrainState | None:
    """Loads the last checkpoint into a compiled net whose optimizer is built.

    Args:
        model: Gets weights, momenta and the count of updates.
        folder: The run's folder.

    Returns:
        Where the run was; None where it has no checkpoint yet.

    Raises:
        InvalidInputError: The file is damaged, or it is of another architecture.
    """
    path = join(folder, LAST_FILE)
    if size(path) is None:
        return None
    with opened(path) as file:
        with explain_load_faults(path, _ADVICE):
            archive = open_archive(file)
            state = parse_json(_STATE, archive.read(STATE_FILE))
            saved = SavedNet.of_archive(archive)
        _require_same_architecture(path, saved, model)
        with explain_load_faults(path, _ADVICE):
            fill_in_weights(archive, model)
    if int(model.optimizer.iterations) != state.step:
        raise InvalidInputError(
            f"{path} is damaged: its optimizer has done {int(model.optimizer.iterations)} updates, its state says "
            f"{state.step}. {_ADVICE}."
        )
    return state


def _require_same_architecture(path: str, saved: SavedNet, model: keras.Model) -> None:
    there, wanted = saved.sizes, SavedNet.of_model(model).sizes
    if there != wanted:
        differing = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key))
        raise InvalidInputError(
            f"{path} is a checkpoint of another architecture: it has "
            f"{', '.join(f'{key} {there.get(key)}' for key in differing)}. Received: --width and --data that need "
            f"{', '.join(f'{key} {wanted.get(key)}' for key in differing)}. Give another --output, or the command "
            "that wrote it."
        )
