"""The report of a built dataset, against its decoded examples; and as a job, which gives the same bytes."""

import csv
import html
import shutil
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.make_report import main
from beam_pipeline.maps.continents import continent_names, continents_of
from beam_pipeline.relabel import main as relabel
from tests.failing_disk import small_disk
from tests.pipelines.conftest import Built
from tests.report.parsed_page import check_page


def table(folder: Path, name: str) -> list[dict[str, str]]:
    return [*csv.DictReader((folder / f"{name}.csv").read_text().splitlines())]


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.fixture(scope="module")
def here(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that is made without a job."""
    output = tmp_path_factory.mktemp("here") / "page.html"
    assert main([str(built.folder), f"--output={output}", "--read_refused"]) == 0
    return output


def test_the_figures_are_those_of_the_examples(built: Built, here: Path) -> None:
    page = check_page(here.read_bytes())
    figures = here.with_name("page_figures")
    examples = built.examples()
    cells = {it.cell.cell_id: it for it in examples}
    placed = table(figures, "cells_by_split")
    assert [int(row["cell_id"]) for row in placed] == sorted(cells)
    for row in placed:
        example = cells[int(row["cell_id"])]
        cell = example.cell
        assert row["split"] == cell.split
        assert cell.min_lon < float(row["lon"]) < cell.max_lon
        assert cell.min_lat < float(row["lat"]) < cell.max_lat
        found = continents_of(np.array([float(row["lon"])]), np.array([float(row["lat"])]))
        assert row["continent"] == continent_names()[int(found[0])]
        assert float(row["labelled_share"]) == pytest.approx(
            (example.label < 254).any(axis=-1).mean(), abs=1e-8
        )
    labels = np.stack([it.label for it in cells.values()])
    for row in table(figures, "category_shares"):
        channels = [it["name"] for it in built.dataset["ontology"]["channels"]]
        channel = channels.index(row["channel"])
        value = built.dataset["ontology"]["channels"][channel]["labels"][row["category"]]
        held = labels[..., channel] == value
        assert number(row["pixels"]) == held.sum()
        assert number(row["cells"]) == held.any(axis=(1, 2)).sum()
    images = [image for it in examples for image in it.images]
    for month, row in enumerate(table(figures, "months"), 1):
        assert number(row["images"]) == sum(int(image.datetime[5:7]) == month for image in images)
    bad, _ = np.histogram([image.bad_percent for image in images], np.arange(101) / 100)
    assert [number(row["images"]) for row in table(figures, "bad_pixels")] == np.trim_zeros(bad, "b").tolist()
    left_out = {(row["what"], row["reason"]): number(row["count"]) for row in table(figures, "left_out")}
    for reason, count in built.dataset["scene_rejections"].items():
        assert left_out["scene passed over", reason] == count
    for reason, count in built.dataset["rejections"].items():
        assert left_out["cell-year left out", reason] == count
    assert f"{len(cells)} cells of 1.92 km with {len(images)} Sentinel-2 images" in page.text
    # Scenes of the sample world are at hand, so that refused ones could be read again.
    refused = [it["alt"] for it in page.all("img")][-3:]
    captions = page.texts["figcaption"][-3:]
    assert [it.partition(":")[0] for it in captions] == [
        "Accepted",
        "Refused by SCL",
        "Refused as too bright",
    ]
    assert number(captions[1].rpartition(" ")[2].rstrip("%")) > 25
    assert number(captions[2].rpartition(" ")[2].rstrip("%")) <= 25
    assert all("in true colour" in it for it in refused)
    for split in SPLITS:
        assert str(built.dataset["splits"][split]["cells"]) in page.texts["td"]


def test_a_job_writes_the_same_bytes(
    built: Built, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "page.html"
    flags = [f"--output={output}", "--read_refused", "--runner=FnApiRunner"]
    assert main([str(built.folder), *flags]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    one, other = ({it.name: it.read_bytes() for it in page.parent.rglob("*.*")} for page in (here, output))
    assert len(one) == 23
    assert one == other


@pytest.mark.slow
def test_a_full_disk_leaves_no_page_and_the_same_command_works_later(
    built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "200k") as disk:
        argv = [str(built.folder), f"--output={disk.folder / 'page.html'}"]
        assert main(argv) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: the storage cannot be used any more: ")
        assert not (disk.folder / "page.html").exists()
        disk.remount("size=50m")
        assert main(argv) == 0
        check_page((disk.folder / "page.html").read_bytes())


@pytest.mark.slow
def test_a_job_names_what_it_could_not_use(
    built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(built.folder, tmp_path / "set"))
    path = sorted((folder / "summaries").iterdir())[0]
    path.write_text("{")
    assert main([str(folder), "--examples=0", "--runner=FnApiRunner"]) == 1
    assert "1 things could not be used; the page names them" in capsys.readouterr().err
    page = check_page((folder / "report.html").read_bytes())
    assert path.name.removesuffix(".summary.json") in page.texts["th"]
    (folder / "plan" / "units.jsonl").write_text("{}\n")
    assert main([str(folder), "--runner=FnApiRunner"]) == 2
    assert "line 1, is no unit" in capsys.readouterr().err


@pytest.mark.slow
def test_a_relabelled_dataset_says_what_it_is_of(built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "strict"
    assert relabel([f"--dataset={built.folder}", f"--output={folder}", "--ontology=strict"]) == 0
    assert main([str(folder)]) == 0
    page = check_page((folder / "report.html").read_bytes())
    assert "relabelled from the dataset of fingerprint" in page.texts["th"]
    assert html.escape(page.texts["h1"][0]) == "Report of strict"
