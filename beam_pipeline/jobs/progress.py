"""The progress of a local job, counted in its folder."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from beam_pipeline.runtime.progress import Progress

_LOOK_EVERY_S = 0.5


@contextlib.contextmanager
def show_files(
    folder: str,
    pattern: str,
    total: int,
    desc: str,
    unit: str,
    note: Callable[[Path], dict[str, str]] = lambda _: {},
) -> Iterator[None]:
    """Shows how many files of a folder are there, while the job that writes them runs in the calling thread.

    It counts in the folder, so it is right whatever the runner and for what an earlier run did.

    Args:
        folder: The job's folder; in one that is not on this machine nothing is counted.
        pattern: Of the files, relative to the folder.
        total: How many there will be.
        desc: The step, e.g. "build".
        unit: The files, e.g. "shards".
        note: Says of the folder what is shown beside the count.
    """
    if "://" in folder:
        with Progress(None, desc):
            yield
        return
    path = Path(folder)
    stop = threading.Event()
    with Progress(total, desc, unit, leave=True) as bar:

        def look() -> None:
            while not stop.wait(_LOOK_EVERY_S):
                update()

        def update() -> None:
            bar.note(**note(path))
            bar.update(sum(1 for _ in path.glob(pattern)) - bar.done)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            update()
