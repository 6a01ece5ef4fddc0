"""What happens between the steps of an epoch: a progress bar, scalars for TensorBoard, saving, stopping.

None of them touches `self.model` in a step that needs nothing: under JAX that alone copies the weights back.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from beam_pipeline.runtime.progress import Progress
from model_tf.network.schedules import WarmupCosine

_SHOW_EVERY = 10
"""Steps between two looks at the loss to show it: a look waits for the device."""

LOG_EVERY = 50
"""Steps between two points of TensorBoard's curves."""


class ProgressBar(keras.callbacks.Callback):
    """Shows how far the epoch is, with loss and learning rate.

    Args:
        title: E.g. "epoch 3/225".
        first_step: Steps of the epoch that are done already.
        steps: Steps of the epoch.
        rate: The learning rate of a step of the epoch.
    """

    def __init__(self, title: str, first_step: int, steps: int, rate: Callable[[int], float]) -> None:
        super().__init__()
        self._rate = rate
        self._first_step = first_step
        self._progress = Progress(steps, title, "steps", done=first_step)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts the step."""
        self._progress.update()
        if batch % _SHOW_EVERY == 0 and logs:
            rate = self._rate(self._first_step + batch)
            self._progress.note(loss=f"{float(logs['loss']):.4f}", rate=f"{rate:.2g}")

    def close(self) -> None:
        """Ends the epoch; what is said next begins a line."""
        self._progress.close()


class StepScalars(keras.callbacks.Callback):
    """Writes the epoch's mean loss so far and the learning rate for TensorBoard, every `LOG_EVERY` steps.

    Args:
        writer: A summary writer.
        first_step: Steps of the run that are done already.
        schedule: Of the learning rate.
    """

    def __init__(self, writer: Any, first_step: int, schedule: WarmupCosine) -> None:
        super().__init__()
        self._writer = writer
        self._first_step = first_step
        self._schedule = schedule

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes a point."""
        step = self._first_step + batch
        if step % LOG_EVERY == 0 and logs:
            with self._writer.as_default():
                tf.summary.scalar("step/loss", float(logs["loss"]), step)
                tf.summary.scalar("step/learning_rate", float(self._schedule(step)), step)


class Checkpointer(keras.callbacks.Callback):
    """Saves within an epoch, and ends it early when the run is asked to stop.

    Args:
        is_stopped: Whether to stop; asked once after every step, as often on every host.
        save: Saves, given the steps done since the epoch was begun or gone on with, and their mean loss.
        save_every: Steps between two checkpoints.

    Attributes:
        stopped: Whether it ended the epoch.
    """

    def __init__(
        self, is_stopped: Callable[[], bool], save: Callable[[int, float], None], save_every: int
    ) -> None:
        super().__init__()
        self._is_stopped = is_stopped
        self._save = save
        self._save_every = save_every
        self.stopped = False

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Saves and stops."""
        steps = batch + 1
        self.stopped = self._is_stopped()
        if self.stopped or steps % self._save_every == 0:
            model = self.model  # under JAX this brings the weights back from the step
            self._save(steps, float((logs or {})["loss"]))
            model.stop_training = self.stopped
