"""A list of labelled places, wherever it comes from."""

import dataclasses
import datetime
import math
import os
from collections.abc import Mapping
from typing import Literal

from beam_pipeline.cells.cell import SPLITS, Split
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.foreign_text import one_line

PlacesSource = Literal["eurosat", "fmow", "table"]
"""The kinds of lists: EuroSAT's tiles, fMoW's metadata, a CSV or GeoJSON."""

MOST_NAME_CHARS = 200
"""Of a name of a place or a class: both are shown, and stored in every example."""

_SHORT_SPLITS: Mapping[str, Split] = {
    **{split: split for split in SPLITS},
    "train": "training",
    "val": "validation",
    "test": "testing",
}


@dataclasses.dataclass(frozen=True)
class GivenPlace:
    """A place as a list has it.

    Attributes:
        name: The name of the place.
        class_name: Its class.
        longitude: Of its centre, in degrees east.
        latitude: Of its centre, in degrees north.
        where: Where in the list it is, for messages.
        split: The split that the list says; None where it says none.
        date: "YYYY-MM-DD"; "" where the list says none.
    """

    name: str
    class_name: str
    longitude: float
    latitude: float
    where: str
    split: Split | None = None
    date: str = ""


@dataclasses.dataclass(frozen=True)
class PlaceList:
    """A list.

    Attributes:
        source: Its kind.
        places: The places, in the list's order.
        left_out: What of the list is no place here, by reason.
    """

    source: PlacesSource
    places: tuple[GivenPlace, ...]
    left_out: Mapping[str, int]


def refused(where: str, field: str, must: str, received: object) -> InvalidInputError:
    """Returns the error of a field of a list.

    Args:
        where: The file, and the place in it.
        field: The field's name.
        must: What it must be.
        received: What it is.
    """
    return InvalidInputError(f"{where}: {field} must {must}. Received: {one_line(repr(received), 100)}")


def require_folder(flag: str, folder: str) -> None:
    """Refuses what is no folder of this machine.

    Args:
        flag: The flag that it was given by.
        folder: Its path.

    Raises:
        InvalidInputError: There is none, or it lies in a bucket.
    """
    if not os.path.isdir(folder):
        raise refused(flag, "it", "be a folder on this machine", folder)


def checked_name(text: object, where: str, field: str) -> str:
    """Checks a name of a place or a class, and takes the blanks around it off.

    Raises:
        InvalidInputError: It is empty, too long, or cannot be shown.
    """
    name = text.strip() if isinstance(text, str) else ""
    if not name or not name.isprintable() or len(name) > MOST_NAME_CHARS:
        raise refused(where, field, f"be a printable text of 1 to {MOST_NAME_CHARS} characters", text)
    return name


def checked_degrees(
    longitude: object, latitude: object, where: str, fields: tuple[str, str]
) -> tuple[float, float]:
    """Checks a longitude and a latitude; either may be text.

    Raises:
        InvalidInputError: One is no number or beyond its range.
    """
    found = []
    for value, field, most in zip((longitude, latitude), fields, (180, 90), strict=True):
        try:
            degrees = float(value) if isinstance(value, str | int | float) else math.nan
        except ValueError:
            degrees = math.nan
        if isinstance(value, bool) or not -most <= degrees <= most:  # written so that NaN fails too
            raise refused(where, field, f"be degrees from -{most} to {most}", value)
        found.append(degrees)
    return found[0], found[1]


def checked_split(text: object, where: str, field: str) -> Split | None:
    """Checks the name of a split, ours or a short one; nothing is none.

    Raises:
        InvalidInputError: It is another.
    """
    if text is None or text == "":
        return None
    if not isinstance(text, str) or text.strip() not in _SHORT_SPLITS:
        raise refused(where, field, f"be one of {', '.join(_SHORT_SPLITS)}, or empty", text)
    return _SHORT_SPLITS[text.strip()]


def checked_date(text: object, where: str, field: str) -> str:
    """Checks a date, or takes that of a time; nothing is "".

    Raises:
        InvalidInputError: It is none.
    """
    if text is None or text == "":
        return ""
    try:
        if not isinstance(text, str):
            raise ValueError
        return datetime.datetime.fromisoformat(text.strip()).date().isoformat()
    except ValueError:
        raise refused(where, field, "be a date like 2019-07-01, or empty", text) from None
