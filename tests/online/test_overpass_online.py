import pytest

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.overpass import features_of_chip

pytestmark = pytest.mark.online


def test_the_public_server_knows_vaduz(tmp_path):
    ontology = Ontology.load(DEFAULT_ONTOLOGY.read_text())
    chip = ChipWindow(32632, 538_500, 5_220_060)
    found = features_of_chip(chip, ontology, "https://overpass-api.de/api", tmp_path)
    keys = [key for feature in found.features for key, _ in feature.tags]
    assert keys.count("building") > 500
    assert keys.count("highway") > 100
    assert features_of_chip(chip, ontology, "https://overpass-api.de/api", tmp_path) == found
