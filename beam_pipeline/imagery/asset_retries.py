"""The retries of opening, reading and fetching an asset before a fault is final."""

from collections.abc import Callable
from typing import Any, TypeVar

from beam_pipeline.imagery.opened_asset import Changed, OpenedAsset
from beam_pipeline.imagery.read_faults import KeyRefused, Undecodable
from beam_pipeline.imagery.token_file import NoToken
from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic

_T = TypeVar("_T")

FRESH_COPIES = 4
"""Fetches of a file that cannot be used before it is called corrupt: the network flips bits too."""


class Tries:
    """Counts what failed of one step, and decides whether it is tried again.

    Three things are counted apart. Each copy of the bytes may fail to be decoded, `FRESH_COPIES` in all. Of each copy,
    reading may fail as often as the policy says. And reading begins with an open file: each try of it has all tries of
    opening. Were opening a part of the same try, a network that loses every fifth request would fail twice as many.

    Args:
        retry: Bounds the tries of reading, and those of opening, and draws the waits.
    """

    def __init__(self, retry: RetryPolicy) -> None:
        self._retry = retry
        self._copies = self._reads = self._opens = 0

    def after_opening(self, fault: TransientFault) -> float:
        """Counts a failed opening.

        Returns:
            Seconds to wait before the next try.

        Raises:
            TransientFault: The fault, where that was the last try. Those of reading do not begin anew.
        """
        self._opens += 1
        return self._retry.wait_after_s(fault, self._opens)

    def after_reading(self, fault: TransientFault) -> float:
        """Counts a failed reading, likewise."""
        self._reads += 1
        self._opens = 0
        return self._retry.wait_after_s(fault, self._reads)

    def after_copy(self, fault: Undecodable) -> float:
        """Counts a copy that cannot be used; the next has all tries of opening and reading.

        Returns:
            Seconds to wait before the next copy.

        Raises:
            PermanentFault: That was the last copy.
        """
        self._copies += 1
        self._reads = self._opens = 0
        if self._copies == FRESH_COPIES:
            raise PermanentFault(fault.reason, fault.detail) from fault
        return self._retry.wait_s(self._copies - 1)


class AssetReader:
    """Reads from one asset until it succeeds, or the tries are used up; a context manager.

    Args:
        opened: The asset.
        retry: How often each single reading, and each opening, is tried.
        traffic: Counts what is tried again.
    """

    def __init__(
        self,
        opened: OpenedAsset,
        retry: RetryPolicy,
        traffic: Traffic,
    ) -> None:
        self.band = opened.band
        self.name = opened.name
        self._opened = opened
        self._retry = retry
        self._traffic = traffic

    def turn_to(self, overview: int | None) -> None:
        """As `OpenedAsset.turn_to`."""
        self._opened.turn_to(overview)

    def settle(self, step: Callable[[Any], _T]) -> _T:
        """Reads as `read` does, and has the file give the same answer whenever it is opened again.

        Args:
            step: As `read`; its answer must not be changed afterwards.

        Returns:
            What the step returned.

        Raises:
            Fault: As `read`.
        """
        answer = self.read(step)
        self._opened.hold_to(step, answer)
        return answer

    def read_one_state(self, task: Callable[[], _T]) -> _T:
        """Calls `task`, and anew from its start where the file changed before its end.

        Args:
            task: Settles and reads what it needs.

        Returns:
            What the task returned, of one state of the file.

        Raises:
            Changed: It changed `FRESH_COPIES` times.
            Fault: As `read`.
        """
        for _ in range(FRESH_COPIES - 1):
            try:
                return task()
            except Changed as fault:
                self._traffic.retried(fault)
                self._opened.begin_anew()
        return task()

    def read(self, step: Callable[[Any], _T], extent: tuple[int, int] = (0, 0), requests: int = 0) -> _T:
        """Calls `step` with the open dataset until it passes.

        Args:
            step: As `OpenedAsset.read`, like all that follows.
            extent: First byte of the file that the step reads, and one past the last.
            requests: How many requests the step sends when all goes well.

        Returns:
            What the step returned.

        Raises:
            PermanentFault: When every one of `FRESH_COPIES` could not be decoded ("corrupt"), or `check_bounds` or
                the step refused it, and what `fault_of_open` and `fault_of_read` find.
            Changed: The file is not what it was.
            NoToken: There is no key for the file.
            TransientFault: The retries of opening or of reading are used up.
        """
        tries = Tries(self._retry)
        has_new_key = False
        while True:
            is_open = False
            try:
                self._opened.open()
                is_open = True
                return self._opened.read(step, extent, requests)
            except (Changed, NoToken):
                raise
            except TransientFault as fault:
                # A key that expires is no fault of the file: another is no further try. If that is refused too, it is.
                if isinstance(fault, KeyRefused) and not has_new_key and self._opened.renew_key():
                    has_new_key = True
                    self._traffic.retried(fault)
                    continue
                has_new_key = False
                wait_s = tries.after_reading(fault) if is_open else tries.after_opening(fault)
                self._traffic.retried(fault)
            except Undecodable as fault:
                wait_s = tries.after_copy(fault)
                self._traffic.retried(fault)
                if self._opened.asset.is_local:
                    continue  # no network had a part in it
            self._retry.sleep(wait_s)

    def __enter__(self) -> "AssetReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
