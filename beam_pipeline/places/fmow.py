"""Reads the places of Functional Map of the World from its metadata: SPLIT/CATEGORY/LOCATION/LOCATION_N_rgb.json.

A location is one place, however many dates it has: that of its file of the lowest number. Its box is in pixels of an
image whose corners are known.

Source: G. Christie, N. Fendley, J. Wilson, R. Mukherjee: Functional Map of the World, CVPR 2018; fMoW-rgb. The labels
of the testing places come in an archive of their own, of folders test_gt and seq_gt.
"""

import collections
import os
import re
from collections.abc import Iterator
from typing import Annotated

import pydantic
import shapely
from pydantic import Field
from shapely import Polygon
from shapely.errors import ShapelyError

from beam_pipeline.cells.cell import Split
from beam_pipeline.places.envelope import wrapped
from beam_pipeline.places.place_list import (
    GivenPlace,
    PlaceList,
    checked_date,
    checked_degrees,
    checked_name,
    refused,
)
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.regular_files import read_regular

SPLITS: dict[str, Split] = {
    "train": "training",
    "val": "validation",
    "test": "testing",
    "test_gt": "testing",
    "seq": "testing",
    "seq_gt": "testing",
}
"""The published folders."""

NOT_TAKEN = ("construction_site", "flooded_road", "impoverished_settlement")
"""Categories of 62 that are no classes here: 59 are left. Source: Johnson et al. 2022, section 5.3."""

FALSE_DETECTION = "false_detection"
"""The category of boxes that hold none. Source: the README of fMoW."""

_FILE = re.compile(r"_(\d+)_rgb\.json\Z")
_MOST_BYTES = 1 << 20
_CORNERS = 4


class _Box(pydantic.BaseModel):
    category: str
    box: tuple[float, float, float, float]


class _Metadata(pydantic.BaseModel):
    img_width: Annotated[int, Field(ge=1)]
    img_height: Annotated[int, Field(ge=1)]
    raw_location: str
    timestamp: str
    bounding_boxes: list[_Box] | _Box


_METADATA = pydantic.TypeAdapter(_Metadata)


def read_fmow_places(folder: str) -> PlaceList:
    """Reads the places of a folder.

    Args:
        folder: Local; holds the folders of splits, as published.

    Returns:
        A place for each box of a class of each location, named SPLIT/CATEGORY/LOCATION, with its split and the date of
        the file that it is of.

    Raises:
        InvalidInputError: There is no file, or one is of another form: file and field are named.
    """
    files = list(_first_files(folder))
    if not files:
        raise InvalidInputError(
            "--fmow must hold metadata like train/airport/airport_0/airport_0_0_rgb.json in folders of "
            f"{', '.join(SPLITS)}. Received: {folder} without any"
        )
    places: list[GivenPlace] = []
    left_out: collections.Counter[str] = collections.Counter()
    with Progress(len(files), "reading metadata", "places") as progress:
        for split, path in files:
            places += _places_of(path, os.path.relpath(os.path.dirname(path), folder), split, left_out)
            progress.update()
    return PlaceList("fmow", tuple(places), {reason: left_out[reason] for reason in sorted(left_out)})


def _first_files(folder: str) -> Iterator[tuple[Split, str]]:
    """Yields the file of the lowest number of each location."""
    if not os.path.isdir(folder):
        raise refused("--fmow", "it", "be a folder on this machine", folder)
    for name, split in SPLITS.items():
        for parent, folders, names in os.walk(os.path.join(folder, name)):
            folders.sort()
            numbered = [(int(match[1]), it) for it in names if (match := _FILE.search(it))]
            if numbered:
                yield split, os.path.join(parent, min(numbered)[1])


def _places_of(
    path: str, location: str, split: Split, left_out: collections.Counter[str]
) -> Iterator[GivenPlace]:
    try:
        metadata = parse_json(_METADATA, read_regular(path, _MOST_BYTES))
    except MalformedError as error:
        labels = " The labels of testing places are in an archive of their own" if split == "testing" else ""
        raise InvalidInputError(f"{path} is no metadata of fMoW: {error}.{labels}") from error
    except (Fault, OSError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
    corners = _corners(metadata.raw_location, path)
    boxes = metadata.bounding_boxes
    taken = 0
    for index, one in enumerate(boxes if isinstance(boxes, list) else [boxes]):
        if one.category == FALSE_DETECTION or one.category in NOT_TAKEN:
            left_out[one.category] += 1
            continue
        field = f"bounding_boxes[{index}].box"
        fraction = _middle(one.box, metadata, path, field)
        longitude, latitude = _at(corners, *fraction)
        checked_degrees(
            longitude, latitude, path, ("raw_location, in longitude,", "raw_location, in latitude,")
        )
        name = location if not taken else f"{location}#{taken}"
        taken += 1
        yield GivenPlace(
            checked_name(name, path, "its folder"),
            checked_name(one.category, path, f"bounding_boxes[{index}].category"),
            longitude,
            latitude,
            path,
            split,
            checked_date(metadata.timestamp, path, "timestamp"),
        )


_Corners = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
"""(longitude, latitude) of the upper left, upper right, lower left and lower right corner."""


def _corners(text: str, path: str) -> _Corners:
    """Returns the corners of an image with north above."""
    field = "raw_location"
    try:
        polygon = shapely.from_wkt(text)
    except ShapelyError:
        polygon = None
    if not isinstance(polygon, Polygon) or not polygon.is_valid:
        raise refused(path, field, "be a valid POLYGON", text)
    points = [(float(x), float(y)) for x, y in dict.fromkeys(map(tuple, polygon.exterior.coords))]
    if len(points) != _CORNERS:
        raise refused(path, field, f"have {_CORNERS} corners", len(points))
    longitudes = [x for x, _ in points]
    if max(longitudes) - min(longitudes) > 180:  # across the antimeridian
        points = [(x % 360, y) for x, y in points]
    by_latitude = sorted(points, key=lambda point: point[1])
    (lower_left, lower_right), (upper_left, upper_right) = sorted(by_latitude[:2]), sorted(by_latitude[2:])
    return upper_left, upper_right, lower_left, lower_right


def _middle(
    box: tuple[float, float, float, float], metadata: _Metadata, path: str, field: str
) -> tuple[float, float]:
    """Returns where the middle of a box lies, as shares of the image from its left and upper edge."""
    x, y, width, height = box
    across, down = (x + width / 2) / metadata.img_width, (y + height / 2) / metadata.img_height
    if not (width > 0 and height > 0 and 0 <= across <= 1 and 0 <= down <= 1):
        size = f"{metadata.img_width} x {metadata.img_height}"
        raise refused(path, field, f"be [x, y, width, height] in an image of {size} pixels", list(box))
    return across, down


def _at(corners: _Corners, across: float, down: float) -> tuple[float, float]:
    """Returns longitude and latitude at shares of an image, linear between its corners."""
    (ul_x, ul_y), (ur_x, ur_y), (ll_x, ll_y), (lr_x, lr_y) = corners

    def between(ul: float, ur: float, ll: float, lr: float) -> float:
        upper, lower = ul + (ur - ul) * across, ll + (lr - ll) * across
        return upper + (lower - upper) * down

    return wrapped(between(ul_x, ur_x, ll_x, lr_x)), between(ul_y, ur_y, ll_y, lr_y)
