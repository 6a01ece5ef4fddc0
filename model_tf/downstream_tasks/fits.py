"""Results of fits, each kept as it is made, so that a table of hours goes on after a kill.

`fits.jsonl` holds a line a fit. A fit is found again by a key of all that decides it: patches, features, classifier,
split, seed and versions. Fits of other settings stay in the file and are found when these come back.
"""

import dataclasses
import functools
import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from importlib import metadata

import numpy as np
import numpy.typing as npt
import pydantic

from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json
from model_tf.data.storage import read_bytes, write_bytes

FITS_FILE = "fits.jsonl"
"""In the output folder."""

PACKAGES = ("keras", "numpy", "scikit-learn", "tensorflow")
"""Whose versions decide what comes out of a fit."""

SAVE_EVERY_S = 5.0
"""Between two writes of the file: what a kill may cost beside the fit under way."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """The result of one classifier on one split.

    Attributes:
        top: (C,) share of the test patches whose class is among the first 1, 2, ... C.
        confusion: (C, C) test patches by true class and by the class they were given.
        training: Training patches.
    """

    top: npt.NDArray[np.float64]
    confusion: npt.NDArray[np.int64]
    training: int

    @property
    def testing(self) -> int:
        """The number of test patches."""
        return int(self.confusion.sum())


class Fits:
    """The fits that were made.

    Args:
        path: Of the file; None keeps them in memory alone.
        num_classes: C.

    Raises:
        InvalidInputError: There is a file, and it is not what this class writes.
    """

    def __init__(self, path: str | None, num_classes: int) -> None:
        self._path = path
        self._num_classes = num_classes
        self._fits: dict[str, Fit] = {}
        self._lines: dict[str, str] = {}
        self._saved = time.monotonic()
        self._is_saved = True
        if path is not None:
            self._read(path)

    def get(self, key: str) -> Fit | None:
        """Returns the fit of a key, None where there is none."""
        return self._fits.get(key)

    def add(self, key: str, fit: Fit, of: Sequence[str]) -> None:
        """Keeps a fit; it is in the file within `SAVE_EVERY_S`, or after `keep`.

        Args:
            key: By `key_of`.
            fit: What came out.
            of: Says to people what the fit is of.
        """
        self._fits[key] = fit
        line = _Line(
            key=key,
            of=", ".join(of),
            top=fit.top.tolist(),
            confusion=fit.confusion.tolist(),
            training=fit.training,
        )
        self._lines[key] = line.model_dump_json() + "\n"
        self._is_saved = False
        if time.monotonic() - self._saved >= SAVE_EVERY_S:
            self.keep()

    def keep(self) -> None:
        """Writes all fits to the file, whole."""
        if self._path is not None and not self._is_saved:
            write_bytes(self._path, "".join(self._lines.values()).encode())
            self._is_saved = True
        self._saved = time.monotonic()

    def _read(self, path: str) -> None:
        try:
            text = read_bytes(path)
        except Fault as fault:
            if fault.reason == "not_found":
                return
            raise InvalidInputError(f"{fault.detail}. Received: {path}") from fault
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                read = parse_json(_LINE, line)
            except MalformedError as error:
                raise _strange(path, number, str(error)) from error
            classes = len(read.top)
            if {len(row) for row in read.confusion} != {classes} or len(read.confusion) != classes:
                raise _strange(path, number, "confusion must have a row and a column for each class")
            if classes == self._num_classes:  # else of other patches
                self._fits[read.key] = Fit(np.array(read.top), np.array(read.confusion), read.training)
            self._lines[read.key] = line.decode() + "\n"


def key_of(settings: Mapping[str, object]) -> str:
    """Returns the key of a fit.

    Args:
        settings: All that decides it, but for the versions of `PACKAGES`, which are added here.
    """
    text = json.dumps({**settings, "versions": _versions()}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@functools.cache
def _versions() -> Mapping[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


class _Line(pydantic.BaseModel):
    """A line of the file."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")

    key: str = pydantic.Field(pattern="^[0-9a-f]{32}$")
    of: str
    top: list[pydantic.FiniteFloat] = pydantic.Field(min_length=2)
    confusion: list[list[pydantic.NonNegativeInt]]
    training: pydantic.PositiveInt

    @pydantic.model_validator(mode="after")
    def _adds_up(self) -> "_Line":
        """Top-1 is the trace of the confusion matrix, and every class is among the first C."""
        tested = sum(map(sum, self.confusion))
        right = sum(row[index] for index, row in enumerate(self.confusion) if index < len(row))
        if not tested or not math.isclose(self.top[0], right / tested, abs_tol=1e-6):
            raise ValueError("top must begin with the share of the confusion matrix that is right")
        if sorted(self.top) != self.top or not math.isclose(self.top[-1], 1, abs_tol=1e-6):
            raise ValueError("top must rise to 1")
        return self


_LINE = pydantic.TypeAdapter(_Line)


def _strange(path: str, number: int, what: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path} must hold the fits of an earlier command. Received: line {number}: {what}. Delete it, and all is "
        "fitted anew"
    )
