"""The footer of a Parquet file that a stranger made: it is parsed in a process of its own before it is parsed here.

pyarrow ends the process at what it does not like in a column's part of the footer: `RowGroupMetaData.column` and
`ColumnChunkMetaData.statistics` let no exception of Parquet's C++ out. And a few bytes can make structs that
fill memory.

    python -m beam_pipeline.runtime.parquet_footer < FOOTER

exits with 0 where the footer can be parsed, as what `require_parsable` asks of a `footer_process`.
"""

import contextlib
import hashlib
import resource
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from beam_pipeline.runtime.footer_process import FooterProcess
from beam_pipeline.runtime.parquet_statistics import statistics_of

MAGIC = b"PAR1"
"""Begins a Parquet file, and ends its footer."""

FAILURES = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, OverflowError, MemoryError)
"""The errors that pyarrow raises of a file that is damaged, or lies."""

_MOST_MEMORY_BYTES = 512 << 20
_MOST_CPU_S = 60
_MOST_S = 600  # on a machine that others keep busy
_REFUSED = 3
"""Exit code where pyarrow says what is wrong."""

_PROCESS = FooterProcess()

_PARSABLE: set[bytes] = set()
"""SHA-256 of the footers that were found parsable: each is looked at once."""


def parse_footer(tail: bytes) -> parquet.FileMetaData:
    """Parses a footer.

    Args:
        tail: The end of a file: its footer, the length of that, and `MAGIC`.

    Raises:
        One of `FAILURES`: It is damaged; but see `require_parsable`.
    """
    return parquet.read_metadata(pa.BufferReader(tail))


class KeptFooters:
    """Footers that stay parsed, those that were asked for last; threads may share it.

    Args:
        most: How many. Each takes some tens of megabytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, parquet.FileMetaData] = OrderedDict()

    def of(self, file: Hashable, parse: Callable[[], parquet.FileMetaData]) -> parquet.FileMetaData:
        """Returns the footer of a file, which is parsed where it is not kept."""
        with self._lock:
            if file not in self._kept:
                # Another one goes first, so that no more than these are ever in memory.
                while len(self._kept) >= self._most:
                    self._kept.popitem(last=False)
                self._kept[file] = parse()
            self._kept.move_to_end(file)
            return self._kept[file]

    def forget(self, file: Hashable) -> None:
        """Drops the footer of a file that is closed."""
        with self._lock:
            self._kept.pop(file, None)


def require_parsable(tail: bytes) -> None:
    """Parses a footer in a process of its own, whose memory and time are bounded, and looks at all of its parts.

    Args:
        tail: As `parse_footer`.

    Raises:
        ValueError: It cannot be parsed, or ends who parses it.
    """
    digest = hashlib.sha256(tail).digest()
    if digest in _PARSABLE:
        return
    try:
        code, said = _PROCESS.ask(tail, _MOST_S)
    except TimeoutError as error:
        raise ValueError(f"it takes more than {_MOST_S} s") from error
    except EOFError as error:
        raise ValueError("the process that was to parse it was ended") from error
    if code == _REFUSED:
        raise ValueError(said)
    if code:
        raise ValueError(f"it is damaged: {_end(code)}")
    _PARSABLE.add(digest)


def _end(code: int) -> str:
    if code == -signal.SIGXCPU:
        return f"to parse it takes more than {_MOST_CPU_S} s"
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return f"the process that parsed it ended {how}"


def _look(metadata: parquet.FileMetaData) -> None:
    """Looks at all parts of a footer; what is wrong with them raises, or ends the process."""
    metadata.schema.to_arrow_schema()
    columns = {str(column): column for column in range(metadata.num_columns)}
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if group.num_columns != metadata.num_columns:
            raise ValueError(f"row group {number} has {group.num_columns} columns")
        statistics_of(group, columns)


def _bound_itself() -> None:
    with contextlib.suppress(OSError, ValueError):  # not every system tells, or bounds memory
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + _MOST_MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU_S, _MOST_CPU_S + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def look_at(tail: bytes) -> tuple[int, str]:
    """Looks at a footer, for which it bounds what this process may take.

    Args:
        tail: As `parse_footer`.

    Returns:
        An exit code, 0 where the footer can be parsed; and what is wrong with it.
    """
    _bound_itself()
    try:
        _look(parse_footer(tail))
    except FAILURES as error:
        is_large = isinstance(error, MemoryError) or "bad_alloc" in str(error)
        return _REFUSED, f"parsed, it takes more than {_MOST_MEMORY_BYTES >> 20} MiB" if is_large else str(
            error
        )
    return 0, ""


def main() -> int:
    """Looks at the footer on standard input; returns 0, or says on standard output what is wrong with it."""
    code, said = look_at(sys.stdin.buffer.read())
    sys.stdout.buffer.write(said.encode(errors="replace"))
    return code


if __name__ == "__main__":
    sys.exit(main())
