"""A figure of a report: a drawing, what it says in words, and its numbers as a table."""

import csv
import dataclasses
import io
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure as Drawing

from beam_pipeline.runtime.foreign_text import in_csv, one_line

Entry = str | int | float

BEFORE_CONTENTS = "The summaries of this dataset, of a version before 1.1, do not say what each cell holds."
NO_CELL = "There is no cell with an example."

_NAME_CHARS = 28


@dataclasses.dataclass(frozen=True)
class Table:
    """Numbers with a head.

    Attributes:
        head: Names of the columns.
        rows: One entry a column.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Entry]]

    def csv_text(self) -> str:
        """Returns it as CSV; no text of a dataset is a formula to a spreadsheet."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.head)
        writer.writerows([_harmless(entry) for entry in row] for row in self.rows)
        return buffer.getvalue()


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: Of its files, and of its place in the page.
        title: A few words.
        text: What is drawn, how it is counted, and what the paper has.
        alt: What is to be seen, in a sentence with numbers.
        draw: Draws it; called within `theme.drawing`.
        table: Its numbers, as the page shows them.
        csv: As the CSV holds them, where that holds more.
    """

    name: str
    title: str
    text: str
    alt: str
    draw: Callable[[], Drawing]
    table: Table
    csv: Table | None = None


@dataclasses.dataclass(frozen=True)
class NotDrawn:
    """A figure that this dataset does not give.

    Attributes:
        title: Of the figure.
        why: What is missing.
    """

    title: str
    why: str


def brief(name: str) -> str:
    """Returns a name as far as there is room for it in a drawing."""
    return one_line(name, _NAME_CHARS)


def percent(share: float | None, digits: int = 1) -> str:
    """Writes a share, 0 to 1, in percent; a small one that is not 0 does not look like 0."""
    if share is None:
        return "–"
    least = 10.0**-digits
    return f"< {least:g} %" if 0 < 100 * share < least / 2 else f"{100 * share:.{digits}f} %"


def ratio(part: float, whole: float) -> float | None:
    """Returns the share of a part, None of nothing."""
    return float(part) / float(whole) if whole else None


def _harmless(entry: Entry) -> Entry:
    if isinstance(entry, str):
        return in_csv(entry)
    return round(entry, 9) if isinstance(entry, float) else entry
