"""Tells what a folder holds by the files that only one kind of folder has, so that no command writes into another's.

Each command writes a folder of one kind, which it may find again and go on with. The files of two kinds share names:
a store written into a dataset's folder would overwrite the dataset's LICENSES.md.
"""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

from beam_pipeline.runtime.faults import InvalidInputError

Kind = Literal["dataset", "store", "export", "run", "scores", "results", "published", "cells"]

_LOOKS_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class _Files:
    """The files of a kind of folder.

    Attributes:
        title: What messages call the kind.
        marks: Each shows that a folder is of the kind; one of them is written before any of `others`.
        others: What else it writes under a fixed name.
        beside: Kinds that may lie in the same folder.
    """

    title: str
    marks: tuple[str, ...]
    others: tuple[str, ...] = ()
    beside: tuple[Kind, ...] = ()


_LIST = "spatial_cell_info.csv"
_PUBLISHED_CATEGORIES = "osm_categories.json"

KINDS: Mapping[Kind, _Files] = {
    "dataset": _Files(
        "a dataset",
        ("dataset.json", "plan/fingerprint.json", "plan/units.jsonl", "plan/store.json"),
        (
            *(_LIST, "spatial_cell_info.json", "dead_letters.jsonl", "run.json", "features.json"),
            *("dataset_info.json", "CITATION.cff", "LICENSES.md"),
        ),
    ),
    "store": _Files(
        "a store of features",
        ("store.json", "plan/request.json", "plan/tiles.jsonl"),
        ("LICENSES.md",),
    ),
    "export": _Files("an export", ("export/settings.json",), ("CITATION.cff", "LICENSES.md")),
    # Of strangers' files the run itself takes care: it begins in an empty folder.
    "run": _Files("a training run", ("settings.json",)),
    # A kill may leave its figures without a mark.
    "scores": _Files("an evaluation", ("scores.json",), beside=("run", "results")),
    "results": _Files(
        "results of downstream",
        ("table1.json", "fits.jsonl", "topk.csv", "table1.csv", "table1.md"),
        ("LICENSES.md", "cmc.png", "confusion.png", "embeddings.png"),
        beside=("run", "scores"),
    ),
    "published": _Files("published files", (), (_LIST, _PUBLISHED_CATEGORIES)),
    "cells": _Files(
        "a list of cells",
        (_LIST, "spatial_cell_info.json", "selection_problem.json"),
        ("spatial_cell_info.png",),
    ),
}
"""In the order of looking: a dataset holds a list of cells too, and so do some exports."""

_MARKS = {mark for files in KINDS.values() for mark in files.marks}


def kind_of(there: set[str]) -> tuple[Kind, str] | None:
    """Tells of what kind a folder is.

    Args:
        there: Names of files in it.

    Returns:
        The kind, and the file that shows it; None where no file does.
    """
    for kind, files in KINDS.items():
        if kind == "published":  # neither file alone is a sign of it
            if there >= {*files.others}:
                return kind, _PUBLISHED_CATEGORIES
            continue
        for mark in files.marks:
            if mark in there:
                return kind, mark
    return None


def require_own_kind(
    folder: str, kind: Kind, has: Callable[[str], bool], others: tuple[str, ...] = ()
) -> bool:
    """Refuses a folder of another kind, and one whose files would be overwritten.

    Args:
        folder: That of --output, local or a URL; it may be missing.
        kind: Of what is to be written.
        has: Tells whether the folder has a file of a name; it is called by several threads at once.
        others: What is written besides, under fixed names.

    Returns:
        Whether it is of the kind already.

    Raises:
        InvalidInputError: It is another command's folder, or holds files of nobody's that would be overwritten.
    """
    own = KINDS[kind]
    written = (*own.marks, *own.others, *others)
    names = sorted({*_MARKS, _PUBLISHED_CATEGORIES, *written})
    with concurrent.futures.ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        there = {name for name, is_there in zip(names, pool.map(has, names), strict=True) if is_there}
    found = kind_of(there)
    if found is not None and found[0] in (kind, *own.beside):
        return found[0] == kind
    taken = ", ".join(name for name in written if name in there)
    if found is not None:
        other, mark = found
        harm = f"overwrite its {taken}" if taken else "mix with its files"
        raise InvalidInputError(
            f"--output is the folder of {KINDS[other].title}, as {mark} in it shows: {own.title} would {harm}. "
            f"Give another --output. Received: {folder}"
        )
    if taken:
        raise InvalidInputError(
            f"--output holds files that {own.title} would overwrite: {taken}. Give another --output. "
            f"Received: {folder}"
        )
    return False
