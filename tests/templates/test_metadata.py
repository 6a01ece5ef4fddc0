"""The parameters in the templates' metadata: by Google's class, and by the flags of our programs."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.cloud.dataflow_v1beta3.types import ParameterType, TemplateMetadata

from beam_pipeline.runtime.faults import InvalidInputError
from tests.templates.test_parameters import LAUNCHER, NEEDED, settle
from tests.test_messages import beams_flags

ROOT = Path(__file__).resolve().parents[2]
ENTRY = {
    "build": "build_dataset",
    "select": "select_cells",
    "extract": "extract_features",
    "patches": "resample_patches",
}
NOT_ON_DATAFLOW = {
    "build": {
        "sample",
        "sample_cells",
        "sample_dir",
        "overpass_url",
        "overpass_cache",
        "osm_date",
        "processes",
        "dry_run",
    },
    "select": {"plot", "dry_run"},
    "extract": {"overpass_url", "overpass_cache", "osm_date", "allow_own_network", "dry_run"},
    "patches": {"eurosat", "fmow", "processes", "dry_run"},
}
EXAMPLES = {
    "area": ["-9.5,38.6,-9.0,38.9", "gs://bucket/alps.geojson"],
    "bad_scl": ["3,8", "9", "none"],
    "cells": ["gs://bucket/spatial_cell_info.csv"],
    "collection": ["sentinel-2-c1-l2a"],
    "expanded_dir": ["gs://bucket/expanded"],
    "land_cover": ["gs://bucket/ESACCI-LC-2020.nc"],
    "near": ["own", "2019-07-01"],
    "night_lights": ["gs://bucket/vnl_*.tif", "gs://bucket/a.tif.gz,gs://bucket/b.tif.gz"],
    "ontology": ["published", "gs://bucket/osm_categories.json"],
    "osm": [
        "gs://bucket/a.osm.pbf,gs://bucket/b.osm.pbf",
        "gs://bucket/osm/*.osm.pbf",
        "gs://bucket/features",
    ],
    "osm_index_dir": ["/tmp", "/mnt/disks/large"],
    "output": ["gs://bucket/set", "gs://bucket/a/b c"],
    "places": ["gs://bucket/places.csv", "gs://bucket/a b.geojson"],
    "public_buckets": ["name=https://host", "a=https://b.c/d,e=https://f"],
    "sas_token_url": ["https://planetarycomputer.microsoft.com/api/sas/v1/token"],
    "sdk_container_image": ["europe-docker.pkg.dev/project/repository/opensentinelmap:0.1.0-1"],
    "stac_url": ["https://earth-search.aws.element84.com/v1", "gs://bucket/items.parquet"],
    "token_file": ["gs://bucket/secrets/token"],
    "token_hosts": ["data.example.org,127.0.0.1:8080"],
    "water_polygons": ["gs://bucket/water-polygons-split-4326.zip"],
    "years": ["2019", "2017-2020", "2017,2019-2021"],
}
GARBAGE = ["", " ", "\n", "maybe", "/home/me/set", "gs:/bucket", "$(id)", "[x]", "?"]
FREE = {"collection", "experiments", "dataflow_service_options", "sdk_container_image", "token_hosts"}
"""Takes words such as some of the garbage."""


def parameters(job: str) -> dict[str, dict[str, Any]]:
    described = json.loads((ROOT / f"templates/{ENTRY[job]}.json").read_text())
    return {parameter["name"]: parameter for parameter in described["parameters"]}


BOTH = pytest.mark.parametrize("job", ENTRY)


@BOTH
def test_google_knows_every_field_and_kind(job: str) -> None:
    text = (ROOT / f"templates/{ENTRY[job]}.json").read_text()
    metadata = TemplateMetadata.from_json(text)
    assert metadata.name
    assert metadata.description
    names = [parameter.name for parameter in metadata.parameters]
    assert len(set(names)) == len(names) > 10
    kinds = {parameter.name: parameter.param_type for parameter in metadata.parameters}
    assert kinds["output"] == ParameterType.GCS_WRITE_FOLDER
    for parameter in metadata.parameters:
        assert parameter.label
        assert parameter.help_text
        assert len(parameter.regexes) == 1
    with pytest.raises(Exception, match="no field named"):
        TemplateMetadata.from_json(text.replace('"helpText"', '"help"', 1))


@BOTH
def test_every_flag_is_a_parameter_but_those_that_dataflow_refuses(job: str) -> None:
    from tests.entries import flags_of

    own = {flag[2:] for flag in flags_of(job) if flag.startswith("--")} - {"help", "version"}
    named = set(parameters(job))
    assert own - named <= NOT_ON_DATAFLOW[job]
    assert not named & NOT_ON_DATAFLOW[job]
    assert {f"--{name}" for name in named - own} <= beams_flags()


@BOTH
def test_a_job_needs_what_the_template_requires(job: str) -> None:
    required = {name for name, one in parameters(job).items() if not one["isOptional"]}
    own = {flag.partition("=")[0][2:] for flag in NEEDED[job]}
    assert required == own | {"sdk_container_image"}
    settle(job, [*NEEDED[job], *LAUNCHER])
    for name in own:
        others = [flag for flag in NEEDED[job] if not flag.startswith(f"--{name}=")]
        with pytest.raises(InvalidInputError, match=f"--{name} is missing"):
            settle(job, [*others, *LAUNCHER])


@BOTH
def test_regexes_take_defaults_and_what_docs_show_and_refuse_garbage(job: str) -> None:
    for name, one in parameters(job).items():
        (pattern,) = one["regexes"]
        examples = EXAMPLES.get(name, [])
        examples += [one["defaultValue"]] if "defaultValue" in one else []
        examples += {"BOOLEAN": ["true", "false"], "NUMBER": ["7"]}.get(one["paramType"], [])
        assert examples or name in FREE, name
        for example in examples:
            assert re.search(pattern, example), f"{name}: {example}"
            assert not re.search(pattern, example + "\n;"), name
        taken = {garbage for garbage in GARBAGE if re.search(pattern, garbage)}
        assert taken <= ({"maybe"} if name in FREE else set()), name


@BOTH
def test_defaults_are_those_of_the_flags(job: str) -> None:
    given = {name: one["defaultValue"] for name, one in parameters(job).items() if "defaultValue" in one}
    from tests.templates.test_parameters import given as parsed

    own = parsed(job)
    defaults = [f"--{name}={value}" for name, value in given.items() if name in own]
    assert len(defaults) >= 2
    assert parsed(job, *defaults) == own


def test_the_files_are_those_that_the_flags_give(tmp_path: Path) -> None:
    """After a new flag: `python .ci/template_metadata`."""
    made = subprocess.run(
        [sys.executable, ROOT / ".ci/template_metadata", tmp_path], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    assert {path.stem for path in (ROOT / "templates").glob("*.json")} == set(ENTRY.values())
    assert {path.stem for path in tmp_path.iterdir()} == set(ENTRY.values())
    for name in ENTRY.values():
        assert (tmp_path / f"{name}.json").read_text() == (ROOT / f"templates/{name}.json").read_text()
