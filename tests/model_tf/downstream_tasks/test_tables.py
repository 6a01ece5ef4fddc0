"""The three tables: they agree, say what is quoted and by which protocol, and show text of others as it is."""

import csv
import dataclasses
import io
import re
import statistics

import numpy as np
import pytest

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.downstream_tasks.scoring import Cell, Protocol, Score, Scores, draw_splits
from model_tf.downstream_tasks.splits import Column
from model_tf.downstream_tasks.tables import table_csv, table_json, table_md
from model_tf.downstream_tasks.tasks import FIELD_ROWS, TASKS
from tests.model_tf.downstream_tasks.made_tiles import made_set

ODD = ("=1+1", "a|b", "<b>bold</b>", "new\nline", "*stars* `code`", "[link](x)")
EUROSAT, CLASSES = TASKS["eurosat"], TASKS["classes"]


def protocol_of(columns: str, *, seeds: int = 3, head_seeds: int | None = None, kinds=("random", "spatial")):
    named = tuple(Column.of(name) for name in columns.split(","))
    return Protocol(named, kinds, ("cnn", "knn"), seeds, head_seeds or seeds, 0)


def scores_of(protocol: Protocol, empty=()) -> Scores:
    """Made-up scores of every place but those of empty columns."""
    draw = np.random.default_rng(0)
    cells = {}
    for kind in protocol.kinds:
        for column in protocol.columns:
            for method in protocol.methods:
                if (kind, column.name) in empty:
                    continue
                score = Score([], np.zeros((3, 3), np.int64), [], [])
                for _ in range(protocol.head_seeds if method == "cnn" else protocol.seeds):
                    confusion = draw.integers(1, 50, (3, 3))
                    first = np.trace(confusion) / confusion.sum()
                    score.top.append(np.array([first, (1 + first) / 2, 1.0]))
                    score.confusion += confusion
                    score.training.append(3)
                    score.testing.append(int(confusion.sum()))
                cells[Cell("made", method, kind, column.name)] = score
    return Scores(cells, dict(empty), {"made": 230_000})


PATCHES = made_set([0, 1, 2] * 4, [(index / 2, 0.1) for index in range(12)])


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def of_markdown(text: str) -> dict[str, list[list[str]]]:
    """The rows of each section's table."""
    sections: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("## "):
            title = line[3:]
        elif line.startswith("| ") and "---" not in line:
            sections.setdefault(title, []).append(line.strip("| ").split(" | "))
    return sections


def test_all_three_hold_the_same_scores_and_the_deviation_is_of_a_sample():
    protocol = protocol_of("1,5,10/90")
    reason = {("spatial", "5"): "class 0 has 4 patches"}
    scores = scores_of(protocol, reason)
    given = (PATCHES, CLASSES, protocol, scores)
    content, rows = table_json(*given), rows_of(table_csv(*given))
    in_csv = {
        (it["features"], it["method"], it["split"], it["column"]): (it["top1_percent"], it["deviation"])
        for it in rows
    }
    shown = of_markdown(table_md(*given))
    for it in content["scores"]:
        cell = next(
            cell
            for cell in scores.cells
            if (cell.kind, cell.column) == (it["split"], it["column"])
            and (cell.method == "cnn") == (it["method"] == "CNN head")
        )
        percents = [100 * float(top[0]) for top in scores.cells[cell].top]
        mean, deviation = statistics.mean(percents), statistics.stdev(percents)
        assert (it["top1_percent"], it["deviation"]) == pytest.approx((mean, deviation))
        assert in_csv["made", it["method"], it["split"], it["column"]] == (f"{mean:.2f}", f"{deviation:.2f}")
        (table,) = (table for title, table in shown.items() if title.lower().startswith(it["split"]))
        (row,) = (row for row in table if row[:2] == ["made", it["method"]])
        assert row[table[0].index(it["column"])] == f"{mean:.1f} ± {deviation:.1f}"
    assert len(in_csv) == len(content["scores"]) + 1
    (noted,) = (row for row in rows if row["note"])
    assert (noted["split"], noted["column"], noted["note"]) == ("spatial", "5", "class 0 has 4 patches")
    assert content["empty_columns"] == [{"split": "spatial", "column": "5", "reason": noted["note"]}]
    assert "standard deviation (n − 1) over 3 seeds." in table_md(*given)


def test_one_seed_has_no_deviation():
    given = (PATCHES, CLASSES, protocol_of("1", seeds=1), scores_of(protocol_of("1", seeds=1)))
    text = table_md(*given)
    assert "One seed, so no deviation." in text
    assert "±" not in text
    assert {score["deviation"] for score in table_json(*given)["scores"]} == {None}
    assert {row["deviation"] for row in rows_of(table_csv(*given))} == {""}
    fewer = protocol_of("1", head_seeds=1)
    assert "over 3 seeds (1 of the CNN head)." in table_md(PATCHES, CLASSES, fewer, scores_of(fewer))


def test_quoted_rows_say_their_own_level_and_protocol():
    """The whole networks were trained on the published tiles; the field's figures are of one other split."""
    protocol = protocol_of("1,10/90")
    given = (PATCHES, EUROSAT, protocol, scores_of(protocol))
    text, content = table_md(*given), table_json(*given)["quoted"]
    quoted = [row for row in rows_of(table_csv(*given)) if row["origin"] == "quoted"]
    of_paper = [row for row in quoted if row["split"] == "random"]
    assert {(row["features"], row["level"]) for row in of_paper} == {
        *(("ResNet-50", "L1C"), ("GoogLeNet", "L1C"), ("paper", "L2A")),
    }
    for row in of_paper:
        entry = content["paper"][row["features"]]
        assert entry["top1_percent"][row["column"]] == float(row["top1_percent"])
        assert (entry["level"], entry["source"]) == (row["level"], row["note"])
        assert f"{row['features']} (*quoted*, {row['level']})" in text
        assert row["note"] in text
    assert "Helber" in content["paper"]["ResNet-50"]["source"]
    tables = of_markdown(text)
    assert tables["Random splits"][-3:] == [
        ["ResNet-50 (*quoted*, L1C)", "", "–", "*75.06*"],
        ["GoogLeNet (*quoted*, L1C)", "", "–", "*77.37*"],
        ["paper (*quoted*, L2A)", "", "*57.56*", "*92.45*"],
    ]
    assert not any("quoted" in row[0] for title, rows in tables.items() if "patial" in title for row in rows)
    others = tables["Quoted, of another protocol than ours"][1:]
    assert others == [
        [f"{name} (*quoted*, L1C)", f"*{knn}*", f"*{linear}*"] for name, knn, linear in FIELD_ROWS
    ]
    assert "one split by longitude" in content["field"]["source"]
    assert content["field"]["source"] in text
    of_field = [row for row in quoted if row["split"] == "by longitude"]
    assert [row["features"] for row in of_field] == [name for name, *_ in FIELD_ROWS for _ in range(2)]
    for row in quoted:  # a range is in the note
        assert (
            float(row["top1_percent"]) > 50
            if row["top1_percent"]
            else row["note"].startswith(("73-78", "86-88"))
        )


def test_without_random_splits_nothing_is_said_of_the_papers_rows():
    protocol = protocol_of("1", kinds=("spatial",))
    assert "Johnson" not in table_md(PATCHES, EUROSAT, protocol, scores_of(protocol))


@pytest.mark.parametrize("name", ODD)
def test_a_class_of_any_name_is_told_in_its_own_characters(name):
    patches = dataclasses.replace(made_set([0, 1, 1, 2, 2], [(0.1, 0.1)] * 5), classes=(name, "town", "wood"))
    protocol = protocol_of("1", kinds=("random",))
    with pytest.raises(InvalidInputError) as raised:
        draw_splits(patches, protocol)
    reason = str(raised.value).partition("Received: 1; ")[2]
    assert reason == (
        name.replace("\n", "\\n") + " has 1 patches, 1 of 1 for training and 0 for testing in a random split"
    )
    scores = Scores({}, {("random", "1"): reason}, {})
    text = table_md(patches, CLASSES, protocol, scores)
    (line,) = (line for line in text.splitlines() if "empty, because" in line)
    # What Markdown would read as more than text has a backslash before it.
    assert not re.search(r"(?<!\\)[`*<>|\[\]]", line)
    shown = re.sub(r"\\(.)", r"\1", line)
    assert shown == f"- 1: empty, because {reason}"
    (row,) = rows_of(table_csv(patches, CLASSES, protocol, scores))
    assert row["note"] == ("'" if name[0] == "=" else "") + reason
