"""Claims about the published files hold of real ones, which are no part of the project."""

import itertools
from typing import Any

import numpy as np
import pytest

from beam_pipeline.cells.grid import PUBLISHED_GRID_DESCRIPTION
from beam_pipeline.exchange.published_label import read_published_label
from beam_pipeline.exchange.published_npz import read_published_image
from beam_pipeline.labels.ontology import PUBLISHED, Ontology, shipped_ontology
from tests.exchange.test_published_label import ALLOWED
from tests.shared_data import shared

NAMES = (
    *("02LMK/S2A_2LMK_20170224_0_L2A", "02LMK/S2A_2LMK_20170326_0_L2A"),
    *("11SQA/S2A_11SQA_20200415_0_L2A", "60HXD/S2B_60HXD_20170910_0_L2A"),
)
LABELS = ("11SQA/103956272", "unknown_tile/20282655")


def arrays(name: str) -> dict[str, Any]:
    with np.load(shared("opensentinelmap_published", "osm_sentinel_imagery", f"{name}.npz")) as file:
        return dict(file)


@pytest.mark.parametrize("name", NAMES)
def test_a_real_image_is_its_floats(name: str) -> None:
    path = shared("opensentinelmap_published", "osm_sentinel_imagery", f"{name}.npz")
    image, real = read_published_image(path.read_bytes(), name, "2020-01-01", ""), arrays(name)
    for grid in ("gsd_10", "gsd_20", "gsd_60"):
        reflectance = (getattr(image, grid).astype(np.float64) + image.boa_add_offset) / 10_000
        assert np.array_equal(reflectance.astype(np.float32), real[grid])
    assert image.boa_add_offset == 0
    assert np.array_equal(image.scl, real["scl"])
    assert image.bad_percent == real["bad_percent"] == np.isin(real["scl"], (8, 9)).mean()


@pytest.mark.parametrize("name", LABELS)
def test_a_real_label_is_read(name: str) -> None:
    import PIL.Image

    path = shared("opensentinelmap_published", "osm_label_images_v10", f"{name}.png")
    label = read_published_label(path.read_bytes(), ALLOWED)
    with PIL.Image.open(path) as image:
        assert np.array_equal(label, np.asarray(image))


def test_values_are_those_of_the_default_ontology() -> None:
    channels = Ontology.load(shipped_ontology(PUBLISHED)).channels
    assert [frozenset({label.value for label in it.labels}) | {254, 255} for it in channels] == list(ALLOWED)


def apart_m(fine: Any, coarse: Any, factor: int) -> tuple[int, int]:
    """Returns how far in metres a band at 10 m must be moved to look most like a band of another grid."""
    most = factor  # pixels of 10 m

    def likeness(shift: tuple[int, int]) -> float:
        moved = np.roll(fine, shift, (0, 1))
        side = len(coarse)
        means = moved.reshape(side, factor, side, factor).mean(axis=(1, 3))
        inner = (slice(2, -2), slice(2, -2))
        return float(np.corrcoef(means[inner].ravel(), coarse[inner].ravel())[0, 1])

    best = max(itertools.product(range(-most, most + 1), repeat=2), key=likeness)
    return 10 * best[0], 10 * best[1]


def test_the_grids_of_real_images_lie_apart_as_is_said() -> None:
    """B08 beside B8A, and B02 beside B01, which see nearly the same; of images without much cloud."""
    at_20, at_60 = [], []
    for name in NAMES:
        real = arrays(name)
        if real["bad_percent"] > 0.1:
            continue
        at_20.append(apart_m(real["gsd_10"][..., 3], real["gsd_20"][..., 3], 2))
        at_60.append(apart_m(real["gsd_10"][..., 0], real["gsd_60"][..., 0], 6))
    assert 0 < np.abs(at_20).max() <= PUBLISHED_GRID_DESCRIPTION["gsd_20_apart_m"]
    assert 10 < np.abs(at_60).max() <= PUBLISHED_GRID_DESCRIPTION["gsd_60_apart_m"]
