"""The learning rate of each step."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("model_tf")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up from 0, then half a cosine down to a final rate.

    With s the number of updates done before this one (the optimizer's `iterations`), W the warm-up's steps
    and T the steps of the whole run:

    - s < W: peak s / W. The first update, s = 0, has rate 0.
    - W <= s <= T - 1: final + (peak - final) (1 + cos(pi (s - W) / (T - 1 - W))) / 2. So s = W has the peak
      and the last update, s = T - 1, has exactly the final rate.
    - s >= T: the final rate.

    Source: the paper, section 4: from 0 to 0.01 over 10 epochs, cosine to 0.0001. That the rate is set by
    step, and which step has which end, is a decision of ours.

    Args:
        peak: The rate at the end of the warm-up.
        final: The rate of the last step.
        warmup_steps: W, 0 for none.
        total_steps: T, above W.
    """

    def __init__(self, peak: float, final: float, warmup_steps: int, total_steps: int) -> None:
        super().__init__()
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                "The warm-up must be shorter than the run. "
                f"Received: warmup_steps={warmup_steps}, total_steps={total_steps}"
            )
        self.peak = peak
        self.final = final
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step: Any) -> Any:
        """Returns the rate of the update after `step` updates, a float32 scalar.

        Steps are exact in float32 up to 2**24; the longest preset has 1.6 million.
        """
        step = ops.cast(step, "float32")
        warm = self.peak * step / max(self.warmup_steps, 1)
        span = max(self.total_steps - 1 - self.warmup_steps, 1)
        progress = ops.clip((step - self.warmup_steps) / span, 0.0, 1.0)
        cosine = self.final + (self.peak - self.final) * (1 + ops.cos(math.pi * progress)) / 2
        return ops.where(step < self.warmup_steps, warm, cosine)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {
            "peak": self.peak,
            "final": self.final,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }
