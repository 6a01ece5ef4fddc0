"""The log of a run: a row of `log.csv` and points of TensorBoard's curves an epoch, and pictures now and then."""

import csv
import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from model_tf.data.storage import read_bytes, size, write_bytes
from model_tf.scores.plots import panel_figure, to_pixels
from model_tf.training.run_folder import EVENTS_FOLDER, LOG_FILE
from model_tf.training.validation import ValidationResult


@dataclasses.dataclass(frozen=True)
class EpochRecord:
    """The log of an epoch.

    Attributes:
        epoch: From 1.
        step: Updates done since the run began.
        learning_rate: Of the epoch's last step.
        loss: Over all known entries of its batches; None where nothing is known.
        validation: Scores after it.
        seconds: Wall time of its training, without validation.
        cpu_seconds: Time of all cores.
        images_per_second: Trained, by wall time; padding counts.
    """

    epoch: int
    step: int
    learning_rate: float
    loss: float | None
    validation: ValidationResult
    seconds: float
    cpu_seconds: float
    images_per_second: float

    def line(self, epochs: int) -> str:
        """Returns a line for people."""
        return (
            f"epoch {self.epoch}/{epochs}: loss {_shown(self.loss, 'unknown')}, "
            f"validation loss {_shown(self.validation.loss, 'unknown')}, "
            f"validation AUC {_shown(self.validation.mean_auc, 'not scored')}, {self.images_per_second:.1f} images/s"
        )

    def row(self) -> dict[str, Any]:
        """Returns the columns of `log.csv`; what is not known or not scored is empty."""
        columns = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        validation: ValidationResult = columns.pop("validation")
        columns |= {"validation_loss": validation.loss, "validation_auc": validation.mean_auc}
        return columns | {f"auc_{name}": auc for name, auc in validation.auc.items()}


_PICTURES = 10
"""Panels of predictions in a run, evenly spaced and after the last epoch; one is about 1 MB."""


class RunLog:
    """Writes the log of a run.

    Args:
        folder: The run's folder.
        categories: Of the predictions.
        done: Epochs that are done; rows of later ones, of an attempt that was killed, are dropped.
        epochs: Of the whole run.
        writes: Whether this host writes.
    """

    def __init__(
        self, folder: str, categories: CategoryTable, *, done: int, epochs: int, writes: bool = True
    ) -> None:
        self._categories = categories
        self._epochs = epochs
        self._path = join(folder, LOG_FILE)
        self._writes = writes
        self._rows = _read_rows(self._path, done)
        self.writer = (
            tf.summary.create_file_writer(join(folder, EVENTS_FOLDER))
            if writes
            else tf.summary.create_noop_writer()
        )

    def add(self, record: EpochRecord) -> None:
        """Logs an epoch."""
        self._rows.append(record.row())
        if not self._writes:
            return
        text = io.StringIO()
        table = csv.DictWriter(text, list(self._rows[-1]), lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows)
        write_bytes(self._path, text.getvalue().encode())
        with self.writer.as_default():
            for name, value in record.row().items():
                if name not in ("epoch", "step") and value is not None:
                    tf.summary.scalar(f"epoch/{name}", float(value), record.step)
            if (self._epochs - record.epoch) % max(1, self._epochs // _PICTURES) == 0:
                panel = panel_figure(record.validation.predictions, self._categories)
                tf.summary.image("predictions", to_pixels(panel)[None], record.step)
        self.writer.flush()


def _shown(value: float | None, missing: str) -> str:
    return missing if value is None else f"{value:.4f}"


def _read_rows(path: str, done: int) -> list[Mapping[str, Any]]:
    if size(path) is None:
        return []
    rows = list(csv.DictReader(io.StringIO(read_bytes(path).decode(errors="replace"))))
    for row in rows:
        epoch = row.get("epoch") or ""
        if not (epoch.isascii() and epoch.isdecimal()):
            raise InvalidInputError(
                f"{path} must have the number of an epoch in every row. Received: {epoch!r}. Something else wrote to "
                "it: take it away, and its rows are lost, but the run goes on."
            )
    return [row for row in rows if int(row["epoch"]) <= done]
