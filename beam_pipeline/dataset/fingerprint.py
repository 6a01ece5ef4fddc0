"""The fingerprint: what decides the content of a dataset."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from beam_pipeline.cells.grid import GRID_NAME
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.labels.extract import ExtractInfo
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.foreign_text import without_secrets


def fingerprint(
    settings: BuildSettings, units_text: str, catalogue: str, extracts: Sequence[ExtractInfo]
) -> dict[str, Any]:
    """Returns what decides the content of the dataset, free of paths and times of this machine.

    Args:
        settings: The settings.
        units_text: The plan's content.
        catalogue: The catalogue's identity.
        extracts: What the extracts' headers say.

    Returns:
        Plain JSON values.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "grid": GRID_NAME,
        "cells_sha256": hashlib.sha256(units_text.encode()).hexdigest(),
        "cells_per_shard": settings.cells_per_shard,
        "seed": settings.seed,
        "years": list(settings.years),
        "catalogue": catalogue,
        "collection": settings.collection,
        "max_scene_cloud": settings.max_scene_cloud,
        "filters": json.loads(json.dumps(dataclasses.asdict(settings.filters))),
        "allow_single": settings.allow_single,
        "ontology_sha256": settings.ontology.sha256,
        "none_labels": settings.none_labels,
        # In whatever order they are given: what is in several of them is told apart by itself.
        "osm": [
            {"name": info.name, "bytes": info.size, "timestamp": info.timestamp}
            for info in sorted(extracts, key=lambda info: info.name)
        ]
        or without_secrets(settings.overpass_url),
    }


FINGERPRINT_FILE = "plan/fingerprint.json"


def check_same_fingerprint(planned: Mapping[str, Any], given: Mapping[str, Any], output: str) -> None:
    """Refuses to mix two datasets in one folder.

    Args:
        planned: The fingerprint that lies in the output folder.
        given: The fingerprint of this run.
        output: The output folder, for the message.

    Raises:
        InvalidInputError: They differ; the message names every difference.
    """
    there, now = _by_field(planned), _by_field(given)
    differences = [
        f"  {key}: {there.get(key)!r} there, {now.get(key)!r} now"
        for key in sorted({*there, *now})
        if there.get(key) != now.get(key)
    ]
    if differences:
        raise InvalidInputError(
            f"{output} holds another dataset; a run goes on only with the settings it began with:",
            *differences,
            "Choose another --output, or give the settings that it began with.",
        )


def _by_field(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Names the fields of what is a group of them, e.g. "filters.max_bad_fraction"."""
    fields: dict[str, Any] = {}
    for key, value in fingerprint.items():
        of_group = value if isinstance(value, dict) else None
        fields |= {key: value} if of_group is None else {f"{key}.{name}": it for name, it in of_group.items()}
    return fields


def fingerprint_sha256(fingerprint: Mapping[str, Any]) -> str:
    """Returns the SHA-256, in hexadecimal, of what decides the content of a dataset.

    Args:
        fingerprint: Plain JSON values; read from a file, they give the same.
    """
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()
