"""Chooses the backend of Keras before it is imported."""

import importlib.util
import os
import sys

from beam_pipeline.runtime.extras import require_package
from beam_pipeline.runtime.faults import InvalidInputError

TRAIN_PACKAGES = ("keras", "matplotlib", "tensorboard", "tensorflow")
"""Of the extra train. TensorFlow reads the data and the folders, whatever the backend."""


def choose_backend(backend: str, *, deterministic: bool = True) -> None:
    """Sets what Keras and its backends read from the environment when they are imported.

    Args:
        backend: "tensorflow", "jax" or "torch".
        deterministic: Whether every operation must give the same bits each time.

    Raises:
        InvalidInputError: The backend, or a package that all need, is not installed; or Keras is imported already
            with another backend.
    """
    for package in TRAIN_PACKAGES:
        require_package(package, "The network", "train")
    if importlib.util.find_spec(backend) is None:
        raise InvalidInputError(
            f"--backend {backend} needs the package {backend}, which is not installed. Install it with pip, or give "
            "another --backend."
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if backend == "jax" and deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    os.environ["KERAS_BACKEND"] = backend
    if "keras" in sys.modules and sys.modules["keras"].config.backend() != backend:
        raise InvalidInputError(
            f"Keras already runs on {sys.modules['keras'].config.backend()} in this process. Received: --backend "
            f"{backend}. Train in a process of its own."
        )
