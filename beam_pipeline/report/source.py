"""The dataset of a report: its description, its plan, and what each unit's summary adds."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pydantic

from beam_pipeline.cells.table import CELLS_FILE
from beam_pipeline.dataset.commits import READS_AT_ONCE
from beam_pipeline.dataset.fingerprint import Filters
from beam_pipeline.dataset.folder import DATASET_FILE, UNITS_FILE, DatasetFolder, summary_name
from beam_pipeline.dataset.run_record import read_run
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.description import COPY_AGAIN, DatasetDescription, parse_description, require_map
from beam_pipeline.report.statistics import Statistics
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError, parse_json
from beam_pipeline.runtime.regular_files import put_files_there


class Provenance(pydantic.BaseModel):
    """The part of `dataset.json` that says where the dataset comes from; a dataset of others may not say it.

    Attributes:
        fingerprint: All that decides the content.
        software: Versions of what made the data, by package.
        licences: What must be said when it is passed on, by what it is of.
        complete: Whether every planned unit is written and nothing failed.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    fingerprint: Mapping[str, Any] = {}
    software: Mapping[str, str] = {}
    licences: Mapping[str, str] = {}
    complete: bool | None = None


class _Selection(pydantic.BaseModel):
    """The part of a selection's description that names whose data chose the cells."""

    credits: tuple[str, ...] = ()


_SELECTION_FILE = CELLS_FILE.replace(".csv", ".json")
_FILTERS = pydantic.TypeAdapter(Filters)
_SELECTION = pydantic.TypeAdapter(_Selection)
_PROVENANCE = pydantic.TypeAdapter(Provenance)


@dataclasses.dataclass(frozen=True)
class ReportSource:
    """A dataset whose description was checked. It pickles, if its folder does.

    Attributes:
        folder: Its folder.
        description: What readers take of `dataset.json`.
        provenance: What else a report says of it.
        credits: Whom the list of cells is owed to; none where it was not selected here.
        relabelled_from: Hash of the fingerprint of the dataset that its images are of; "" where they are its own.
    """

    folder: DatasetFolder
    description: DatasetDescription
    provenance: Provenance
    credits: tuple[str, ...] = ()
    relabelled_from: str = ""

    @property
    def table(self) -> CategoryTable:
        """The categories."""
        return CategoryTable.from_ontology(self.description.ontology)

    @property
    def imported(self) -> bool:
        """Whether images, labels, cells and splits are of published files: nothing was drawn or filtered here."""
        return self.provenance.fingerprint.get("imported") is not None

    @property
    def filters(self) -> FilterSettings | None:
        """Filters that made an image unusable; None where the dataset does not say."""
        try:
            return parse_json(_FILTERS, json.dumps(self.provenance.fingerprint.get("filters"))).settings()
        except MalformedError:
            return None

    def units(self) -> Iterator[Unit]:
        """Reads the plan.

        Raises:
            InvalidInputError: It is missing or damaged.
            Fault: The storage failed.
        """
        if not self.folder.exists(UNITS_FILE):
            raise InvalidInputError(
                f"There is no {self.folder.at(UNITS_FILE)}, which says where the cells lie. "
                f"Received: {self.folder.path}"
            )
        for number, line in enumerate(self.folder.read_bytes(UNITS_FILE).splitlines(), 1):
            try:
                yield Unit.from_json(line)
            except MalformedError as error:
                raise InvalidInputError(
                    f"{self.folder.at(UNITS_FILE)}, line {number}, is no unit: {error}. verify tells what else is "
                    "damaged"
                ) from error

    def counter(self, picks: int) -> "UnitCounter":
        """Returns what counts one unit after the other.

        Args:
            picks: How many examples are shown.
        """
        fingerprint = json.dumps(dict(self.provenance.fingerprint), sort_keys=True)
        return UnitCounter(
            self.folder,
            self.table,
            picks,
            {shard.name: shard.sha256 for shard in self.description.shards},
            hashlib.sha256(fingerprint.encode()).hexdigest() if self.provenance.fingerprint else "",
        )


@dataclasses.dataclass(frozen=True)
class UnitCounter:
    """Counts units. It pickles, if its folder does.

    Attributes:
        folder: The dataset's folder.
        table: The categories.
        picks: How many examples are picked.
        shards: Hashes of the shards that `dataset.json` lists, by name.
        fingerprint: Of the dataset, as summaries name it; "" where it does not say.
    """

    folder: DatasetFolder
    table: CategoryTable
    picks: int
    shards: Mapping[str, str]
    fingerprint: str

    def empty(self) -> Statistics:
        """Returns the statistics of nothing."""
        return Statistics(self.table, self.picks)

    def read(self, unit: Unit) -> UnitSummary | str | None:
        """Reads the summary of a unit.

        Returns:
            The summary; a sentence where it cannot be used; None where there is none.
        """
        try:
            summary = UnitSummary.from_json(self.folder.read_bytes(summary_name(unit.name)))
        except MalformedError as error:
            return f"cannot be read: {error}"
        except Fault as fault:
            return None if fault.reason == "not_found" and unit.name not in self.shards else fault.detail
        return self._problem(unit, summary) or summary

    def add(self, statistics: Statistics, unit: Unit, found: UnitSummary | str | None) -> None:
        """Adds what `read` returned."""
        if found is None:
            statistics.miss(unit)
        elif isinstance(found, str):
            statistics.complain(unit, found)
        else:
            statistics.add(unit, found)

    def _problem(self, unit: Unit, summary: UnitSummary) -> str:
        """Says why a summary is not that of the unit, or not of this dataset; "" where it is."""
        if (summary.name, summary.split) != (unit.name, unit.split):
            return f"is of {summary.name}, {summary.split}"
        if self.fingerprint and summary.fingerprint != self.fingerprint:
            return "is of a unit that was made with other settings"
        if summary.status == "written" and self.shards.get(unit.name) != summary.sha256:
            return f"is of a shard that {DATASET_FILE} does not list"
        cells = [content.cell_id for content in summary.contents or ()]
        if not {*cells} <= {cell.cell_id for cell in unit.cells} or len({*cells}) != len(cells):
            return "has cells that are not planned, or one twice"
        return ""


def count_units(counter: UnitCounter, units: Iterable[Unit], done: Callable[[], None]) -> Statistics:
    """Adds up a dataset in this process.

    Args:
        counter: Of the dataset.
        units: Its plan.
        done: Called after each unit.
    """
    statistics = counter.empty()
    with concurrent.futures.ThreadPoolExecutor(READS_AT_ONCE) as pool:
        # Few at a time: the pool would read on, whatever waits to be counted.
        waiting = iter(units)
        while some := list(itertools.islice(waiting, READS_AT_ONCE)):
            for unit, found in zip(some, pool.map(counter.read, some), strict=True):
                counter.add(statistics, unit, found)
                done()
    return statistics


def open_source(folder: DatasetFolder) -> ReportSource:
    """Reads and checks the description of a dataset.

    Args:
        folder: Its folder.

    Raises:
        InvalidInputError: It is none, is not described yet, is of another major version or of labelled places, or its
            description is damaged.
        Fault: The storage failed.
    """
    try:
        described = folder.exists(DATASET_FILE)
    except Fault:
        raise
    except Exception as error:
        # Beam and each cloud's client have classes of their own, e.g. for a scheme that nobody knows.
        raise InvalidInputError(f"This cannot be looked into: {error}. Received: {folder.path}") from error
    if not described:
        raise InvalidInputError(
            f"There is no {DATASET_FILE}: no build finished there. One that was stopped goes on with the same command. "
            f"Received: {folder.path}"
        )
    for name, kind in folder.irregular().items():
        raise InvalidInputError(f"{folder.at(name)} is {kind}. {put_files_there(kind)}")
    path = folder.at(DATASET_FILE)
    text = folder.read_bytes(DATASET_FILE)
    description = parse_description(text, path)
    require_map(description.grid_name, folder.path)
    try:
        provenance = parse_json(_PROVENANCE, text)
    except MalformedError as error:
        raise InvalidInputError(f"{path}: {error}. {COPY_AGAIN}") from error
    return ReportSource(folder, description, provenance, _credits(folder), _relabelled_from(folder))


def _credits(folder: DatasetFolder) -> tuple[str, ...]:
    """Returns what a selection says of its sources; a damaged one says nothing."""
    with contextlib.suppress(Fault, MalformedError):
        return parse_json(_SELECTION, folder.read_bytes(_SELECTION_FILE)).credits
    return ()


def _relabelled_from(folder: DatasetFolder) -> str:
    with contextlib.suppress(Fault, MalformedError):
        return read_run(folder).relabelled_from or ""
    return ""
