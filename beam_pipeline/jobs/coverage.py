"""Compares a build's cells with where its extracts say that they lie, and warns of what extracts do not say."""

import collections
import logging
import os
from collections.abc import Sequence

from beam_pipeline.cells.cell import Cell
from beam_pipeline.labels.chip_boxes import boxes_meeting, lonlat_boxes
from beam_pipeline.labels.extract import ExtractInfo
from beam_pipeline.runtime.faults import InvalidInputError

_MOST_NAMED = 3

_log = logging.getLogger(__name__)


def check_coverage(cells: Sequence[Cell], extracts: Sequence[ExtractInfo]) -> int | None:
    """Compares the cells with the bounds that the extracts' headers give.

    Args:
        cells: The cells.
        extracts: What the extracts say of themselves; none with Overpass.

    Returns:
        The number of cells beyond the bounds of all extracts; None where there is no extract, or one gives no
        bounds, which is warned of.

    Raises:
        InvalidInputError: No cell meets any extract. Some that do not are a warning: a cell in which nothing
            is mapped is no error, but one beside the extract is labelled nowhere.
    """
    if not extracts:
        return None
    bounds = [info.bounds for info in extracts if info.bounds is not None]
    outside = lonlat_boxes([cell.chip for cell in cells], 0.0)  # (C, 4), made once: projecting takes long
    for of_extract in bounds:
        outside = outside[~boxes_meeting(outside, of_extract)]
    silent = [info.name for info in extracts if info.bounds is None]
    if silent:
        _log.warning(
            "%d of %d extracts do not say in their headers where they lie: %s. Cells that no extract holds cannot be "
            "found before they are labelled with nothing%s",
            len(silent),
            len(extracts),
            _named(silent),
            f"; {len(outside)} of {len(cells)} cells lie outside the bounds of the others" if bounds else "",
        )
        return None
    if len(outside) == len(cells):
        raise InvalidInputError(
            f"None of the {len(cells)} cells lies within the bounds of the extracts. Received: "
            + ", ".join(f"{info.name} {info.bounds}" for info in extracts)
        )
    if len(outside):
        _log.warning(
            "%d of %d cells lie outside the bounds of all extracts: nothing will be labelled there",
            len(outside),
            len(cells),
        )
    return len(outside)


def warn_of_headers(paths: Sequence[str], extracts: Sequence[ExtractInfo]) -> None:
    """Warns of extracts that do not say of when their data is, and of those that seem to be one.

    The labels are those of one: what is in several extracts is kept once. Only the reading takes twice as long.

    Args:
        paths: The extracts.
        extracts: What their headers say.
    """
    undated = [info.name for info in extracts if not info.timestamp]
    if undated:
        _log.warning(
            "%d of %d extracts do not say in their headers of when their data is: %s. The dataset will know them by "
            "name and size alone",
            len(undated),
            len(extracts),
            _named(undated),
        )
    alike: dict[object, list[str]] = collections.defaultdict(list)
    for path, info in zip(paths, extracts, strict=True):
        # Headers that say nothing are alike whatever follows them.
        says = info.timestamp or info.bounds
        alike[(info.size, info.timestamp, info.bounds) if says else os.path.realpath(path)].append(info.name)
    for names in alike.values():
        if len(names) > 1:
            _log.warning(
                "%d extracts have one size, time and place: %s. If they are one file under several names, give one of "
                "them, as each is read",
                len(names),
                _named(names),
            )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
