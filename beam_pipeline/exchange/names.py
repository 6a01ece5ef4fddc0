"""Names of the files by which a dataset is passed on."""

from beam_pipeline.cells.cell import Split
from beam_pipeline.records.description import Shard
from beam_pipeline.records.shards import DATASET_NAME, parse_shard_name

CARD_FILE = "README.md"
"""The dataset card, where Hugging Face looks for it."""

CROISSANT_FILE = "croissant.json"

NPY, PCODEC = "npy", "pcodec"

CODECS = {NPY: "npy", PCODEC: "pco"}
"""Ways in which a WebDataset stores measurements, with the ending of their files."""

_TARS_FOLDER = "data"


def tar_name(shard: Shard) -> str:
    """Returns the name of the tar of a shard, e.g. "data/training-00003-of-00012.tar"."""
    split, index, count = parse_shard_name(shard.name)
    return f"{_TARS_FOLDER}/{split}-{index:05d}-of-{count:05d}.tar"


def tar_glob(split: Split) -> str:
    """Returns the pattern of the names of a split's tars."""
    return f"{_TARS_FOLDER}/{split}-*.tar"


def record_glob(split: Split) -> str:
    """Returns the pattern of the names of a split's TFRecord shards."""
    return f"{DATASET_NAME}-{split}.tfrecord-*"
