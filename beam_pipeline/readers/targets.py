"""The targets of each category that a label gives: positive, negative or unknown.

`model_tf/network/targets.py` does the same with tensors of Keras, `torch_dataset.py` with those of PyTorch.
"""

import numpy as np
import numpy.typing as npt

from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.schema import UNLABELED


def targets_of_label(
    label: npt.NDArray[np.uint8], categories: CategoryTable
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Turns label channels into one binary map a category and a mask of what is known.

    A category of channel c counts at a pixel where c's label is not 255 (unknown). There it is positive where
    the pixel holds it, and negative where it holds another category of the channel or 254 (none of them).

    Args:
        label: (..., H, W, channels) uint8; 254 = none, 255 = unknown.
        categories: The C categories, by channel and value; a dataset's are `DatasetInfo.categories`.

    Returns:
        (positive, known), each (..., H, W, C). What is not known is not positive either.
    """
    held = label[..., list(categories.channels)]
    return held == np.array(categories.values, np.uint8), held != UNLABELED
