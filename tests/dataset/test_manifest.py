import dataclasses
import json
import random
from importlib import metadata

import numpy as np
import pytest

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.commits import commit_unit, read_summaries, record_failure
from beam_pipeline.dataset.folder import DatasetFolder, description_json
from beam_pipeline.dataset.manifest import dataset_json, dead_letters_jsonl
from beam_pipeline.dataset.notices import citation_cff, licences_md
from beam_pipeline.dataset.outcomes import DeadLetter
from beam_pipeline.dataset.summary import failed_summary, summarise
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.image import BANDS
from beam_pipeline.imagery.scenes import SceneNote
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.labels.feature import Dropped
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.records.shards import shard_name, summary_path
from tests.records.builders import make_assembled, make_cell, make_cell_year, make_fingerprint

ONTOLOGY = {
    "version": 10,
    "sha256": "ab",
    "channels": [
        {"name": "OSM_land_use", "labels": {"wooded": 0, "residential": 2}},
        {"name": "OSM_water_and_roads", "labels": {"water": 12, "road": 13}},
        {"name": "buildings", "labels": {"building": 14}},
    ],
}
TRAINING = [shard_name("training", index, 3) for index in range(3)]
TESTING = shard_name("testing", 0, 1)


def make_unit(name, split, *cell_ids):
    return Unit(name, split, "56HLH", tuple(make_cell(cell_id, split=split) for cell_id in cell_ids))


UNITS = [
    make_unit(TRAINING[0], "training", 1, 2),
    make_unit(TRAINING[1], "training", 3),
    make_unit(TRAINING[2], "training", 4),
    make_unit(TESTING, "testing", 5),
]
LETTER = DeadLetter(TRAINING[1], None, None, "read_chips", "throttled", "503")
CELL_LETTER = DeadLetter(TESTING, 5, 2020, "find_scenes", "throttled", "429")
NOTE = SceneNote("item", "not_found", "404")
DROPPED = Dropped({"incomplete_relation": 3}, {"incomplete_relation": ("relation/5", "relation/8")})
ASSEMBLED = {
    TRAINING[0]: make_assembled(
        UNITS[0],
        2,
        (make_cell_year(1, cell_id=1), make_cell_year(2, cell_id=2, num_images=1)),
        rejections={"one_clear_date": [(1, 2019), (2, 2019)]},
        notes=(NOTE,),
        years_without_items=(2019,),
        scenes_by_year={2019: 0, 2020: 12},
    ),
    TESTING: make_assembled(
        UNITS[3],
        2,
        (make_cell_year(5, cell_id=5, split="testing"),),
        rejections={"one_clear_date": [(5, 2019)]},
        notes=(NOTE,),
        years_without_items=(2019,),
        scenes_by_year={2020: 12, 2019: 3},
        dead_letters=(CELL_LETTER,),
    ),
}
SUMMARIES = [
    summarise(ASSEMBLED[TRAINING[0]]),
    failed_summary(LETTER, "training"),
    summarise(ASSEMBLED[TESTING]),
]


def describe(summaries=SUMMARIES, units=UNITS, dropped=DROPPED):
    return dataset_json(
        fingerprint=make_fingerprint(years=(2019, 2020)),
        units=units,
        ontology=ONTOLOGY,
        totals=Totals.of(summaries),
        dropped_from_extracts={"a.osm.pbf": dropped},
        cells_beyond_extracts=0,
    )


def test_counts():
    dataset = describe()
    assert dataset["splits"]["training"] == {
        "units_planned": 3,
        "units_written": 1,
        "cells_planned": 4,
        "cell_years_planned": 8,
        "cells": 2,
        "cells_unlabeled": 0,
        "cells_coastal": 0,
        "cells_inexact": 0,
        "examples": 2,
        "pairs": 1,
        "singles": 1,
        "images": 3,
        "num_bytes": 0,
        "rejected_cell_years": 2,
        "failed_cell_years": 2,  # of a unit of one cell that has one letter
        "missing_cell_years": 2,
        "dead_letters": 1,
    }
    assert dataset["splits"]["testing"]["images"] == 2
    assert set(dataset["splits"]["validation"].values()) == {0}
    assert dataset["rejections"] == {"one_clear_date": 3}
    assert dataset["unusable_scenes"] == [dataclasses.asdict(NOTE)]
    assert dataset["tile_years_without_items"] == [{"tile": "56HLH", "year": 2019}]
    assert dataset["scenes_per_tile"] == {"56HLH": {"2019": 3, "2020": 12}}
    of_an_older_version = [dataclasses.replace(summary, scenes_by_year=None) for summary in SUMMARIES]
    assert "scenes_per_tile" not in describe(of_an_older_version)
    assert dataset["dead_letters"] == {
        "count": 2,
        "reasons": {"throttled": 2},
        "stages": {"find_scenes": 1, "read_chips": 1},
    }
    assert dataset["dropped_from_extracts"] == {"a.osm.pbf": {"incomplete_relation": 3}}
    assert dataset["dropped_elements"] == {
        "a.osm.pbf": {"incomplete_relation": {"first": ["relation/5", "relation/8"], "beyond": 1}}
    }
    of_an_older_record = describe(dropped=Dropped({"incomplete_relation": 3}))
    assert of_an_older_record["dropped_from_extracts"] == dataset["dropped_from_extracts"]
    assert "dropped_elements" not in of_an_older_record
    assert dataset["failed_units"] == [TRAINING[1]]
    assert dataset["missing_units"] == [TRAINING[2]]
    assert dataset["complete"] is False
    assert [shard["name"] for shard in dataset["shards"]] == [TRAINING[0], TESTING]


def test_band_statistics_are_those_of_the_training_pixels():
    images = [image for example in ASSEMBLED[TRAINING[0]].cell_years for image in example.images]
    bands = describe()["bands"]
    assert tuple(bands) == BANDS
    for band, index in (("B02", 0), ("B08", 3)):
        reflectance = np.concatenate(
            [(image.gsd_10[..., index].astype(float) - 1000) / 10000 for image in images]
        )
        assert bands[band]["mean"] == pytest.approx(reflectance.mean(), rel=1e-12)
        assert bands[band]["variance"] == pytest.approx(reflectance.var(), rel=1e-12)
        assert bands[band]["mean_dn"] == pytest.approx(10000 * reflectance.mean(), rel=1e-12)
        assert bands[band]["pixels"] == 3 * 192 * 192


def test_label_statistics():
    labels = [example.label for name in (TRAINING[0], TESTING) for example in ASSEMBLED[name].cell_years]
    for channel, statistics in enumerate(describe()["labels"]):
        values = np.concatenate([label[..., channel].ravel() for label in labels])
        assert statistics["channel"] == ONTOLOGY["channels"][channel]["name"]
        names = {**ONTOLOGY["channels"][channel]["labels"], "none": 254, "unlabeled": 255}
        assert statistics["pixels"] == {name: (values == value).sum() for name, value in names.items()}
        assert statistics["share"]["known"] == pytest.approx((values < 254).mean())
        assert sum(statistics["share"].values()) == pytest.approx(1)
        by_split = statistics["pixels_by_split"]
        assert {name: sum(by_split[split][name] for split in SPLITS) for name in names} == statistics[
            "pixels"
        ]


def test_the_text_does_not_depend_on_the_order_of_summaries():
    texts = set()
    for seed in range(5):
        shuffled = list(SUMMARIES)
        random.Random(seed).shuffle(shuffled)
        texts.add(description_json(describe(shuffled)) + dead_letters_jsonl(shuffled))
    assert len(texts) == 1


def test_an_empty_dataset_is_described():
    dataset = json.loads(description_json(describe([])))
    assert dataset["missing_units"] == [unit.name for unit in UNITS]
    assert dataset["bands"]["B02"] == {
        "pixels": 0,
        "mean": None,
        "variance": None,
        "mean_dn": None,
        "variance_dn": None,
    }
    assert dataset["labels"][0]["share"] == {"known": None, "none": None, "unlabeled": None}


def test_complete_means_that_nothing_failed():
    units = [UNITS[0]]
    assert describe(SUMMARIES[:1], units)["complete"] is True
    assert describe([], units)["complete"] is False
    assert describe(SUMMARIES[2:], [UNITS[3]])["complete"] is False


def test_licences_and_software():
    dataset = describe()
    assert dataset["licences"]["imagery"] == "Contains modified Copernicus Sentinel data [2019, 2020]"
    assert "ODbL" in dataset["licences"]["labels"]
    assert {"numpy", "rasterio", "gdal", "apache-beam", "python"} <= set(dataset["software"])
    for text in (licences_md([2019, 2020]), citation_cff([2019, 2020], SCHEMA_VERSION)):
        assert "ontains modified Copernicus Sentinel data [2019, 2020]" in text
        assert "OpenStreetMap contributors" in text


def test_a_worker_without_osmnx_describes_the_dataset_too(monkeypatch):
    assert "osmnx" in describe()["software"]
    version = metadata.version

    def without_osmnx(name):
        if name == "osmnx":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_osmnx)
    software = describe()["software"]
    assert "osmnx" not in software
    assert software["numpy"] == version("numpy")


def test_the_citation_is_yaml():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load(citation_cff([2019, 2020], SCHEMA_VERSION))
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "message", "authors"} <= set(citation)


def test_dead_letters_are_lines_of_json():
    lines = dead_letters_jsonl(SUMMARIES).splitlines()
    assert [DeadLetter(**json.loads(line)) for line in lines] == [CELL_LETTER, LETTER]
    assert dead_letters_jsonl(SUMMARIES[:1]) == ""


def test_read_summaries_takes_what_is_committed_or_failed(tmp_path):
    files, output = BeamFiles(), str(tmp_path)
    committed = commit_unit(DatasetFolder(files, output), TRAINING[0], [b"x"], SUMMARIES[0])
    failed = record_failure(DatasetFolder(files, output), LETTER, "")
    # Its attempt was killed between the summary and the commit.
    files.write_text(summary_path(output, TESTING), SUMMARIES[2].to_json())
    assert list(read_summaries(DatasetFolder(files, output), UNITS)) == [committed, failed]
    assert list(read_summaries(DatasetFolder(files, str(tmp_path / "nothing")), UNITS)) == []
