"""The plan: which cells go into which shard, fixed before anything is read.

A *unit* is one shard's work: up to `cells_per_shard` cells of one tile, all years. Cells are sorted and cut
per tile, so shard names are known up front and do not depend on the runner. The plan lies in the output
folder and workers read it from there: a job graph must not hold 137,045 cells.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beam_pipeline.cells.cell import SPLITS, Cell, ChipWindow, Split
from beam_pipeline.faults import InvalidInputError
from beam_pipeline.records.shards import parse_shard_name, shard_name

UNITS_FILE = "plan/units.jsonl"
FINGERPRINT_FILE = "plan/fingerprint.json"
ONTOLOGY_FILE = "plan/osm_categories.json"
"""The ontology of the labels, whole."""

LAUNCH_FILE = "plan/launch.json"
"""What the launcher saw that decides nothing: {"cells_beyond_extracts": number of cells, null if unknown}."""

_TILE = re.compile(r"[0-9]{2}[A-Z]{3}")


@dataclasses.dataclass(frozen=True)
class Unit:
    """One shard's work.

    Attributes:
        name: The shard's file name, e.g. "opensentinelmap-training.tfrecord-00003-of-00012".
        split: The split of the tile.
        tile: MGRS tile name that all the unit's cells share.
        cells: The cells, sorted by id.
    """

    name: str
    split: Split
    tile: str
    cells: tuple[Cell, ...]

    def to_json(self) -> str:
        """Returns one line of JSON, the inverse of `from_json`."""
        # Tile and split are the unit's; a cell repeats neither.
        rows = [
            [c.cell_id, c.chip.epsg, c.chip.left, c.chip.bottom, c.min_lon, c.max_lon, c.min_lat, c.max_lat]
            for c in self.cells
        ]
        return json.dumps({"name": self.name, "split": self.split, "tile": self.tile, "cells": rows})

    @classmethod
    def from_json(cls, line: str) -> "Unit":
        """Reads a line of `UNITS_FILE`.

        Raises:
            ValueError: It is none. Name and tile become those of files, so both are checked.
        """
        fields = json.loads(line)
        split, _, _ = parse_shard_name(fields["name"])
        if fields["split"] != split:
            raise ValueError(f"{fields['name']} is no unit of the split {fields['split']!r}")
        if _TILE.fullmatch(fields["tile"]) is None:
            raise ValueError(f"{fields['tile']!r} is no MGRS tile")
        return cls(
            fields["name"], split, fields["tile"], tuple(_cell(row, fields) for row in fields["cells"])
        )


def _cell(row: Sequence[Any], unit: Mapping[str, Any]) -> Cell:
    """Reads a cell of a unit, whose row is as `Unit.to_json` writes it.

    Raises:
        ValueError: It is not.
    """
    cell_id, epsg, left, bottom, *bounds = row
    whole = all(type(value) is int for value in (cell_id, epsg, left, bottom))
    # Neither NaN nor a whole number that no double holds.
    degrees = all(type(value) in (int, float) and abs(value) < 2**53 for value in bounds)
    if not whole or len(bounds) != 4 or not degrees:
        raise ValueError(f"{row!r} is no cell of {unit['name']}")
    return Cell(cell_id, unit["tile"], unit["split"], ChipWindow(epsg, left, bottom), *bounds)


def make_units(cells: Iterable[Cell], cells_per_shard: int) -> list[Unit]:
    """Cuts cells into units.

    Args:
        cells: Cells in any order; ids are unique.
        cells_per_shard: The most cells a unit holds.

    Returns:
        Units sorted by split, tile and cell id. The same cells give the same units.
    """
    ordered = sorted(cells, key=lambda cell: (SPLITS.index(cell.split), cell.tile, cell.cell_id))
    pieces: dict[Split, list[tuple[Cell, ...]]] = {split: [] for split in SPLITS}
    for (split, _tile), group in itertools.groupby(ordered, key=lambda cell: (cell.split, cell.tile)):
        of_tile = tuple(group)
        pieces[split] += [
            of_tile[start : start + cells_per_shard] for start in range(0, len(of_tile), cells_per_shard)
        ]
    return [
        Unit(shard_name(split, index, len(of_split)), split, piece[0].tile, piece)
        for split, of_split in pieces.items()
        for index, piece in enumerate(of_split)
    ]


def units_text(units: Sequence[Unit]) -> str:
    """Returns the content of `UNITS_FILE`, one unit a line."""
    return "".join(unit.to_json() + "\n" for unit in units)


def json_text(content: Mapping[str, Any]) -> str:
    """Returns the content of a JSON file of the plan; equal content gives equal text."""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


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
