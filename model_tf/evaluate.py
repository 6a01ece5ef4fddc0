r"""Scores a trained net on a split of a dataset, as in the paper's section 5.

    python model_tf/evaluate.py --run out/run --data out/sample

writes into the folder of --output: scores.json, the ROC curves as figures and as numbers (roc_*.png, roc_curves.json)
and panel.png, with probability maps of some cells. Exit codes: 0, done; 1, the disk failed; 2, something given cannot
be used; 130, stopped by Ctrl-C. After 1 and 130 the same command scores anew; where there is a scores.json, all is of
one evaluation.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Run as a script, Python looks in model_tf/ itself, where settings.py would be a top-level name.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from beam_pipeline.runtime.program import run_program
from model_tf.backend import choose_backend
from model_tf.evaluation.flags import PROG, parse_evaluate_flags


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as `--help` shows it.

    Returns:
        The exit code.
    """

    def work() -> int:
        command = parse_evaluate_flags(sys.argv[1:] if argv is None else argv, __doc__ or "", prog)
        choose_backend(command.backend)
        from model_tf.evaluation.evaluate import evaluate  # imports Keras, with its backend

        evaluate(command)
        return 0

    return run_program(work, interrupted="given again, the same command scores anew")


if __name__ == "__main__":
    sys.exit(main())
