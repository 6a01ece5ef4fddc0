"""A worker process of a local job. `local_workers.py` starts it."""

import logging
import os
import threading

from beam_pipeline.runtime.environment import settle_environment
from beam_pipeline.runtime.foreign_text import hide_secrets_in_logs

_LAUNCHER_GONE = 1
_RAISING = ("common", "worker.sdk_worker", "worker.sdk_worker_main", "worker.data_plane")
"""Loggers of Beam's runners that log, with stack traces, what the launcher is told too, or that it is gone."""


def main() -> None:
    """Works for its launcher until that hangs up, or ends."""
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    settle_environment()
    to_terminal = logging.StreamHandler()
    to_terminal.setLevel(logging.WARNING)  # Beam lowers that of the root
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", handlers=[to_terminal])
    hide_secrets_in_logs()
    for name in _RAISING:
        logging.getLogger(f"apache_beam.runners.{name}").setLevel(logging.CRITICAL + 1)
    # All this takes seconds, in which the launcher may end too.
    import grpc
    from apache_beam.runners.worker import sdk_worker, sdk_worker_main

    sdk_worker.print = lambda *_, **__: None  # of what it raises
    threading.excepthook = lambda _: (
        None
    )  # of streams that the launcher closes; what a stage raises is told to it
    try:
        sdk_worker_main.main([])
    except grpc.RpcError:
        os._exit(_LAUNCHER_GONE)


def _end_with_launcher() -> None:
    """Ends this process when its input ends, as it does with the launcher, however that ended.

    Beam's worker would first do what it was given: hours of work that nobody waits for.
    """
    while os.read(0, 1):
        pass
    os._exit(_LAUNCHER_GONE)


if __name__ == "__main__":
    main()
