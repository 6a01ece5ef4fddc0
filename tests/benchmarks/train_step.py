"""The speed of training by backend, precision and compiler, beside the rate at which the machine multiplies matrices.

    python tests/benchmarks/train_step.py [--check] [--backends tensorflow,jax,torch] [--presets tiny,w18,w48]
        [--precision float32,bfloat16] [--xla off,on] [--batch 2] [--size 192] [--rounds 3] [--device auto]

Steps are taken on generated images, each configuration in a process of its own. The FLOPs are those of
`python -m model_tf.network.hrnet --summary` (a multiply-add counts two). The matmul rate is that of the same backend in
the same dtype, at the best of several sizes, measured before and after each step; `share` is the median over the
rounds of the step's FLOPs a second over it, `CPU` the same of FLOPs a second of CPU time, which tells more where
other programs run beside. On an accelerator whose peak is published, the share of that is printed too.

Losses: the first steps from the same weights, on a small batch, against TensorFlow in float32 on the CPU. Printed is
the greatest relative difference.

Under --check the exit code is 1 when a loss is off, when a configuration fails, or when w48 on a CPU reaches less
than half of the matmul rate, of wall and of CPU time, in its best configuration of a precision. Smaller nets are
not held to it: their convolutions of few channels are bound by memory.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

BACKENDS = ("tensorflow", "jax", "torch")
PRESETS = ("tiny", "w18", "w32", "w48")
"""From the smallest to the largest."""

LARGE_PRESET = "w48"
"""The one that is held to `MIN_SHARE`."""

MIN_SHARE = 0.5
"""Least share of the matmul rate, on a CPU."""

LOSS_TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}
"""Relative, over the first steps. Accelerators multiply float32 as TF32, with 10 bits of mantissa; bfloat16 has 7."""

PEAKS = {
    # Dense, TFLOP/s: (TF32, bfloat16). Source: NVIDIA's data sheets of these cards.
    "H200": (494.7, 989.4),
    "H100 PCIe": (378.0, 756.0),
    "H100": (494.7, 989.4),
    "A100": (156.0, 312.0),
    "L40S": (183.0, 362.0),
    "L4": (60.0, 121.0),
}
"""Published peaks by what a card's name contains; the first that fits counts."""

WORKER = Path(__file__).with_name("train_step_worker.py")


@dataclasses.dataclass(frozen=True)
class Row:
    """A configuration and what was measured of it.

    Attributes:
        backend: Of Keras.
        preset: The net.
        precision: Of the computation.
        xla: Whether XLA compiled the step.
        result: What the worker printed, or {"error": ...}.
    """

    backend: str
    preset: str
    precision: str
    xla: bool
    result: dict[str, Any]

    @property
    def failed(self) -> bool:
        """Whether the worker ended with an error."""
        return "error" in self.result


def run_worker(backend: str, device: str, configuration: dict[str, Any]) -> dict[str, Any]:
    """Runs one configuration in a process of its own; returns its result, or {"error": the last line}."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if device == "cpu":
        environment |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, str(WORKER), json.dumps(configuration)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"error": lines[-1]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def published_peak(name: str, precision: str) -> float | None:
    """Returns the published FLOPs a second of a card, None where it is not known."""
    for part, (tf32, bfloat16) in PEAKS.items():
        if part in name:
            return 1e12 * (tf32 if precision == "float32" else bfloat16)
    return None


def loss_difference(losses: Sequence[float], reference: Sequence[float]) -> float:
    """Returns the greatest relative difference; NaN where a loss is NaN."""
    differences = [abs(one - other) / other for one, other in zip(losses, reference, strict=True)]
    return max(differences, key=lambda value: (value != value, value))


def configurations(given: argparse.Namespace) -> list[tuple[str, str, str, bool]]:
    """Returns (backend, preset, precision, XLA) of all that is to be measured."""
    chosen = []
    for preset in sorted(given.presets, key=PRESETS.index):
        for precision in given.precision:
            for backend in given.backends:
                if importlib.util.find_spec(backend) is None:
                    print(f"{backend} is not installed and is left out", file=sys.stderr)
                    continue
                # JAX always compiles with XLA, PyTorch never does.
                fixed = {"jax": [True], "torch": [False]}
                compiled = fixed.get(backend) or [mode == "on" for mode in given.xla]
                chosen += [(backend, preset, precision, mode) for mode in compiled]
    return chosen


HEADER = (
    f"{'net':>5} {'dtype':>8} {'backend':>10} {'XLA':>4} {'images/s':>9} {'s a step':>9} {'GFLOP/s':>9} "
    f"{'matmul':>9} {'share':>6} {'CPU':>5} {'of peak':>8} {'memory':>8} {'first step':>10} {'loss off by':>11}"
)


def show(row: Row, batch: int, reference: Sequence[float] | None) -> None:
    """Prints a row of the table."""
    head = f"{row.preset:>5} {row.precision:>8} {row.backend:>10} {'on' if row.xla else 'off':>4} "
    if row.failed:
        print(f"{head}{row.result['error']}", flush=True)
        return
    result = row.result
    rate = result["flops"] / result["step_seconds"]
    peak = published_peak(result["accelerator"], row.precision)
    of_peak = "" if peak is None else f"{rate / peak:.3f}"
    cpu = "" if result["accelerator"] else f"{result['cpu_share']:.2f}"
    off = "" if reference is None else f"{loss_difference(result['losses'], reference):.1e}"
    print(
        f"{head}{batch / result['step_seconds']:>9.3f} {result['step_seconds']:>9.3f} {rate / 1e9:>9.1f} "
        f"{result['matmul_rate'] / 1e9:>9.1f} {result['share']:>6.2f} {cpu:>5} {of_peak:>8} "
        f"{result['peak_bytes'] / 2**30:>4.1f} GiB {result['first_step_seconds']:>8.1f} s {off:>11}",
        flush=True,
    )


def misses(rows: Sequence[Row], references: dict[str, list[float]]) -> list[str]:
    """Returns what is wrong with the results."""
    found = [f"{row.backend} {row.preset} {row.precision}: failed" for row in rows if row.failed]
    measured = [row for row in rows if not row.failed]
    for row in measured:
        reference = references.get(row.preset)
        if reference is not None:
            off = loss_difference(row.result["losses"], reference)
            if not off <= LOSS_TOLERANCE[row.precision]:
                found.append(f"{row.backend} {row.preset} {row.precision}: losses are off by {off:.1e}")
    for precision in dict.fromkeys(row.precision for row in measured):
        shares = [
            min(row.result["share"], row.result["cpu_share"])
            for row in measured
            if (row.preset, row.precision, row.result["accelerator"]) == (LARGE_PRESET, precision, "")
        ]
        if shares and max(shares) < MIN_SHARE:
            found.append(
                f"{LARGE_PRESET} {precision}: {max(shares):.2f} of the matmul rate, below {MIN_SHARE}"
            )
    return found


def parse() -> argparse.Namespace:
    """Reads the flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def several(*choices: str) -> Any:
        def read(text: str) -> list[str]:
            values = text.split(",")
            if wrong := set(values) - set(choices):
                raise argparse.ArgumentTypeError(f"choose from {', '.join(choices)}: {', '.join(wrong)}")
            return values

        return read

    parser.add_argument("--backends", type=several(*BACKENDS), default=["tensorflow", "jax"])
    parser.add_argument("--presets", type=several(*PRESETS), default=["tiny", "w18", "w48"])
    parser.add_argument("--precision", type=several("float32", "bfloat16"), default=["float32"])
    parser.add_argument("--xla", type=several("off", "on"), default=["off"], help="TensorFlow only")
    parser.add_argument("--batch", type=int, help="images a step (default: 2 on a CPU, 32 on an accelerator)")
    parser.add_argument("--size", type=int, default=192, help="side of the images in 10 m pixels")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds")
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    parser.add_argument("--losses", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    return parser.parse_args()


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    given = parse()
    rows: list[Row] = []
    references: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = {"size": given.size, "rounds": given.rounds, "batch": given.batch, "weights": ""}
        if given.losses:
            for preset in given.presets:
                weights = f"{folder}/{preset}.weights.h5"
                known = {"preset": preset, "precision": "float32", "xla": False, "weights": weights}
                result = run_worker("tensorflow", "cpu", {**base, **known, "reference": True, "timed": False})
                if "error" in result:
                    print(f"the reference of {preset} failed: {result['error']}", file=sys.stderr)
                    return 1
                references[preset] = result["losses"]
        print(HEADER)
        for backend, preset, precision, xla in configurations(given):
            weights = f"{folder}/{preset}.weights.h5" if given.losses else ""
            chosen = {"preset": preset, "precision": precision, "xla": xla, "weights": weights}
            result = run_worker(backend, given.device, {**base, **chosen})
            rows.append(Row(backend, preset, precision, xla, result))
            show(rows[-1], result.get("batch", 0), references.get(preset))
    names = sorted({row.result["accelerator"] or "the CPU" for row in rows if not row.failed})
    print(f"\ncomputed on {', '.join(names)}; images of {given.size} x {given.size} px")
    found = misses(rows, references)
    print("\n".join(found))
    return 1 if given.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
