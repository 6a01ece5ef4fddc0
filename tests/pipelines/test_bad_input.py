"""Bad input is found before launch, or costs exactly what it must and is told."""

import gc
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import osmium
import pystac
import pytest
import rasterio
from rasterio.transform import Affine

from beam_pipeline.build_dataset import main
from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import Built, build, flags

Copy = Callable[[], SampleWorld]


def used_items(built: Built) -> list[str]:
    return sorted({image.item_id for example in built.examples() for image in example.images})


def items_of(world: SampleWorld) -> dict[str, pystac.Item]:
    catalogue = pystac.Catalog.from_file(str(world.stac_catalog))
    return {item.id: item for item in catalogue.get_items(recursive=True)}


def asset(world: SampleWorld, item_id: str, key: str) -> Path:
    return Path(items_of(world)[item_id].assets[key].get_absolute_href())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--stac_url", "no/such/catalog.json"], "no such file"),
        (["--stac_url", "http://"], "needs a host"),
        (["--collection", "landsat-c2-l2"], "landsat-c2-l2"),
        (["--osm", "no/such.osm.pbf"], "--osm"),
        (["--years", "2020-2018"], "--years"),
        (["--cells", "no/such.csv"], "--cells cannot be read"),
        (["--max_cells", "3"], "--max_cells"),
        (["--area", "1,2,3,4"], "one of --cells"),
        (["--sample"], "--sample brings its own inputs"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_flags_are_checked_before_launch(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main([*flags(world, tmp_path / "set"), *more]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("training", "trainign"), "trainign"),
        (lambda text: "\n".join([*text.splitlines(), text.splitlines()[1]]), "line"),
        (lambda text: text.replace(",", ";"), "cell_id"),
        (lambda text: "", "cells.csv"),
    ],
)
def test_a_malformed_cells_file_is_named(
    world: SampleWorld,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[str], str],
    message: str,
) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(change(world.cells_csv.read_text()))
    assert main([*flags(world, tmp_path / "set"), "--cells", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_a_refused_command_leaves_no_temporary_folder(
    world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert main([*flags(world, tmp_path / "set"), "--years", "2020-2018"]) == 2
    gc.collect()  # which the end of the process does as well
    assert list(temporary.iterdir()) == []


def test_a_text_file_is_no_extract(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.osm.pbf"
    path.write_text("not an extract")
    assert main([*flags(world, tmp_path / "set"), "--osm", str(path)]) == 2
    assert "notes.osm.pbf" in capsys.readouterr().err


def test_unusable_scenes_give_way_to_the_next_date(built: Built, world_copy: Copy, tmp_path: Path) -> None:
    world = world_copy()
    missing, corrupt, without_scl, misaligned, elsewhere = used_items(built)[:5]
    asset(world, missing, "nir").unlink()
    path = asset(world, corrupt, "swir16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    item = items_of(world)[without_scl]
    content = json.loads(Path(item.self_href).read_text())
    del content["assets"]["scl"]
    Path(item.self_href).write_text(json.dumps(content))
    with rasterio.open(asset(world, misaligned, "red"), "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        raster.transform = raster.transform @ Affine.translation(0.5, 0)
    with rasterio.open(asset(world, elsewhere, "scl"), "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        raster.crs = rasterio.CRS.from_epsg(raster.crs.to_epsg() + 1)

    broken = build(world, tmp_path / "set")

    assert broken.code == 0
    assert broken.dead_letters == []
    noted = {note["item_id"]: note["reason"] for note in broken.dataset["unusable_scenes"]}
    contradicted = {item for item in noted if "_20221107_" in item}
    assert {noted.pop(item) for item in contradicted} == {"offset_contradicted"}
    assert noted == {
        missing: "not_found",
        corrupt: "corrupt",
        without_scl: "no_scl",
        misaligned: "misaligned",
        elsewhere: "wrong_crs",
    }
    assert str(tmp_path) not in (broken.folder / "dataset.json").read_text()
    assert not noted.keys() & set(used_items(broken))
    # Examples that never looked at them are what they were.
    untouched = 0
    after = {(example.cell.cell_id, example.year): example for example in broken.examples()}
    for example in built.examples():
        if not noted.keys() & {image.item_id for image in example.images}:
            assert after[example.cell.cell_id, example.year].images == example.images
            untouched += 1
    assert untouched


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_truncated_extract_is_refused_before_launch_and_the_advice_holds(
    world_copy: Copy, tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: float
) -> None:
    world = world_copy()
    content = world.osm_extract.read_bytes()
    few = tmp_path / "few.csv"
    few.write_text("".join(world.cells_csv.read_text().splitlines(keepends=True)[:3]))
    argv = [*flags(world, tmp_path / "set"), "--cells", str(few)]
    world.osm_extract.write_bytes(content[: int(len(content) * kept)])
    assert main(argv) == 2
    assert "Download it again, then give the same command" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
    world.osm_extract.write_bytes(content)
    assert main(argv) == 0
    # A folder that was begun with the whole file is not gone on with a part of it either.
    world.osm_extract.write_bytes(content[: int(len(content) * kept)])
    assert main(argv) == 2
    assert "Download it again" in capsys.readouterr().err


def test_an_unsorted_extract_costs_its_cells(world_copy: Copy, tmp_path: Path) -> None:
    """Ways before their nodes: read on, they would be ways without a place."""
    world = world_copy()
    few = tmp_path / "few.csv"
    few.write_text("".join(world.cells_csv.read_text().splitlines(keepends=True)[:3]))
    unsorted = tmp_path / "unsorted.osm.pbf"
    with osmium.io.Reader(str(world.osm_extract)) as reader:
        header = reader.header()
    with osmium.SimpleWriter(str(unsorted), header=header) as writer:
        for kind in (osmium.osm.WAY, osmium.osm.NODE | osmium.osm.RELATION):
            for entity in osmium.FileProcessor(str(world.osm_extract), kind):
                writer.add(entity)
    broken = build(world, tmp_path / "set", "--cells", str(few), "--osm", str(unsorted))
    assert broken.code == 1
    assert len(broken.dead_letters) == 2 * len(world.years)
    assert {letter["reason"] for letter in broken.dead_letters} == {"unsorted_extract"}
    assert all("osmium sort" in letter["detail"] for letter in broken.dead_letters)


def test_a_tile_year_without_items_is_loud(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = min(world.years) - 1
    empty = build(world, tmp_path / "set", "--years", str(other))
    assert empty.code == 1, "there is not a single example"
    tiles = {line.split(",")[1] for line in world.cells_csv.read_text().splitlines()[1:]}
    assert empty.dataset["tile_years_without_items"] == [
        {"tile": tile, "year": other} for tile in sorted(tiles)
    ]
    assert set(empty.dataset["rejections"]) == {"no_items"}
    assert all(content == b"" for content in empty.shards.values())
    assert "TILE-YEARS WITHOUT ANY ITEM" in capsys.readouterr().out


def test_an_unexpected_error_costs_its_unit_and_a_rerun_mends_it(
    built: Built,
    world: SampleWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from beam_pipeline.jobs.build import transforms

    victim = next(name for name, content in built.shards.items() if content)
    commit = transforms.commit_unit

    def full_disk(folder, name, payloads, summary):
        if name == victim:
            raise OSError(28, "No space left on device")
        return commit(folder, name, payloads, summary)

    monkeypatch.setattr(transforms, "commit_unit", full_disk)
    folder = tmp_path / "set"
    broken = build(world, folder)
    assert broken.code == 1
    assert broken.dataset["failed_units"] == [victim]
    (letter,) = broken.dead_letters
    assert (letter["unit"], letter["stage"]) == (victim, "write")
    assert "No space left" in letter["detail"]
    assert broken.shards.keys() == built.shards.keys() - {victim}

    # One letter stands for all cell-years of its unit, and the accounts add up to the plan.
    plan = [json.loads(line) for line in (folder / "plan/units.jsonl").read_text().splitlines()]
    planned = len(world.years) * sum(len(unit["cells"]) for unit in plan)
    (lost,) = [len(world.years) * len(unit["cells"]) for unit in plan if unit["name"] == victim]
    splits = broken.dataset["splits"].values()
    counts = {key: sum(split[key] for split in splits) for key in next(iter(splits))}
    fates = [counts[key] for key in ("examples", "rejected_cell_years", "failed_cell_years")]
    assert (counts["failed_cell_years"], counts["dead_letters"]) == (lost, 1)
    assert sum(fates) == counts["cell_years_planned"] == planned
    said = capsys.readouterr().out
    (total,) = [line.split() for line in said.splitlines() if line.startswith("total ")]
    assert total[-6:] == [str(it) for it in (1, planned, *fates, 0)]
    assert (
        f"{planned} cell years planned, {fates[0]} examples, {fates[1]} rejected, {lost} failed, 1 dead"
        in said
    )

    monkeypatch.undo()
    mended = build(world, folder)
    assert mended.code == 0
    assert mended.shards == built.shards
    assert (folder / "dataset.json").read_bytes() == (built.folder / "dataset.json").read_bytes()
