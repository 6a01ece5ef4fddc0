"""Tells where an `.osm.pbf` file lies, from its header.

libosmium makes a box of any two corners: of one across the antimeridian the rest of the world, of one with an edge
beyond 180 degrees a point. So the numbers are read here.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format
"""

import os

from beam_pipeline.labels.chip_boxes import Bounds
from beam_pipeline.labels.pbf_blocks import header_block
from beam_pipeline.labels.pbf_wire import fields, signed

_BOX = 1  # field of a header
_LEFT, _RIGHT, _TOP, _BOTTOM = 1, 2, 3, 4  # fields of a box
_NANODEGREE = 1_000_000_000  # to a degree


def header_bounds(path: str | os.PathLike[str]) -> Bounds | None:
    """Reads the bounds that a file's header states.

    Args:
        path: A local `.osm.pbf` file whose header libosmium has read.

    Returns:
        The bounds; None where there are none, or such as no map has: without area, upside down, or off the Earth.

    Raises:
        ValueError: The header is garbled.
        EOFError: The file breaks off within it.
    """
    edges: dict[int, int] = {}
    for field, box in fields(header_block(path)):
        if field == _BOX and isinstance(box, bytes):
            edges |= {edge: signed(value) for edge, value in fields(box) if isinstance(value, int)}
    if not {_LEFT, _RIGHT, _TOP, _BOTTOM} <= edges.keys():
        return None
    west, south, east, north = (edges[edge] / _NANODEGREE for edge in (_LEFT, _BOTTOM, _RIGHT, _TOP))
    if west > east:  # across the antimeridian
        east += 360
    if not (-90 <= south < north <= 90 and -360 <= west < east <= 360):
        return None
    return west, south, east, north
