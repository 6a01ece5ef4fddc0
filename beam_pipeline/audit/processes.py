"""Audits the units of a dataset in several processes of this machine, with the results in the plan's order."""

import collections
import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from typing import TypeAlias

from beam_pipeline.audit.plan import AuditPlan
from beam_pipeline.audit.shards import AuditPart, UnitAudit
from beam_pipeline.dataset.units import Unit
from beam_pipeline.runtime.cores import choose_processes, this_machine

_Connection: TypeAlias = multiprocessing.connection.Connection

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
        ProcessLost: A process has ended, as one does that is killed.
    """
    readers = _start(count, audit, ready)
    if not readers:
        yield from map(audit, units)
        return
    waiting, found = collections.deque(readers), dict[int, AuditPart]()
    given_out = taken = 0
    try:
        while taken < len(units):
            while waiting and given_out < min(len(units), taken + _AHEAD * count):
                waiting.popleft().send((given_out, units[given_out]))
                given_out += 1
            for reader in [
                it for it in multiprocessing.connection.wait(readers) if isinstance(it, _Connection)
            ]:
                place, part = reader.recv()
                found[place] = part
                waiting.append(reader)
            while taken in found:
                yield found.pop(taken)
                taken += 1
    except (EOFError, ConnectionError) as error:
        raise ProcessLost(
            "a process that read shards has ended before its time, perhaps killed as memory ran out; --processes says "
            "how many there are"
        ) from error
    finally:
        for reader in readers:
            reader.close()


def _start(count: int, audit: UnitAudit, ready: Callable[[], None] | None) -> list[_Connection]:
    """Starts processes that read; fewer, or none, where the system has no room for more.

    They share nothing but a pipe each with this process, so whichever is killed, however this one ends, leaves nothing.

    Returns:
        This process' ends of the pipes. A process ends when its pipe is closed.
    """
    context = multiprocessing.get_context("spawn")  # GDAL and gRPC, once they are in use, do not bear a fork
    readers: list[_Connection] = []
    try:
        with _starting():
            for _ in range(count):
                ours, theirs = context.Pipe()
                with theirs:
                    context.Process(target=_read_shards, args=(theirs, audit, ready), daemon=True).start()
                readers.append(ours)
    except OSError as error:
        _log.warning("%d of %d processes can be started: %s", len(readers), count, error)
    return readers


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Has processes start that leave Ctrl-C to this one, and do not import its main module, whatever that does.

    Ctrl-C waits until they are started: one that is left in its start ends with a traceback.
    """
    resource_tracker.ensure_running()  # as its start would let Ctrl-C through again
    pressed: list[bool] = []
    in_main = threading.current_thread() is threading.main_thread()  # Python takes handlers from it only
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True)) if in_main else None
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which they inherit
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if in_main:
            signal.signal(signal.SIGINT, before or signal.SIG_DFL)
        if pressed:
            signal.raise_signal(signal.SIGINT)


def _read_shards(connection: _Connection, audit: UnitAudit, ready: Callable[[], None] | None) -> None:
    """Reads units that come by a pipe until it is closed, or whoever holds its other end is gone."""
    if ready is not None:
        ready()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            place, unit = connection.recv()
            connection.send((place, audit(unit)))
