"""The table that ends a build: written, rejected and lost."""

import statistics
from collections.abc import Mapping

import pydantic

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.folder import DATASET_FILE, DEAD_LETTERS_FILE, DatasetFolder
from beam_pipeline.dataset.run_record import read_run
from beam_pipeline.imagery.scenes import SceneNote
from beam_pipeline.runtime.foreign_text import shown
from beam_pipeline.runtime.parsing import parse_json

_COLUMNS = (
    *("units_written", "cells", "images", "dead_letters"),
    # The first is what the others add up to.
    *("cell_years_planned", "examples", "rejected_cell_years", "failed_cell_years", "missing_cell_years"),
)
_MOST_LINES = 10

_FEW = 3
"""A tile-year has a gap where it has this many times fewer scenes than the median: where orbits overlap, tiles are seen
twice as often as elsewhere, and near the poles oftener."""

_OTHER_FILE = {"doubled_extract", "truncated_extract", "unsorted_extract"}
"""Reasons of dead letters that only an extract of another size or name mends."""

_DAMAGED_FILE = "corrupt_extract"
"""One that an extract of the same size and name may mend: a download that was not ended may have its full length."""


_OF_RELABELLED = (
    "those of images are the relabelled dataset's: give the command again that built it, with",
    "--retry_dead_letters. Then the same command as now, with this flag too, does their shards again",
)
"""The advice on dead letters of a dataset that was relabelled, not built."""


class _TileYear(pydantic.BaseModel):
    tile: str
    year: int


class _DeadLetters(pydantic.BaseModel):
    count: int
    reasons: dict[str, int]


class _Places(pydantic.BaseModel):
    left_out: dict[str, int]


class _Imported(pydantic.BaseModel):
    rows: int
    rows_refused: dict[str, int]
    first_refused: list[str]
    rows_without_label: int
    tiles_in_two_splits: list[str]
    labels_without_row: int
    image_folders_without_row: int
    image_folders_without_label: int
    files_elsewhere: int
    first_elsewhere: list[str]


class _Fingerprint(pydantic.BaseModel):
    water_polygons: object = None
    places: _Places | None = None


class _Description(pydantic.BaseModel):
    """The part of `dataset.json` that is shown."""

    complete: bool
    fingerprint: _Fingerprint
    splits: dict[str, dict[str, int]]
    rejections: dict[str, int]
    scene_rejections: dict[str, int]
    dropped_geometries: dict[str, int]
    dropped_from_extracts: dict[str, dict[str, int]]
    cells_beyond_extracts: int | None
    unusable_scenes: list[SceneNote]
    tile_years_without_items: list[_TileYear]
    scenes_per_tile: dict[str, dict[int, int]] = {}
    dead_letters: _DeadLetters
    failed_units: list[str]
    missing_units: list[str]
    imported: _Imported | None = None


_DESCRIPTION = pydantic.TypeAdapter(_Description)


def closing_table(folder: DatasetFolder) -> tuple[str, bool]:
    """Says what was written, what was rejected and what failed.

    Args:
        folder: The dataset's folder.

    Returns:
        The table, and whether the dataset is complete, every cell-year written or rejected, and not empty.
    """
    dataset = parse_json(_DESCRIPTION, folder.read_bytes(DATASET_FILE))
    run = read_run(folder)
    splits = dataset.splits
    rows: list[tuple[str, ...]] = [("", *_COLUMNS)]
    rows += [(split, *(str(splits[split][column]) for column in _COLUMNS)) for split in SPLITS]
    rows.append(("total", *(str(sum(splits[split][column] for split in SPLITS)) for column in _COLUMNS)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in ((_heading(name) for name in row) for row in rows)
    ]
    lines += _scenes_by_year(dataset.scenes_per_tile)
    lines += _reasons("rejected cell-years", dataset.rejections)
    lines += _reasons("scenes passed over, a chip each", dataset.scene_rejections)
    lines += _reasons("requests tried again", run.retried)
    lines += _reasons("OSM geometries dropped", dataset.dropped_geometries)
    for name, dropped in sorted(dataset.dropped_from_extracts.items()):
        lines += _reasons(f"left out of {name}", dropped)
    if dataset.cells_beyond_extracts:
        lines.append(f"CELLS BEYOND THE BOUNDS OF ALL EXTRACTS: {dataset.cells_beyond_extracts}")
    if dataset.imported is not None:
        lines += _left_out(dataset.imported)
    elif dataset.fingerprint.places is not None:
        lines += _patches(splits, dataset.fingerprint.places)
    else:
        lines += _unmapped(splits, sea_known=dataset.fingerprint.water_polygons is not None)
    lines += _some(
        "SCENES UNUSABLE FOR GOOD",
        [f"{note.item_id}: {note.reason}: {note.detail}" for note in dataset.unusable_scenes],
    )
    lines += _some(
        "TILE-YEARS WITHOUT ANY ITEM",
        [f"{missing.tile} {missing.year}" for missing in dataset.tile_years_without_items],
    )
    if dataset.dead_letters.count:
        lines += _reasons("DEAD LETTERS", dataset.dead_letters.reasons)
        lines.append(f"  each with its reason: {folder.at(DEAD_LETTERS_FILE)}")
        advice = _advice(set(dataset.dead_letters.reasons)) if run.relabelled_from is None else _OF_RELABELLED
        lines += [f"  {line}" for line in advice]
    lines += _some("UNITS WITHOUT A SHARD", [*dataset.failed_units, *dataset.missing_units])
    empty = not any(splits[split]["examples"] for split in SPLITS)
    lines += ["NO EXAMPLE WAS WRITTEN"] if empty else []
    lines.append(f"{'complete' if dataset.complete else 'NOT COMPLETE'}: {folder.at(DATASET_FILE)}")
    return "\n".join(lines), dataset.complete and not empty


def _patches(splits: Mapping[str, Mapping[str, int]], places: _Places) -> list[str]:
    """Says how many places have a patch."""
    planned, written = (
        sum(splits[split][column] for split in SPLITS) for column in ("cells_planned", "cells")
    )
    lines = [f"places: {planned}, with a patch {written}, without {planned - written}"]
    return lines + _reasons("places of the list that were left out", places.left_out)


def _left_out(imported: _Imported) -> list[str]:
    """Says what an import found in the published folders and did not take."""
    lines = [f"lines of the table: {imported.rows}, without a label image: {imported.rows_without_label}"]
    lines += _reasons("LINES THAT CANNOT BE USED", imported.rows_refused)
    lines += [f"  {shown(line)}" for line in imported.first_refused]
    elsewhere = {
        name: count
        for name, count in (
            ("label images of no line", imported.labels_without_row),
            ("folders of images of no line", imported.image_folders_without_row),
            ("folders of images without a label image", imported.image_folders_without_label),
            ("other files", imported.files_elsewhere),
        )
        if count
    }
    lines += _reasons("not taken", elsewhere)
    lines += [f"  {shown(name)}" for name in imported.first_elsewhere]
    return lines + _some("TILES IN TWO SPLITS, KEPT SO", imported.tiles_in_two_splits)


def _unmapped(splits: Mapping[str, Mapping[str, int]], *, sea_known: bool) -> list[str]:
    """Says how many cells lack labels for want of a map, and what would mend it."""
    unlabeled = sum(splits[split]["cells_unlabeled"] for split in SPLITS)
    coastal = sum(splits[split].get("cells_coastal", 0) for split in SPLITS)
    lines = []
    if coastal and not sea_known:
        lines.append(
            f"CELLS AT A COAST WITH THE SEA UNLABELLED: {coastal}. --water_polygons says where it is"
        )
    if unlabeled:
        sea = "" if sea_known else ", or is it sea, which --water_polygons says?"
        lines.append(f"CELLS IN WHICH NOTHING IS MAPPED: {unlabeled}. Do the extracts hold them{sea or '?'}")
    return lines


def _scenes_by_year(scenes_per_tile: Mapping[str, Mapping[int, int]]) -> list[str]:
    """Says how many scenes the tiles have, a line a year, and which have far fewer than the others: a gap."""
    lines, few = [], []
    for year in sorted({year for of_tile in scenes_per_tile.values() for year in of_tile}):
        counts = {tile: of_tile[year] for tile, of_tile in scenes_per_tile.items() if year in of_tile}
        usual = statistics.median(counts.values())
        spread = f"{min(counts.values())} to {max(counts.values())}, median {usual:g}"
        lines.append(f"usable scenes of {year}: {spread}, in {len(counts)} tiles")
        gaps = sorted((count, tile) for tile, count in counts.items() if count * _FEW < usual)
        few += [f"{tile} {year}: {count}" for count, tile in gaps]
    return lines + _some("TILE-YEARS OF LESS THAN A THIRD OF THE YEAR'S MEDIAN", few)


def _advice(reasons: set[str]) -> list[str]:
    """Says what to do about dead letters."""
    advice = []
    if reasons - _OTHER_FILE:
        advice.append("the same command with --retry_dead_letters does their shards again")
    of_extracts = sorted(reasons & {*_OTHER_FILE, _DAMAGED_FILE})
    if of_extracts:
        advice += [
            f"{', '.join(of_extracts)}: mend the extract as its dead letter says. A file of another name, size or",
            "timestamp makes another dataset: give another --output with it",
        ]
    return advice


def _heading(column: str) -> str:
    return column.removesuffix("_cell_years").replace("_", " ")


def _reasons(title: str, counts: Mapping[str, int]) -> list[str]:
    if not counts:
        return []
    largest_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{title}: " + ", ".join(f"{reason} {count}" for reason, count in largest_first)]


def _some(title: str, entries: list[str]) -> list[str]:
    if not entries:
        return []
    more = [f"  and {len(entries) - _MOST_LINES} more"] if len(entries) > _MOST_LINES else []
    return [f"{title}: {len(entries)}", *(f"  {shown(entry)}" for entry in entries[:_MOST_LINES]), *more]
