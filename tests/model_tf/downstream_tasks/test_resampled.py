"""Datasets that say other bands, another scale or no places; whole ones are in `pipelines.test_patches`."""

import json
import shutil
from pathlib import Path

import pytest

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.downstream_tasks.resampled import read_resampled


@pytest.fixture
def folder(dataset_folder, tmp_path) -> Path:
    """A dataset that says it is of places; its examples have none."""
    copy = shutil.copytree(dataset_folder, tmp_path / "set")
    change(
        copy,
        lambda described: described["fingerprint"].update(places={"source": "table", "classes": ["a", "b"]}),
    )
    return copy


def change(folder: Path, how) -> None:
    described = json.loads((folder / "dataset.json").read_text())
    how(described)
    (folder / "dataset.json").write_text(json.dumps(described))


def refusal(folder: Path, source: str | None = None) -> str:
    with pytest.raises(InvalidInputError) as refused:
        read_resampled(str(folder), source, 64)
    return str(refused.value)


@pytest.mark.parametrize(
    ("bands", "said"),
    [
        (lambda bands: bands.pop("B8A"), "without B8A"),
        (lambda bands: bands.clear(), "Received: none, without B02, B03"),
        (
            lambda bands: bands["B05"].update(mean=0.25, mean_dn=0.25),
            "bands.B05.mean_dn must be 10,000 times bands.B05.mean, which is reflectance. Received: 0.25 and 0.25",
        ),
        (lambda bands: bands["B05"].update(mean="high"), "bands.B05.mean"),
    ],
)
def test_other_bands_and_another_scale_are_named(bands, said, folder):
    assert "cannot be read" in refusal(folder) or "is damaged" in refusal(folder)  # examples without a place
    change(folder, lambda described: bands(described["bands"]))
    message = refusal(folder)
    assert message.startswith(f"{folder / 'dataset.json'}: ")
    assert said in message


def test_a_dataset_of_other_places_or_of_none_is_named(folder):
    path = folder / "dataset.json"
    assert refusal(folder, "fmow").startswith(f"{path}: fingerprint.places.source must be fmow")
    change(folder, lambda described: described["fingerprint"].update(places=None))
    assert refusal(folder).startswith(f"{path}: fingerprint.places must be there")
    change(folder, lambda described: described.update(schema_version="2.0.0"))
    assert "2.0.0" in refusal(folder)
