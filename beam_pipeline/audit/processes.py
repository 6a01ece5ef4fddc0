"""Audits the units of a dataset in several processes of this machine, with the results in the plan's order."""

import collections
import concurrent.futures
import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool

from beam_pipeline.audit.plan import AuditPlan
from beam_pipeline.audit.shards import AuditPart, UnitAudit
from beam_pipeline.dataset.units import Unit
from beam_pipeline.runtime.cores import choose_processes, this_machine

_LEAST_CELL_YEARS = 200
"""Planned cell-years that each process has at least: it imports for as long as it reads about half as many.

Source: `python tests/benchmarks/verify.py`.
"""

_PROCESS_MEMORY = 250_000_000
"""Bytes that a process takes at most. Source: as above."""

_AHEAD = 4
"""Units a process that are given out before the first of them is back: a large one holds up no other."""

_log = logging.getLogger(__name__)


class ProcessLost(Exception):
    """A process that read shards has ended before its work was done."""


def processes_for(plan: AuditPlan, given: int | None) -> int:
    """Returns how many processes read the shards of a dataset.

    Args:
        plan: Its plan.
        given: What a person asks for; None for as many as are of use.
    """
    if given == 1:
        return 1
    pieces = len(plan.units)
    if given is None:
        planned = sum(len(unit.cells) for unit in plan.units) * len(plan.expected.years)
        pieces = min(pieces, planned // _LEAST_CELL_YEARS)
    return choose_processes(
        given, this_machine(), pieces=pieces, piece="shard", piece_memory=_PROCESS_MEMORY
    ).count


def audit_in_processes(
    audit: UnitAudit, units: Sequence[Unit], count: int, ready: Callable[[], None] | None = None
) -> Iterator[AuditPart]:
    """Audits units in several processes, a few ahead of what is yielded.

    Args:
        audit: Audits one.
        units: The plan.
        count: How many processes.
        ready: Called in each process before it reads; it pickles.

    Yields:
        What was found in each unit, in the plan's order.

    Raises:
        ProcessLost: A process was killed.
    """
    left = iter(units)
    given_out: collections.deque[concurrent.futures.Future[AuditPart]] = collections.deque()
    pool = None
    try:
        try:
            # GDAL and gRPC, once they are in use, do not bear a fork.
            context = multiprocessing.get_context("spawn")
            pool = concurrent.futures.ProcessPoolExecutor(count, context, _begin, (audit, ready))
            with _starting():
                for unit in units[:count]:
                    given_out.append(pool.submit(_audit, unit))
                    next(left)
        except OSError as error:
            # A limit of processes, or no memory that they can share: what needs neither goes on.
            _log.warning("processes cannot be started, so one reads all shards: %s", error)
            yield from map(audit, units)
            return
        for unit in left:
            given_out.append(pool.submit(_audit, unit))
            if len(given_out) >= _AHEAD * count:
                yield given_out.popleft().result()
        while given_out:
            yield given_out.popleft().result()
    except BrokenProcessPool as error:
        raise ProcessLost(
            "a process that read shards was killed, perhaps as memory ran out; --processes says how many there are"
        ) from error
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Has processes start that leave Ctrl-C to this one, and do not import its main module, whatever that does."""
    main = sys.modules["__main__"]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which they inherit
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


_state: list[UnitAudit] = []
"""In a process that was started here, what it does."""


def _begin(audit: UnitAudit, ready: Callable[[], None] | None) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if ready is not None:
        ready()
    _state.append(audit)


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, as after Ctrl-C: nobody would read what it finds."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _audit(unit: Unit) -> AuditPart:
    return _state[0](unit)
