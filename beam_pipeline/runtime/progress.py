"""The progress of a step: a bar on a terminal, a line now and then elsewhere."""

import io
import os
import sys
import threading
import time
from types import TracebackType
from typing import Any, TextIO

from tqdm import tqdm

LINE_EVERY_S = 10.0
"""Between two lines where there is no terminal."""

_REFRESH_EVERY_S = 0.5
_COUNTED = "{desc}: {n_fmt} of {total_fmt} {unit} [{elapsed}<{remaining}{postfix}]"
_UNCOUNTED = "{desc}: {n_fmt} {unit} [{elapsed}{postfix}]"
_WITHOUT_UNIT = "{desc} [{elapsed}{postfix}]"


class Progress:
    """Shows how far a step is, and that it goes on while nothing is done; a context manager.

    A terminal gets a bar of tqdm. A file, a pipe, or a terminal without a size gets a line every `LINE_EVERY_S`,
    and a last one at the end.

    Args:
        total: How many things there are to do; None where nobody knows.
        desc: The step, e.g. "verify".
        unit: The things, e.g. "shards"; "" where nothing is counted.
        done: How many were done before.
        leave: Whether the end is shown too, even of a step that was quick.
        stream: Where it is shown; stderr by default.
        line_every_s: Seconds between two lines where there is no terminal.
    """

    def __init__(
        self,
        total: int | None,
        desc: str,
        unit: str = "",
        *,
        done: int = 0,
        leave: bool = False,
        stream: TextIO | None = None,
        line_every_s: float = LINE_EVERY_S,
    ) -> None:
        self._stream = stream or sys.stderr or io.StringIO()  # Python has no stderr where it was closed
        self._leave = leave
        self._lines = 0
        self._started = time.monotonic()
        self._total, self._desc, self._unit = total, desc, unit
        self._before = done
        self._format = (_COUNTED if total is not None else _UNCOUNTED) if unit else _WITHOUT_UNIT
        self._done = done
        self._notes = ""
        self._lock = threading.Lock()
        self._bar: Any = None
        if _shows_bars(self._stream):
            bar_format = None if total is not None else self._format
            self._bar = tqdm(
                total=total,
                desc=desc,
                unit=unit,
                initial=done,
                leave=leave,
                file=self._stream,
                bar_format=bar_format,
                dynamic_ncols=True,
            )
        self._stop = threading.Event()
        every_s = line_every_s if self._bar is None else _REFRESH_EVERY_S
        self._ticker = threading.Thread(target=self._tick, args=(every_s,), daemon=True)
        self._ticker.start()

    @property
    def done(self) -> int:
        """The number of things done."""
        return self._done

    def update(self, count: int = 1) -> None:
        """Counts things that were done."""
        with self._lock:
            self._done += count
        if self._bar is not None:
            self._bar.update(count)

    def note(self, **values: str) -> None:
        """Shows values beside the count, e.g. loss="0.1", in place of the earlier ones."""
        self._notes = ", ".join(f"{name}={value}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix(values, refresh=False)

    def close(self) -> None:
        """Ends the step; what is said next begins a line. More than one call does no harm."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._ticker.join()
        if self._bar is not None:
            self._bar.close()
        elif self._leave or self._lines:
            self._write_line()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tick(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            if self._bar is not None:
                self._bar.refresh()
            else:
                self._write_line()

    def _write_line(self) -> None:
        self._lines += 1
        line = tqdm.format_meter(
            self._done,
            self._total,  # type: ignore[arg-type]  # None is documented, and what tqdm itself passes
            time.monotonic() - self._started,
            prefix=self._desc,
            unit=self._unit,
            initial=self._before,
            bar_format=self._format,
            postfix=self._notes,
        )
        print(line, file=self._stream, flush=True)


def _shows_bars(stream: TextIO) -> bool:
    """Tells whether a stream is a terminal of some width: on one of none, e.g. below `script`, tqdm shows nothing."""
    try:
        return stream.isatty() and os.get_terminal_size(stream.fileno()).columns > 0
    except OSError:
        return False
