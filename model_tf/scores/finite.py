"""Finds logits that are NaN or infinite as soon as the net gives them, and names the image."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.faults import InvalidInputError

Ids = Mapping[str, npt.NDArray[np.int64]]
"""(N,) "cell_id", "year" and "slot" of a batch's images, as `make_dataset` gives them."""


def require_finite_logits(logits: npt.NDArray[np.float32], ids: Ids, net: str, remedy: str) -> None:
    """Checks the answer of a net to a batch.

    Args:
        logits: (N, H, W, C).
        ids: Of the images.
        net: What answered, for the message: a checkpoint's path or a moment of the training.
        remedy: What to do.

    Raises:
        InvalidInputError: A logit is NaN or infinite. The message names the net and the cell.
    """
    wrong = ~np.isfinite(logits)
    if not wrong.any():
        return
    row = int(np.flatnonzero(wrong.any(axis=(1, 2, 3)))[0])
    value = logits[row][wrong[row]][0]
    raise InvalidInputError(
        f"{net} must answer with finite logits. Received: {value} for {_name(ids, row)}. {remedy}"
    )


def _name(ids: Ids, row: int) -> str:
    return f"cell {ids['cell_id'][row]}, {ids['year'][row]}, image {ids['slot'][row]}"
