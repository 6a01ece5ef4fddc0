"""The kinds of failure the pipeline tells apart.

A *permanent* fault (404, corrupt on re-reading, misaligned, no SCL) makes one scene unusable: the next date
is taken and the fault is noted. A *transient* fault (throttling, 5xx, time-outs, resets) that outlasts its
retries makes the cell-year a dead letter, so that an outage never changes the dataset. Bad *input* is found
before launch.
"""


class InvalidInputError(ValueError):
    """Input of the user's that cannot be used: says what was wrong, what was given and what to do."""


class Fault(Exception):
    """A failure of something outside the program.

    Attributes:
        reason: A short stable word for counting, e.g. "not_found" or "throttled".
        detail: What happened, for people; holds no credentials and no URL query.
    """

    def __init__(self, reason: str, detail: str) -> None:
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
