"""The facts that cards and catalogues tell of a dataset, from its `dataset.json`, its cells and its run."""

import collections
import csv
import dataclasses
import datetime
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, NamedTuple, Self

import pydantic
from pydantic import ConfigDict, Field

from beam_pipeline.cells.cell import Split
from beam_pipeline.cells.mgrs_tiles import find_tile
from beam_pipeline.cells.table import CELLS_FILE
from beam_pipeline.dataset.folder import DATASET_FILE, RUN_FILE, DatasetFolder
from beam_pipeline.dataset.run_record import read_run
from beam_pipeline.exchange.source import SourceDataset
from beam_pipeline.records.description import COPY_AGAIN, Ontology
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json

LATITUDE_STEP = 30
"""Degrees of the belts in which cells are counted."""

_SPARSE, _DENSE = 1, 90
"""Per cent of labelled pixels below and from which the paper counts cells. Source: the paper, figure 4."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


_BOUNDS = ("min_lat", "min_lon", "max_lat", "max_lon")


class _Fact(pydantic.BaseModel):
    """The fields that are told; whoever built the dataset need not say all of them."""

    model_config = ConfigDict(frozen=True, extra="ignore")


_Count = Annotated[int, Field(ge=0)]


class SplitFacts(_Fact):
    """Counts of a split."""

    cells: _Count = 0
    examples: _Count = 0
    pairs: _Count = 0
    images: _Count = 0
    cell_years_planned: _Count = 0
    rejected_cell_years: _Count = 0


class Filters(_Fact):
    """The settings by which images are refused."""

    max_bad_fraction: float | None = None
    max_min_reflectance: float | None = None


class MapExtract(_Fact):
    """An OpenStreetMap extract."""

    timestamp: str | None = None


class Published(_Fact):
    """Counts of what an import found in the published files."""

    tiles_in_two_splits: tuple[str, ...] = ()


class Origin(_Fact):
    """The part of the fingerprint that is told: what the dataset is made of."""

    collection: str | None = None
    seed: int | None = None
    filters: Filters = Filters()
    osm: tuple[MapExtract, ...] | str = ()


class LabelFacts(_Fact):
    """Pixels and cells of a channel by name of category; "none" and "unlabeled" among the pixels."""

    channel: str
    pixels: Mapping[str, _Count] = {}
    cells_by_split: Mapping[str, Mapping[str, _Count]] = {}


class LabelledCells(_Fact):
    """Histogram of the labelled share of a cell: cells between each two edges, in per cent."""

    edges_percent: tuple[float, ...] = ()
    cells_by_split: Mapping[str, tuple[_Count, ...]] = {}


class _Description(_Fact):
    schema_version: str
    years: Annotated[tuple[int, ...], Field(min_length=1)]
    complete: bool = False
    splits: Mapping[Split, SplitFacts]
    ontology: Ontology
    fingerprint: Origin = Origin()
    labels: tuple[LabelFacts, ...] = ()
    labelled_cells: LabelledCells = LabelledCells()
    imported: Published | None = None


class Place(NamedTuple):
    """Where a planned cell lies; bounds in degrees."""

    split: str
    tile: str
    epsg: int
    south: float
    west: float
    north: float
    east: float


@dataclasses.dataclass(frozen=True)
class Extent:
    """The places of the planned cells.

    Attributes:
        tiles: Number of MGRS tiles by split.
        box: (south, west, north, east) in degrees; all longitudes where a cell crosses the antimeridian.
        epsg: Codes of the UTM zones, ascending.
        belts: Number of cells by the southern edge, in degrees, of the belt of `LATITUDE_STEP` that they lie in.
    """

    tiles: Mapping[str, int]
    box: tuple[float, float, float, float]
    epsg: tuple[int, ...]
    belts: Mapping[int, int]

    @classmethod
    def of_places(cls, places: Iterable[Place]) -> Self | None:
        """Measures places, of which it keeps none; returns None where there are none."""
        tiles, codes, belts = set[tuple[str, str]](), set[int](), collections.Counter[int]()
        south, west, north, east = math.inf, math.inf, -math.inf, -math.inf
        for place in places:
            tiles.add((place.split, place.tile))
            codes.add(place.epsg)
            belts[int((place.south + place.north) / 2 // LATITUDE_STEP) * LATITUDE_STEP] += 1
            crosses = place.west > place.east
            south, north = min(south, place.south), max(north, place.north)
            west = -180.0 if crosses else min(west, place.west)
            east = 180.0 if crosses else max(east, place.east)
        if not tiles:
            return None
        by_split = collections.Counter(split for split, _ in tiles)
        return cls(by_split, (south, west, north, east), tuple(sorted(codes)), dict(sorted(belts.items())))


@dataclasses.dataclass(frozen=True)
class Facts:
    """Facts that cards tell of a dataset.

    Attributes:
        schema_version: Of the data format.
        years: Of the images, ascending.
        complete: Whether everything that was planned is there.
        splits: Counts of the splits that are told of, in order.
        ontology: What the labels mean.
        origin: What the dataset is made of.
        labels: By channel, over all splits.
        labelled_cells: Histogram, by split.
        extent: Where the cells of these splits lie; None where the dataset has no table of them.
        finished: The day when it was built, e.g. "2026-01-31"; None where it does not say.
        imported: Of a dataset whose images, labels, cells and splits are of published files; None of others.
    """

    schema_version: str
    years: tuple[int, ...]
    complete: bool
    splits: Mapping[Split, SplitFacts]
    ontology: Ontology
    origin: Origin
    labels: tuple[LabelFacts, ...]
    labelled_cells: LabelledCells
    extent: Extent | None
    finished: str | None
    imported: Published | None = None

    @property
    def cells(self) -> int:
        """Number of cells with examples."""
        return sum(split.cells for split in self.splits.values())

    @property
    def examples(self) -> int:
        """Number of examples, each a cell and year."""
        return sum(split.examples for split in self.splits.values())

    @property
    def map_dates(self) -> tuple[str, ...]:
        """The days of which the OpenStreetMap extracts are."""
        given = () if isinstance(self.origin.osm, str) else self.origin.osm
        return tuple(sorted({it.timestamp[:10] for it in given if it.timestamp and _DAY.match(it.timestamp)}))

    @property
    def labelled_shares(self) -> tuple[float, float] | None:
        """Shares of the cells with less than 1 % and with 90 % or more labelled pixels; None where it is not known."""
        edges = self.labelled_cells.edges_percent
        bins = [self.labelled_cells.cells_by_split.get(split, ()) for split in self.splits]
        counts = [sum(column) for column in zip(*bins, strict=False)]
        if not sum(counts) or len(edges) != len(counts) + 1:
            return None
        pairs = list(zip(edges, counts, strict=False))
        sparse = sum(count for edge, count in pairs if edge < _SPARSE)
        dense = sum(count for edge, count in pairs if edge >= _DENSE)
        return sparse / sum(counts), dense / sum(counts)


_DESCRIPTION = pydantic.TypeAdapter(_Description)


def read_facts(source: SourceDataset) -> Facts:
    """Reads the facts of a dataset.

    Args:
        source: The dataset, with the splits that are told of.

    Raises:
        InvalidInputError: `dataset.json` or the table of the cells is damaged.
        Fault: They cannot be read.
    """
    folder = source.folder
    try:
        described = parse_json(_DESCRIPTION, folder.read_bytes(DATASET_FILE))
    except MalformedError as error:
        raise InvalidInputError(f"{folder.at(DATASET_FILE)}: {error}. {COPY_AGAIN}") from error
    return Facts(
        schema_version=described.schema_version,
        years=described.years,
        complete=described.complete,
        splits={split: described.splits.get(split, SplitFacts()) for split in source.splits},
        ontology=described.ontology,
        origin=described.fingerprint,
        labels=described.labels,
        labelled_cells=described.labelled_cells,
        extent=Extent.of_places(place for place in _places(folder) if place.split in source.splits),
        finished=_finished(source),
        imported=described.imported,
    )


def _places(folder: DatasetFolder) -> Iterator[Place]:
    """Reads the table of the cells row by row; its rows may be many. A dataset of others may have none.

    Raises:
        InvalidInputError: It is damaged; names the line.
    """
    if not folder.exists(CELLS_FILE):
        return
    with folder.open(CELLS_FILE) as file:
        rows = csv.DictReader(io.TextIOWrapper(file, "utf-8", newline=""))
        try:
            for row in rows:
                tile = find_tile(row["MGRS_tile"] or "")  # a short row has None
                bounds = [float(row[name]) for name in _BOUNDS]
                if not all(map(math.isfinite, bounds)):
                    raise ValueError(f"bounds must be finite: {bounds}")
                yield Place(row["split"], tile.name, tile.epsg, *bounds)
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise InvalidInputError(
                f"{folder.at(CELLS_FILE)}, line {rows.line_num}: no row of a cell: {error!r}. {COPY_AGAIN}"
            ) from error


def _finished(source: SourceDataset) -> str | None:
    if not source.folder.exists(RUN_FILE):
        return None
    try:
        return datetime.datetime.fromisoformat(read_run(source.folder).finished).date().isoformat()
    except (MalformedError, ValueError):
        return None  # the only file of a dataset on which nothing depends
