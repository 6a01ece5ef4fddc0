"""Columns of row groups, as the footer of a Parquet file describes them."""

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyarrow import parquet


@dataclasses.dataclass(frozen=True, slots=True)
class ColumnRange:
    """The range of one column in a row group, as the footer states it.

    Attributes:
        low: The least value; a timestamp is as it is counted.
        high: The greatest.
        has_nulls: Whether a row may have none.
    """

    low: Any
    high: Any
    has_nulls: bool

    def holds_none_of(self, values: tuple[Any, ...]) -> bool:
        """Tells whether none of the values can be there; False where none can be compared."""
        comparable = [value for value in values if type(value) is type(self.low)]
        return bool(comparable) and all(value < self.low or self.high < value for value in comparable)


Statistics = Mapping[str, ColumnRange]
"""By path; a column that says nothing is not there."""


def statistics_of(group: parquet.RowGroupMetaData, leaves: Mapping[str, int]) -> Statistics:
    """Reads what a row group says of its columns.

    Args:
        group: From the footer.
        leaves: Number of each column to be looked at, by path.
    """
    found = {}
    for path, number in leaves.items():
        said = group.column(number).statistics
        if said is None or not said.has_min_max:
            continue
        # What a damaged or hostile file says may be no text and no number.
        with contextlib.suppress(ValueError, OverflowError, TypeError, pa.ArrowException):
            # pyarrow would import pandas, which takes 40 MB, to make a timestamp.
            is_time = said.logical_type.type == "TIMESTAMP"
            low, high = (said.min_raw, said.max_raw) if is_time else (said.min, said.max)
            found[path] = ColumnRange(low, high, not said.has_null_count or said.null_count > 0)
    return found
