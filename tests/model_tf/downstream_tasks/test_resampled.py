"""Datasets that say other bands, another scale or no places; whole ones are in `pipelines.test_patches`."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyproj
import pytest

from beam_pipeline.cells.cell import ChipWindow, Place
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.downstream_tasks.resampled import read_resampled
from tests.model_tf.made_dataset import made_cell_years, write_dataset


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


NORTH, SOUTH = ChipWindow(32633, 300_000, 5_000_040), ChipWindow(32760, 812_340, 4_999_980)


def write_places(folder: Path, places: list[tuple[ChipWindow, tuple[float, float]]]) -> str:
    """Writes a dataset of chips with places at points in degrees."""
    (made,) = made_cell_years([1], [2021])
    cell_years = []
    for index, (chip, point) in enumerate(places):
        place = Place(f"p{index}", "ab"[index % 2], *point)
        cell = dataclasses.replace(made.cell, cell_id=index, chip=chip, place=place)
        cell_years.append(dataclasses.replace(made, cell=cell, images=made.images[:1]))
    written = Path(write_dataset(folder, {"training": [cell_years]}))
    of_places = {"source": "table", "classes": ["a", "b"]}
    change(written, lambda described: described["fingerprint"].update(places=of_places))
    return str(written)


def point_of(chip: ChipWindow, east: float, north: float) -> tuple[float, float]:
    """Longitude and latitude of a point so many metres from the middle of a chip."""
    to_degrees = pyproj.Transformer.from_crs(chip.epsg, 4326, always_xy=True)
    return to_degrees.transform(chip.left + 960 + east, chip.bottom + 960 + north)


@pytest.mark.parametrize("chip", [NORTH, SOUTH])
def test_a_patch_lies_around_the_pixels_corner_next_to_its_place(chip, tmp_path):
    """In the south beyond the antimeridian too; as far as a chip lies from its place."""
    metres = [(0, 0), (30, -30), (-29.9, 29.9), (4.9, -5.1), (-12, 17), (25.1, 3), (-5.1, 24.9), (9, -21)]
    folder = write_places(tmp_path / "set", [(chip, point_of(chip, *it)) for it in metres])
    patches = read_resampled(folder, "table", 64)
    assert [it.name for it in patches.patches] == [f"p{index}" for index in range(len(metres))]
    to_chip = pyproj.Transformer.from_crs(4326, chip.epsg, always_xy=True)
    for patch, (east, north) in zip(patches.patches, metres, strict=True):
        x, y = to_chip.transform(patch.longitude, patch.latitude)
        row, column = patch.offset
        assert abs(chip.left + 960 + 10 * column - x) <= 5.001
        assert abs(chip.top - 960 - 10 * row - y) <= 5.001
        assert (column, row) == (round(east / 10), round(-north / 10))
    np.testing.assert_array_equal(patches.offsets, [it.offset for it in patches.patches])
    assert patches.read(range(1)).gsd_10.shape == (1, 192, 192, 4)


@pytest.mark.parametrize(
    ("chip", "point", "said"),
    [
        (
            NORTH,
            point_of(NORTH, 40, 0),
            "within 30 m of the chip's middle in each direction. Received: 40 m east and",
        ),
        (NORTH, point_of(NORTH, 3, -36), "Received: 3 m east and -36 m north of it"),
        (NORTH, (15.0, 95.0), "Received: inf m east and inf m north of it"),
        (
            dataclasses.replace(NORTH, epsg=4326),
            (15.0, 45.0),
            "epsg must be that of a UTM zone. Received: 4326",
        ),
        (
            dataclasses.replace(NORTH, epsg=32661),
            (15.0, 45.0),
            "epsg must be that of a UTM zone. Received: 32661",
        ),
    ],
)
def test_a_chip_that_is_not_around_its_place_is_named(chip, point, said, tmp_path):
    folder = write_places(tmp_path / "set", [(NORTH, point_of(NORTH, 1, 1)), (chip, point)])
    message = refusal(Path(folder))
    assert "record 1, is damaged: " in message
    assert said in message
