"""A small made-up dataset, shared by the tests of the network."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import pytest

from beam_pipeline.records.example import CellYear
from tests.model_tf.made_dataset import made_cell_years, write_dataset

YEARS = (2019, 2020)
SINGLE = (3, 2020)
"""(cell_id, year) of the one example with one image."""


@pytest.fixture(scope="session")
def cell_years() -> dict[str, list[list[CellYear]]]:
    """The content of `dataset_folder`: by split, the cell-years of each shard. 12 cells in 2 years.

    Training has 6 cells in 4 shards of unequal size, one of them empty, validation 4 in 2 shards, testing 2.
    """
    training = [(1, 2, 3), (), (4, 5), (6,)]
    return {
        "training": [made_cell_years(ids, YEARS, singles=[SINGLE]) for ids in training],
        "validation": [made_cell_years(ids, YEARS, "validation") for ids in ((7, 8, 9), (10,))],
        "testing": [made_cell_years((11, 12), YEARS, "testing")],
    }


@pytest.fixture(scope="session")
def dataset_folder(cell_years, tmp_path_factory) -> str:
    """A made-up dataset in the real format; read only."""
    return write_dataset(tmp_path_factory.mktemp("made") / "set", cell_years)
