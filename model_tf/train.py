r"""Trains the network on a dataset.

    python model_tf/train.py --data out/sample --preset tiny
    python model_tf/train.py --data gs://bucket/dataset --preset paper --output gs://bucket/run

The same command goes on with a run that was stopped. Exit codes: 0, the run is finished; 1, the disk
failed; 2, something given cannot be used; 75, SIGTERM or Ctrl-C stopped it and all is saved; 130, Ctrl-C was pressed
twice. After 1, 75 and 130 the same command goes on.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Run as a script, Python looks in model_tf/ itself, where settings.py would be a top-level name.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from beam_pipeline.runtime.program import run_program
from model_tf.backend import choose_backend
from model_tf.training.flags import PROG, parse_flags
from model_tf.training.stopping import StopRequest


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as `--help` shows it.

    Returns:
        The exit code.
    """
    request = StopRequest()

    def work() -> int:
        command = parse_flags(sys.argv[1:] if argv is None else argv, __doc__ or "", prog)
        choose_backend(command.settings.backend, deterministic=command.settings.deterministic)
        from model_tf.training.run import train  # imports Keras, with its backend

        return train(command, request)

    with request.listening():
        return run_program(
            work, interrupted=None, failed="the same command goes on from the last checkpoint that was saved"
        )


if __name__ == "__main__":
    sys.exit(main())
