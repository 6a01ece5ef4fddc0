"""The progress of a local build, counted in its folder."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from beam_pipeline.dataset.folder import UNITS_FILE
from beam_pipeline.records.shards import DATASET_NAME
from beam_pipeline.runtime.progress import Progress

_LOOK_EVERY_S = 0.5


@contextlib.contextmanager
def show_progress(output: str) -> Iterator[None]:
    """Shows how many of the planned units are committed, while the job runs in the calling thread.

    It counts shards in the folder, so it is right whatever the runner and for what an earlier run did.

    Args:
        output: The dataset's folder; in one that is not on this machine nothing is counted.
    """
    if "://" in output:
        with Progress(None, "build"):
            yield
        return
    folder = Path(output)
    total = len((folder / UNITS_FILE).read_text("utf-8").splitlines())
    stop = threading.Event()
    with Progress(total, "build", "shards", leave=True) as bar:

        def look() -> None:
            while not stop.wait(_LOOK_EVERY_S):
                update()

        def update() -> None:
            bar.update(sum(1 for _ in folder.glob(f"{DATASET_NAME}-*.tfrecord-*")) - bar.done)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            update()
