"""`dataset.json`: what a dataset holds and is made from, added up from the units' summaries alone."""

import collections
import contextlib
import dataclasses
import functools
import operator
import platform
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from importlib import metadata
from typing import Any, TypeVar

from beam_pipeline.cells.cell import SPLITS, Split
from beam_pipeline.cells.grid import GRID_DESCRIPTION, GRIDS
from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.launch_record import ImportRecord
from beam_pipeline.dataset.notices import attribution, copernicus_notice
from beam_pipeline.dataset.outcomes import CellYearId, DeadLetter, sorted_letters
from beam_pipeline.dataset.summary import BandSums, UnitSummary
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.image import BANDS
from beam_pipeline.labels.feature import Dropped
from beam_pipeline.labels.label_image import CHANNELS
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.records.schema import NONE, REFLECTANCE_SCALE, UNLABELED
from beam_pipeline.records.shards import DATASET_NAME
from beam_pipeline.records.version import CONTENTS
from beam_pipeline.runtime.gdal_drivers import rasterio

_Key = TypeVar("_Key", str, int)

_PACKAGES = (
    "apache-beam",
    "google-crc32c",
    "numpy",
    "osmium",
    "protobuf",
    "pyproj",
    "pystac",
    "pystac-client",
    "rasterio",
    "shapely",
)


def describe_ontology(ontology: Ontology) -> dict[str, Any]:
    """Returns the ontology as `dataset.json` holds it: names and values, and which content they are from."""
    return {
        "version": ontology.version,
        "sha256": ontology.sha256,
        "channels": [
            {"name": channel.name, "labels": {label.name: label.value for label in channel.labels}}
            for channel in ontology.channels
        ],
    }


def dataset_json(
    *,
    fingerprint: Fingerprint,
    units: Sequence[Unit],
    ontology: Mapping[str, Any],
    totals: Totals,
    dropped_from_extracts: Mapping[str, Dropped],
    cells_beyond_extracts: int | None,
    imported: ImportRecord | None = None,
) -> dict[str, Any]:
    """Describes a dataset. Holds no time and no path, so the same input, seed and lock give the same text.

    Args:
        fingerprint: What decides the content; the description is as its version has it.
        units: The plan.
        ontology: From `describe_ontology`.
        totals: Of the units that are done or failed, in any order.
        dropped_from_extracts: By extract, what was left out of the whole file on reading it.
        cells_beyond_extracts: Planned cells beyond the bounds of all extracts; None where it is not known.
        imported: What an import found in the published folders; None of a build.

    Returns:
        What `dataset.json` holds; `description_json` writes it.
    """
    years = fingerprint.years
    by_name = {summary.name: summary for summary in totals.summaries}
    done = [by_name[unit.name] for unit in units if unit.name in by_name]
    written = [summary for summary in done if summary.status == "written"]
    letters = sorted_letters(letter for summary in done for letter in summary.dead_letters)
    described = {
        "name": DATASET_NAME,
        "schema_version": fingerprint.schema_version,
        "fingerprint": fingerprint.content,
        "grid": GRIDS.get(fingerprint.grid, GRID_DESCRIPTION),
        "ontology": ontology,
        "years": list(years),
        "complete": len(written) == len(units) and not letters,
        "splits": {split: _split_counts(split, units, years, by_name) for split in SPLITS},
        "bands": _band_statistics(summary for summary in written if summary.split == "training"),
        "labels": _label_statistics(ontology, written, totals),
        "labelled_cells": totals.labelled_cells(),
        "images_by_month": totals.images_by_month(),
        "rejections": _add(summary.rejection_counts for summary in done),
        "scene_rejections": _add(summary.scene_rejections for summary in done),
        "dropped_geometries": _add(summary.dropped_geometries for summary in done),
        "dropped_from_extracts": {name: dict(it.counts) for name, it in dropped_from_extracts.items()},
        **_dropped_elements(dropped_from_extracts),
        "cells_beyond_extracts": cells_beyond_extracts,
        **({"imported": imported.model_dump(mode="json")} if imported else {}),
        "unusable_scenes": _notes(done),
        "tile_years_without_items": [
            {"tile": tile, "year": year}
            for tile, year in sorted({(it.tile, year) for it in done for year in it.years_without_items})
        ],
        **_scenes_per_tile(units, by_name),
        "dead_letters": {
            "count": len(letters),
            "reasons": _add({letter.reason: 1} for letter in letters),
            "stages": _add({letter.stage: 1} for letter in letters),
        },
        "failed_units": [summary.name for summary in done if summary.status == "failed"],
        "missing_units": [unit.name for unit in units if unit.name not in by_name],
        "shards": [
            {"name": it.name, "examples": it.examples, "num_bytes": it.num_bytes, "sha256": it.sha256}
            for it in written
        ],
        "software": software_versions(),
        "licences": {**attribution(fingerprint.places), "imagery": copernicus_notice(years)},
    }
    return described if fingerprint.version >= CONTENTS else _without_contents(described)


def _without_contents(described: dict[str, Any]) -> dict[str, Any]:
    """Takes away what a version before 1.1 does not say."""
    for key in ("labelled_cells", "images_by_month"):
        del described[key]
    for of_split in described["splits"].values():
        del of_split["cells_coastal"], of_split["cells_inexact"]
    for of_channel in described["labels"]:
        del of_channel["cells_by_split"]
    return described


def dead_letters_jsonl(summaries: Iterable[UnitSummary]) -> str:
    """Returns the content of `dead_letters.jsonl`, one dead letter a line, sorted."""
    letters = sorted_letters(letter for summary in summaries for letter in summary.dead_letters)
    return "".join(letter.to_json() + "\n" for letter in letters)


def software_versions() -> dict[str, str]:
    """Returns the versions of what makes the data; OSMnx is named where it is installed, which no worker needs."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    with contextlib.suppress(metadata.PackageNotFoundError):
        versions["osmnx"] = metadata.version("osmnx")
    # The patch level of Python is no part of the lock, and nothing stored depends on it.
    python = ".".join(platform.python_version_tuple()[:2])
    return {**versions, "gdal": rasterio.__gdal_version__, "python": python}


def failed_cell_years(unit: Unit, years: Sequence[int], letter: DeadLetter) -> list[CellYearId]:
    """Returns the planned cell-years that a dead letter of a unit is of.

    Args:
        unit: The unit.
        years: The years asked for.
        letter: A letter of the unit; without a cell or without a year it is of all of them.
    """
    return [
        (cell.cell_id, year)
        for cell in unit.cells
        for year in years
        if letter.cell_id in (None, cell.cell_id) and letter.year in (None, year)
    ]


def _split_counts(
    split: Split, units: Iterable[Unit], years: Sequence[int], done: Mapping[str, UnitSummary]
) -> dict[str, int]:
    """Counts units, cells and cell-years; examples, rejected, failed and missing ones are all that were planned."""
    planned = [unit for unit in units if unit.split == split]
    of_split = [done[unit.name] for unit in planned if unit.name in done]
    written = [summary for summary in of_split if summary.status == "written"]
    return {
        "units_planned": len(planned),
        "units_written": len(written),
        "cells_planned": sum(len(unit.cells) for unit in planned),
        "cell_years_planned": len(years) * sum(len(unit.cells) for unit in planned),
        "cells": sum(summary.cells_with_examples for summary in written),
        "cells_unlabeled": sum(summary.cells_unlabeled for summary in written),
        "cells_coastal": sum(len(summary.coastal_cells) for summary in written),
        "cells_inexact": sum(len(summary.inexact_cells) for summary in written),
        "examples": sum(summary.examples for summary in written),
        "pairs": sum(summary.pairs for summary in written),
        "singles": sum(summary.singles for summary in written),
        "images": sum(summary.images for summary in written),
        "num_bytes": sum(summary.num_bytes for summary in written),
        "rejected_cell_years": sum(sum(summary.rejection_counts.values()) for summary in of_split),
        "failed_cell_years": sum(
            len(
                {
                    of
                    for letter in done[unit.name].dead_letters
                    for of in failed_cell_years(unit, years, letter)
                }
            )
            for unit in planned
            if unit.name in done
        ),
        "missing_cell_years": len(years) * sum(len(unit.cells) for unit in planned if unit.name not in done),
        "dead_letters": sum(len(summary.dead_letters) for summary in of_split),
    }


def _band_statistics(training: Iterable[UnitSummary]) -> dict[str, dict[str, float | int | None]]:
    """Mean and variance of each band over the training split, exact but for the last rounding."""
    summaries = list(training)
    statistics: dict[str, dict[str, float | int | None]] = {}
    for band in BANDS:
        sums = functools.reduce(
            operator.add, (it.bands.get(band, BandSums()) for it in summaries), BandSums()
        )
        mean = variance = None
        if sums.count:
            mean = Fraction(sums.total, sums.count)
            variance = Fraction(sums.squares, sums.count) - mean**2
        statistics[band] = {
            "pixels": sums.count,
            "mean": None if mean is None else float(mean / REFLECTANCE_SCALE),
            "variance": None if variance is None else float(variance / REFLECTANCE_SCALE**2),
            "mean_dn": None if mean is None else float(mean),
            "variance_dn": None if variance is None else float(variance),
        }
    return statistics


def _label_statistics(
    ontology: Mapping[str, Any], written: Sequence[UnitSummary], totals: Totals
) -> list[dict[str, Any]]:
    """Pixels and cells per label and the known, none and unlabelled share, per channel; a cell counts once."""
    statistics = []
    for index in range(CHANNELS):
        channel = ontology["channels"][index]
        per_split = {
            split: _add(it.label_pixels[index] for it in written if it.split == split) for split in SPLITS
        }
        pixels = _add(per_split.values())
        total = sum(pixels.values())
        names = {**channel["labels"], "none": NONE, "unlabeled": UNLABELED}
        known = total - pixels.get(NONE, 0) - pixels.get(UNLABELED, 0)
        shares = {"known": known, "none": pixels.get(NONE, 0), "unlabeled": pixels.get(UNLABELED, 0)}
        statistics.append(
            {
                "channel": channel["name"],
                "pixels": {name: pixels.get(value, 0) for name, value in names.items()},
                "pixels_by_split": {
                    split: {name: counts.get(value, 0) for name, value in names.items()}
                    for split, counts in per_split.items()
                },
                "cells_by_split": totals.cells_holding(index, channel["labels"]),
                "share": {name: count / total if total else None for name, count in shares.items()},
            }
        )
    return statistics


def _scenes_per_tile(
    units: Sequence[Unit], done: Mapping[str, UnitSummary]
) -> dict[str, dict[str, dict[str, int]]]:
    """Gives the usable scenes by tile and year; nothing where no summary counts them, as in older datasets."""
    tiles: dict[str, dict[str, int]] = {}
    for unit in sorted(units, key=lambda unit: unit.tile):
        counted = done[unit.name].scenes_by_year if unit.name in done else None
        if counted is not None:
            # Units of one tile walk the same lists; but an empty one is searched for again.
            of_tile = tiles.setdefault(unit.tile, {})
            of_tile |= {str(year): max(count, of_tile.get(str(year), 0)) for year, count in counted.items()}
    return {"scenes_per_tile": tiles} if tiles else {}


def _dropped_elements(dropped: Mapping[str, Dropped]) -> dict[str, dict[str, Any]]:
    """Names what was left out by extract and reason; nothing where no record names any, as in older datasets."""
    named = {
        name: {
            reason: {"first": list(first), "beyond": it.counts.get(reason, 0) - len(first)}
            for reason, first in it.named.items()
        }
        for name, it in dropped.items()
        if it.named
    }
    return {"dropped_elements": named} if named else {}


def _notes(done: Iterable[UnitSummary]) -> list[dict[str, str]]:
    """Units of one tile walk the same scenes: each note is listed once."""
    return [dataclasses.asdict(note) for note in sorted({note for it in done for note in it.notes})]


def _add(counts: Iterable[Mapping[_Key, int]]) -> dict[_Key, int]:
    total: collections.Counter[_Key] = collections.Counter()
    for part in counts:
        total.update(part)
    return {key: total[key] for key in sorted(total)}
