"""The files by which TFDS loads a dataset folder: `dataset_info.json` and `features.json`, written by hand.

Workers do not import TFDS, and the two files are plain JSON of its messages `DatasetInfo` and `Feature`.

Source: tensorflow_datasets/core/proto/dataset_info.proto and feature.proto.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.dataset.fingerprint import Places
from beam_pipeline.dataset.notices import PAPER, attribution, copernicus_notice
from beam_pipeline.dataset.summary import UnitSummary
from beam_pipeline.records.schema import FeatureSpec, features_since
from beam_pipeline.records.shards import DATASET_NAME, parse_shard_name
from beam_pipeline.records.version import CURRENT, Version

_FEATURES = "tensorflow_datasets.core.features."
_FEATURES_DICT = _FEATURES + "features_dict.FeaturesDict"

_CELLS = "Pairs of Sentinel-2 L2A images of a cell and year, with labels from OpenStreetMap."
_PLACES = "A Sentinel-2 L2A image of each labelled place, with its class."


def dataset_info_json(
    summaries: Iterable[UnitSummary], years: Sequence[int], version: str, places: Places | None = None
) -> str:
    """Returns the content of `dataset_info.json`.

    A split without examples is left out, because TFDS refuses to load one. A shard that is empty or missing
    has the length 0, and TFDS does not open it.

    Args:
        summaries: Of the units that are done or failed, in any order.
        years: The years of the images, ascending.
        version: Of the data format, e.g. "1.1.0".
        places: Of a dataset of patches: its places.
    """
    written = [summary for summary in summaries if summary.status == "written"]
    splits = []
    for split in SPLITS:
        shards = {parse_shard_name(it.name): it for it in written if it.split == split}
        if not any(it.examples for it in shards.values()):
            continue
        (_, _, count), *_ = shards
        lengths = [0] * count
        for (_, index, _), summary in shards.items():
            lengths[index] = summary.examples
        splits.append(
            {
                "name": split,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                # 64-bit integers are strings in protobuf's JSON.
                "shardLengths": [str(length) for length in lengths],
                "numBytes": str(sum(summary.num_bytes for summary in shards.values())),
            }
        )
    info = {
        "name": DATASET_NAME,
        "version": version,
        "description": f"{_CELLS if places is None else _PLACES} {copernicus_notice(years)}. "
        + " ".join(attribution(places).values()),
        "citation": PAPER,
        "fileFormat": "tfrecord",
        "splits": splits,
    }
    return json.dumps(info, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def features_json(version: Version = CURRENT, *, of_places: bool = False) -> str:
    """Returns the content of `features.json`: the schema, `image_0/x` as x of the group image_0.

    TFDS gives images in the shape of their PNG.

    Args:
        version: Of the data format.
        of_places: Whether the dataset is one of patches.
    """
    groups: dict[str, dict[str, Any]] = {}
    for spec in features_since(version.minor, of_places=of_places).values():
        group, _, name = spec.name.rpartition("/")
        groups.setdefault(group, {})[name] = _feature(spec)
    top = groups.pop("")
    top |= {
        group: {"pythonClassName": _FEATURES_DICT, "featuresDict": {"features": features}}
        for group, features in groups.items()
    }
    content = {
        "type": _FEATURES_DICT,
        "content": {"features": top},
        "proto_cls": "tensorflow_datasets.FeaturesDict",
    }
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _feature(spec: FeatureSpec) -> Mapping[str, Any]:
    unit = f" [{spec.unit}]" if spec.unit else ""
    described = {"description": spec.meaning + unit}
    if spec.kind == "png":
        shape = {"dimensions": [str(size) for size in spec.png_shape]}
        image = {"shape": shape, "dtype": spec.dtype, "encodingFormat": "png"}
        return {**described, "pythonClassName": _FEATURES + "image_feature.Image", "image": image}
    if spec.kind == "text":
        return {**described, "pythonClassName": _FEATURES + "text_feature.Text", "text": {}}
    tensor = {"shape": {}, "dtype": spec.dtype, "encoding": "none"}
    return {**described, "pythonClassName": _FEATURES + "scalar.Scalar", "tensor": tensor}
