"""`tf.distribute` strategies, with a training loop of their own.

Not `model.fit`: Keras averages the replicas' losses, so that an entry would weigh more where its replica knows little
(and sums them where a loss is a scalar); and in Keras 3.15 `fit` fails under `MultiWorkerMirroredStrategy`, where it
reduces scalar logs along an axis that they do not have.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from beam_pipeline.records.schema import NUM_SLOTS
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.data.batches import Images
from model_tf.network.losses import mean_of_sums
from model_tf.training.devices import DataParallelDevices, Devices, MakeDataset
from model_tf.training.settings import TrainSettings


class TensorFlowDevices(Devices):
    """The replicas of a strategy, on all hosts.

    Args:
        strategy: The strategy.
    """

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
        self._step: tuple[keras.Model, Callable[[Any], Any]] | None = None
        self.replicas = strategy.num_replicas_in_sync
        # One process leads all hosts of a TPU; of several workers each is led by its own.
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver = strategy.cluster_resolver
            jobs = resolver.cluster_spec().as_dict()
            self.hosts = max(1, len(jobs.get("chief", [])) + len(jobs.get("worker", [])))
            chief_job = "chief" if "chief" in jobs else "worker"
            self.is_chief = self.hosts == 1 or (resolver.task_type, resolver.task_id) == (chief_job, 0)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """See `Devices`."""
        scope: contextlib.AbstractContextManager[Any] = self._strategy.scope()
        return scope

    def fit(
        self,
        model: keras.Model,
        make: MakeDataset,
        *,
        pairs_per_batch: int,
        steps: int,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        """See `Devices`."""
        # Every replica gets whole pairs, and as many rows in every step: the last batch is padded.
        rows = NUM_SLOTS * pairs_per_batch // self.replicas

        def of_host(context: Any) -> tf.data.Dataset:
            batches = make(context.num_input_pipelines, context.input_pipeline_id)
            return batches.rebatch(rows, drop_remainder=True)

        batches = iter(self._strategy.distribute_datasets_from_function(of_host))
        step = self._step_of(model)
        listeners = keras.callbacks.CallbackList(list(callbacks), model=model)
        model.stop_training = False
        listeners.on_train_begin()
        done = 0
        while done < steps and not model.stop_training:
            total, known = step(batches)
            done += 1
            listeners.on_train_batch_end(done - 1, {"loss_total": total, "loss_known": known})
        listeners.on_train_end()

    def any_host(self, here: bool) -> bool:
        """See `Devices`."""
        if self.hosts == 1:
            return here
        return float(self._votes(tf.constant(float(here)))) > 0

    @functools.cached_property
    def _votes(self) -> Callable[[Any], Any]:
        """Adds up what the replicas of all hosts say."""

        def votes(mine: Any) -> Any:
            all_of_them = self._strategy.run(tf.identity, args=(mine,))
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, all_of_them, axis=None)

        function: Callable[[Any], Any] = tf.function(votes)
        return function

    def predictor(self, model: keras.Model) -> Callable[[Images], npt.NDArray[np.float32]]:
        """See `Devices`."""
        local = self.replicas // self.hosts

        @tf.function
        def forward(images: Any) -> Any:
            return self._strategy.run(lambda x: model(x, training=False), args=(images,))

        def predict(images: Images) -> npt.NDArray[np.float32]:
            def part(context: Any) -> dict[str, Any]:
                index = context.replica_id_in_sync_group % local
                return {name: tf.constant(np.split(x, local)[index]) for name, x in images.items()}

            parts = self._strategy.experimental_distribute_values_from_function(part)
            logits = self._strategy.experimental_local_results(forward(parts))
            return np.concatenate([np.asarray(of_replica, np.float32) for of_replica in logits])

        return predict

    def _step_of(self, model: keras.Model) -> Callable[[Any], Any]:
        """Returns the function from the batches' iterator to the two sums of a step's loss, traced once a net."""
        if self._step is not None and self._step[0] is model:
            return self._step[1]

        def of_replica(batch: tuple[Any, Any]) -> tuple[Any, Any]:
            images, label = batch
            with tf.GradientTape() as tape:
                total, known = model.loss.sums(label, model(images, training=True))
                # Divided by what all replicas know, their gradients add up to that of the whole batch.
                known_by_all = tf.distribute.get_replica_context().all_reduce(
                    tf.distribute.ReduceOp.SUM, known
                )
                loss = mean_of_sums(total, known_by_all)
            variables = model.trainable_variables
            model.optimizer.apply(tape.gradient(loss, variables), variables)
            return total, known

        def over_replicas(batches: Any) -> Any:
            sums = self._strategy.run(of_replica, args=(next(batches),))
            return tuple(self._strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in sums)

        step: Callable[[Any], Any] = tf.function(over_replicas)
        self._step = (model, step)
        return step


def make_devices(settings: TrainSettings, tpu: str = "") -> Devices:
    """Makes the devices of a run; to be called before anything is computed.

    Args:
        settings: Names the strategy.
        tpu: Name of the TPU for `--strategy tpu`, "local" on a TPU VM.

    Returns:
        The devices.

    Raises:
        InvalidInputError: There is no such TPU, or a batch cannot be divided among the replicas.
    """
    if settings.backend != "tensorflow":
        # tf.data feeds the other backends too: it needs no GPU and must leave its memory to them.
        tf.config.set_visible_devices([], "GPU")
    devices = _make(settings, tpu)
    if settings.pairs_per_batch % devices.replicas:
        raise InvalidInputError(
            f"--pairs_per_batch must be a multiple of the {devices.replicas} devices of --strategy "
            f"{settings.strategy}. Received: {settings.pairs_per_batch}"
        )
    return devices


def _make(settings: TrainSettings, tpu: str) -> Devices:
    if settings.strategy == "data-parallel":
        return DataParallelDevices()
    if settings.strategy == "mirrored":
        return TensorFlowDevices(tf.distribute.MirroredStrategy(_logical_devices()))
    if settings.strategy == "multi-worker":
        return TensorFlowDevices(tf.distribute.MultiWorkerMirroredStrategy())
    if settings.strategy == "tpu":
        try:
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu)
        except (ValueError, tf.errors.OpError) as error:
            found = str(error).rstrip(".")
            raise InvalidInputError(
                f"--strategy tpu found no TPU: {found}. Run on a TPU VM with --tpu local, or give the name of a TPU "
                f"node. Received: --tpu {tpu!r}"
            ) from error
        return TensorFlowDevices(tf.distribute.TPUStrategy(resolver))
    return Devices()


def _logical_devices() -> list[str]:
    """GPUs, or CPUs where there are none: a CPU can be split into logical devices to try things out."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]
