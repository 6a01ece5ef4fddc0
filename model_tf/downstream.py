r"""Classifies patches from a trained net's frozen embeddings, as in the paper's sections 5.2 and 5.3.

    python model_tf/downstream.py --run out/run --patches EuroSAT_MS --output out/eurosat

writes into the folder of --output: table1.md, .csv and .json in the layout of the paper's table 1, with what others
published marked as quoted; topk.csv and cmc.png as in its figure 9; confusion.png and embeddings.png; LICENSES.md. Exit
codes: 0, done; 1, the disk failed; 2, something given cannot be used; 130, stopped by Ctrl-C. After 1 and 130 the same
command goes on: what was embedded is kept.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Run as a script, Python looks in model_tf/ itself, where settings.py would be a top-level name.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from beam_pipeline.runtime.extras import require_package
from beam_pipeline.runtime.program import run_program
from model_tf.backend import choose_backend
from model_tf.downstream_tasks.flags import PROG, parse_downstream_flags


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        prog: The command, as `--help` shows it.

    Returns:
        The exit code.
    """

    def work() -> int:
        command = parse_downstream_flags(sys.argv[1:] if argv is None else argv, __doc__ or "", prog)
        choose_backend("tensorflow")
        require_package("sklearn", "The downstream protocol", "downstream")
        from model_tf.downstream_tasks.run import downstream  # imports Keras, with its backend

        downstream(command)
        return 0

    return run_program(work, interrupted="given again, the same command goes on with what is embedded")


if __name__ == "__main__":
    sys.exit(main())
