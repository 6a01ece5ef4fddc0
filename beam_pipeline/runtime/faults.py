"""The kinds of failure the pipeline tells apart.

A *permanent* fault (404, corrupt on re-reading, misaligned, no SCL) makes one scene unusable: the next date
is taken and the fault is noted. A *transient* fault (throttling, 5xx, time-outs, resets) that outlasts its
retries makes the cell-year a dead letter, so that an outage never changes the dataset. Bad *input* is found
before launch.

What they say may quote what others sent, so each makes it safe to be shown, logged and stored when it is raised.
"""

from beam_pipeline.runtime.foreign_text import shown

_MOST_CHARS = 10_000


class InvalidInputError(Exception):
    """Input of the user's that cannot be used: says what was wrong, what was given and what to do.

    It is no ValueError: who catches those of a library must not take its sentence for one of them.

    Args:
        lines: The message, without secrets of URLs; what is meant as more than one line comes in parts.
    """

    def __init__(self, *lines: str) -> None:
        self._lines = tuple(shown(line, _MOST_CHARS) for line in lines)
        super().__init__("\n".join(self._lines))

    def __reduce__(self) -> tuple[type["InvalidInputError"], tuple[str, ...]]:
        """Pickles line by line."""
        return type(self), self._lines


class Fault(Exception):
    """A failure of something outside the program.

    Attributes:
        reason: A short stable word for counting, e.g. "not_found" or "throttled".
        detail: What happened, for people: one line, without credentials and queries of URLs.
    """

    def __init__(self, reason: str, detail: str) -> None:
        detail = shown(detail)
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["Fault"], tuple[str, str]]:
        """Pickles by (reason, detail), because Beam moves exceptions between processes."""
        return type(self), (self.reason, self.detail)


class PermanentFault(Fault):
    """Asking again will not help: the thing is missing, corrupt or not what it must be."""


class TransientFault(Fault):
    """Asking again later may help: throttling, server errors, time-outs, resets."""


Failure = tuple[str, str]
"""(reason, detail) of something that did not work."""
