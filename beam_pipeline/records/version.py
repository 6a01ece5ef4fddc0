"""Versions of the data format, and which of them are read: all of this major version."""

import re
from typing import NamedTuple

from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.foreign_text import one_line

_VERSION = re.compile(r"([0-9]{1,4})(?:\.([0-9]{1,4}))?(?:\.([0-9]{1,4}))?\Z")

_MOST_CHARS = 40


class Version(NamedTuple):
    """A version of the data format; the later one is the greater.

    Attributes:
        major: Readers must change.
        minor: Something was added.
        patch: Meanings were made clearer.
    """

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Reads a version, e.g. "1.1.0"; parts that are left out are 0.

        Raises:
            ValueError: It is none.
        """
        match = _VERSION.match(text)
        if match is None:
            raise ValueError(f"a version is written like {SCHEMA_VERSION}")
        major, minor, patch = (int(part or 0) for part in match.groups())
        return cls(major, minor, patch)

    def __str__(self) -> str:
        """Returns it as it is written."""
        return ".".join(map(str, self))

    @property
    def is_newer(self) -> bool:
        """Tells whether it may hold what this program does not know."""
        return self[:2] > CURRENT[:2]


CURRENT = Version.parse(SCHEMA_VERSION)
"""The version that this program writes."""

CONTENTS = Version(1, 1, 0)
"""The first version in which summaries say what each cell holds."""


def require_readable(version: str, path: str) -> None:
    """Checks that a dataset is of this major version.

    Args:
        version: What the dataset says, e.g. "1.0.0".
        path: Where it says so, for messages.

    Raises:
        InvalidInputError: It is of another; the message names both.
    """
    try:
        readable = Version.parse(version).major == CURRENT.major
    except ValueError:
        readable = False
    if not readable:
        raise InvalidInputError(
            f"{path}: schema_version must be {CURRENT.major}.x.x, which is what this program, of {SCHEMA_VERSION}, "
            f"reads. Received: {one_line(repr(version), _MOST_CHARS)}. Build the dataset with this version, or use the "
            "version that built it."
        )
