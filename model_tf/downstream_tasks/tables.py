"""`table1.json`, `.csv` and `.md`, in the layout of the paper's table 1, and the top-k table of its figure 9."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from beam_pipeline.runtime.foreign_text import in_csv, in_markdown
from model_tf.downstream_tasks.patch_set import PatchSet
from model_tf.downstream_tasks.scoring import METHOD_NAMES, Cell, Method, Protocol, Scores
from model_tf.downstream_tasks.splits import BLOCK_DEGREES, MOST_TESTED, Kind
from model_tf.downstream_tasks.tasks import FIELD_LEVEL, FIELD_SOURCE, QuotedRow, Task

EMPTY = "–"

_TOP_KS = (1, 2, 3, 5, 10, 20)

_FIELD_METHODS: tuple[Method, ...] = ("knn", "linear")
"""Of `Task.field_rows`."""

_ABOUT_SPLITS: Mapping[Kind, str] = {
    "random": "",
    "spatial": f": no block of {BLOCK_DEGREES:g}° is in two parts",
    "published": ": the parts that the patches bring",
}


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
                row.name: {"level": row.level, "source": row.source, "top1_percent": dict(row.scores)}
                for row in task.paper_rows
            },
            "field": {
                "level": FIELD_LEVEL,
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
        ["ours", patches.level, "", "", kind, column, "", "", "", in_csv(reason)]
        for (kind, column), reason in scores.empty.items()
    ]
    rows += [
        ["quoted", row.level, row.name, "", "random", column, f"{score:.2f}", "", "", row.source]
        for row in task.paper_rows
        for column, score in row.scores.items()
    ]
    rows += [  # a range is no number
        ["quoted", FIELD_LEVEL, name, METHOD_NAMES[method], "by longitude", "all",
         *(["", "", "", f"{score}; {FIELD_SOURCE}"] if "-" in score else [score, "", "", FIELD_SOURCE])]
        for name, *of_methods in task.field_rows
        for method, score in zip(_FIELD_METHODS, of_methods, strict=True)
    ]  # fmt: skip
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
        f"{len(patches.patches):,} patches, {patches.level}, in {len(patches.classes)} classes. "
        f"{_repetitions(protocol)} Columns: training patches a class (then at most {MOST_TESTED} test patches a "
        "class), or percent for training and testing.",
    ]
    for kind in protocol.kinds:
        lines += ["", f"## {kind.capitalize()} splits{_ABOUT_SPLITS[kind]}", ""]
        rows = list(dict.fromkeys((cell.features, cell.method) for cell in scores.cells if cell.kind == kind))
        lines += _markdown(
            ["features", "classifier", *columns],
            [
                [name, METHOD_NAMES[method], *(_text(scores, Cell(name, method, kind, it)) for it in columns)]
                for name, method in rows
            ]
            + ([_quoted(row, columns) for row in task.paper_rows] if kind == "random" else []),
        )
        lines += _notes(protocol, scores, kind)
        if kind == "random":
            lines += _sources(task)
    if task.field_rows:
        lines += [
            "",
            "## Quoted, of another protocol than ours",
            "",
            f"{FIELD_SOURCE}; not measured here.",
            "",
        ]
        lines += _markdown(
            ["features", *(METHOD_NAMES[method] for method in _FIELD_METHODS)],
            [
                [f"{name} (*quoted*, {FIELD_LEVEL})", *(f"*{score}*" for score in of_methods)]
                for name, *of_methods in task.field_rows
            ],
        )
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


def _repetitions(protocol: Protocol) -> str:
    if protocol.seeds == 1:
        return "One seed, so no deviation."
    of_head = ""
    if "cnn" in protocol.methods and protocol.head_seeds < protocol.seeds:
        of_head = f" ({protocol.head_seeds} of the CNN head)"
    return f"Mean ± standard deviation (n − 1) over {protocol.seeds} seeds{of_head}."


def _quoted(row: QuotedRow, columns: Sequence[str]) -> list[str]:
    scores = (f"*{row.scores[it]:.2f}*" if it in row.scores else EMPTY for it in columns)
    return [f"{row.name} (*quoted*, {row.level})", "", *scores]


def _sources(task: Task) -> list[str]:
    """Says where the quoted rows are from, a line for each source."""
    names: dict[str, list[str]] = {}
    for row in task.paper_rows:
        names.setdefault(row.source, []).append(row.name)
    return [
        *(["", "*quoted*, not measured here:", ""] if names else []),
        *(f"- {', '.join(of_source)}: {source}" for source, of_source in names.items()),
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
        f"- {column}: empty, because {in_markdown(reason)}"
        for (of, column), reason in scores.empty.items()
        if of == kind
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
