"""The small made-up dataset of the tests of the network."""

import pytest

from beam_pipeline import build_dataset
from tests.model_tf.conftest import cell_years, dataset_folder

__all__ = ["cell_years", "dataset_folder"]  # fixtures


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> str:
    """The embedded sample, for tests that are slow."""
    folder = str(tmp_path_factory.mktemp("sample") / "set")
    assert build_dataset.main(["--sample", "--output", folder]) == 0
    return folder
