"""Changes the code in one place at a time and tells which changes no test notices.

    python -m tests.mutation.run --package cells --mutants 100 --seed 1

Takes minutes; it is no part of the suite. It needs mutmut (`pip install mutmut`), whose operators make the mutants.
A survivor is a gap in the tests, or it is equivalent: no input tells it from the code. Those are listed with a
reason in `equivalent.toml` and left out of the score. The exit code is 1 where the score is below `--least`.
"""

import argparse
import functools
import sys
import tomllib
from collections import Counter
from pathlib import Path

from tests.mutation.mutants import Mutant, draw
from tests.mutation.targets import TARGETS
from tests.mutation.trial import run_tests

EQUIVALENT = Path(__file__).with_name("equivalent.toml")

_FIRST_LIMIT_S = 600.0
_LIMIT_FACTOR = 4
_LIMIT_EXTRA_S = 5.0


@functools.cache
def limit_of(tests: tuple[str, ...]) -> float:
    """Runs tests on the code as it is and returns the CPU seconds that a mutant may take.

    Raises:
        SystemExit: They do not pass.
    """
    outcome = run_tests(tests, _FIRST_LIMIT_S)
    if not outcome.passed:
        sys.exit(
            f"The tests must pass before the code is mutated. Received: {' '.join(tests)}\n{outcome.output}"
        )
    return _LIMIT_FACTOR * outcome.cpu_s + _LIMIT_EXTRA_S


def known_equivalents() -> dict[tuple[str, str, str], str]:
    """Returns (path, lines before, lines after) -> why no test can notice, from `equivalent.toml`."""
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("mutant", [])
    return {(it["path"], it["before"], it["after"]): it["reason"] for it in listed}


def verdict_on(mutant: Mutant, tests: tuple[str, ...]) -> str:
    """Returns "equivalent", "killed", "looped" (ended at the limit, which is killed too) or "survived".

    Raises:
        SystemExit: The tests do not import what is mutated, so that they could notice nothing.
    """
    if (mutant.path, mutant.before, mutant.after) in known_equivalents():
        return "equivalent"
    outcome = run_tests(tests, limit_of(tests), (mutant.path, mutant.source))
    if not outcome.is_imported:
        sys.exit(f"{' '.join(tests)} never import {mutant.path}\n{outcome.output}")
    if outcome.ended:
        return "looped"
    return "survived" if outcome.passed else "killed"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--package", choices=TARGETS, required=True)
    parser.add_argument("--mutants", type=int, default=100, help="how many to draw")
    parser.add_argument("--seed", type=int, default=1, help="draws the mutants")
    parser.add_argument("--least", type=float, default=90.0, help="percent that must be killed")
    parser.add_argument(
        "--only", type=int, nargs="*", help="numbers of drawn mutants, counted from 1, to try again"
    )
    parser.add_argument("--list", action="store_true", help="print the mutants drawn and run no test")
    flags = parser.parse_args()

    files = TARGETS[flags.package]
    mutants, total = draw(files, flags.mutants, flags.seed)
    chosen = [(i, it) for i, it in enumerate(mutants, 1) if not flags.only or i in flags.only]
    verdicts: Counter[str] = Counter()
    for number, mutant in chosen:
        verdict = "drawn" if flags.list else verdict_on(mutant, files[mutant.path])
        verdicts[verdict] += 1
        print(f"{number:4}/{len(mutants)} {verdict:10} {mutant.path}:{mutant.line}", flush=True)
        if verdict in ("survived", "drawn"):
            print(mutant.diff + "\n", flush=True)
    if flags.list:
        return 0
    killed = verdicts["killed"] + verdicts["looped"]
    counted = killed + verdicts["survived"]
    score = 100.0 * killed / counted if counted else 100.0
    print(
        f"{flags.package}: {len(chosen)} of {total} mutants (seed {flags.seed}): {killed} killed, "
        f"{verdicts['looped']} of them at the limit; {verdicts['survived']} survived; "
        f"{verdicts['equivalent']} equivalent. {score:.1f} % of those not equivalent are killed"
    )
    return 0 if score >= flags.least else 1


if __name__ == "__main__":
    sys.exit(main())
