"""The parts of `dataset.json` and of a unit's summary that readers take, checked once for all of them.

A dataset may be anybody's. What is read here can be trusted: a shard's name leads nowhere else, a label's value fits
the label image, a name can be shown. What readers have no use for is not looked at, so a newer minor version is
readable.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import pydantic
from pydantic import ConfigDict, Field
from pydantic_core import PydanticCustomError

from beam_pipeline.cells.cell import Split
from beam_pipeline.cells.grid import PLACES_GRID_NAME
from beam_pipeline.records.schema import CHANNELS, NONE
from beam_pipeline.records.shards import parse_shard_name, shard_name
from beam_pipeline.records.version import require_readable
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import Files, join
from beam_pipeline.runtime.parsing import MalformedError, parse_json

DATASET_FILE = "dataset.json"

MOST_NAME_CHARS = 100
"""Of a category's or channel's name."""

COPY_AGAIN = "Copy it again from where the dataset was built."
"""The remedy for a description that is damaged."""


class _Read(pydantic.BaseModel):
    """The fields that are read of a JSON object; others are left out."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


def _checked_shard_name(name: str) -> str:
    try:
        parse_shard_name(name)
    except ValueError:
        like = shard_name("training", 3, 12)
        raise PydanticCustomError("shard_name", "A shard is named like {like}", {"like": like}) from None
    return name


def _checked_name(name: str) -> str:
    # Names are shown, drawn and part of file names.
    if not name.isprintable() or len(name) > MOST_NAME_CHARS:
        most = {"most": MOST_NAME_CHARS}
        raise PydanticCustomError("name", "Must be printable, with at most {most} characters", most)
    return name


_Count = Annotated[int, Field(ge=0)]
_Name = Annotated[str, pydantic.AfterValidator(_checked_name)]
_Value = Annotated[int, Field(ge=0, lt=NONE)]


class Shard(_Read):
    """A shard of the dataset.

    Attributes:
        name: Its file name, which `parse_shard_name` reads.
        examples: Examples in it.
        num_bytes: Its size.
        sha256: Of its bytes.
    """

    name: Annotated[str, pydantic.AfterValidator(_checked_shard_name)]
    examples: _Count
    num_bytes: _Count
    sha256: str

    @property
    def split(self) -> Split:
        """The split whose examples it holds."""
        return parse_shard_name(self.name)[0]

    @property
    def index(self) -> int:
        """Its place among the shards of its split."""
        return parse_shard_name(self.name)[1]


class SplitCounts(_Read):
    """Counts of a split.

    Attributes:
        cells: Cells with at least one example.
    """

    cells: _Count


class Splits(_Read):
    """The counts of every split."""

    training: SplitCounts
    validation: SplitCounts
    testing: SplitCounts


class BandMoments(_Read):
    """Mean and variance of a band's reflectance over the training split.

    Attributes:
        mean: None where there are no training examples.
        variance: None where there are no training examples.
    """

    mean: float | None = None
    variance: float | None = None


class LabelChannel(_Read):
    """A channel of the label image.

    Attributes:
        name: E.g. "OSM_land_use".
        labels: The values of its categories, 0 to 253, by name.
    """

    name: _Name
    labels: Mapping[_Name, _Value]

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if len({*self.labels.values()}) != len(self.labels):
            raise PydanticCustomError("labels", "labels must have different values")
        return self


class LabelCounts(_Read):
    """The pixels of the label images that hold each category of a channel; a cell counts once.

    Attributes:
        channel: Its name.
        pixels_by_split: By split: pixels by name of category, and of "none" and "unlabeled".
    """

    channel: _Name
    pixels_by_split: Mapping[str, Mapping[str, _Count]] = {}


class Ontology(_Read):
    """The meaning of the values of the label image.

    Attributes:
        channels: The channels, in order.
    """

    channels: Annotated[tuple[LabelChannel, ...], Field(min_length=CHANNELS, max_length=CHANNELS)]

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        names = [name for channel in self.channels for name in channel.labels]
        if not names or len({*names}) != len(names):
            raise PydanticCustomError("names", "channels must hold categories, of different names")
        return self


class Grid(_Read):
    """The cells of the dataset.

    Attributes:
        name: Of the grid that cell ids are of.
    """

    name: str


class DatasetDescription(_Read):
    """The part of `dataset.json` that readers need.

    Attributes:
        schema_version: E.g. "1.1.0"; `version.Version` says what its parts mean.
        shards: Every shard.
        splits: Counts by split.
        ontology: What the labels mean.
        bands: Moments by band name, e.g. "B02".
        labels: What the labels of each channel hold; a dataset that was not built here may not say.
        years: The years that were asked for.
        grid: Its cells; a dataset that was not built here may not say.
    """

    schema_version: str
    shards: tuple[Shard, ...]
    splits: Splits
    ontology: Ontology
    bands: Mapping[str, BandMoments]
    labels: tuple[LabelCounts, ...] = ()
    years: tuple[int, ...] = ()
    grid: Grid | None = None

    @property
    def grid_name(self) -> str | None:
        """The name of the grid; None where the dataset does not say."""
        return None if self.grid is None else self.grid.name


class UnitCounts(_Read):
    """The part of a unit's summary that readers need; it lies beside its shard.

    Attributes:
        cells_with_examples: Cells of which at least one year is in the shard.
    """

    cells_with_examples: _Count


class _Versioned(_Read):
    schema_version: str


_VERSIONED = pydantic.TypeAdapter(_Versioned)
_DESCRIPTION = pydantic.TypeAdapter(DatasetDescription)
_COUNTS = pydantic.TypeAdapter(UnitCounts)


def read_description(files: Files, folder: str) -> DatasetDescription:
    """Reads and checks the description of a dataset.

    Args:
        files: The file system.
        folder: The dataset's folder.

    Raises:
        InvalidInputError: As of `parse_description`.
        Fault: It cannot be read.
    """
    path = join(folder, DATASET_FILE)
    return parse_description(files.read_bytes(path), path)


def parse_description(text: str | bytes, path: str) -> DatasetDescription:
    """Parses and checks the content of `dataset.json`.

    Args:
        text: The content, JSON in UTF-8.
        path: Where it is from, for messages.

    Raises:
        InvalidInputError: It is no JSON, it has another major version than this reader, or a field that is read is
            missing or not what it must be.
    """
    # Another major version may differ in everything else, and its version is what to tell people.
    require_readable(_parse(_VERSIONED, text, path).schema_version, path)
    description: DatasetDescription = _parse(_DESCRIPTION, text, path)
    return description


def require_map(grid: str | None, folder: str) -> None:
    """Checks that a dataset's labels are of a map: those of labelled places are 255 throughout.

    Args:
        grid: The name of its grid; None where it does not say.
        folder: Its folder.

    Raises:
        InvalidInputError: It is one of labelled places.
    """
    if grid == PLACES_GRID_NAME:
        raise InvalidInputError(
            "A dataset with labels of a map is needed, and this is one of labelled places, which have a class each: "
            f"`opensentinelmap downstream` takes it. Received: {folder}"
        )


def parse_unit_counts(text: str | bytes, path: str) -> UnitCounts:
    """Parses the content of a unit's summary.

    Args:
        text: The content, JSON in UTF-8.
        path: Where it is from, for messages.

    Raises:
        InvalidInputError: It is no JSON, or a field that is read is missing or not what it must be.
    """
    counts: UnitCounts = _parse(_COUNTS, text, path)
    return counts


def _parse(adapter: pydantic.TypeAdapter[Any], text: str | bytes, path: str) -> Any:
    try:
        return parse_json(adapter, text)
    except MalformedError as error:
        raise InvalidInputError(f"{path}: {error}. {COPY_AGAIN}") from error
