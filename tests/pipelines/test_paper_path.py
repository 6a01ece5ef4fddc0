"""The lines of docs/paper.md, as they stand there, on a small made-up folder in the published layout."""

import json
import re
from pathlib import Path

import pytest

from beam_pipeline import cli
from beam_pipeline.places.eurosat_tile import CLASSES
from tests.entries import ENTRIES
from tests.exchange.published_files import SPLITS, PublishedFolder, square
from tests.model_tf.downstream_tasks.made_tiles import write_tiles

PAGE = Path(__file__).resolve().parents[2] / "docs" / "paper.md"

SMALLER = {
    "train": ["--width=tiny", "--epochs=1", "--warmup_epochs=0", "--pairs_per_batch=1"],
    "downstream": ["--columns=1", "--seeds=2", "--head_seeds=1", "--grid=8"],
}
"""Flags that a small machine needs beside the page's."""


def typed() -> list[list[str]]:
    """The commands of the page's first block, word by word."""
    block = re.search(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    return [line.split() for line in block[1].splitlines()]


def test_the_page_types_each_step_with_flags_that_there_are():
    commands = typed()
    assert [words[1] for words in commands] == ["import", "verify", "train", "evaluate", "downstream"]
    assert {words[0] for words in commands} == {"opensentinelmap"}
    for words in commands:
        assert words[1] in cli.COMMANDS
        ENTRIES[words[1]].parse(words[2:])


@pytest.mark.slow
def test_published_files_become_the_papers_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published = PublishedFolder(tmp_path / "downloads" / "osm")
    for tile in SPLITS:
        for number in range(2):
            published.add_cell(square(tile, number), "20180115", "20180704")
    write_tiles(tmp_path / "downloads" / "EuroSAT_MS", 2)
    monkeypatch.chdir(tmp_path)
    for words in typed():
        code = cli.main([*words[1:], *SMALLER.get(words[1], [])])
        assert code == 0, (words, capsys.readouterr().err)
    dataset = json.loads(Path("out/imported/dataset.json").read_text())
    assert dataset["complete"]
    settings = json.loads(Path("out/paper/settings.json").read_text())
    assert (settings["settings"]["momentum"], settings["settings"]["width"]) == (0.9, "tiny")
    scores = json.loads(Path("out/paper/evaluation/scores.json").read_text())
    assert scores["data"]["cells"] == 2
    table = json.loads(Path("out/eurosat/table1.json").read_text())
    assert table["patches"]["classes"] == dict.fromkeys(CLASSES, 2)
    trained = [it for it in table["scores"] if it["features"] == "trained encoder"]
    assert {it["method"] for it in trained} == {"CNN head", "kNN, k = 5", "linear probe"}
    assert all(it["top1_percent"] > 15 for it in trained)  # by chance 10
    assert "| paper (*quoted*, L2A) |  | *57.56* |" in Path("out/eurosat/table1.md").read_text()
    for name in ("cmc.png", "confusion.png", "embeddings.png"):
        assert Path("out/eurosat", name).stat().st_size > 10_000
