"""The report of a small whole dataset: what its page shows, what lies beside it, and what bad names come to."""

import base64
import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.dataset.folder import DATASET_FILE, DatasetFolder, summary_name
from beam_pipeline.make_report import main
from beam_pipeline.records.png import decode_png
from beam_pipeline.report.figure import Table
from beam_pipeline.report.key_numbers import key_numbers
from beam_pipeline.report.source import count_units, open_source
from beam_pipeline.report.theme import SPLIT_COLOURS
from beam_pipeline.report.writing import contradictions
from beam_pipeline.runtime.disk import Disk
from tests.audit.audited import CELLS, FIRST, edit_json
from tests.dataset.test_old_folder import OLD
from tests.report.conftest import edit_summary
from tests.report.parsed_page import Page, check_page

HOSTILE = {
    "wooded": "<script>alert(1)</script>",
    "residential": "</title></style><img src=x onerror=alert(1)>",
    "water": '"><svg/onload=alert(1)>&amp;',
    "road": '=HYPERLINK("http://x.test","y")',
    "building": "$\\frac{a}{b}$ 日本 ☃",
}


def reported(folder: Path, *more: str, code: int = 0) -> Page:
    assert main([str(folder), *more]) == code
    return check_page((folder / "report.html").read_bytes())


def figures(folder: Path) -> dict[str, list[list[str]]]:
    return {path.stem: [*csv.reader(path.read_text().splitlines())] for path in sorted(folder.glob("*.csv"))}


def test_a_page_holds_all_that_it_shows(shown: Path, made: Path) -> None:
    page = check_page(shown.read_bytes())
    drawn = figures(shown.with_name("page_figures"))
    assert len(drawn) == 11
    assert {path.stem for path in shown.parent.glob("page_figures/*.png")} == {*drawn}
    assert len([it for it in page.all("svg") if it.get("aria-hidden") != "true"]) == len(drawn)
    # Five cells, of which one has a dead letter and one a rejected year.
    assert "5 cells of 1.92 km with 14 Sentinel-2 images of 2019–2020" in page.text
    assert "It is not complete" in page.text
    assert "137,045" in page.texts["td"]
    assert len(page.all("img")) == 5 * 5 + 1  # two dates and three channels, and what is accepted
    assert "© OpenStreetMap contributors" in page.text
    assert "Contains modified Copernicus Sentinel data [2019, 2020]" in page.text
    assert page.text.count("--read_refused reads one once more") == 2
    assert drawn["cells_by_split"][0] == ["cell_id", "lon", "lat", "split", "continent", "labelled_share"]
    assert [row[0] for row in drawn["cells_by_split"][1:]] == [str(cell.cell_id) for cell in CELLS]
    left_out = {tuple(row[:2]): row[2] for row in drawn["left_out"][1:]}
    assert left_out["cell-year left out", "no_clear_date"] == "1"
    assert left_out["dead letter", "read_chips: throttled"] == "1"
    assert not [*made.glob("report*")], "where it was told to"


def test_pictures_are_the_pixels_of_the_examples(shown: Path) -> None:
    page = check_page(shown.read_bytes())
    labels = [it for it in page.all("img") if it["alt"].startswith("Label OSM_land_use")]
    assert len(labels) == 5
    for label in labels:
        pixels = decode_png(base64.b64decode(label["src"].partition(",")[2]))
        assert pixels.shape == (192, 192, 3)
        shares = sorted(
            int(it) for it in re.findall(r"(?:wooded|residential|none|unlabelled) (\d+)%", label["alt"])
        )
        _, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
        assert shares == sorted(round(100 * it / 192**2) for it in counts.tolist())


def test_colours_follow_the_scheme_and_can_be_seen(shown: Path) -> None:
    html = shown.read_text()
    of_dark = r"@media \(prefers-color-scheme:dark\)\s*\{\s*:root\s*\{(.*?)\}\s*\}"
    dark = "".join(re.findall(of_dark, html, re.DOTALL))
    light = "".join(re.findall(r":root\s*\{(.*?)\}", re.sub(of_dark, "", html, flags=re.DOTALL), re.DOTALL))
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([a-z]+):\s*(#[0-9a-f]{6})", scheme))
        for text in ("ink", "muted", "link", "warn"):
            assert min(contrast(colours[text], colours[ground]) for ground in ("paper", "raised")) >= 4.5
        for drawn in (*(colours[name] for name in ("accent", "second", "third")), *SPLIT_COLOURS.values()):
            assert contrast(drawn, colours["paper"]) >= 3
    # Figures name no colour of one scheme; those of splits are for both.
    named = {
        it
        for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)
        for it in re.findall(r": (#[0-9a-f]{6})", svg)
    }
    assert named <= {*SPLIT_COLOURS.values()}


def contrast(one: str, other: str) -> float:
    """Of two colours. Source: WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_names_of_a_dataset_stay_text(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for channel in content["ontology"]["channels"]:
            channel["labels"] = {HOSTILE[name]: value for name, value in channel["labels"].items()}
        content["software"]["<b>beam</b>"] = "<i>1</i>"
        content["licences"]["labels"] = "</li><script>"

    edit_json(folder / DATASET_FILE, change)
    odd = folder.rename(folder.with_name("<img src=x>&amp; 'set'"))
    page = reported(odd)
    assert page.texts["h1"] == ["Report of <img src=x>&amp; 'set'"]
    assert {*HOSTILE.values()} <= {*page.texts["th"]}
    assert "labels: </li><script>" in page.texts["li"]
    assert "<b>beam</b>" in page.texts["th"]
    assert len(page.all("style")) == 1
    # As a spreadsheet opens it.
    names = [row[0] for row in figures(odd / "report_figures")["category_shares"]]
    assert "'" + HOSTILE["road"] in names


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_no_text_of_a_csv_is_a_formula(text: str) -> None:
    assert [*csv.reader(Table(("name",), [(text,)]).csv_text().splitlines())][1] == [f"'{text}"]
    assert Table(("n",), [(-1,), (-0.5,)]).csv_text() == "n\n-1\n-0.5\n"


def test_what_could_not_be_used_is_on_the_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A summary that is cut off, cells that are fewer than dataset.json says, and values without a name."""
    path = folder / summary_name(FIRST)
    path.write_bytes(path.read_bytes()[:100])

    def change(content: dict[str, Any]) -> None:
        del content["ontology"]["channels"][0]["labels"]["wooded"]

    edit_json(folder / DATASET_FILE, change)
    page = reported(folder, "--examples=0", code=1)
    assert "The numbers leave out units of the plan: 1 whose summary cannot be used." in page.text
    assert f"{FIRST}" in page.texts["th"]
    assert re.search(r"[0-9,]+ pixels hold values that the ontology does not name", page.text)
    assert "2 things could not be used; the page names them" in capsys.readouterr().err
    assert "There is no example to show." in page.text


def test_cells_of_imports_are_counted_apart(folder: Path) -> None:
    edit_summary(folder, FIRST, lambda it: it.update(inexact_cells=[1, 2]))
    source = open_source(DatasetFolder(Disk(), str(folder)))
    statistics = count_units(source.counter(0), source.units(), lambda: None)
    numbers = key_numbers(statistics, source.table, source.description.years, True)
    assert "The bounds of 2 cells are not exact." in numbers.lead
    assert ("of these, bounds are not exact", "2", "0", "0", "2") in numbers.splits.rows


def test_cells_that_are_missing_are_noticed(folder: Path) -> None:
    edit_summary(folder, FIRST, lambda it: it.update(contents=[], cells_with_examples=0))
    source = open_source(DatasetFolder(Disk(), str(folder)))
    statistics = count_units(source.counter(0), source.units(), lambda: None)
    assert contradictions(source, statistics) == [
        ("dataset.json", "training has 4 cells there, and 2 in the summaries")
    ]


def test_a_version_before_1_1_says_what_could_not_be_drawn(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(OLD / "set", tmp_path / "set"))
    page = reported(folder)
    assert page.text.count("of a version before 1.1") >= 6
    drawn = figures(folder / "report_figures")
    assert {*drawn} == {"cells_by_split", "known_shares", "category_shares", "left_out"}
    assert "planned cells of the units that were written" in page.text
    assert len(page.all("img")) == 6
    assert "1.0.0" in page.texts["td"]
    described = json.loads((folder / DATASET_FILE).read_text())
    pixels = {row[0]: row[5].replace(",", "") for row in drawn["category_shares"][1:]}
    for channel in described["labels"]:
        for name, count in channel["pixels"].items():
            assert pixels.get(name, str(count)) == str(count)
