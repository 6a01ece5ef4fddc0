"""docs/data_format.md says what is: its table is the schema's, and its code runs."""

import re
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.dataset.commits import commit_unit
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.summary import summarise
from beam_pipeline.dataset.units import Unit
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.example import encode
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.schema import FEATURES
from beam_pipeline.records.shards import frame, shard_name
from tests.records.builders import make_assembled, make_cell_year

PAGE = (Path(__file__).parents[2] / "docs" / "data_format.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = [make_cell_year(0), make_cell_year(1, num_images=1)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / shard_name("training", 0, 1)).write_bytes(b"".join(frame(encode(it)) for it in EXAMPLES))
    return str(tmp_path)


def code_with(word):
    (code,) = [code for code in CODE if word in code]
    return compile(code, "<docs/data_format.md>", "exec")


def test_the_table_is_the_schema():
    rows = re.findall(r"^\| `([^`]+)` \| (png|text|int64|float32) \| (.*) \|$", PAGE, re.MULTILINE)
    expected = []
    for spec in FEATURES.values():
        if spec.name.startswith("image_1/"):
            continue
        shape = " x ".join(map(str, spec.shape)) or "scalar"
        if spec.png_shape != spec.shape:
            shape += f" (PNG: {' x '.join(map(str, spec.png_shape))})"
        expected.append((spec.name, spec.kind, f"{spec.dtype} | {shape} | {spec.unit} | {spec.meaning}"))
    assert rows == expected


def test_reading_without_tensorflow(folder):
    names = {"shard": f"{folder}/{shard_name('training', 0, 1)}"}
    exec(code_with("read_shard"), names)
    last = EXAMPLES[1]
    assert names["example"] == last
    expected = (last.images[0].gsd_10.astype(np.float32) - 1000) / 10_000
    np.testing.assert_array_equal(names["reflectance"], expected)
    assert names["transform"] @ (192, 192) == (last.cell.chip.right, last.cell.chip.bottom)


def test_which_categories_meet(folder):
    unit = Unit(shard_name("training", 0, 1), "training", "56HLH", (EXAMPLES[0].cell,))
    commit_unit(
        DatasetFolder(BeamFiles(), folder), unit.name, [], summarise(make_assembled(unit, 1, EXAMPLES[:1]))
    )
    names = {"folder": folder, "shard": unit.name}
    exec(code_with("meeting"), names)
    label = EXAMPLES[0].label
    # Made up, a pixel may hold one value in several channels.
    times = {value: (label == value).sum(axis=-1) for value in (0, 2, 12, 13, 14)}
    assert names["meeting"] == {
        one: {other: int((times[one] * times[other]).sum()) for other in times} for one in times
    }


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_reading_with_gdal():
    import rasterio

    features = Example.FromString(encode(EXAMPLES[0])).features.feature
    stored = {"image_0/gsd_20": features["image_0/gsd_20"].bytes_list.value[0]}
    names = {"rasterio": rasterio, "features": stored}
    exec(code_with("MemoryFile"), names)
    np.testing.assert_array_equal(names["gsd_20"], EXAMPLES[0].images[0].gsd_20)


def test_reading_with_tf_data(folder):
    names = {"folder": folder}
    exec(code_with("parse_single_example"), names)
    ((images, label, num_images),) = names["dataset"].as_numpy_iterator()
    assert num_images.tolist() == [2, 1]
    for row, example in enumerate(EXAMPLES):
        np.testing.assert_array_equal(label[row], example.label)
        for slot, image in enumerate(example.images):
            for name in ("gsd_10", "gsd_20", "gsd_60"):
                expected = (getattr(image, name).astype(np.float32) - 1000) / 10_000
                np.testing.assert_allclose(images[slot][name][row], expected, rtol=2e-7)
