"""The fingerprint of a dataset: everything that decides its content, free of paths and times of a machine."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any

import pydantic
from pydantic import Field

from beam_pipeline.cells.grid import GRID_NAME, PLACES_GRID_NAME, PUBLISHED_GRID_NAME
from beam_pipeline.dataset.folder import plan_json
from beam_pipeline.dataset.settings import BuildSettings, LabelSettings
from beam_pipeline.imagery.catalog import CATALOGUE_PROFILE
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.labels.extract import ExtractInfo
from beam_pipeline.places.place_list import PlacesSource
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.records.version import Version
from beam_pipeline.runtime.foreign_text import without_secrets
from beam_pipeline.runtime.parsing import parse_json

Number = int | float
"""A number as it was given: 20 stays 20 and 20.0 stays 20.0, because the bytes of the fingerprint count."""


def _checked_version(text: str) -> str:
    Version.parse(text)
    return text


SclClass = Annotated[int, Field(ge=0, le=255)]


class _Stored(pydantic.BaseModel):
    # Fields that a later 1.x adds are kept as they are.
    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)


class Filters(_Stored):
    """The filters as the fingerprint holds them; see `imagery.chips.FilterSettings`.

    A fingerprint that lacks one with a default is of a version that did so.
    """

    max_bad_fraction: Number
    bad_scl: tuple[SclClass, ...]
    max_min_reflectance: Number
    min_reflectance_percentile: Annotated[Number, Field(ge=0, le=100)] = 0
    allow_nodata: bool
    checked_decisions: tuple[str, ...] = ("not_applied",)

    def settings(self) -> FilterSettings:
        """Returns them as those who filter take them."""
        return FilterSettings(
            max_bad_fraction=self.max_bad_fraction,
            bad_scl=self.bad_scl,
            max_min_reflectance=self.max_min_reflectance,
            min_reflectance_percentile=self.min_reflectance_percentile,
            allow_nodata=self.allow_nodata,
            checked_decisions=self.checked_decisions,
        )


class Extract(_Stored):
    """An extract, told apart by what it says of itself and not by where it lies.

    Attributes:
        name: File name.
        bytes: Its size.
        timestamp: Of the data, ISO 8601 in UTC, from the header; "" where it gives none.
    """

    name: str
    bytes: int
    timestamp: str

    @classmethod
    def of_info(cls, info: ExtractInfo) -> "Extract":
        """Returns what counts of what an extract's header says."""
        return cls(name=info.name, bytes=info.size, timestamp=info.timestamp)


class WaterPolygons(_Stored):
    """Water polygons, told apart by their file and by what was cut of it.

    Attributes:
        name: File name.
        bytes: Its size.
        sha256: SHA-256 of the plan's sea, in hexadecimal.
    """

    name: str
    bytes: int
    sha256: str


class Places(_Stored):
    """The labelled places of a dataset of patches; they themselves are in the plan.

    Attributes:
        source: The kind of the list that they are of.
        classes: All names of classes, sorted.
        nearest: Whether each got the clear date nearest to its own; else a random one.
        left_out: Places of the list that are not planned, by reason.
    """

    source: PlacesSource
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    nearest: bool
    left_out: dict[str, Annotated[int, Field(ge=1)]]


class Imported(_Stored):
    """Published files that a dataset was made of, told apart by what they say and not by where they lie.

    Attributes:
        cells_csv_sha256: SHA-256 of the table of cells, in hexadecimal.
        images: Number of images of the cells that are planned.
        images_sha256: SHA-256 of their names.
    """

    cells_csv_sha256: str
    images: int
    images_sha256: str


class Fingerprint(_Stored):
    """All that decides the content of a dataset. Two builds of one fingerprint give the same bytes.

    Attributes:
        schema_version: `records.schema.SCHEMA_VERSION` of the program that began the dataset.
        grid: The name of the grid that cell ids are of.
        cells_sha256: SHA-256 of the plan's units, in hexadecimal.
        cells_per_shard: The most cells of a unit.
        seed: Of everything that is drawn.
        years: The years, ascending.
        catalogue: The identity of the STAC catalogue.
        collection: Its collection.
        max_scene_cloud: Scenes of more `eo:cloud_cover` (percent) are dropped; None keeps all.
        filters: What makes a chip unusable.
        allow_single: Whether a cell-year with one clear date is kept.
        ontology_sha256: SHA-256 of the ontology, in hexadecimal.
        none_labels: Whether 254 is written.
        osm: The extracts, sorted by name, or the URL of the Overpass API.
        catalogue_profile: `imagery.catalog.CATALOGUE_PROFILE`, 1 where a fingerprint does not say it. How an API is
            asked, `ApiProfile`, is no part of it: it decides the number of requests and not what is found.
        water_polygons: Where the sea is; None where it is not known.
        osm_date: As of when Overpass was asked, "2019-07-01T00:00:00Z"; "" for the time of asking.
        places: Of a dataset of patches: the labelled places. Its cells are these, and it has no map.
        imported: The published files that images and labels are of; None of what was built here.
    """

    schema_version: Annotated[str, pydantic.AfterValidator(_checked_version)]
    grid: str
    cells_sha256: str
    cells_per_shard: Annotated[int, Field(ge=1)]
    seed: int
    years: Annotated[tuple[int, ...], Field(min_length=1)]
    catalogue: str
    collection: str
    max_scene_cloud: Number | None
    filters: Filters
    allow_single: bool
    ontology_sha256: str
    none_labels: bool
    osm: tuple[Extract, ...] | str
    catalogue_profile: int = 1
    water_polygons: WaterPolygons | None = None
    osm_date: str = ""
    places: Places | None = None
    imported: Imported | None = None

    @classmethod
    def of_import(
        cls, settings: LabelSettings, units_text: str, cells_per_shard: int, imported: Imported
    ) -> "Fingerprint":
        """Returns the fingerprint of what is about to be imported.

        Args:
            settings: The settings.
            units_text: The plan's content.
            cells_per_shard: The most cells of a unit.
            imported: The published files.
        """
        return cls(
            schema_version=SCHEMA_VERSION,
            grid=PUBLISHED_GRID_NAME,
            cells_sha256=cells_sha256(units_text),
            cells_per_shard=cells_per_shard,
            seed=0,
            years=settings.years,
            catalogue=_PUBLISHED,
            collection=_PUBLISHED,
            max_scene_cloud=None,
            filters=Filters(**dataclasses.asdict(IMPORT_FILTERS)),
            allow_single=True,
            ontology_sha256=settings.ontology.sha256,
            none_labels=settings.none_labels,
            osm=_PUBLISHED,
            imported=imported,
        )

    @classmethod
    def of_build(
        cls,
        settings: BuildSettings,
        units_text: str,
        catalogue: str,
        extracts: Sequence[ExtractInfo],
        water_polygons: WaterPolygons | None = None,
        places: Places | None = None,
    ) -> "Fingerprint":
        """Returns the fingerprint of what is about to be built.

        Args:
            settings: The settings.
            units_text: The plan's content.
            catalogue: The catalogue's identity.
            extracts: What the extracts' headers say, in any order: what is in several of them is told apart by
                itself. None with Overpass.
            water_polygons: Those that were given, or None.
            places: The labelled places of a dataset of patches, or None.
        """
        given: dict[str, Any] = (
            {} if places is None else {"places": places}
        )  # not there as long as nobody knew of it
        return cls(
            schema_version=SCHEMA_VERSION,
            grid=GRID_NAME if places is None else PLACES_GRID_NAME,
            cells_sha256=cells_sha256(units_text),
            cells_per_shard=settings.cells_per_shard,
            seed=settings.seed,
            years=settings.years,
            catalogue=catalogue,
            collection=settings.catalog.collection,
            max_scene_cloud=settings.max_scene_cloud,
            filters=Filters(**dataclasses.asdict(settings.filters)),
            allow_single=settings.allow_single,
            catalogue_profile=CATALOGUE_PROFILE,
            **_of_labels(settings, extracts, water_polygons),
            **given,
        )

    def relabelled(
        self, settings: LabelSettings, extracts: Sequence[ExtractInfo], water_polygons: WaterPolygons | None
    ) -> "Fingerprint":
        """Returns the fingerprint of a dataset of the same images with other labels, in the format of now.

        Args:
            settings: How the labels are made.
            extracts: As for `of_build`.
            water_polygons: As for `of_build`.
        """
        of_images = self.model_fields_set - {"schema_version", *_LABEL_FIELDS}
        return Fingerprint(
            schema_version=SCHEMA_VERSION,
            **{name: getattr(self, name) for name in of_images},
            **_of_labels(settings, extracts, water_polygons),
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> "Fingerprint":
        """Reads what `to_json` wrote, also of another 1.x.

        Raises:
            MalformedError: It is no fingerprint; the message names the field.
        """
        return parse_json(_ADAPTER, text)

    def to_json(self) -> str:
        """Returns the text of `plan/fingerprint.json`; equal fingerprints give equal text."""
        return plan_json(self.content)

    @property
    def content(self) -> dict[str, Any]:
        """The fingerprint as plain JSON values; what an older one does not have is left out, as its hash is of that."""
        content: dict[str, Any] = self.model_dump(mode="json", exclude_unset=True)
        return content

    @property
    def version(self) -> Version:
        """The version of the data format."""
        return Version.parse(self.schema_version)

    @property
    def sha256(self) -> str:
        """SHA-256 in hexadecimal, by which each summary names the dataset that it is of."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()

    @property
    def extract_names(self) -> tuple[str, ...]:
        """The file names of the extracts; none with Overpass."""
        return () if isinstance(self.osm, str) else tuple(extract.name for extract in self.osm)

    def differences(self, other: "Fingerprint") -> dict[str, tuple[Any, Any]]:
        """Returns each field that differs with its value here and in `other`, e.g. "filters.max_bad_fraction"."""
        here, there = _by_field(self.content), _by_field(other.content)
        return {
            key: (here.get(key), there.get(key))
            for key in sorted({*here, *there})
            if here.get(key) != there.get(key)
        }


_ADAPTER = pydantic.TypeAdapter(Fingerprint)

_PUBLISHED = "published files"
"""Stands in the fields of an import that name the source of a build."""

IMPORT_FILTERS = FilterSettings(
    max_bad_fraction=1, bad_scl=(8, 9), max_min_reflectance=10, allow_nodata=True, checked_decisions=()
)
"""An import leaves out only what holds no data at all: the published images were chosen already."""

_LABEL_FIELDS = ("ontology_sha256", "none_labels", "osm", "water_polygons", "osm_date")


def _of_labels(
    settings: LabelSettings, extracts: Sequence[ExtractInfo], water_polygons: WaterPolygons | None
) -> dict[str, Any]:
    """Returns the fields that decide the labels."""
    # What was not given is not there, as in the fingerprints of versions that did not know it.
    given: dict[str, Any] = {"water_polygons": water_polygons} if water_polygons else {}
    given |= {"osm_date": settings.osm_date} if settings.osm_date else {}
    by_name = sorted(extracts, key=lambda info: info.name)
    return {
        "ontology_sha256": settings.ontology.sha256,
        "none_labels": settings.none_labels,
        "osm": tuple(map(Extract.of_info, by_name)) or without_secrets(settings.overpass_url),
        **given,
    }


def cells_sha256(units_text: str) -> str:
    """Returns what the fingerprint holds of the plan's units."""
    return hashlib.sha256(units_text.encode()).hexdigest()


def _by_field(content: dict[str, Any]) -> dict[str, Any]:
    """Names the fields of what is a group of them."""
    fields: dict[str, Any] = {}
    for key, value in content.items():
        of_group = value if isinstance(value, dict) else None
        fields |= {key: value} if of_group is None else {f"{key}.{name}": it for name, it in of_group.items()}
    return fields
