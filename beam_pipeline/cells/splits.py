"""The split: by tile, never by cell, so that no image is seen on both sides."""

from beam_pipeline.cells.cell import Split
from beam_pipeline.runtime.keyed_hash import keyed_fraction

TRAINING_SHARE = 0.8
VALIDATION_SHARE = 0.1
"""The rest is testing. Source: the paper, section 3."""


def split_of_tile(seed: int, tile: str) -> Split:
    """Draws a tile's split.

    Args:
        seed: The run's seed.
        tile: MGRS tile name, zero-padded.

    Returns:
        "training" for 80 %, "validation" and "testing" for 10 % of tiles each.
    """
    drawn = keyed_fraction(seed, "split", tile)
    if drawn < TRAINING_SHARE:
        return "training"
    return "validation" if drawn < TRAINING_SHARE + VALIDATION_SHARE else "testing"
