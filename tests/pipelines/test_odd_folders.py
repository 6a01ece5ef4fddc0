"""All programs of the pipeline with everything in a folder of an odd name, given as one would beside it."""

import os
import shutil
from pathlib import Path

import pytest

from beam_pipeline.build_dataset import main as build_dataset
from beam_pipeline.cells.table import read_cells_csv
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY
from beam_pipeline.preview import main as preview
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.select_cells import main as select_cells
from beam_pipeline.verify import main as verify
from tests.odd_names import ODD
from tests.pipelines.conftest import CELLS_PER_SHARD, Built


@pytest.fixture
def odd(whole_world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The odd folder, with a world in it whose files are odd too, relative to the current one."""
    monkeypatch.chdir(tmp_path)
    folder = Path(ODD)
    shutil.copytree(whole_world.cells_csv.parent, folder, copy_function=os.link)
    (folder / "map.osm.pbf").rename(folder / f"{ODD}.osm.pbf")
    (folder / "land_cover.tif").rename(folder / f"{ODD}.tif")
    for path in folder.glob("vnl_*.tif.gz"):
        path.rename(folder / f"{ODD}{path.name}")
    shutil.copy(DEFAULT_ONTOLOGY, folder / f"{ODD}.json")
    return folder


def test_a_dataset_is_built_verified_and_drawn(odd: Path, built: Built) -> None:
    rows = (odd / "spatial_cell_info.csv").read_text().splitlines(keepends=True)
    kept = {example.cell.cell_id for example in built.examples()[:2]}
    few = odd / f"{ODD}.csv"
    few.write_text(rows[0] + "".join(row for row in rows[1:] if int(row.partition(",")[0]) in kept))
    output = f"{odd}/{ODD}"
    inputs = {
        "cells": few,
        "stac_url": odd / "catalog.json",
        "osm": odd / f"{ODD}.osm.pbf",
        "ontology": odd / f"{ODD}.json",
        "years": "2021,2022",
        "cells_per_shard": CELLS_PER_SHARD,
        "output": output,
    }
    argv = [f"--{name}={value}" for name, value in inputs.items()]
    beside = odd / ODD.replace("[1]?*", "1x")  # which the name would match as a pattern
    beside.mkdir()
    (beside / "opensentinelmap-stray").touch()
    assert build_dataset(argv) == 0
    assert [path.name for path in beside.iterdir()] == ["opensentinelmap-stray"]
    theirs = built.records()
    mine = Built(Path(output), 0).records()
    assert mine == {key: record for key, record in theirs.items() if key[0] in kept}
    assert build_dataset(argv) == 0, "it goes on"
    assert verify(["--", output]) == 0
    Path(output, "opensentinelmap-stray").touch()
    assert verify(["--", output]) == 1, "what does not belong there is seen"
    assert preview([f"--output={odd}/{ODD}.png", "--rows=1", "--", output]) == 0
    assert (odd / f"{ODD}.png").read_bytes().startswith(b"\x89PNG")


def test_cells_are_selected(odd: Path, whole_world: SampleWorld) -> None:
    lights = sorted(odd.glob("*vnl_2021*.tif.gz"))
    argv = [
        f"--night_lights={','.join(map(str, lights))}",
        f"--land_cover={odd / ODD}.tif",
        f"--area={whole_world.region}",
        f"--expanded_dir={odd}/{ODD}",
        f"--output={odd}/{ODD} cells",
    ]
    assert select_cells(argv) == 0
    assert read_cells_csv(Path(f"{odd}/{ODD} cells/spatial_cell_info.csv"))
    # By a pattern too: the folder's name is a pattern of itself only where there is none of that name.
    assert select_cells([*argv, "--night_lights=./*/*vnl_2021*.gz"]) == 0
