"""Reads the places of Functional Map of the World from its metadata: SPLIT/CATEGORY/LOCATION/LOCATION_N_rgb.json.

A location is one place, however many dates it has: that of its file of the lowest number. Its box is in pixels of an
image whose corners are known.

Source: G. Christie, N. Fendley, J. Wilson, R. Mukherjee: Functional Map of the World, CVPR 2018; the README of
https://github.com/fMoW/dataset. Its archive groundtruth.tar.bz2 holds the labels and corners of all splits.
"""

import collections
import os
import re
from collections.abc import Iterator
from typing import Annotated, Any

import pydantic
import shapely
from pydantic import BeforeValidator, Field
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
    require_folder,
)
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json
from beam_pipeline.runtime.progress import Progress
from beam_pipeline.runtime.regular_files import read_regular

ARCHIVE = "groundtruth.tar.bz2"
"""The archive of all labels."""

SPLITS: dict[str, Split] = {
    "train": "training",
    "val": "validation",
    "test_gt": "testing",
    "seq_gt": "testing",
}
"""The folders of the archive. Folders test and seq are of images, whose files tell neither category nor corners."""

CATEGORIES = frozenset((
    *("airport", "airport_hangar", "airport_terminal", "amusement_park", "aquaculture"),
    *("archaeological_site", "barn", "border_checkpoint", "burial_site", "car_dealership"),
    *("construction_site", "crop_field", "dam", "debris_or_rubble", "educational_institution"),
    *("electric_substation", "factory_or_powerplant", "fire_station", "flooded_road", "fountain"),
    *("gas_station", "golf_course", "ground_transportation_station", "helipad", "hospital"),
    *("impoverished_settlement", "interchange", "lake_or_pond", "lighthouse", "military_facility"),
    *("multi-unit_residential", "nuclear_powerplant", "office_building", "oil_or_gas_facility", "park"),
    *("parking_lot_or_garage", "place_of_worship", "police_station", "port", "prison", "race_track"),
    *("railway_bridge", "recreational_facility", "road_bridge", "runway", "shipyard", "shopping_mall"),
    *("single-unit_residential", "smokestack", "solar_farm", "space_facility", "stadium", "storage_tank"),
    *("surface_mine", "swimming_pool", "toll_booth", "tower", "tunnel_opening", "waste_disposal"),
    *("water_treatment_facility", "wind_farm", "zoo"),
))  # fmt: skip
"""The 62 categories. Source: the README of fMoW."""

NOT_TAKEN = ("construction_site", "flooded_road", "impoverished_settlement")
"""Categories that are no classes here: 59 are left. Source: Johnson et al. 2022, section 5.3."""

FALSE_DETECTION = "false_detection"
"""The category of boxes that hold none. Source: the README of fMoW."""

NO_BOX = "no_box"
"""Why a location is left out whose file marks nothing in the image."""

_FILE = re.compile(r"_(\d+)_rgb\.json\Z")
_MOST_BYTES = 1 << 20
_CORNERS = 4


_WHOLE_IMAGE = -1
"""The ID of the first entry of `bounding_boxes`, which is of the whole image; those behind it are of what is in it."""


class _Box(pydantic.BaseModel):
    category: str
    box: tuple[float, float, float, float]


def _without_image(entry: Any) -> Any:
    if entry is None:
        raise ValueError("must be an object")
    return None if isinstance(entry, dict) and entry.get("ID") == _WHOLE_IMAGE else entry


def _as_list(entries: Any) -> Any:
    return [entries] if isinstance(entries, dict) else entries


_Entry = Annotated[_Box | None, BeforeValidator(_without_image)]
"""A box; None is the entry of the whole image."""


_Pixels = Annotated[int, Field(ge=1, le=1_000_000)]


class _Metadata(pydantic.BaseModel):
    img_width: _Pixels
    img_height: _Pixels
    raw_location: str
    timestamp: str
    bounding_boxes: Annotated[list[_Entry], BeforeValidator(_as_list)]


_METADATA = pydantic.TypeAdapter(_Metadata)


def read_fmow_places(folder: str) -> PlaceList:
    """Reads the places of a folder.

    Args:
        folder: Local; holds the folders of splits, as published.

    Returns:
        A place for each box of a class of each location, named SPLIT/CATEGORY/LOCATION, with its split and the date of
        the file that it is of. The entry of the whole image is no box.

    Raises:
        InvalidInputError: There is no file, or one is of another form: file and field are named.
    """
    files = list(_first_files(folder))
    if not files:
        raise InvalidInputError(
            f"--fmow must hold folders {', '.join(SPLITS)} of fMoW's archive {ARCHIVE}, with metadata like "
            f"train/airport/airport_0/airport_0_0_rgb.json. Received: {folder} without any"
        )
    places: list[GivenPlace] = []
    left_out: collections.Counter[str] = collections.Counter()
    with Progress(len(files), "reading metadata", "places") as progress:
        for split, path in files:
            places += _places_of(path, os.path.relpath(os.path.dirname(path), folder), split, left_out)
            progress.update()
    return PlaceList("fmow", tuple(places), dict(sorted(left_out.items())))


def _first_files(folder: str) -> Iterator[tuple[Split, str]]:
    """Yields the file of the lowest number of each location."""
    require_folder("--fmow", folder)
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
        raise InvalidInputError(
            f"{path} is no metadata of fMoW's archive {ARCHIVE}: {error}. Files beside images may lack labels and "
            "corners: give the folder of that archive"
        ) from error
    except (Fault, OSError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
    corners = _corners(metadata.raw_location, path)
    boxes = [(index, box) for index, box in enumerate(metadata.bounding_boxes) if box is not None]
    if not boxes:
        left_out[NO_BOX] += 1
    taken = 0
    for index, one in boxes:
        field = f"bounding_boxes[{index}]"
        if one.category == FALSE_DETECTION or one.category in NOT_TAKEN:
            left_out[one.category] += 1
            continue
        if one.category not in CATEGORIES:
            raise refused(path, f"{field}.category", "be one of fMoW's 62", one.category)
        fraction = _middle(one.box, metadata, path, f"{field}.box")
        longitude, latitude = _at(corners, *fraction)
        checked_degrees(
            longitude, latitude, path, ("raw_location, in longitude,", "raw_location, in latitude,")
        )
        name = location if not taken else f"{location}#{taken}"
        taken += 1
        yield GivenPlace(
            checked_name(name, path, "its folder"),
            one.category,
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
