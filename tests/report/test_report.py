"""The report of a small whole dataset: its page and files, and what it makes of damage, versions and bad names."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.dataset.folder import DATASET_FILE, UNITS_FILE, summary_name
from beam_pipeline.dataset.summary import summary_json
from beam_pipeline.make_report import main
from beam_pipeline.records.png import decode_png
from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.report.figure import Table
from beam_pipeline.report.theme import SPLIT_COLOURS
from tests.audit.audited import CELLS, FIRST, TESTING, as_version, edit_json, make_dataset
from tests.dataset.test_old_folder import OLD
from tests.report.parsed_page import Page, check_page

HOSTILE = {
    "wooded": "<script>alert(1)</script>",
    "residential": "</title></style><img src=x onerror=alert(1)>",
    "water": '"><svg/onload=alert(1)>\u00a0&amp;',
    "road": '=HYPERLINK("http://x.test","y")',
    "building": "$\\frac{a}{b}$ 日本 ☃",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "set"
    make_dataset(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "set"))


def reported(folder: Path, *more: str, code: int = 0) -> Page:
    assert main([str(folder), *more]) == code
    return check_page((folder / "report.html").read_bytes())


def table(page: Page, caption: str) -> str:
    assert caption in page.texts["caption"]
    return page.text


def figures(folder: Path) -> dict[str, list[list[str]]]:
    return {
        path.stem: [*csv.reader(path.read_text().splitlines())]
        for path in sorted((folder / "report_figures").glob("*.csv"))
    }


def test_a_page_holds_all_that_it_shows(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    page = reported(folder)
    drawn = figures(folder)
    assert len(drawn) == 11
    assert {path.stem for path in (folder / "report_figures").glob("*.png")} == {*drawn}
    assert len([it for it in page.all("svg") if it.get("aria-hidden") != "true"]) == len(drawn)
    # Five cells, of which one has a dead letter and one a rejected year.
    assert "5 cells of 1.92 km with 14 Sentinel-2 images of 2019–2020 and labels of 5 categories" in page.text
    assert "It is not complete" in page.text
    assert "137,045" in page.texts["td"]
    assert len(page.all("img")) == 5 * 5 + 1  # two dates and three channels, and what is accepted
    assert "© OpenStreetMap contributors" in page.text
    assert "Contains modified Copernicus Sentinel data [2019, 2020]" in page.text
    assert drawn["cells_by_split"][0] == ["cell_id", "lon", "lat", "split", "continent", "labelled_share"]
    assert [row[0] for row in drawn["cells_by_split"][1:]] == [str(cell.cell_id) for cell in CELLS]
    left_out = {tuple(row[:2]): row[2] for row in drawn["left_out"][1:]}
    assert left_out["cell-year left out", "no_clear_date"] == "1"
    assert left_out["dead letter", "read_chips: throttled"] == "1"
    assert before.items() <= {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}.items()


def test_the_same_dataset_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / name / "page.html" for name in ("one", "two")]
    for output in outputs:
        assert main([str(folder), f"--output={output}"]) == 0
    one, two = (
        [it.read_bytes() for it in sorted(output.parent.rglob("*")) if it.is_file()] for output in outputs
    )
    assert len(one) == 23
    assert one == two


def test_colours_follow_the_scheme_and_can_be_seen(folder: Path) -> None:
    reported(folder, "--examples=0")
    html = (folder / "report.html").read_text()
    light, dark = re.search(
        r":root\{(.*?)\}\n@media \(prefers-color-scheme:dark\)\{:root\{(.*?)\}\}", html, re.S
    ).groups()
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([a-z]+):(#[0-9a-f]{6})", scheme))
        for text in ("ink", "muted", "link", "warn"):
            assert min(contrast(colours[text], colours[ground]) for ground in ("paper", "raised")) >= 4.5
        for drawn in (*(colours[name] for name in ("accent", "second", "third")), *SPLIT_COLOURS.values()):
            assert contrast(drawn, colours["paper"]) >= 3
    # Figures name no colour of one scheme; those of splits are for both.
    svg = re.findall(r"<svg.*?</svg>", html, re.S)
    assert not {it for one in svg for it in re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", one)} - {
        *SPLIT_COLOURS.values()
    }


def contrast(one: str, other: str) -> float:
    """Of two colours. Source: WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def rename(folder: Path, names: dict[str, str]) -> None:
    def change(content: dict[str, Any]) -> None:
        for channel in content["ontology"]["channels"]:
            channel["labels"] = {names[name]: value for name, value in channel["labels"].items()}
        content["software"]["<b>beam</b>"] = "<i>1</i>"
        content["licences"]["labels"] = "</li><script>"

    edit_json(folder / DATASET_FILE, change)


def test_names_of_a_dataset_stay_text(folder: Path) -> None:
    rename(folder, HOSTILE)
    odd = folder.rename(folder.with_name("<img src=x>&amp; 'set'"))
    page = reported(odd)
    assert page.texts["h1"] == ["Report of <img src=x>&amp; 'set'"]
    for name in HOSTILE.values():
        assert name in page.texts["th"] or name.replace("\u00a0", "\\xa0") in page.texts["th"], name
    assert "labels: </li><script>" in page.texts["li"]
    assert "<b>beam</b>" in page.texts["th"]
    assert page.texts["style"] == [page.texts["style"][0]]
    # As a spreadsheet opens it.
    names = [row[0] for row in figures(odd)["category_shares"]]
    assert "'" + HOSTILE["road"] in names


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_no_text_of_a_csv_is_a_formula(text: str) -> None:
    assert [*csv.reader(Table(("name",), [(text,)]).to_csv().splitlines())][1] == [f"'{text}"]
    assert Table(("n",), [(-1,), (-0.5,)]).to_csv() == "n\n-1\n-0.5\n"


def summary(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / summary_name(name)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(summary_json(content))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_text(""), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "cannot be read"),
        (lambda path: path.write_text("[" * 100_000), "cannot be read"),
        (lambda path: path.write_text("{}"), "cannot be read: name: Field required"),
        (lambda path: path.unlink(), "not"),
        (lambda path: path.write_text(path.with_name(f"{TESTING}.summary.json").read_text()), f"is of {TESTING}"),
        (lambda path: edit(path, fingerprint="0" * 64), "was made with other settings"),
        (lambda path: edit(path, sha256="0" * 64), "is of a shard that dataset.json does not list"),
        (lambda path: edit(path, contents=[]), "training has 4 cells there, and"),
    ],
)  # fmt: skip
def test_a_broken_summary_is_named_and_the_rest_goes_on(
    folder: Path, damage: Callable[[Path], object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder / summary_name(FIRST))
    if said.startswith("training"):
        edit(folder / summary_name(FIRST), cells_with_examples=0)
    page = reported(folder, code=1)
    assert said in page.text
    assert ("units of the plan: 1 whose summary cannot be used" in page.text) == (
        not said.startswith("training")
    )
    rows = figures(folder)["cells_by_split"][1:]
    assert [row[0] for row in rows] == ["3", "4", "5"]
    assert "1 things could not be used; the page names them" in capsys.readouterr().err


def edit(path: Path, **fields: Any) -> None:
    path.write_text(summary_json({**json.loads(path.read_text()), **fields}))


def test_a_cell_that_is_not_planned_is_not_counted(folder: Path) -> None:
    summary(folder, FIRST, lambda content: content["contents"][0].update(cell_id=99))
    assert "has cells that are not planned, or one twice" in reported(folder, code=1).text


def test_values_without_a_name_are_counted(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        del content["ontology"]["channels"][0]["labels"]["wooded"]

    edit_json(folder / DATASET_FILE, change)
    assert re.search(
        r"[0-9,]+ pixels hold values that the ontology does not name", reported(folder, code=1).text
    )


def test_a_damaged_shard_costs_its_examples_only(folder: Path) -> None:
    content = bytearray((folder / FIRST).read_bytes())
    content[5_000] ^= 1
    (folder / FIRST).write_bytes(content)
    page = reported(folder, code=1)
    assert "has a wrong CRC of its payload" in page.text
    assert any(title.startswith("Cell 5,") for title in page.texts["h3"])
    assert len(figures(folder)) == 11


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / DATASET_FILE).unlink(), "no build finished there"),
        (lambda folder: (folder / DATASET_FILE).write_text(""), "dataset.json"),
        (lambda folder: edit_json(folder / DATASET_FILE, lambda it: it.update(schema_version="2.0.0")), "1.x.x"),
        (lambda folder: edit_json(folder / DATASET_FILE, lambda it: it.update(licences=3)), "licences"),
        (lambda folder: (folder / UNITS_FILE).unlink(), "which says where the cells lie"),
        (lambda folder: (folder / UNITS_FILE).write_text("{}\n"), "line 1, is no unit"),
        (lambda folder: (folder / UNITS_FILE).write_bytes(b"\xff\n"), "line 1, is no unit"),
    ],
)  # fmt: skip
def test_what_is_no_dataset_is_refused_before_anything_is_written(
    folder: Path, change: Callable[[Path], object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder)
    assert main([str(folder)]) == 2
    assert said in capsys.readouterr().err
    assert not [*folder.glob("report*")]


def test_flags_are_checked_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag, said in (
        ("--examples=-1", "--examples must be 0 to 100"),
        ("--examples=101", "--examples must be 0 to 100"),
        ("--output=page.htm", "--output must end with .html"),
    ):
        assert main([str(folder), flag]) == 2
        assert said in capsys.readouterr().err
    (folder / "report.html").mkdir()
    assert main([str(folder)]) == 2
    assert "report.html" in capsys.readouterr().err


def test_a_version_before_1_1_says_what_could_not_be_drawn(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(OLD / "set", tmp_path / "set"))
    page = reported(folder)
    assert page.text.count("of a version before 1.1") >= 6
    assert {*figures(folder)} == {"cells_by_split", "known_shares", "category_shares", "left_out"}
    assert "planned cells of the units that were written" in page.text
    assert len(page.all("img")) == 6
    assert "1.0.0" in page.texts["td"]


def test_a_later_minor_version_is_read(folder: Path) -> None:
    major, minor, _ = map(int, SCHEMA_VERSION.split("."))
    later = f"{major}.{minor + 1}.0"
    as_version(
        folder,
        later,
        record=lambda message: None,
        summary=lambda content: content.update(later_field=1),
        described=lambda content: content.update(later_field=1),
    )
    page = reported(folder)
    assert later in page.texts["td"]
    assert len(figures(folder)) == 11


def test_refused_images_are_said_to_be_missing(folder: Path) -> None:
    for name in (FIRST, TESTING):
        summary(folder, name, lambda it: it.update(scene_rejections={"unusable": 1, "too_bright": 1}))
    assert reported(folder).text.count("--read_refused reads one again") == 2
    page = reported(folder, "--read_refused")
    assert page.text.count("there is no scene list of tile") == 2


def test_an_inner_host_of_a_scene_list_is_not_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary(folder, FIRST, lambda it: it.update(scene_rejections={"unusable": 1}))
    scene = {
        **dict.fromkeys(("platform", "baseline", "generated", "datastrip_start", "boa_decision"), ""),
        "item_id": "x",
        "tile": "56HLH",
        "datetime": "2019-01-01T00:00:00.000000Z",
        "cloud_cover": None,
        "assets": {"SCL": "http://127.0.0.1:9/scl.tif"},
        "boa_add_offset": 0,
        "earlier": [],
    }
    scenes = {"tile": "56HLH", "year": 2019, "scenes": [scene], "refused": [], "found": 1}
    (folder / "scenes").mkdir()
    (folder / "scenes" / "56HLH_2019.json").write_text(
        json.dumps({**scenes, "duplicates": 0, "dropped_cloud": 0, "is_signed": True})
    )
    assert "lies in an inner network: give --allow_own_network" in reported(folder, "--read_refused").text
    opened = reported(folder, "--read_refused", "--allow_own_network").text
    assert "inner network" not in opened
    assert "Could not be read again" in opened


def test_pictures_are_the_pixels_of_the_examples(folder: Path) -> None:
    import base64

    page = reported(folder, "--examples=1")
    label = next(it for it in page.all("img") if it["alt"].startswith("Label OSM_land_use"))
    pixels = decode_png(base64.b64decode(label["src"].partition(",")[2]))
    assert pixels.shape == (192, 192, 3)
    shares = re.findall(r"(wooded|residential|none|unlabelled) (\d+)%", label["alt"])
    assert len({*map(tuple, pixels.reshape(-1, 3).tolist())}) == len(shares)
