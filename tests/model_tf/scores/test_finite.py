"""Logits that are no numbers end in a fault that names the net and the image."""

import numpy as np
import pytest

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.scores.finite import require_finite_logits

IDS = {"cell_id": np.array([5, 5, -1]), "year": np.array([2020, 2020, -1]), "slot": np.array([0, 1, -1])}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_image_and_the_remedy_are_named(value) -> None:
    logits = np.zeros((3, 8, 8, 15), np.float32)
    require_finite_logits(logits, IDS, "best.keras", "Give another.")
    logits[1, 2, 3, 4] = value
    with pytest.raises(InvalidInputError) as error:
        require_finite_logits(logits, IDS, "best.keras", "Give another.")
    assert str(error.value) == (
        f"best.keras must answer with finite logits. Received: {value} for cell 5, 2020, image 1. Give another."
    )
