"""Which examples a preview takes, and what it refuses."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.description import LabelChannel, Shard
from beam_pipeline.records.example import encode
from beam_pipeline.records.shards import frame, shard_name
from beam_pipeline.report.colours import COLOURS
from beam_pipeline.report.contact_sheet import palette
from beam_pipeline.report.preview import MOST_ROWS, draw_preview, some_examples
from beam_pipeline.runtime.faults import InvalidInputError
from tests.records.builders import make_cell_year


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Shard]]:
    """Four shards: training of cells 0 and 1, of none, and of 4; testing of 6 and 7."""
    folder = tmp_path_factory.mktemp("shards")
    shards = []
    for split, index, count, ids in (
        ("training", 0, 3, (0, 1)),
        ("training", 1, 3, ()),
        ("training", 2, 3, (4,)),
        ("testing", 0, 1, (6, 7)),
    ):
        name = shard_name(split, index, count)
        content = b"".join(frame(encode(make_cell_year(cell_id=cell_id))) for cell_id in ids)
        (folder / name).write_bytes(content)
        shards.append(Shard(name=name, examples=len(ids), num_bytes=len(content), sha256=""))
    return str(folder), shards


@pytest.mark.parametrize(
    ("rows", "split", "expected"),
    [
        (9, None, [0, 4, 6, 1, 7]),  # one of each shard before the second of any
        (4, None, [0, 4, 6, 1]),
        (1, None, [0]),
        (9, "testing", [6, 7]),
        (9, "validation", []),
    ],
)
def test_examples_are_taken_from_all_shards_in_turn(written, rows, split, expected) -> None:
    folder, shards = written
    taken = some_examples(DatasetFolder(BeamFiles(), folder), shards, rows, split)
    assert [it.cell.cell_id for it in taken] == expected


def test_of_many_shards_some_are_read_evenly(written) -> None:
    folder, shards = written
    read = []

    class Noted(BeamFiles):
        def open(self, path: str) -> AbstractContextManager[BinaryIO]:
            read.append(path.rpartition("/")[2])
            return super().open(path)

    taken = some_examples(DatasetFolder(Noted(), folder), [shards[0], shards[2]] * 4, 4)
    assert len(taken) == 4
    assert read == [shards[0].name] * 4  # every second of eight


@pytest.mark.parametrize("rows", [0, -1, MOST_ROWS + 1])
def test_too_many_rows_are_refused(tmp_path: Path, rows: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"--rows must be 1 to {MOST_ROWS}\. Received: {rows}"):
        draw_preview(DatasetFolder(BeamFiles(), str(tmp_path)), rows=rows)


def test_the_palette_is_in_order_of_value() -> None:
    channels = [
        LabelChannel(name="land_use", labels={"vineyard": 3, "wooded": 0}),
        LabelChannel(name="water", labels={"water": 1}),
    ]
    chosen = palette(channels)
    assert [(name, value) for name, (value, _) in chosen.items()] == [
        ("wooded", 0),
        ("water", 1),
        ("vineyard", 3),
    ]
    assert chosen["water"][1] == COLOURS["water"]
    assert len({colour for _, colour in chosen.values()}) == 3
