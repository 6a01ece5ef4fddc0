"""One configuration of `train_step.py`, in a process of its own: the backend is chosen when Keras is imported.

    KERAS_BACKEND=jax python tests/benchmarks/train_step_worker.py '{"preset": "tiny", ...}'

prints one line of JSON. `train_step.py` starts it; there is no need to call it.
"""

import dataclasses
import gc
import itertools
import json
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import keras
import numpy as np

from model_tf.network.architecture_summary import INPUT_STRIDES, cost_per_pixel
from model_tf.network.hrnet import HRNetSegmenter, build_hrnet
from model_tf.network.losses import MaskedBinaryCrossentropy
from model_tf.network.receptive_field import trace
from tests.model_tf.made_dataset import ONTOLOGY, VALUES, table_of

CATEGORIES = table_of(ONTOLOGY)

LOSS_BATCH, LOSS_SIZE, LOSS_STEPS = 2, 64, 4
"""Of the steps whose losses are compared: small, because the reference takes them on a CPU."""

_BATCH = {False: 2, True: 32}
"""Images a step unless said otherwise, by whether there is an accelerator: a pair, or the paper's 16 pairs."""

_MATMUL_SIZES = {False: (512, 1024, 2048, 3072), True: (4096, 8192, 12288)}
"""Sides of the matrices that are tried, by whether there is an accelerator."""

_MATMUL_SECONDS = {False: 1.0, True: 0.3}
"""The time for which the matmul rate is measured before and after each timed step."""


@dataclasses.dataclass(frozen=True)
class Configuration:
    """The case that is measured.

    Attributes:
        preset: A net's name.
        precision: "float32" or "bfloat16".
        xla: Compile the step with XLA: always on JAX, never on PyTorch.
        batch: Images a step; None takes 2 on a CPU and 32, the paper's 16 pairs, on an accelerator.
        size: Side of the images, 10 m pixels.
        rounds: Timed rounds.
        weights: Where initial weights are, for losses; "" takes none.
        reference: Makes the weights, instead of reading them.
        timed: Times steps, too.
    """

    preset: str
    precision: str
    xla: bool
    batch: int | None
    size: int
    rounds: int
    weights: str
    reference: bool = False
    timed: bool = True


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """The device that the backend computes on.

    Attributes:
        name: Of the card, "" for the CPU.
        peak_bytes: Most bytes in use on the card so far.
    """

    name: str
    peak_bytes: Callable[[], int]


def find_accelerator() -> Accelerator:
    """Looks for an accelerator in the backend's own way, and lets PyTorch use TF32 as the others do."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            for device in tf.config.list_physical_devices("GPU")[:1]:
                name = tf.config.experimental.get_device_details(device).get("device_name", "GPU")
                return Accelerator(name, lambda: tf.config.experimental.get_memory_info("GPU:0")["peak"])
        case "jax":
            import jax

            device = jax.devices()[0]
            if device.platform != "cpu":
                return Accelerator(device.device_kind, lambda: device.memory_stats()["peak_bytes_in_use"])
        case "torch":
            import torch

            if torch.cuda.is_available():
                torch.backends.cuda.matmul.allow_tf32 = True
                torch.backends.cudnn.allow_tf32 = True
                return Accelerator(torch.cuda.get_device_name(0), torch.cuda.max_memory_allocated)
    return Accelerator("", lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def make_net(given: Configuration) -> HRNetSegmenter:
    """Builds and compiles a net as train.py does for this precision."""
    net = build_hrnet(
        given.preset,
        len(CATEGORIES.names),
        dtype={"float32": "float32", "bfloat16": "mixed_bfloat16"}[given.precision],
    )
    net.compile(
        optimizer=keras.optimizers.SGD(0.01, momentum=0.9),
        loss=MaskedBinaryCrossentropy(CATEGORIES),
        jit_compile=given.xla,
    )
    return net


def make_batch(images: int, size: int) -> tuple[dict[str, Any], Any]:
    """Generates standardised images (N, size, size, 4), (N, size / 2, size / 2, 6) and labels, on the device."""
    rng = np.random.default_rng(0)
    label = np.stack([rng.choice([*values, 254, 255], (images, size, size)) for values in VALUES], axis=-1)
    x = {
        "gsd_10": rng.standard_normal((images, size, size, 4), np.float32),
        "gsd_20": rng.standard_normal((images, size // 2, size // 2, 6), np.float32),
    }
    return (
        {name: keras.ops.convert_to_tensor(value) for name, value in x.items()},
        keras.ops.convert_to_tensor(label.astype(np.uint8)),
    )


def first_losses(given: Configuration) -> list[float]:
    """Takes the first steps from the reference's weights; returns their losses."""
    net = make_net(given)
    if given.reference:
        # A fresh net says 0.5 everywhere, whatever its features are. A larger head lets the loss depend on them.
        kernel, bias = net.get_layer("head").get_weights()
        kernel = np.random.default_rng(0).normal(0, 0.2, kernel.shape).astype(np.float32)
        net.get_layer("head").set_weights([kernel, bias])
        net.save_weights(given.weights)
    else:
        net.load_weights(given.weights)
    batch = make_batch(LOSS_BATCH, LOSS_SIZE)
    return [float(net.train_on_batch(*batch, return_dict=True)["loss"]) for _ in range(LOSS_STEPS)]


@dataclasses.dataclass(frozen=True)
class Rate:
    """FLOPs a second, of wall time and of the process's CPU time (all threads together)."""

    wall: float
    cpu: float


class Clock:
    """Reads the seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Returns wall seconds and CPU seconds."""
        return time.perf_counter() - self._started[0], time.process_time() - self._started[1]


class Matmul:
    """Measures the rate at which the backend multiplies square matrices of the given dtype.

    Args:
        dtype: Of the matrices.
        accelerated: Whether there is an accelerator.
    """

    def __init__(self, dtype: str, accelerated: bool) -> None:
        self._seconds = _MATMUL_SECONDS[accelerated]
        rates = {}
        for side in _MATMUL_SIZES[accelerated]:
            self._take(side, dtype)
            rates[side] = self.rate().wall
        self.side = max(rates, key=lambda side: rates[side])
        self._take(self.side, dtype)

    def _take(self, side: int, dtype: str) -> None:
        # Of norm near 1, so that a long chain of products neither over- nor underflows.
        values = np.random.default_rng(0).standard_normal((side, side), np.float32) / math.sqrt(side)
        self._matrix = keras.ops.cast(keras.ops.convert_to_tensor(values), dtype)
        self._multiply(3)

    def _multiply(self, times: int) -> None:
        product = self._matrix
        for _ in range(times):
            product = keras.ops.matmul(product, self._matrix)
        np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(product[0, 0], "float32")))  # waits for it

    def rate(self) -> Rate:
        """Multiplies for about the set time; returns the rate."""
        times = 4
        while True:
            clock = Clock()
            self._multiply(times)
            wall, cpu = clock.read()
            if wall >= self._seconds / 2:
                flops = 2.0 * self._matrix.shape[0] ** 3 * times
                return Rate(flops / wall, flops / cpu)
            times *= 2


def time_steps(given: Configuration, images: int, accelerator: Accelerator) -> dict[str, Any]:
    """Times steps, the matmul rate being measured before and after each: what slows one slows the other."""
    net = make_net(given)
    cost = cost_per_pixel(net.backbone, net.num_categories, trace(net.backbone, INPUT_STRIDES))
    flops = cost.training * images * given.size**2
    batch = make_batch(images, given.size)
    started = time.perf_counter()
    net.train_on_batch(*batch)
    first_step = time.perf_counter() - started
    net.train_on_batch(*batch)
    peak_bytes = accelerator.peak_bytes()  # before the matrices come
    matmul = Matmul(given.precision, bool(accelerator.name))
    steps = 10 if accelerator.name else 1
    steps_seconds, step_rates, matmul_rates = [], [], [matmul.rate()]
    for _ in range(given.rounds):
        clock = Clock()
        for _ in range(steps):
            # Reading the loss waits for the step.
            loss = float(net.train_on_batch(*batch, return_dict=True)["loss"])
        wall, cpu = clock.read()
        steps_seconds.append(wall / steps)
        step_rates.append(Rate(steps * flops / wall, steps * flops / cpu))
        matmul_rates.append(matmul.rate())
    if not math.isfinite(loss):
        raise ArithmeticError(f"The loss is {loss}")
    around = [
        Rate(statistics.mean((before.wall, after.wall)), statistics.mean((before.cpu, after.cpu)))
        for before, after in itertools.pairwise(matmul_rates)
    ]
    pairs = list(zip(step_rates, around, strict=True))
    return {
        "first_step_seconds": first_step,
        "step_seconds": statistics.median(steps_seconds),
        "flops": flops,
        "matmul_rate": statistics.median(rate.wall for rate in around),
        "matmul_side": matmul.side,
        "share": statistics.median(step.wall / rate.wall for step, rate in pairs),
        "cpu_share": statistics.median(step.cpu / rate.cpu for step, rate in pairs),
        "peak_bytes": peak_bytes,
    }


def main() -> None:
    """Measures the configuration given as JSON and prints the result as JSON."""
    given = Configuration(**json.loads(sys.argv[1]))
    accelerator = find_accelerator()
    batch = given.batch or _BATCH[bool(accelerator.name)]
    result: dict[str, Any] = {"accelerator": accelerator.name, "batch": batch}
    if given.timed:
        result.update(time_steps(given, batch, accelerator))
    if given.weights:
        keras.backend.clear_session()
        gc.collect()
        result["losses"] = first_losses(given)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
