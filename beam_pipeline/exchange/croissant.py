"""`croissant.json`: a dataset told to programs, in Croissant 1.1 with the terms of GeoCroissant 1.0.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html and
https://docs.mlcommons.org/croissant/docs/croissant-geo-spec.html.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beam_pipeline.cells.cell import Split
from beam_pipeline.cells.grid import GRID_DESCRIPTION
from beam_pipeline.dataset.folder import DATASET_FILE, FEATURES_FILE
from beam_pipeline.dataset.notices import ATTRIBUTION, PAPER, copernicus_notice
from beam_pipeline.exchange.dataset_card import TITLE, limits
from beam_pipeline.exchange.facts import Facts
from beam_pipeline.exchange.names import CODECS, NPY, PCODEC, record_glob, tar_glob
from beam_pipeline.exchange.sentinel2 import BANDS as MSI_BANDS
from beam_pipeline.imagery.image import BANDS
from beam_pipeline.records.schema import CELL_FEATURES, FEATURES, GRID_BANDS, NUM_SLOTS, slot_prefix

_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "geocr": "http://mlcommons.org/croissant/geo/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        term: f"cr:{term}"
        for term in (
            *(
                "annotation",
                "arrayShape",
                "citeAs",
                "column",
                "containedIn",
                "equivalentProperty",
                "excludes",
            ),
            *("extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes", "isArray"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "recordSet", "references", "regex"),
            *("readLines", "sdVersion", "separator", "source", "subField", "transform", "unArchive"),
            *("path", "repeated", "replace", "samplingRate"),
        )
    },
}
"""Source: appendix 1 of Croissant 1.1, but for `value`, which is schema.org's here: that of a QuantitativeValue. Its
reference implementation wants https for schema.org, and the last four terms."""

_CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/geo/1.0"]

_LICENCES = [
    "https://opendatacommons.org/licenses/odbl/1-0/",
    "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
]

_SPLIT_URLS: Mapping[Split, str] = {
    "training": "cr:TrainingSplit",
    "validation": "cr:ValidationSplit",
    "testing": "cr:TestSplit",
}

_SPLITS, _CATEGORIES = "splits", "categories"

_ENCODINGS = {
    NPY: "https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html",
    PCODEC: "https://github.com/pcodec/pcodec",
}
"""Formats without a media type have an address instead."""

_TFRECORD = "https://www.tensorflow.org/tutorials/load_data/tfrecord"

_TYPES = {"int64": "sc:Integer", "text": "sc:Text", "float32": "sc:Float"}

_DEGREES = ("min_lon", "max_lon", "min_lat", "max_lat")

Node = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Resources:
    """The files of a dataset, and what can be read of them.

    Attributes:
        distribution: FileObjects and FileSets.
        record_sets: RecordSets of what the files hold.
    """

    distribution: Sequence[Node]
    record_sets: Sequence[Node]


def croissant_json(facts: Facts, resources: Resources) -> str:
    """Returns the content of `croissant.json`.

    Its `url`, where the dataset is to be found, is known to whoever publishes it only.

    Args:
        facts: Of the dataset.
        resources: Its files.
    """
    first, last = facts.years[0], facts.years[-1]
    content: Node = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "name": TITLE,
        "description": f"{facts.examples:,} samples of {facts.cells:,} cells. A sample is a cell and a year: two "
        f"Sentinel-2 L2A images, with one label image from OpenStreetMap. {copernicus_notice(facts.years)}. "
        f"{ATTRIBUTION['labels']}",
        "version": facts.schema_version,
        "license": _LICENCES,
        "creator": [
            {"@type": "Organization", "name": "OpenStreetMap contributors"},
            {"@type": "Organization", "name": "European Union, Copernicus programme"},
        ],
        "citeAs": PAPER,
        "keywords": ["Sentinel-2", "OpenStreetMap", "land use", "semantic segmentation"],
        "isLiveDataset": False,
        "temporalCoverage": f"{first}-01-01/{last}-12-31",
        **({"datePublished": facts.finished} if facts.finished else {}),
        **_geography(facts),
        "geocr:spatialResolution": _quantity(10, "m"),
        "geocr:bandConfiguration": _band_configuration(BANDS),
        "geocr:spectralBandMetadata": [_spectral_band(band) for band in BANDS],
        "geocr:samplingStrategy": _sampling(facts),
        "geocr:spatialBias": " ".join(limits(facts)),
        "distribution": list(resources.distribution),
        "recordSet": [_splits(facts), _categories(facts), *resources.record_sets],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def tfrecord_resources(facts: Facts, sha256: Mapping[str, str]) -> Resources:
    """Describes a dataset as it was built. Croissant cannot say how a TFRecord is read; `features.json` does.

    Args:
        facts: Of the dataset.
        sha256: Of `dataset.json` and `features.json`, by name.
    """
    sets = [
        _file_set(f"{split}-shards", record_glob(split), _TFRECORD, f"Examples of the split {split}.")
        for split, counts in facts.splits.items()
        if counts.examples
    ]
    about = {
        DATASET_FILE: "Counts, statistics and hashes of the shards.",
        FEATURES_FILE: "The features of an example, as TFDS reads them.",
    }
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "description": description,
            "contentUrl": name,
            "encodingFormat": "application/json",
            "sha256": sha256[name],
        }
        for name, description in about.items()
        if name in sha256
    ]
    return Resources([*objects, *sets], [])


def webdataset_resources(facts: Facts, codec: str = NPY) -> Resources:
    """Describes an export as WebDataset: tars, and the files of the samples in them.

    Args:
        facts: Of the dataset.
        codec: How its measurements are stored, one of `names.CODECS`.
    """
    tars = [
        _file_set(f"{split}-tars", tar_glob(split), "application/x-tar", f"Samples of the split {split}.")
        for split, counts in facts.splits.items()
        if counts.examples
    ]
    within = [{"@id": it["@id"]} for it in tars]
    sets: list[Node] = []
    record_sets: list[Node] = []

    def add(name: str, encoding: str, record_set: Node) -> None:
        sets.append({**_file_set(name, f"*.{name}", encoding), "containedIn": within})
        record_sets.append(record_set)

    add("json", "application/json", _metadata_records())
    label = next(spec for spec in CELL_FEATURES if spec.name == "label")
    add("label.png", "image/png", _pixel_records("label.png", label.meaning, "sc:ImageObject", 10))
    for slot in range(NUM_SLOTS):
        for grid, bands in GRID_BANDS.items():
            name, spec = f"image_{slot}.{grid}.{CODECS[codec]}", FEATURES[slot_prefix(slot) + grid]
            metres = int(grid.removeprefix("gsd_"))
            rows, cols, count = spec.shape
            shape = {"isArray": True, "arrayShape": f"{count},{rows},{cols}"}
            more = {**shape, "geocr:bandConfiguration": _band_configuration(bands)}
            add(name, _ENCODINGS[codec], _pixel_records(name, spec.meaning, "cr:UInt16", metres, more))
        name, spec = f"image_{slot}.scl.png", FEATURES[slot_prefix(slot) + "scl"]
        add(name, "image/png", _pixel_records(name, spec.meaning, "sc:ImageObject", 20))
    return Resources([*tars, *sets], record_sets)


def _geography(facts: Facts) -> Node:
    extent = facts.extent
    if extent is None:
        return {}
    box = " ".join(f"{degrees:.6f}" for degrees in extent.box)
    codes = ", ".join(f"EPSG:{code}" for code in extent.epsg)
    return {
        "spatialCoverage": {"@type": "Place", "geo": {"@type": "GeoShape", "box": box}},
        "geocr:coordinateReferenceSystem": codes
        if len(extent.epsg) == 1
        else f"WGS 84 / UTM, the zone that epsg of each sample names: {codes}",
    }


def _sampling(facts: Facts) -> str:
    origin, tiles = facts.origin, facts.extent.tiles if facts.extent else {}
    told = [
        f"Chips of {GRID_DESCRIPTION['cell_size_m']} m on a side"
        + (f", cells of {sum(tiles.values()):,} MGRS tiles. " if tiles else ". ")
        + "Splits are drawn by tile, never by cell. "
        + "For each cell and year two dates are drawn at random, months in turn."
    ]
    if origin.filters.max_bad_fraction is not None:
        told.append(
            f"An image is refused where more than {origin.filters.max_bad_fraction:.0%} of its pixels are unusable."
        )
    if origin.filters.max_min_reflectance is not None:
        told.append("It is refused too where even its dark pixels are bright, which is cloud.")
    if origin.seed is not None:
        told.append(f"All draws are keyed hashes of seed {origin.seed}.")
    return " ".join(told)


def _splits(facts: Facts) -> Node:
    rows = [{f"{_SPLITS}/name": split, f"{_SPLITS}/url": _SPLIT_URLS[split]} for split in facts.splits]
    fields = [_field(_SPLITS, "name", "sc:Text"), _field(_SPLITS, "url", "sc:URL")]
    key = {"@id": f"{_SPLITS}/name"}
    return {**_record_set(_SPLITS, "The splits.", fields), "dataType": "cr:Split", "key": key, "data": rows}


def _categories(facts: Facts) -> Node:
    rows = [
        {
            f"{_CATEGORIES}/name": name,
            f"{_CATEGORIES}/channel": channel.name,
            f"{_CATEGORIES}/channel_index": index,
            f"{_CATEGORIES}/value": value,
        }
        for index, channel in enumerate(facts.ontology.channels)
        for name, value in sorted(channel.labels.items(), key=lambda item: item[1])
    ]
    fields = [
        _field(_CATEGORIES, "name", "sc:Text"),
        _field(_CATEGORIES, "channel", "sc:Text"),
        _field(_CATEGORIES, "channel_index", "sc:Integer"),
        _field(_CATEGORIES, "value", "sc:Integer"),
    ]
    key = {"@id": f"{_CATEGORIES}/name"}
    record_set = _record_set(_CATEGORIES, "What the values of a label's three channels mean.", fields)
    return {**record_set, "dataType": "sc:Enumeration", "key": key, "data": rows}


def _metadata_records() -> Node:
    """Describes the JSON of the samples."""
    fields = []
    for spec in CELL_FEATURES:
        if spec.kind == "png":
            continue
        kind = "sc:Float" if spec.name in _DEGREES else _TYPES[spec.kind]
        source = {"source": {"fileSet": {"@id": "json"}, "extract": {"jsonPath": f"$.{spec.name}"}}}
        references = {"references": {"field": {"@id": f"{_SPLITS}/name"}}} if spec.name == "split" else {}
        fields.append({**_field("metadata", spec.name, kind, spec.meaning), **source, **references})
    return _record_set("metadata", "One record a sample: its cell, year and place.", fields)


def _pixel_records(
    name: str, meaning: str, kind: str, metres: int, more: Mapping[str, Any] | None = None
) -> Node:
    """Describes the files of one kind: one record a sample."""
    file_set = {"fileSet": {"@id": name}}
    record = f"{name}-records"
    key = {
        **_field(record, "sample", "sc:Text", "CELL_YEAR"),
        "source": {
            **file_set,
            "extract": {"fileProperty": "filename"},
            "transform": {"regex": r"^([0-9]+_[0-9]+)\."},
        },
    }
    content = {
        **_field(record, "content", kind, meaning),
        "source": {**file_set, "extract": {"fileProperty": "content"}},
        **(more or {}),
    }
    resolution = {"geocr:spatialResolution": _quantity(metres, "m")}
    return {**_record_set(record, f"The files {name} of the samples.", [key, content]), **resolution}


def _record_set(name: str, description: str, fields: Iterable[Node]) -> Node:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": list(fields),
    }


def _field(record_set: str, name: str, kind: str, description: str = "") -> Node:
    described = {"description": description} if description else {}
    return {"@type": "cr:Field", "@id": f"{record_set}/{name}", "name": name, "dataType": kind, **described}


def _file_set(name: str, includes: str, encoding: str, description: str = "") -> Node:
    described = {"description": description} if description else {}
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "includes": includes,
        "encodingFormat": encoding,
        **described,
    }


def _quantity(value: float, unit: str) -> Node:
    return {"@type": "QuantitativeValue", "value": value, "unitText": unit}


def _band_configuration(bands: Sequence[str]) -> Node:
    names = {"geocr:totalBands": len(bands), "geocr:bandNameList": list(bands)}
    return {"@type": "geocr:BandConfiguration", **names}


def _spectral_band(name: str) -> Node:
    band = MSI_BANDS[name]
    return {
        "@type": "geocr:SpectralBand",
        "name": name,
        "geocr:centerWavelength": _quantity(round(band.center_um * 1000), "nm"),
        "geocr:bandwidth": _quantity(round(band.width_um * 1000), "nm"),
    }
