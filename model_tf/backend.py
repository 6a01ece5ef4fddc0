"""Chooses the backend of Keras before it is imported."""

import importlib.util
import os
import sys

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.training.settings import TrainSettings


def choose_backend(settings: TrainSettings) -> None:
    """Sets what Keras and its backends read from the environment when they are imported.

    Raises:
        InvalidInputError: The backend is not installed, or Keras is imported already with another one.
    """
    if importlib.util.find_spec(settings.backend) is None:
        raise InvalidInputError(
            f"--backend {settings.backend} needs the package {settings.backend}, which is not installed. Install it "
            "with pip, or give another --backend."
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if settings.backend == "jax" and settings.deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    os.environ["KERAS_BACKEND"] = settings.backend
    if "keras" in sys.modules and sys.modules["keras"].config.backend() != settings.backend:
        raise InvalidInputError(
            f"Keras already runs on {sys.modules['keras'].config.backend()} in this process. Received: --backend "
            f"{settings.backend}. Train in a process of its own."
        )
