r"""Runs a program that makes a dataset again and again, killing it with SIGKILL at seeded steps of its writing.

    python -m tests.pipelines.killed_build --kill_seed 1 --most_steps 9 --cells ... --output OUT
    python -m tests.pipelines.killed_build --program beam_pipeline.resample_patches --kill_seed 1 ... --output OUT

It ends when the program does. Each attempt is a process of its own, a fork of this one, so that the imports are paid
for once. It dies before or after its Nth change of the storage, or in the middle of it: behind a chunk that was
written, between the copy and the delete that are a rename on an object store. Prints one JSON line per attempt: where
it died or its exit code, and the shards that were committed before it.
"""

import argparse
import importlib
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from beam_pipeline.jobs.storage import BeamFiles, use_options
from beam_pipeline.records.shards import DATASET_NAME


class Fuse:
    """Counts changes of the storage, and kills the process at one of them."""

    def __init__(self, steps: int, report: int) -> None:
        self._left = steps
        self._report = report

    def burn(self, what: str) -> None:
        self._left -= 1
        if self._left == 0:
            os.write(self._report, what.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: Any, name: str, shown: Callable[[tuple[Any, ...]], str]) -> None:
        original = getattr(owner, name)

        def changed(*args: Any, **kwargs: Any) -> Any:
            self.burn(f"before {name} {shown(args)}")
            result = original(*args, **kwargs)
            self.burn(f"after {name} {shown(args)}")
            return result

        setattr(owner, name, changed)

    def wrap_writes(self) -> None:
        original = BeamFiles.write_bytes

        def write_bytes(files: BeamFiles, path: str, chunks: Iterable[bytes]) -> None:
            def interrupted() -> Iterator[bytes]:
                for chunk in chunks:
                    yield chunk
                    self.burn(f"in write_bytes {path}")

            original(files, path, interrupted())

        BeamFiles.write_bytes = write_bytes  # type: ignore[method-assign]
        self.wrap(BeamFiles, "write_bytes", lambda args: args[1])


def attempt(main: Callable[[list[str]], int], argv: list[str], steps: int) -> tuple[str, int | None]:
    """Runs a program that dies at that step; returns (where it died, exit code)."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        fuse = Fuse(steps, writing)
        fuse.wrap_writes()
        fuse.wrap(BeamFiles, "rename", lambda args: args[2])
        fuse.wrap(BeamFiles, "delete", lambda args: args[1])
        if any("s3://" in argument for argument in argv):
            from apache_beam.io.aws.s3io import S3IO

            fuse.wrap(S3IO, "delete", lambda args: args[1])
        os._exit(main(argv))
    os.close(writing)
    with os.fdopen(reading) as pipe:
        where = pipe.read()
    _, status = os.waitpid(pid, 0)
    return where, None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--program", default="beam_pipeline.build_dataset", help="the module whose main it is"
    )
    parser.add_argument("--kill_seed", type=int, required=True)
    parser.add_argument(
        "--most_steps",
        type=int,
        required=True,
        help="steps that an attempt lives, at most; closing takes about 45. Short lives are drawn more often",
    )
    parser.add_argument("--most_kills", type=int, default=1000)
    parser.add_argument("--output", required=True)
    given, rest = parser.parse_known_args()
    draw = random.Random(given.kill_seed)
    argv = [*rest, "--output", given.output]
    kills = 0
    use_options()
    main = importlib.import_module(given.program).main
    while True:
        done = [path.rpartition("/")[2] for path in BeamFiles().glob(given.output, f"{DATASET_NAME}-*")]
        steps = round(given.most_steps ** draw.random()) if kills < given.most_kills else 0
        where, code = attempt(main, argv, steps)
        print(json.dumps({"died": where, "code": code, "done_before": done}), flush=True)
        if code is not None:
            return code
        kills += 1


if __name__ == "__main__":
    sys.exit(run())
