"""A bucket of Google to look at."""

import contextlib
import functools
import http.server
import logging
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def serving_bucket(name: str) -> Iterator[dict[str, str]]:
    """Serves an empty bucket: gcp-storage-emulator stands in for the store.

    Yields:
        What leads Google's clients to it, also those of other processes, as environment variables.
    """
    from gcp_storage_emulator.handlers.buckets import create_bucket
    from gcp_storage_emulator.server import RequestHandler
    from gcp_storage_emulator.storage import Storage

    storage = Storage(use_memory_fs=True)
    create_bucket(name, storage)
    server = http.server.HTTPServer(("127.0.0.1", 0), functools.partial(RequestHandler, storage))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    loggers = [logging.getLogger(f"gcp_storage_emulator{part}") for part in ("", ".server")]
    for logger in loggers:
        logger.disabled = True  # it warns at each answer that is a string
    try:
        yield {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{server.server_port}",
            "NO_PROXY": "127.0.0.1",
        }
    finally:
        for logger in loggers:
            logger.disabled = False
        server.shutdown()
        server.server_close()
        thread.join()
