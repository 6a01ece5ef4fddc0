"""The table that ends an export."""

from collections.abc import Mapping

from beam_pipeline.exchange.closing import DEAD_LETTERS_FILE, SUMMARY_FILE, ExportSummary
from beam_pipeline.runtime.files import join

_FIRST = ("examples", "cells")
_MOST_NAMES = 10

_MEND = "the same command exports these shards again"


def export_table(summary: ExportSummary, output: str) -> str:
    """Says what was exported, left out and lost.

    Args:
        summary: From `closing.read_summary`.
        output: The export's folder.
    """
    more = sorted({name for counts in summary.splits.values() for name in counts} - {*_FIRST})
    columns = (*_FIRST, *more)
    rows = [("", *columns)]
    rows += [
        (split, *(f"{counts.get(name, 0):,}" for name in columns)) for split, counts in summary.splits.items()
    ]
    sums = (sum(counts.get(name, 0) for counts in summary.splits.values()) for name in columns)
    rows.append(("total", *(f"{number:,}" for number in sums)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines += _reasons("cells left out", summary.left_out)
    lines.append(f"{summary.files:,} files, {summary.bytes / 1e9:,.3f} GB; all are there with their sizes")
    if summary.dead_letters:
        lines += _reasons("DEAD LETTERS", summary.dead_letters)
        lines.append(f"  each with its reason: {join(output, DEAD_LETTERS_FILE)}")
        lines.append(f"  {_MEND}, once what they are read of is mended")
    lines += _some("SHARDS WITHOUT A RECORD", summary.missing_shards)
    lines += _some("CELLS IN TWO SHARDS", [str(cell_id) for cell_id in summary.doubled_cells])
    lines.append(f"{'complete' if summary.complete else 'NOT COMPLETE'}: {join(output, SUMMARY_FILE)}")
    return "\n".join(lines)


def _reasons(title: str, counts: Mapping[str, int]) -> list[str]:
    if not counts:
        return []
    largest_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{title}: " + ", ".join(f"{reason} {count:,}" for reason, count in largest_first)]


def _some(title: str, names: tuple[str, ...] | list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return [f"{title}: {', '.join(names[:_MOST_NAMES])}{more}"]
