"""The narrowest box around cells, which may cross the antimeridian."""

import itertools

import shapely
from shapely.geometry.base import BaseGeometry

_MOST_SPANS = 1000
"""Spans of longitude that are kept before those that meet are joined."""

Span = tuple[float, float]
"""West and east in degrees, west <= east."""


class NarrowBox:
    """A box in degrees that grows with the geometries that are added.

    Of all boxes around them it has the fewest degrees of longitude. Of two, it is the one that does not cross the
    antimeridian.
    """

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._joined = 0
        self._south, self._north = 90.0, -90.0

    def add(self, shape: BaseGeometry) -> None:
        """Adds a geometry.

        Args:
            shape: In degrees, -180 to 180; one that crosses the antimeridian comes in two halves.
        """
        for west, south, east, north in shapely.bounds(shapely.get_parts(shape)).tolist():
            self._south, self._north = min(self._south, south), max(self._north, north)
            self._spans.append((west, east))
        if len(self._spans) > 2 * self._joined + _MOST_SPANS:
            self._join()

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north of one geometry at least; west is above east across the antimeridian.

        Source: https://www.rfc-editor.org/rfc/rfc7946#section-5.2
        """
        self._join()
        spans = self._spans
        # What lies between two spans, from an east to a west; first of all what lies beyond the outer ones.
        gaps = [(spans[-1][1], spans[0][0] + 360.0)]
        gaps += [(here[1], there[0]) for here, there in itertools.pairwise(spans)]
        east, west = max(gaps, key=lambda gap: gap[1] - gap[0])
        if west - east <= 0.0:
            west, east = -180.0, 180.0
        return west - 360.0 if west >= 180.0 else west, self._south, east, self._north

    def _join(self) -> None:
        """Leaves spans that do not meet, from west to east."""
        joined: list[Span] = []
        for west, east in sorted(self._spans):
            if joined and west <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(joined[-1][1], east)
            else:
                joined.append((west, east))
        self._spans, self._joined = joined, len(joined)
