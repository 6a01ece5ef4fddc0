"""The small made-up dataset of the tests of the network."""

from tests.model_tf.conftest import cell_years, dataset_folder

__all__ = ["cell_years", "dataset_folder"]  # fixtures
