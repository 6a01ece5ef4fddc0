"""The work between the steps of an epoch: the books of its loss, a progress bar, scalars for TensorBoard, saving.

None of them touches `self.model` in a step that needs nothing: under JAX that alone copies the weights back.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from beam_pipeline.runtime.progress import Progress
from model_tf.network.losses import mean_or_none
from model_tf.network.schedules import WarmupCosine

_SHOW_EVERY = 10
"""Steps between two looks at the loss to show it."""

LOG_EVERY = 50
"""Steps between two points of TensorBoard's curves."""


class LossBooks(keras.callbacks.Callback):
    """Adds up the loss of an epoch in float64: sum(w e) over sum(w) of all its known entries, as validation does it.

    It is the first of the callbacks: the others read it.

    Args:
        total: sum(w e) of the epoch's steps that are done already.
        known: sum(w) of them.
        explain: Makes the error of a step whose loss is no number, given the step, from 0 since the epoch was begun
            or gone on with, and its loss.

    Attributes:
        total: sum(w e) so far.
        known: sum(w) so far.
    """

    def __init__(self, total: float, known: float, explain: Callable[[int, float], Exception]) -> None:
        super().__init__()
        self.total = total
        self.known = known
        self._explain = explain

    @property
    def mean(self) -> float | None:
        """The loss of the epoch so far; None where nothing is known."""
        return mean_or_none(self.total, self.known)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Adds a step.

        Raises:
            Exception: That of `explain`, at the first step whose loss is NaN or infinite.
        """
        sums = logs or {}
        total = float(sums["loss_total"])
        if not math.isfinite(total):
            raise self._explain(batch, total)
        self.total += total
        self.known += float(sums["loss_known"])


class ProgressBar(keras.callbacks.Callback):
    """Shows how far the epoch is, with loss and learning rate.

    Args:
        title: E.g. "epoch 3/225".
        first_step: Steps of the epoch that are done already.
        steps: Steps of the epoch.
        rate: The learning rate of a step of the epoch.
        books: Of the epoch.
    """

    def __init__(
        self, title: str, first_step: int, steps: int, rate: Callable[[int], float], books: LossBooks
    ) -> None:
        super().__init__()
        self._books = books
        self._rate = rate
        self._first_step = first_step
        self._progress = Progress(steps, title, "steps", done=first_step)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts the step."""
        self._progress.update()
        if batch % _SHOW_EVERY == 0:
            rate = self._rate(self._first_step + batch)
            loss = self._books.mean
            self._progress.note(loss="unknown" if loss is None else f"{loss:.4f}", rate=f"{rate:.2g}")

    def close(self) -> None:
        """Ends the epoch; what is said next begins a line."""
        self._progress.close()


class StepScalars(keras.callbacks.Callback):
    """Writes the epoch's loss so far and the learning rate for TensorBoard, every `LOG_EVERY` steps.

    Args:
        writer: A summary writer.
        first_step: Steps of the run that are done already.
        schedule: Of the learning rate.
        books: Of the epoch.
    """

    def __init__(self, writer: Any, first_step: int, schedule: WarmupCosine, books: LossBooks) -> None:
        super().__init__()
        self._books = books
        self._writer = writer
        self._first_step = first_step
        self._schedule = schedule

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes a point."""
        step = self._first_step + batch
        if step % LOG_EVERY == 0:
            with self._writer.as_default():
                if self._books.mean is not None:
                    tf.summary.scalar("step/loss", self._books.mean, step)
                tf.summary.scalar("step/learning_rate", float(self._schedule(step)), step)


class Checkpointer(keras.callbacks.Callback):
    """Saves within an epoch, and ends it early when the run is asked to stop.

    Args:
        is_stopped: Whether to stop; asked once after every step, as often on every host.
        save: Saves, given the steps done since the epoch was begun or gone on with.
        save_every: Steps between two checkpoints.

    Attributes:
        stopped: Whether it ended the epoch.
    """

    def __init__(self, is_stopped: Callable[[], bool], save: Callable[[int], None], save_every: int) -> None:
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
            self._save(steps)
            model.stop_training = self.stopped
