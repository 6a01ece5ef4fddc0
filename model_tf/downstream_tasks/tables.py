"""`table1.json`, `.csv` and `.md`, in the layout of the paper's table 1, and the top-k table of its figure 9."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from model_tf.downstream_tasks.patch_set import PatchSet
from model_tf.downstream_tasks.scoring import METHOD_NAMES, Cell, Protocol, Scores
from model_tf.downstream_tasks.splits import BLOCK_DEGREES, MOST_TESTED
from model_tf.downstream_tasks.tasks import FIELD_SOURCE, PAPER_SOURCE, Task

EMPTY = "–"

_TOP_KS = (1, 2, 3, 5, 10, 20)


def table_json(patches: PatchSet, task: Task, protocol: Protocol, scores: Scores) -> dict[str, Any]:
    """Returns what `table1.json` holds of scores."""
    return {
        "patches": {
            "source": patches.title,
            "level": patches.level,
            "count": len(patches.patches),
            "classes": patches.counts(),
            "fingerprint": patches.fingerprint,
        },
        "columns": [column.name for column in protocol.columns],
        "scores": [
            {
                "features": cell.features,
                "method": METHOD_NAMES[cell.method],
                "split": cell.kind,
                "column": cell.column,
                "level": patches.level,
                "top1_percent": score.mean,
                "deviation": score.deviation,
                "seeds": len(score.top),
                "training_patches": score.training,
                "test_patches": score.testing,
                "top_k_percent": None if cell.method == "knn" else score.top_k.tolist(),
                "confusion": score.confusion.tolist(),
            }
            for cell, score in scores.cells.items()
        ],
        "empty_columns": [
            {"split": kind, "column": column, "reason": reason}
            for (kind, column), reason in scores.empty.items()
        ],
        "head_weights": dict(scores.head_weights),
        "quoted": {
            "paper": {
                "source": PAPER_SOURCE,
                "rows": {row.name: dict(row.scores) for row in task.paper_rows},
            },
            "field": {
                "source": FIELD_SOURCE,
                "rows": {
                    name: {"kNN, k = 5": knn, "linear probe": linear} for name, knn, linear in task.field_rows
                },
            },
        }
        if task.paper_rows
        else {},
    }


def table_csv(patches: PatchSet, task: Task, protocol: Protocol, scores: Scores) -> str:
    """Returns `table1.csv`: a row for each place in the table, quoted ones too."""
    rows = [
        ["ours", patches.level, cell.features, METHOD_NAMES[cell.method], cell.kind, cell.column,
         f"{score.mean:.2f}", "" if score.deviation is None else f"{score.deviation:.2f}", len(score.top), ""]
        for cell, score in scores.cells.items()
    ]  # fmt: skip
    rows += [
        ["ours", patches.level, "", "", kind, column, "", "", "", reason]
        for (kind, column), reason in scores.empty.items()
    ]
    rows += [
        ["quoted", "L2A", row.name, "", "random", column, f"{score:.2f}", "", "", PAPER_SOURCE]
        for row in task.paper_rows
        for column, score in row.scores.items()
    ]
    header = (
        *("origin", "level", "features", "method", "split", "column", "top1_percent", "deviation"),
        *("seeds", "note"),
    )
    return _csv(header, rows)


def table_md(patches: PatchSet, task: Task, protocol: Protocol, scores: Scores) -> str:
    """Returns `table1.md`."""
    columns = [column.name for column in protocol.columns]
    lines = [
        f"# {patches.title} ({patches.level}): top-1 accuracy in percent",
        "",
        f"{len(patches.patches):,} patches, {patches.level}, in {len(patches.classes)} classes. Mean ± deviation over "
        f"{protocol.seeds} seeds"
        + (f" ({protocol.head_seeds} of the CNN head). " if "cnn" in protocol.methods else ". ")
        + f"Columns: training patches a class (then at most {MOST_TESTED} test patches a class), or percent for "
        "training and testing.",
    ]
    for kind in protocol.kinds:
        blocks = f": no block of {BLOCK_DEGREES:g}° is in two parts" if kind == "spatial" else ""
        lines += ["", f"## {kind.capitalize()} splits{blocks}", ""]
        rows = list(dict.fromkeys((cell.features, cell.method) for cell in scores.cells if cell.kind == kind))
        lines += _markdown(
            ["features", "classifier", *columns],
            [
                [name, METHOD_NAMES[method], *(_text(scores, Cell(name, method, kind, it)) for it in columns)]
                for name, method in rows
            ]
            + (
                [_quoted(row.name, row.scores, columns) for row in task.paper_rows]
                if kind == "random"
                else []
            ),
        )
        lines += _notes(protocol, scores, kind)
    if task.paper_rows:
        lines += ["", f"*quoted*: {PAPER_SOURCE}; not measured here."]
    if task.field_rows:
        lines += ["", f"## Quoted: {FIELD_SOURCE}", ""]
        lines += _markdown(["features", "kNN, k = 5", "linear probe"], [list(row) for row in task.field_rows])
    lines += [f"\nHead on {name}: {weights:,} weights." for name, weights in scores.head_weights.items()]
    return "\n".join(lines) + "\n"


def top_k_csv(patches: PatchSet, scores: Scores) -> str:
    """Returns `topk.csv`: the cumulative match characteristic in percent.

    kNN has none, as it gives most classes no vote.
    """
    ks = [k for k in _TOP_KS if k <= len(patches.classes)]
    rows = [
        [patches.level, cell.features, METHOD_NAMES[cell.method], cell.kind, cell.column,
         *(f"{score.top_k[k - 1]:.2f}" for k in ks)]
        for cell, score in scores.cells.items()
        if cell.method != "knn"
    ]  # fmt: skip
    return _csv(("level", "features", "method", "split", "column", *(f"top{k}" for k in ks)), rows)


def _text(scores: Scores, cell: Cell) -> str:
    score = scores.cells.get(cell)
    if score is None:
        return EMPTY
    return f"{score.mean:.1f}" + ("" if score.deviation is None else f" ± {score.deviation:.1f}")


def _quoted(name: str, scores: Mapping[str, float], columns: Sequence[str]) -> list[str]:
    return [
        f"{name} (*quoted*, L2A)",
        "",
        *(f"*{scores[it]:.2f}*" if it in scores else EMPTY for it in columns),
    ]


def _notes(protocol: Protocol, scores: Scores, kind: str) -> list[str]:
    """Says how many patches were tested, and why columns are empty."""
    lines = []
    for column in protocol.columns:
        of_column = [
            score for cell, score in scores.cells.items() if cell.kind == kind and cell.column == column.name
        ]
        if of_column:
            longest = max(of_column, key=lambda score: len(score.top))
            lines.append(
                f"- {column.name}: {_span(longest.training)} training patches, {_span(longest.testing)} test patches"
            )
    lines += [
        f"- {column}: empty, because {reason}" for (of, column), reason in scores.empty.items() if of == kind
    ]
    return ["", *lines]


def _span(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()
