import numpy as np

from beam_pipeline.readers import targets
from model_tf.network.targets import targets_of_label
from tests.model_tf.network.test_targets import CATEGORIES, brute_force, random_label


def test_targets_are_those_of_the_definition_and_of_model_tf():
    label = random_label(3)
    found = targets.targets_of_label(label, CATEGORIES)
    assert all(part.dtype == np.bool_ for part in found)
    for one, defined, theirs in zip(
        found, brute_force(label, CATEGORIES), targets_of_label(label, CATEGORIES), strict=True
    ):
        np.testing.assert_array_equal(one, defined)
        np.testing.assert_array_equal(one, theirs)
        assert one.any(axis=(0, 1, 2)).all()
        assert not one.all()


def test_leading_axes_are_kept():
    label = random_label(4)
    for one, part in zip(
        targets.targets_of_label(label[0], CATEGORIES),
        targets.targets_of_label(label, CATEGORIES),
        strict=True,
    ):
        np.testing.assert_array_equal(one, part[0])
