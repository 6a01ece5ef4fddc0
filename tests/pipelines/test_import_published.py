"""Published files become a dataset that all else takes, and what is exported comes back as it was."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.export_dataset import main as export_dataset
from beam_pipeline.import_published import main as import_published
from beam_pipeline.preview import main as preview
from beam_pipeline.relabel import main as relabel
from beam_pipeline.verify import main as verify
from model_tf.data.batches import make_dataset
from model_tf.data.info import load_info
from model_tf.evaluate import main as evaluate
from model_tf.train import main as train
from tests.exchange.published_files import (
    SPLITS,
    PublishedFolder,
    Square,
    image_arrays,
    image_file,
    label_pixels,
    npz,
    png,
    square,
)
from tests.pipelines.conftest import Built
from tests.shared_data import shared

CELLS = [square(tile, number) for tile in SPLITS for number in range(3)]
DATES = ("20180115", "20180704", "20190301")


def publish(folder: Path, cells: list[Square] = CELLS) -> PublishedFolder:
    published = PublishedFolder(folder)
    for cell in cells:
        published.add_cell(cell, *DATES)
    published.add_row(square("43QEU", 7).row)  # without a label
    return published


def run(published: Path, output: Path, *more: str) -> Built:
    argv = ["--published", str(published), "--output", str(output), "--cells_per_shard=2", *more]
    return Built(output, import_published(argv))


def state(folder: Path) -> dict[str, bytes]:
    """All files but run.json, which holds times."""
    return {
        str(it.relative_to(folder)): it.read_bytes()
        for it in folder.rglob("*")
        if it.is_file() and it.name != "run.json"
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> PublishedFolder:
    """Published files; tests that change some take a copy."""
    return publish(tmp_path_factory.mktemp("files") / "published")


@pytest.fixture(scope="module")
def imported(published: PublishedFolder, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A finished import. Tests that change files take a copy."""
    return run(published.folder, tmp_path_factory.mktemp("imported") / "set")


@pytest.fixture
def copied(published: PublishedFolder, tmp_path: Path) -> Path:
    """A copy of the published files, to be broken."""
    return Path(shutil.copytree(published.folder, tmp_path / "published"))


def test_files_become_a_dataset(
    published: PublishedFolder, imported: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported.code == 0
    examples = {(it.cell.cell_id, it.year): it for it in imported.examples()}
    assert set(examples) == {(cell.cell_id, year) for cell in CELLS for year in (2018, 2019)}
    for (cell_id, year), example in examples.items():
        assert np.array_equal(example.label, published.labels[cell_id])
        assert [it.date.replace("-", "") for it in example.images] == [
            date for date in DATES if date.startswith(str(year))
        ]
        assert example.cell.split == SPLITS[example.cell.tile]
    dataset = imported.dataset
    assert dataset["complete"]
    assert dataset["grid"]["name"] == dataset["fingerprint"]["grid"] == "opensentinelmap-published-2022"
    assert dataset["years"] == [2018, 2019]
    assert (dataset["imported"]["rows"], dataset["imported"]["rows_without_label"]) == (10, 1)
    assert dataset["imported"]["ontology"] == "default"
    assert sum(of_split["cells_inexact"] for of_split in dataset["splits"].values()) == 9
    licences = (imported.folder / "LICENSES.md").read_text()
    assert "OpenStreetMap contributors" in licences
    assert "Contains modified Copernicus Sentinel data [2018, 2019]" in licences
    capsys.readouterr()
    assert verify([str(imported.folder)]) == 0
    assert "nothing here tells whether they are right" in capsys.readouterr().out


def test_what_reads_datasets_reads_it(published: PublishedFolder, imported: Built, tmp_path: Path) -> None:
    assert preview([str(imported.folder), "--output", str(tmp_path / "preview.png"), "--rows=2"]) == 0
    info = load_info(str(imported.folder))
    for tile, split in SPLITS.items():
        batches = list(
            make_dataset(
                info, split, pairs_per_batch=1, statistics=info.statistics, with_ids=True
            ).as_numpy_iterator()
        )
        seen = {(int(ids["cell_id"][0]), int(ids["year"][0])): y for _, y, ids in batches}
        assert set(seen) == {
            (cell.cell_id, year) for cell in CELLS if cell.tile == tile for year in (2018, 2019)
        }
        for (cell_id, _), labels in seen.items():
            assert np.array_equal(labels[0], published.labels[cell_id])


def test_pytorch_reads_it(imported: Built) -> None:
    pytest.importorskip("torch")
    from beam_pipeline.readers.torch_dataset import ImagePairs

    pairs = ImagePairs(str(imported.folder), "training")
    assert len(pairs) == 6
    assert {int(pairs[index]["cell_id"][0]) for index in range(6)} == {
        cell.cell_id for cell in CELLS if cell.tile == "43QEU"
    }


def test_it_goes_on_and_gives_the_same_bytes(
    published: PublishedFolder, imported: Built, copied: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(imported.folder, tmp_path / "set"))
    gone = sorted(imported.shards)[1:3]
    for name in gone:
        (folder / name).unlink()
    (folder / "dataset.json").unlink()
    times = {name: (folder / name).stat().st_mtime_ns for name in imported.shards if name not in gone}
    again = run(copied, folder)  # the files may lie elsewhere
    assert again.code == 0
    assert state(folder) == state(imported.folder)
    assert {name: (folder / name).stat().st_mtime_ns for name in times} == times


@pytest.mark.slow  # starts processes
def test_two_processes_give_the_same_bytes(
    published: PublishedFolder, imported: Built, tmp_path: Path
) -> None:
    other = run(published.folder, tmp_path / "set", "--processes=2")
    assert other.code == 0
    assert state(other.folder) == state(imported.folder)


def test_other_files_are_another_dataset(
    imported: Built, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(imported.folder, tmp_path / "set"))
    (copied / image_file(CELLS[0], DATES[0])).unlink()
    assert run(copied, folder).code == 2
    assert "imported.images" in capsys.readouterr().err
    assert state(folder) == state(imported.folder)


def test_damage_costs_what_it_hits_and_mended_it_is_done_again(
    published: PublishedFolder,
    imported: Built,
    copied: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image, label = (
        image_file(CELLS[0], DATES[0]),
        f"osm_label_images_v10/{CELLS[4].tile}/{CELLS[4].cell_id}.png",
    )
    (copied / image).write_bytes(npz({**image_arrays(1), "scl": np.array({"a": 1})}))
    (copied / label).write_bytes(png(label_pixels(1)[:100]))
    broken = run(copied, tmp_path / "set")
    assert broken.code == 1
    said = capsys.readouterr().out
    assert f"{image}: other_arrays: scl must be (96, 96) uint8. Received: () object" in said
    assert "verified: no difference" in said
    assert len(broken.examples()) == 9 * 2 - 2
    assert broken.dataset["scene_rejections"] == {"other_arrays": 1}
    assert [(it["cell_id"], it["reason"]) for it in broken.dead_letters] == [
        (CELLS[4].cell_id, "other_label_image")
    ] * 2
    assert not broken.dataset["complete"]
    shutil.copy(published.folder / label, copied / label)
    mended = run(copied, tmp_path / "set", "--retry_dead_letters")
    assert mended.code == 0
    assert len(mended.examples()) == 9 * 2


def no_table(folder: Path) -> None:
    (folder / "spatial_cell_info.csv").unlink()


def garbled_table(folder: Path) -> None:
    (folder / "spatial_cell_info.csv").write_bytes(b"\x93NUMPY")


def no_text(folder: Path) -> None:
    (folder / "spatial_cell_info.csv").write_bytes(b"\xff\xfe\x00")


def no_labels(folder: Path) -> None:
    shutil.rmtree(folder / "osm_label_images_v10")


def no_images(folder: Path) -> None:
    shutil.rmtree(folder / "osm_sentinel_imagery")


def odd_ontology(folder: Path) -> None:
    (folder / "osm_categories.json").write_text('{"version": 10, "channels": [{"name": "OSM_land_use"}]}')


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (no_table, r"There is no .*spatial_cell_info.csv. Give the folder that holds spatial_cell_info.csv"),
        (nothing, "There is no .*spatial_cell_info.csv"),
        (garbled_table, "cannot be read|columns are missing"),
        (no_text, "--published cannot be read"),
        (no_labels, "There is no .*osm_label_images_v10/TILE/CELL.png"),
        (no_images, "There is no .*osm_sentinel_imagery/TILE/CELL/NAME_YYYYMMDD_MORE.npz"),
        (odd_ontology, "osm_categories.json does not say name, value and precedence of each label"),
    ],
)
def test_what_cannot_be_imported_is_refused_before_anything_is_written(
    copied: Path,
    tmp_path: Path,
    broken: Callable[[Path], None],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken(copied)
    assert run(copied, tmp_path / "set").code == 2
    assert re.search(says, capsys.readouterr().err)
    assert not (tmp_path / "set").exists()


def test_the_published_folder_is_never_written_into(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(copied)
    assert run(copied, copied).code == 2
    assert "--output is the folder of --published" in capsys.readouterr().err
    assert state(copied) == before


def test_a_dry_run_writes_nothing(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(copied, tmp_path / "set", "--dry_run").code == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["cells", "in", "the", "plan", "9"] in lines
    assert ["years", "2018", "2019"] in lines
    assert not (tmp_path / "set").exists()


THEIRS = {
    "version": 10,
    "channels": [
        {
            "name": "OSM_land_use",
            "labels": {
                "wooded": {"value": 0, "precedence": 2, "natural": {"wood": {}}},
                "agricultural": {"value": 1, "precedence": 5},
                "residential": {"value": 2, "precedence": 50},
                "other_natural": {"value": 11, "precedence": 4},
            },
        },
        {
            "name": "OSM_water_and_roads",
            "labels": {"water": {"value": 12, "precedence": 96}, "road": {"value": 13, "precedence": 97}},
        },
        {"name": "buildings", "labels": {"building": {"value": 14, "precedence": 100, "building": "*"}}},
    ],
}


def test_an_ontology_in_another_form_keeps_names_and_values(copied: Path, tmp_path: Path) -> None:
    (copied / "osm_categories.json").write_text(json.dumps(THEIRS))
    done = run(copied, tmp_path / "set")
    assert done.code == 0
    assert done.dataset["imported"]["ontology"] == "reduced"
    assert [channel["labels"] for channel in done.dataset["ontology"]["channels"]] == [
        {name: label["value"] for name, label in channel["labels"].items()} for channel in THEIRS["channels"]
    ]


def test_no_map_is_laid_over_it(
    built: Built, imported: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(built.folder / "features")
    assert relabel([f"--dataset={imported.folder}", f"--osm={store}", f"--output={tmp_path / 'set'}"]) == 2
    assert "cells of the grid 'opensentinelmap-published-2022'" in capsys.readouterr().err


def test_what_is_exported_comes_back(built: Built, tmp_path: Path) -> None:
    """Pixels as reflectance, labels, dates and bad pixels are equal, of every cell with a pair."""
    out = tmp_path / "published"
    assert export_dataset([f"--dataset={built.folder}", "--format=published", f"--output={out}"]) == 0
    back = run(out, tmp_path / "set")
    assert back.code == 0
    assert back.dataset["imported"]["ontology"] == "given"
    assert back.dataset["ontology"]["sha256"] == built.dataset["ontology"]["sha256"]
    theirs = {(it.cell.cell_id, it.year): it for it in back.examples()}
    ours = {(it.cell.cell_id, it.year): it for it in built.examples()}
    exported = {path.parent.name for path in out.glob("osm_sentinel_imagery/*/*/*.npz")}
    assert set(theirs) == {key for key in ours if str(key[0]) in exported}
    assert theirs
    for key, example in theirs.items():
        assert np.array_equal(example.label, ours[key].label)
        assert (example.cell.tile, example.cell.split) == (ours[key].cell.tile, ours[key].cell.split)
        for image, other in zip(example.images, ours[key].images, strict=True):
            assert (image.date, image.bad_percent) == (other.date, other.bad_percent)
            assert np.array_equal(image.scl, other.scl)
            for grid in ("gsd_10", "gsd_20", "gsd_60"):
                assert np.array_equal(values(image, grid), values(other, grid))


def values(image: Any, grid: str) -> Any:
    return getattr(image, grid).astype(np.int64) + image.boa_add_offset


@pytest.mark.slow
def test_published_files_are_trained_on_and_scored(
    published: PublishedFolder, imported: Built, tmp_path: Path
) -> None:
    """From published files to scores, with the settings of the paper but for the number of epochs and the batch."""
    out = tmp_path / "run"
    settings = ["--preset=paper", "--epochs=1", "--warmup_epochs=0", "--pairs_per_batch=1", f"--output={out}"]
    assert train([f"--data={imported.folder}", *settings]) == 0
    assert evaluate([f"--run={out}", f"--data={imported.folder}", "--checkpoint=last"]) == 0
    scores = json.loads((out / "evaluation" / "scores.json").read_text())
    assert scores["data"]["cells"] == 3
    assert 0 <= scores["categories"]["road"]["auc"] <= 1


REAL = {
    "11SQA": (103956272, "103956272", ["S2A_11SQA_20200415_0_L2A"], "training"),
    "02LMK": (20282655, "20282655", ["S2A_2LMK_20170224_0_L2A", "S2A_2LMK_20170326_0_L2A"], "validation"),
    "60HXD": (20282656, "20282655", ["S2B_60HXD_20170910_0_L2A"], "testing"),
}
"""Cells of real files, with the name of their label: of the others the label is of a cell whose tile is not known."""


@pytest.mark.slow
def test_real_files_are_imported_trained_on_and_scored(tmp_path: Path) -> None:
    source = shared("opensentinelmap_published")
    folder = PublishedFolder(tmp_path / "published")
    labels = {path.stem: path for path in source.glob("osm_label_images_v10/*/*.png")}
    for tile, (cell_id, label, names, split) in REAL.items():
        folder.add_row([cell_id, *square(tile).row[1:-1], split])
        folder.put(f"osm_label_images_v10/{tile}/{cell_id}.png", labels[label].read_bytes())
        for name in names:
            content = (source / "osm_sentinel_imagery" / tile / f"{name}.npz").read_bytes()
            folder.put(f"osm_sentinel_imagery/{tile}/{cell_id}/{name}.npz", content)
    done = run(folder.folder, tmp_path / "set")
    assert done.code == 0
    assert {(it.cell.tile, it.year, len(it.images)) for it in done.examples()} == {
        *(("11SQA", 2020, 1), ("02LMK", 2017, 2), ("60HXD", 2017, 1))
    }
    for example in done.examples():
        for image in example.images:
            with np.load(
                source / "osm_sentinel_imagery" / example.cell.tile / f"{image.item_id}.npz"
            ) as real:
                assert image.boa_add_offset == 0
                for grid in ("gsd_10", "gsd_20", "gsd_60"):
                    dn = np.round(real[grid].astype(np.float64) * 10_000)
                    assert np.array_equal(getattr(image, grid), dn)
                assert np.array_equal(image.scl, real["scl"])
                assert image.bad_percent == real["bad_percent"] == np.isin(real["scl"], (8, 9)).mean()
    out = tmp_path / "run"
    assert train([f"--data={done.folder}", "--preset=tiny", "--epochs=1", f"--output={out}"]) == 0
    assert evaluate([f"--run={out}", f"--data={done.folder}", "--checkpoint=last"]) == 0
