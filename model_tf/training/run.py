"""Trains: epochs of steps, each followed by a validation, a log line and a checkpoint."""

import contextlib
import dataclasses
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from beam_pipeline.records.description import DATASET_FILE, require_map
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from model_tf.data.batches import Images, make_dataset, steps_per_epoch
from model_tf.data.faults import explain_data_faults
from model_tf.data.info import DatasetInfo, load_info
from model_tf.network.hrnet import build_hrnet
from model_tf.network.losses import MaskedBinaryCrossentropy, mean_or_none
from model_tf.network.schedules import WarmupCosine
from model_tf.training.callbacks import Checkpointer, LossBooks, ProgressBar, StepScalars
from model_tf.training.checkpoints import TrainState, load_last, save_best, save_last
from model_tf.training.devices import Devices
from model_tf.training.distributed import make_devices
from model_tf.training.flags import TrainCommand
from model_tf.training.run_folder import BEST_FILE, RunInfo, claim, tidy
from model_tf.training.run_log import EpochRecord, RunLog
from model_tf.training.settings import TrainSettings
from model_tf.training.stopping import EXIT_STOPPED, StopRequest
from model_tf.training.validation import Validation

_IMAGES_PER_PAIR = 2


def train(command: TrainCommand, request: StopRequest) -> int:
    """Trains, or goes on with a run.

    Args:
        command: What to do.
        request: Ends the run early when it is made.

    Returns:
        0 where the run is finished, `EXIT_STOPPED` where it was stopped.

    Raises:
        InvalidInputError: Something given cannot be used. All that can be is found before anything is trained; that
            a shard is damaged or that training diverges comes later.
    """
    settings = command.settings
    devices = make_devices(settings, command.tpu)
    info = load_info(command.data)
    check_data(settings, info)
    claim_or_wait(command.output, RunInfo.of(settings, info), devices)
    if settings.deterministic:
        make_deterministic(settings)
    keras.utils.set_random_seed(settings.seed)
    with explain_data_faults(info):
        return Run(command, info, devices, request).go_on()


def check_data(settings: TrainSettings, info: DatasetInfo) -> None:
    """Checks that the data serve these settings.

    Raises:
        InvalidInputError: They are of labelled places, a split is empty, there are no statistics, a weighed category
            does not exist, or the training split knows nothing that has a weight.
    """
    require_map(info.grid_name, info.folder)
    for split in ("training", "validation"):
        info.require_examples(split)
    unknown = [name for name, _ in settings.class_weights if name not in info.categories.names]
    if unknown:
        raise InvalidInputError(
            f"--class_weights must name categories of the data: {', '.join(info.categories.names)}. "
            f"Received: {', '.join(unknown)}"
        )
    weights = dict(settings.class_weights)
    never_known = {*info.never_known("training")}
    if not any(name not in never_known and weights.get(name, 1.0) for name in info.categories.names):
        raise InvalidInputError(_nothing_known(info.folder))


def _nothing_known(folder: str) -> str:
    return (
        "The training split must have known pixels of a category whose --class_weights is not 0. Received: none, in "
        f"{folder}. There is nothing to learn: see `labels` in {DATASET_FILE}, and build a dataset of a mapped place."
    )


def claim_or_wait(folder: str, run: RunInfo, devices: Devices) -> None:
    """Makes the output folder the run's. The chief does so; the others meet it before they look."""
    if devices.is_chief:
        claim(folder, run)
        tidy(folder)
    devices.any_host(False)
    if not devices.is_chief:
        claim(folder, run)


def make_deterministic(settings: TrainSettings) -> None:
    """Makes every operation give the same bits each time; JAX is told by XLA's flags before it starts."""
    if settings.backend == "tensorflow":
        tf.config.experimental.enable_op_determinism()


class Run:
    """A run from where it is to its end.

    Args:
        command: What to do.
        info: The data.
        devices: Where to compute.
        request: Ends the run early when it is made.
    """

    def __init__(
        self, command: TrainCommand, info: DatasetInfo, devices: Devices, request: StopRequest
    ) -> None:
        self.settings = command.settings
        self.folder = command.output
        self.save_every = command.save_every
        self.info = info
        self.devices = devices
        self.request = request
        self.steps = steps_per_epoch(
            info,
            "training",
            self.settings.pairs_per_batch,
            epoch=0,
            hosts=devices.hosts,
            single_images=self.settings.single_images,
        )
        self.schedule = make_schedule(self.settings, self.steps)
        self.loss = MaskedBinaryCrossentropy(info.categories, dict(self.settings.class_weights))
        with devices.scope():
            self.model = make_model(self.settings, len(info.categories), self.schedule, self.loss)
            self.state = load_last(self.model, self.folder) or TrainState()
        self.log = RunLog(
            self.folder,
            info.categories,
            done=self.state.epochs,
            epochs=self.settings.epochs,
            writes=devices.is_chief,
        )
        self.validation = Validation(info, self.settings)
        self.predict: Callable[[Images], np.ndarray] = devices.predictor(self.model)

    def go_on(self) -> int:
        """Trains what is left; returns the exit code."""
        if self.state.epochs == self.settings.epochs:
            self.say(f"{self.folder} is finished: {self.summary()}")
            return 0
        if self.state.step:
            done = self.state.step - self.state.epochs * self.steps
            self.say(
                f"{self.folder} goes on in epoch {self.state.epochs + 1} after {done} of {self.steps} steps"
            )
        self.warn_of_labels()
        while self.state.epochs < self.settings.epochs:
            if not (self.train_epoch() and self.close_epoch()):
                self.say(f"stopped after {self.state.step} steps; the same command goes on")
                return EXIT_STOPPED
        self.say(f"finished: {self.summary()}")
        return 0

    def warn_of_labels(self) -> None:
        """Names the categories that the training split cannot teach."""
        unknown, absent = self.info.never_known("training"), self.info.never_held("training")
        if unknown:
            self.say(
                f"warning: the training split never knows {', '.join(unknown)}: all their pixels are unlabeled (255). "
                "Nothing is learnt of them, and their probabilities mean nothing"
            )
        if absent:
            self.say(
                f"warning: no pixel of the training split holds {', '.join(absent)}: the net only learns where they "
                "are not"
            )

    def train_epoch(self) -> bool:
        """Trains what is left of the epoch under way; returns whether it was not stopped."""
        epoch = self.state.epochs
        first = self.state.step - epoch * self.steps
        if first == self.steps:
            return not self.is_stopped()
        began = self.state
        clock = _Clock()
        books = LossBooks(
            began.loss_total,
            began.loss_known,
            lambda step, loss: self.explain_loss(epoch, first + step, loss),
        )

        def save(steps: int) -> None:
            self.state = _advanced(began, steps, books, clock)
            save_last(self.model, self.state, self.folder, publishes=self.devices.is_chief)

        checkpointer = Checkpointer(self.is_stopped, save, self.save_every)
        callbacks = [books, checkpointer]
        with contextlib.ExitStack() as until_done:
            if self.devices.is_chief:
                bar = ProgressBar(
                    f"epoch {epoch + 1}/{self.settings.epochs}",
                    first,
                    self.steps,
                    lambda step: float(self.schedule(epoch * self.steps + step)),
                    books,
                )
                # However the epoch ends: an error's message begins on a line of its own.
                until_done.callback(bar.close)
                callbacks += [bar, StepScalars(self.log.writer, began.step, self.schedule, books)]
            self.devices.fit(
                self.model,
                lambda hosts, host: self.batches(epoch, first, hosts, host),
                pairs_per_batch=self.settings.pairs_per_batch,
                steps=self.steps - first,
                callbacks=callbacks,
            )
        if checkpointer.stopped:
            return False
        if not books.known and began.booked_steps + self.steps - first == self.steps:
            raise InvalidInputError(_nothing_known(self.info.folder))
        save(self.steps - first)
        return True

    def explain_loss(self, epoch: int, step: int, loss: float) -> InvalidInputError:
        """Says why the loss of a step is NaN or infinite.

        Args:
            epoch: From 0.
            step: Of the epoch, from 0.
            loss: Its sum of cross-entropies.
        """
        said = f"The loss became {loss} in epoch {epoch + 1}, step {step + 1} of {self.steps}"
        if not any(float(self.schedule(earlier)) for earlier in range(epoch * self.steps + step)):
            return InvalidInputError(
                f"{said}, before any weight had changed: --peak_rate is not "
                f"the cause. Received: --precision {self.settings.precision} --backend {self.settings.backend}. "
                "Try --precision float32, another --seed or another --backend."
            )
        return InvalidInputError(
            f"{said}: training diverged. Nothing of it was saved. Begin a new run in another --output, with a "
            "lower --peak_rate or a longer --warmup_epochs."
        )

    def close_epoch(self) -> bool:
        """Validates, keeps the best net, logs and saves; returns whether it was not stopped."""
        result = self.validation.run(self.predict, self.loss, self.is_stopped)
        if result is None:
            return False
        state, settings = self.state, self.settings
        epoch = state.epochs + 1
        best = state.best_auc is None or (result.mean_auc is not None and result.mean_auc > state.best_auc)
        if best:
            save_best(self.model, self.folder, publishes=self.devices.is_chief)
        images = self.steps * settings.pairs_per_batch * _IMAGES_PER_PAIR
        record = EpochRecord(
            epoch=epoch,
            step=state.step,
            learning_rate=float(self.schedule(state.step - 1)),
            loss=mean_or_none(state.loss_total, state.loss_known),
            validation=result,
            seconds=state.seconds,
            cpu_seconds=state.cpu_seconds,
            images_per_second=images / state.seconds,
        )
        self.log.add(record)
        self.state = TrainState(
            step=state.step,
            epochs=epoch,
            best_auc=result.mean_auc if best else state.best_auc,
            best_epoch=epoch if best else state.best_epoch,
        )
        save_last(self.model, self.state, self.folder, publishes=self.devices.is_chief)
        self.say(record.line(settings.epochs))
        return True

    def batches(self, epoch: int, first: int, hosts: int, host: int) -> tf.data.Dataset:
        """Returns the training batches of an epoch from a step on, those of one host."""
        return make_dataset(
            self.info,
            "training",
            pairs_per_batch=self.settings.pairs_per_batch,
            statistics=self.info.statistics,
            seed=self.settings.seed,
            epoch=epoch,
            augment=self.settings.augment,
            single_images=self.settings.single_images,
            start_step=first,
            hosts=hosts,
            host=host,
        )

    def is_stopped(self) -> bool:
        """Tells whether any host was asked to stop."""
        return self.devices.any_host(self.request.is_made)

    def summary(self) -> str:
        """Says how good the best net is and where it lies."""
        auc = "not scored" if self.state.best_auc is None else f"{self.state.best_auc:.4f}"
        return f"best validation AUC {auc}, epoch {self.state.best_epoch}: {join(self.folder, BEST_FILE)}"

    def say(self, text: str) -> None:
        """Prints, on the chief."""
        if self.devices.is_chief:
            print(text, flush=True)


def make_schedule(settings: TrainSettings, steps: int) -> WarmupCosine:
    """Returns the learning rate of every step of a run whose epochs have so many steps."""
    return WarmupCosine(
        settings.peak_rate,
        settings.final_rate,
        int(settings.warmup_epochs * steps),
        settings.epochs * steps,
    )


def make_model(
    settings: TrainSettings, num_categories: int, schedule: WarmupCosine, loss: MaskedBinaryCrossentropy
) -> keras.Model:
    """Builds and compiles the net, its optimizer's variables included."""
    dtype = "mixed_bfloat16" if settings.precision == "bfloat16" else "float32"
    model = build_hrnet(
        settings.width,
        num_categories,
        seed=settings.seed,
        dtype=dtype,
        upsample_20m=settings.upsample_20m,
    )
    optimizer = keras.optimizers.SGD(
        schedule, momentum=settings.momentum, weight_decay=settings.weight_decay or None
    )
    # Kernels only: decay would pull norms and biases towards nothing they should be.
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(optimizer=optimizer, loss=loss)
    optimizer.build(model.trainable_variables)
    return model


class _Clock:
    """Wall and CPU time since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


def _advanced(began: TrainState, steps: int, books: LossBooks, clock: _Clock) -> TrainState:
    """The state so many steps after another within the same epoch."""
    seconds, cpu_seconds = clock.read()
    return dataclasses.replace(
        began,
        step=began.step + steps,
        loss_total=books.total,
        loss_known=books.known,
        booked_steps=began.booked_steps + steps,
        seconds=began.seconds + seconds,
        cpu_seconds=began.cpu_seconds + cpu_seconds,
    )
