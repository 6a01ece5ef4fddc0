import dataclasses
import hashlib
import json
import pickle

import pytest

from beam_pipeline.dataset.fingerprint import Fingerprint, WaterPolygons
from beam_pipeline.dataset.output_folder import check_same_dataset
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.imagery.catalog import CATALOGUE_PROFILE
from beam_pipeline.imagery.catalog_settings import ApiProfile, CatalogSettings
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.imagery.tile_forms import EARTH_SEARCH_V1_FORM
from beam_pipeline.labels.extract import ExtractInfo
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.traffic import Share

STORED = {
    "schema_version": "1.0.0",
    "grid": "opensentinelmap-wgs84-1920m-v1",
    "cells_sha256": "ab",
    "cells_per_shard": 16,
    "seed": 0,
    "years": [2019, 2020],
    "catalogue": "https://example.org/v1",
    "collection": "sentinel-2-l2a",
    "max_scene_cloud": None,
    "filters": {
        "max_bad_fraction": 0.25,
        "bad_scl": [1, 3, 8, 9, 10],
        "max_min_reflectance": 0.2,
        "min_reflectance_percentile": 5.0,
        "allow_nodata": False,
        "checked_decisions": ["no_flag", "not_applied"],
    },
    "allow_single": False,
    "ontology_sha256": "cd",
    "none_labels": True,
    "osm": [{"name": "a.osm.pbf", "bytes": 7, "timestamp": ""}],
}

NEW_FILTERS = ("min_reflectance_percentile", "checked_decisions")
OLDER_FILTERS = {key: value for key, value in STORED["filters"].items() if key not in NEW_FILTERS}
"""As versions wrote them that took the darkest pixel, and checked no offset of a host without a flag."""


def text(**changes) -> str:
    """The file as it lies in a folder."""
    return json.dumps({**STORED, **changes}, indent=1, sort_keys=True) + "\n"


def stored(**changes) -> Fingerprint:
    return Fingerprint.from_json(text(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"max_scene_cloud": 20},
        {"max_scene_cloud": 20.0},
        {"max_scene_cloud": 0.1},
        {"max_scene_cloud": 1e22},
        {"seed": -(2**63)},
        {"filters": {**STORED["filters"], "max_bad_fraction": 0, "max_min_reflectance": 10.0}},
        {"osm": "https://overpass.example.org/api"},
        {"schema_version": "1.7.0", "added": {"later": [1, 1.0, None]}},
        {"filters": {**STORED["filters"], "added": 1.0}},
        {"filters": OLDER_FILTERS},
        {"filters": {**OLDER_FILTERS, "added": 1.0}},
    ],
)
def test_bytes_and_hash_are_those_of_the_file(changes) -> None:
    content = {**STORED, **changes}
    assert stored(**changes).to_json() == text(**changes)
    expected = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert stored(**changes).sha256 == expected


def test_the_hash_of_an_older_build_is_pinned() -> None:
    assert (
        stored(filters=OLDER_FILTERS).sha256
        == "3b640f9e5d1ad6f6c3fa521f8279495c097af0cc586b877f78a5d56b76b339ff"
    )


def test_an_older_fingerprint_filters_as_it_was_filtered() -> None:
    older = stored(filters=OLDER_FILTERS)
    expected = FilterSettings(min_reflectance_percentile=0, checked_decisions=("not_applied",))
    assert older.filters.settings() == expected
    assert older.differences(stored()) == {
        "filters.min_reflectance_percentile": (None, 5.0),
        "filters.checked_decisions": (None, ["no_flag", "not_applied"]),
    }
    with pytest.raises(InvalidInputError, match=r"filters.min_reflectance_percentile: None there, 5.0 now"):
        check_same_dataset(older, stored(), "out")


def test_of_build_gives_what_builds_wrote_before() -> None:
    ontology = DEFAULT_ONTOLOGY.read_text()
    settings = BuildSettings(
        output="out",
        years=(2019, 2020),
        seed=0,
        cells_per_shard=16,
        catalog=CatalogSettings("https://example.org/v1", "sentinel-2-l2a"),
        max_scene_cloud=20.0,
        filters=FilterSettings(),
        allow_single=False,
        api=Share(),
        files=Share(),
        extracts=("b.osm.pbf", "a.osm.pbf"),
        overpass_url="",
        overpass_cache="",
        ontology_json=ontology,
        none_labels=True,
        retry_dead_letters=False,
    )
    extracts = [ExtractInfo("b.osm.pbf", 8, "2023", None), ExtractInfo("a.osm.pbf", 7, "", None)]
    fingerprint = Fingerprint.of_build(settings, "units", "https://example.org/v1", extracts)
    assert fingerprint.to_json() == text(
        schema_version=SCHEMA_VERSION,
        catalogue_profile=CATALOGUE_PROFILE,
        cells_sha256=hashlib.sha256(b"units").hexdigest(),
        max_scene_cloud=20.0,
        ontology_sha256=settings.ontology.sha256,
        osm=[
            {"name": "a.osm.pbf", "bytes": 7, "timestamp": ""},
            {"name": "b.osm.pbf", "bytes": 8, "timestamp": "2023"},
        ],
    )
    # How it is asked decides how many requests that takes, and nothing else.
    profile = ApiProfile("https://example.org/v1/search", "POST", True, True, (EARTH_SEARCH_V1_FORM,))
    catalog = dataclasses.replace(settings.catalog, own_network=True, profile=profile)
    opened = dataclasses.replace(settings, catalog=catalog, files=Share(1.0, 1, 8, by_lane=True))
    assert Fingerprint.of_build(opened, "units", "https://example.org/v1", extracts) == fingerprint
    assert fingerprint.filters.settings() == settings.filters
    assert fingerprint.extract_names == ("a.osm.pbf", "b.osm.pbf")
    asked = dataclasses.replace(settings, extracts=(), overpass_url="https://user:secret@host/api?key=1")
    assert Fingerprint.of_build(asked, "units", "", []).osm == "https://host/api"


def test_the_sea_and_the_date_are_there_where_they_were_given() -> None:
    ontology = DEFAULT_ONTOLOGY.read_text()
    settings = BuildSettings(
        **{"output": "out", "years": (2019,), "seed": 0, "cells_per_shard": 16, "max_scene_cloud": None},
        **{"catalog": CatalogSettings("https://example.org/v1", "c"), "filters": FilterSettings()},
        **{"allow_single": False, "api": Share(), "files": Share(), "extracts": ()},
        **{"overpass_url": "https://host/api", "overpass_cache": "", "ontology_json": ontology},
        **{"none_labels": True, "retry_dead_letters": False},
    )
    plain = Fingerprint.of_build(settings, "units", "", [])
    assert not plain.content.keys() & {"water_polygons", "osm_date"}
    # Where the file lies is nothing to it.
    dated = dataclasses.replace(settings, osm_date="2019-07-01T00:00:00Z", water_polygons="/here/sea.gpkg")
    water = WaterPolygons(name="sea.gpkg", bytes=7, sha256="ef")
    given = Fingerprint.of_build(dated, "units", "", [], water)
    assert given.content["water_polygons"] == {"name": "sea.gpkg", "bytes": 7, "sha256": "ef"}
    assert given.content["osm_date"] == "2019-07-01T00:00:00Z"
    assert "/here" not in given.to_json()
    again = Fingerprint.from_json(given.to_json())
    assert (again, again.sha256) == (given, given.sha256)
    assert again.water_polygons == water
    larger = Fingerprint.of_build(
        dated, "units", "", [], WaterPolygons(name="sea.gpkg", bytes=8, sha256="aa")
    )
    with pytest.raises(
        InvalidInputError, match=r"(?s)water_polygons.bytes: 7 there, 8 now.*'ef' there, 'aa' now"
    ):
        check_same_dataset(given, larger, "out")
    with pytest.raises(InvalidInputError, match=r"osm_date: None there, '2019-07-01T00:00:00Z' now"):
        check_same_dataset(plain, given, "out")
    with pytest.raises(MalformedError, match=r"water_polygons\.bytes"):
        stored(water_polygons={"name": "a", "bytes": "7", "sha256": ""})


def test_it_travels_between_processes() -> None:
    fingerprint = stored(max_scene_cloud=20)
    assert fingerprint.sha256
    again = pickle.loads(pickle.dumps(fingerprint))
    assert (again, again.sha256) == (fingerprint, fingerprint.sha256)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": "0"}, "seed"),
        ({"seed": True}, "seed"),
        ({"years": []}, "years"),
        ({"years": [2019.0]}, "years[0]"),
        ({"cells_per_shard": 0}, "cells_per_shard"),
        ({"filters": {**STORED["filters"], "bad_scl": [256]}}, "filters.bad_scl[0]"),
        ({"filters": {**STORED["filters"], "max_bad_fraction": float("nan")}}, "filters.max_bad_fraction"),
        (
            {"filters": {**STORED["filters"], "min_reflectance_percentile": 101}},
            "filters.min_reflectance_percentile",
        ),
        ({"filters": {**STORED["filters"], "checked_decisions": "no_flag"}}, "filters.checked_decisions"),
        ({"osm": [{"name": "a"}]}, "osm"),
        ({"allow_single": 0}, "allow_single"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(changes, field) -> None:
    with pytest.raises(MalformedError) as caught:
        stored(**changes)
    assert field in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_dataset_is_refused_by_field() -> None:
    check_same_dataset(stored(), stored(), "out")
    with pytest.raises(InvalidInputError, match=r"seed: 0 there, 1 now") as caught:
        check_same_dataset(stored(), stored(seed=1), "out")
    assert "years" not in str(caught.value)


def test_a_dataset_of_an_earlier_catalogue_profile_is_another_one() -> None:
    assert stored().catalogue_profile == 1
    with pytest.raises(InvalidInputError, match=r"catalogue_profile: None there, 2 now"):
        check_same_dataset(stored(), stored(catalogue_profile=2), "out")


def test_a_difference_within_a_group_is_named_alone() -> None:
    other = stored(filters={**STORED["filters"], "max_bad_fraction": 0.9})
    assert stored().differences(other) == {"filters.max_bad_fraction": (0.25, 0.9)}


@pytest.mark.parametrize(("there", "now"), [("1.7.0", "1.1.0"), ("1.0.0", "1.1.0"), ("1.1.1", "1.1.0")])
def test_going_on_with_another_version_names_both(there: str, now: str) -> None:
    said = rf"^out holds a dataset of version {there} of the data format, and this program writes {now}: "
    with pytest.raises(InvalidInputError, match=said):
        check_same_dataset(stored(schema_version=there, added=1), stored(schema_version=now), "out")


@pytest.mark.parametrize("version", ["", "x", "1.x", "1.1.0.0", "-1.0.0", "1.1.0\n", "11111.0.0", "１.0.0"])
def test_a_version_is_three_numbers(version: str) -> None:
    with pytest.raises(MalformedError, match="schema_version: Value error, a version is written like"):
        stored(schema_version=version)
