r"""Trains the network on a dataset.

    python model_tf/train.py --data out/sample --preset tiny
    python model_tf/train.py --data gs://bucket/dataset --preset paper --output gs://bucket/run

The same command goes on with a run that was stopped. Exit codes: 0, the run is finished; 2, something given cannot
be used; 75, SIGTERM or Ctrl-C stopped it, all is saved and the same command goes on.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Run as a script, Python looks in model_tf/ itself, where settings.py would be a top-level name.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from beam_pipeline.faults import InvalidInputError
from model_tf.flags import parse_flags
from model_tf.settings import TrainSettings
from model_tf.stopping import StopRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit code.
    """
    request = StopRequest()
    with request.listening():
        try:
            command = parse_flags(sys.argv[1:] if argv is None else argv, __doc__ or "")
            choose_backend(command.settings)
            from model_tf.training import train  # imports Keras, which takes its backend when it is imported

            return train(command, request)
        except InvalidInputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


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


if __name__ == "__main__":
    sys.exit(main())
