"""Reads what a dataset's folder says of itself, local or gs://."""

from beam_pipeline.records.info import DatasetInfo as DatasetInfo
from beam_pipeline.records.info import read_info
from model_tf.data.storage import read_bytes, size


class _Storage:
    """Reads by `model_tf.data.storage`."""

    def read_bytes(self, path: str) -> bytes:
        return read_bytes(path)

    def size(self, path: str) -> int | None:
        return size(path)


def load_info(folder: str) -> DatasetInfo:
    """Reads and checks a dataset's description, as `read_info`.

    Args:
        folder: The dataset's folder, local or gs://.

    Returns:
        What the dataset holds.

    Raises:
        InvalidInputError: As of `read_info`.
    """
    return read_info(_Storage(), folder)
