"""The dataset that is exported, and the examples of its shards."""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from beam_pipeline.cells.cell import SPLITS, Split
from beam_pipeline.dataset.folder import ONTOLOGY_FILE, DatasetFolder, plan_json
from beam_pipeline.records.description import (
    DATASET_FILE,
    DatasetDescription,
    Shard,
    parse_description,
    require_map,
)
from beam_pipeline.records.example import CellYear, decode
from beam_pipeline.records.shards import HashedFile, parse_shard
from beam_pipeline.records.stored_example import stored_label
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault

_TILE = re.compile(r"[0-9]{2}[A-Z]{3}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T")


@dataclasses.dataclass(frozen=True)
class SourceExample:
    """An example as it is stored, and decoded.

    Attributes:
        payload: The serialised example.
        cell_year: What it holds.
    """

    payload: bytes
    cell_year: CellYear

    @property
    def label_png(self) -> bytes:
        """The label image as the shard holds it: a PNG of 192 x 192 x 3 uint8."""
        return stored_label(self.payload)


@dataclasses.dataclass(frozen=True)
class SourceDataset:
    """A dataset whose description is sound; whether its shards are is seen when they are read.

    Attributes:
        folder: Its folder.
        splits: Those that are exported, in the order of `SPLITS`.
        description: The part of `dataset.json` that every reader takes, checked.
        content: All of `dataset.json`, unchecked: take nothing for granted.
        ontology: The text of `osm_categories.json`.
    """

    folder: DatasetFolder
    splits: tuple[Split, ...]
    description: DatasetDescription
    content: Mapping[str, Any] = dataclasses.field(repr=False)
    ontology: str = dataclasses.field(repr=False)

    @functools.cached_property
    def shards(self) -> tuple[Shard, ...]:
        """The shards of the splits, by split and number."""
        there = [shard for shard in self.description.shards if shard.split in self.splits]
        return tuple(sorted(there, key=lambda shard: (SPLITS.index(shard.split), shard.index)))

    @property
    def years(self) -> tuple[int, ...]:
        """The years of the images, ascending."""
        return self.description.years

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the names and hashes of all shards: equal data have equal fingerprints."""
        shards = self.description.shards
        return hashlib.sha256("".join(f"{it.name} {it.sha256}\n" for it in shards).encode()).hexdigest()


def open_source(folder: DatasetFolder, splits: tuple[Split, ...]) -> SourceDataset:
    """Reads the description of a dataset.

    Args:
        folder: Its folder.
        splits: Those that are exported.

    Raises:
        InvalidInputError: There is no dataset, it is of another major version, its description is damaged, or the
            splits hold no example.
        Fault: It cannot be read.
    """
    if not folder.exists(DATASET_FILE):
        raise InvalidInputError(
            f"--dataset is no dataset that was built to its end: there is no {folder.at(DATASET_FILE)}. Give the "
            f"folder of one. Received: {folder.path}"
        )
    text = folder.read_bytes(DATASET_FILE)
    path = folder.at(DATASET_FILE)
    description = parse_description(text, path)
    content = json.loads(text)
    names = [shard.name for shard in description.shards]
    if len({*names}) != len(names):
        raise InvalidInputError(
            f"{path}: shards must list each shard once. Copy it again from where it was built"
        )
    require_map(description.grid_name, folder.path)
    if not description.years:
        raise InvalidInputError(f"{path}: years must list the years of the images. Received: nothing")
    ordered = tuple(split for split in SPLITS if split in splits)
    source = SourceDataset(folder, ordered, description, content, _ontology(folder, content["ontology"]))
    if not sum(shard.examples for shard in source.shards):
        raise InvalidInputError(
            f"The dataset has no example of {', '.join(ordered)}: there is nothing to export. Received: {folder.path}"
        )
    return source


def _ontology(folder: DatasetFolder, described: Mapping[str, Any]) -> str:
    """Returns the whole ontology, or, of a dataset without its plan, names and values in the same form."""
    if folder.exists(ONTOLOGY_FILE):
        return folder.read_text(ONTOLOGY_FILE)
    channels = [
        {"name": it["name"], "labels": {name: {"value": value} for name, value in it["labels"].items()}}
        for it in described["channels"]
    ]
    return plan_json({"version": described.get("version"), "channels": channels})


Letter = tuple[int | None, int | None, str, str]
"""(cell id, year, reason, detail) of what cannot be read."""


def read_examples(source: SourceDataset, shard: Shard, letters: list[Letter]) -> Iterator[SourceExample]:
    """Reads the examples of a shard one by one.

    Args:
        source: The dataset.
        shard: One of its shards.
        letters: Takes what cannot be read; the rest is read on.

    Yields:
        The examples that can be read, in order.

    Raises:
        PermanentFault: "not_found".
        TransientFault: The storage failed.
    """
    read, before, damaged = 0, (-1, -1), False
    with source.folder.open(shard.name) as file:
        hashed = HashedFile(file)
        try:
            for payload in parse_shard(hashed, shard.name):
                read += 1
                try:
                    example = SourceExample(payload, decode(payload))
                    before = _require_sound(example.cell_year, shard, before)
                except PermanentFault as fault:
                    detail = f"{shard.name}: record {read - 1}: {fault.detail}"
                    letters.append((None, None, fault.reason, detail))
                    damaged = True
                    continue
                yield example
        except PermanentFault as fault:
            letters.append(
                (None, None, fault.reason, f"{fault.detail}; {shard.examples - read} examples are lost")
            )
            return
    if read != shard.examples:
        detail = f"{shard.name} has {read} examples, and {DATASET_FILE} says {shard.examples}"
        letters.append((None, None, "damaged_source", detail))
    elif hashed.sha256.hexdigest() != shard.sha256 and not damaged:
        detail = f"{shard.name} has another SHA-256 than {DATASET_FILE} says; its examples were exported"
        letters.append((None, None, "damaged_source", detail))


def _require_sound(cell_year: CellYear, shard: Shard, before: tuple[int, int]) -> tuple[int, int]:
    """Checks what formats rely on: names of files are made of an example's texts.

    Returns:
        (cell id, year) of the example, which is behind that of the example before.

    Raises:
        PermanentFault: "corrupt_example".
    """
    cell, place = cell_year.cell, (cell_year.cell.cell_id, cell_year.year)
    wrong = None
    if place <= before:
        wrong = f"{place} (cell, year) does not come behind {before}"
    elif not _TILE.fullmatch(cell.tile):
        wrong = f"{cell.tile!r} is no MGRS tile"
    elif cell.split != shard.split:
        wrong = f"its split is {cell.split}"
    else:
        odd = [image.datetime for image in cell_year.images if not _DATE.match(image.datetime)]
        wrong = f"{odd[0]!r} is no time" if odd else None
    if wrong is not None:
        raise PermanentFault("corrupt_example", wrong)
    return place
