"""How a batch is spread over devices: one process's view of `--strategy`."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from beam_pipeline.faults import InvalidInputError
from beam_pipeline.records.schema import NUM_SLOTS
from model_tf.settings import TrainSettings
from model_tf.targets import Tensor

MakeDataset = Callable[[int, int], tf.data.Dataset]
"""(hosts, host) -> the batches of that host, of all its replicas together."""

Images = Mapping[str, npt.NDArray[np.float32]]


class Devices:
    """One device, or what Keras spreads a batch over by itself. The base of the others.

    Attributes:
        replicas: Parts that a batch is split into.
        hosts: Processes that read data.
        is_chief: Whether this process writes the run's files.
    """

    replicas = 1
    hosts = 1
    is_chief = True

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Returns the context in which a net is built, compiled, loaded and trained."""
        return contextlib.nullcontext()

    @property
    def sum_over_replicas(self) -> Callable[[Tensor], Tensor] | None:
        """Adds up a scalar over the replicas, inside a step; None where a step sees the whole batch."""
        return None

    def feed(self, make: MakeDataset, pairs_per_batch: int) -> Any:
        """Returns what `model.fit` takes: the batches of `make`, dealt to hosts and replicas."""
        del pairs_per_batch
        return make(1, 0)

    def any_host(self, here: bool) -> bool:
        """Tells whether it is so on any host; every host must ask in the same step."""
        return here

    def predictor(self, model: keras.Model) -> Callable[[Images], npt.NDArray[np.float32]]:
        """Returns a function from a batch of images to logits (N, H, W, C); every host computes all of them."""

        def predict(images: Images) -> npt.NDArray[np.float32]:
            return np.asarray(model.predict_on_batch(dict(images)), np.float32)

        return predict


class DataParallelDevices(Devices):
    """All devices of this process under JAX, by `keras.distribution`. A step sees the whole batch."""

    def __init__(self) -> None:
        self.replicas = len(keras.distribution.list_devices())
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))

    def predictor(self, model: keras.Model) -> Callable[[Images], npt.NDArray[np.float32]]:
        """See `Devices`; Keras does not spread single batches by itself."""
        predict = super().predictor(model)
        distribution = keras.distribution.distribution()

        def spread(images: Images) -> npt.NDArray[np.float32]:
            return predict(
                {
                    name: keras.distribution.distribute_tensor(
                        keras.ops.convert_to_tensor(x), distribution.get_data_layout(x.shape)
                    )
                    for name, x in images.items()
                }
            )

        return spread


class TensorFlowDevices(Devices):
    """A `tf.distribute` strategy: the replicas of all hosts.

    Args:
        strategy: The strategy.
    """

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
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

    @property
    def sum_over_replicas(self) -> Callable[[Tensor], Tensor] | None:
        """See `Devices`."""
        return _sum_over_replicas if self.replicas > 1 else None

    def feed(self, make: MakeDataset, pairs_per_batch: int) -> Any:
        """See `Devices`."""
        # Every replica gets whole pairs, and the same number of rows in every step: the last batch is padded.
        rows = NUM_SLOTS * pairs_per_batch // self.replicas

        def of_host(context: Any) -> tf.data.Dataset:
            batches = make(context.num_input_pipelines, context.input_pipeline_id)
            return batches.rebatch(rows, drop_remainder=True)

        return self._strategy.distribute_datasets_from_function(of_host)

    def any_host(self, here: bool) -> bool:
        """See `Devices`."""
        if self.hosts == 1:
            return here
        votes = self._strategy.run(tf.identity, args=(tf.constant(float(here)),))
        return bool(self._strategy.reduce(tf.distribute.ReduceOp.SUM, votes, axis=None) > 0)

    def predictor(self, model: keras.Model) -> Callable[[Images], npt.NDArray[np.float32]]:
        """See `Devices`."""
        local = self.replicas // self.hosts

        @tf.function
        def forward(images: Any) -> Any:
            return self._strategy.run(lambda x: model(x, training=False), args=(images,))

        def predict(images: Images) -> npt.NDArray[np.float32]:
            def part(context: Any) -> dict[str, Any]:
                index = context.replica_id_in_sync_group % local
                return {name: tf.constant(np.array_split(x, local)[index]) for name, x in images.items()}

            parts = self._strategy.experimental_distribute_values_from_function(part)
            logits = self._strategy.experimental_local_results(forward(parts))
            return np.concatenate([np.asarray(of_replica, np.float32) for of_replica in logits])

        return predict


def make_devices(settings: TrainSettings, tpu: str = "") -> Devices:
    """Makes the devices of a run; to be called before anything is computed.

    Args:
        settings: Names the strategy.
        tpu: Name of the TPU for `--strategy tpu`, "" for that of this machine.

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
            raise InvalidInputError(
                f"--strategy tpu found no TPU: {error}. Run on a TPU VM with --tpu local, or give the name of a TPU "
                f"node. Received: --tpu {tpu!r}"
            ) from error
        return TensorFlowDevices(tf.distribute.TPUStrategy(resolver))
    return Devices()


def _logical_devices() -> list[str]:
    """GPUs, or CPUs where there are none: a CPU may be split into logical devices to try things out."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


def _sum_over_replicas(value: Tensor) -> Tensor:
    context = tf.distribute.get_replica_context()
    # Outside of a replica Keras only asks for shapes.
    return value if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, value)
