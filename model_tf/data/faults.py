"""Makes what tf.data says of bad shards into an error for people."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from beam_pipeline.records.description import DATASET_FILE
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from model_tf.data.decoding import WRONG_LABEL
from model_tf.data.info import DatasetInfo

_OWN_MESSAGE = re.compile(rf"assertion failed: \[(.*{re.escape(WRONG_LABEL)}.*)\]")

_SIGNS = re.compile(
    r"(?:corrupted|truncated) record at \d+"
    r"|Feature: .* is required but could not be found"
    r"|Could not parse example input"
    r"|Input dataset was expected to contain .* elements"
    # A PNG that cannot be decoded, or has another shape than the schema says.
    r"|[^}]*(?=\s+\[\[\{\{node (?:EnsureShape|DecodePng))"
)
"""The words of TensorFlow where a record, a feature, a PNG or the number of examples is not what it must be."""


@contextlib.contextmanager
def explain_data_faults(info: DatasetInfo) -> Iterator[None]:
    """Runs what reads a dataset; errors of other origin pass unchanged.

    Args:
        info: The dataset that is read.

    Yields:
        Nothing.

    Raises:
        InvalidInputError: A label holds a value that is not in the ontology (the message names shard and cell), or a
            shard is damaged (it names the folder, and how to find the shard: TensorFlow does not say which).
    """
    try:
        yield
    except (
        tf.errors.DataLossError,
        tf.errors.FailedPreconditionError,
        tf.errors.InvalidArgumentError,
    ) as error:
        own = _OWN_MESSAGE.search(error.message)
        if own:
            raise InvalidInputError(own[1]) from error
        sign = _SIGNS.search(error.message)
        if not sign:
            raise
        raise InvalidInputError(
            f"{info.folder}: a shard must hold what {join(info.folder, DATASET_FILE)} says. Received: "
            f"{sign[0].strip().rstrip('.')}. "
            "Compare `sha256sum` of the shards with shards.sha256 there, and copy again what differs."
        ) from error
