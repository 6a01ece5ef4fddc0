"""Looks for classes that TFDS would import because a dataset's `features.json` names them."""

from collections.abc import Iterator
from typing import Any

import pydantic

from beam_pipeline.audit.findings import Findings
from beam_pipeline.audit.reading import read_file
from beam_pipeline.dataset.folder import FEATURES_FILE, DatasetFolder
from beam_pipeline.dataset.tfds import features_json
from beam_pipeline.runtime.foreign_text import one_line
from beam_pipeline.runtime.parsing import MalformedError, parse_json

_ANY: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(Any)

_CLASS_KEYS = frozenset(("type", "pythonClassName", "python_class_name"))
"""Fields that hold the name of a class. Source: tensorflow_datasets/core/features/feature.py, feature.proto."""

_MOST_CHARS = 80


def check_features(folder: DatasetFolder, findings: Findings) -> None:
    """Notes each class in `features.json` that ours does not name: TFDS imports its module, whatever it is.

    `check_sidecars` compares the file to the byte. It needs a sound plan; this needs nothing.

    Args:
        folder: The dataset's folder.
        findings: Where it goes: "foreign_class".
    """
    content = read_file(folder, FEATURES_FILE, findings, None)
    if content is None:
        return
    try:
        named = set(_class_names(parse_json(_ANY, content)))
    except MalformedError:
        return  # TFDS reads it no more than we do
    for name in sorted(named - set(_class_names(parse_json(_ANY, features_json())))):
        detail = (
            f"has TFDS import and run {one_line(name, _MOST_CHARS)!r}. Do not load this dataset with TFDS"
        )
        findings.differ("foreign_class", FEATURES_FILE, detail)


def _class_names(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        yield from (str(value) for key, value in content.items() if key in _CLASS_KEYS)
    children = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for child in children:
        yield from _class_names(child)
