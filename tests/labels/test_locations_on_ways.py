"""Extracts whose ways bear the locations of their nodes, as `osmium add-locations-to-ways` writes them."""

from collections.abc import Iterable
from pathlib import Path

import osmium
import pytest

from beam_pipeline.labels.extract import read_features
from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.sample_world import SampleWorld, make_sample_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SampleWorld:
    return make_sample_world(tmp_path_factory.mktemp("world"), 1)


def with_locations(plain: Path, path: Path) -> Path:
    """Writes an extract anew: locations on its ways, and of its nodes those with tags."""
    with osmium.SimpleWriter(osmium.io.File(str(path), "pbf,locations_on_ways=true")) as writer:
        for entity in osmium.FileProcessor(str(plain)).with_locations():
            if not entity.is_node() or len(entity.tags):
                writer.add(entity)
    return path


def features(path: Path) -> tuple[list[Feature], dict[str, int]]:
    parts: Iterable = read_features(path, Ontology.load(DEFAULT_ONTOLOGY.read_text()))
    found, dropped = [], {}
    for part in parts:
        found += part.features
        dropped |= part.dropped.counts
    return found, dropped


def test_locations_on_ways_give_what_nodes_give(world: SampleWorld, tmp_path: Path) -> None:
    plain = features(world.osm_extract)
    there = features(with_locations(world.osm_extract, tmp_path / "located.osm.pbf"))
    assert there == plain
    kinds = {feature.osm_type for feature in plain[0]}
    assert {"way", "relation"} <= kinds
