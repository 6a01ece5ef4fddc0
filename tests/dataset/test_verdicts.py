"""Verdicts on scenes are kept with a dataset, a file each."""

import concurrent.futures
import dataclasses
from pathlib import Path

import pytest

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.verdicts import FolderVerdicts, verdict_name
from beam_pipeline.imagery.offset_check import Verdict
from beam_pipeline.imagery.scenes import Scene, SceneNote
from beam_pipeline.jobs.storage import BeamFiles

SCENE = Scene(
    item_id="../../a item/of: strangers",
    tile="33TUJ",
    datetime="2022-06-01T10:00:00.000000Z",
    datastrip_start="",
    platform="sentinel-2a",
    baseline="04.00",
    generated="",
    cloud_cover=None,
    assets={"B02": "https://example.org/B02.tif"},
    boa_add_offset=-1000,
    boa_decision="no_flag",
)
OTHER = dataclasses.replace(SCENE, item_id="b")
REFUSED = Verdict(SCENE.item_id, SceneNote(SCENE.item_id, "offset_contradicted", "40% would be negative"))
USABLE = Verdict(OTHER.item_id, None)


@pytest.fixture
def folder(tmp_path: Path) -> DatasetFolder:
    return DatasetFolder(BeamFiles(), str(tmp_path / "set"))


def test_they_lie_beside_the_scene_lists(folder: DatasetFolder) -> None:
    kept = FolderVerdicts(folder)
    assert kept.find(SCENE) is None
    kept.keep(SCENE, REFUSED)
    kept.keep(OTHER, USABLE)
    assert (FolderVerdicts(folder).find(SCENE), FolderVerdicts(folder).find(OTHER)) == (REFUSED, USABLE)
    names = sorted(path.relative_to(folder.path).as_posix() for path in Path(folder.path).rglob("*.*"))
    assert names == sorted([verdict_name(SCENE), verdict_name(OTHER)])
    assert all(name.startswith("scenes/33TUJ_2022_offset_") for name in names)


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"item_id": "a', USABLE.to_json().encode()])
def test_what_is_damaged_is_judged_again(folder: DatasetFolder, damage: bytes) -> None:
    kept = FolderVerdicts(folder)
    kept.keep(SCENE, REFUSED)
    Path(folder.at(verdict_name(SCENE))).write_bytes(damage)
    assert kept.find(SCENE) is None
    kept.keep(SCENE, REFUSED)
    assert kept.find(SCENE) == REFUSED


def test_workers_may_judge_a_scene_at_once(folder: DatasetFolder) -> None:
    """Who looks meanwhile finds nothing or all of it, never a part."""
    scenes = [dataclasses.replace(SCENE, item_id=f"item-{number}") for number in range(5)]
    found = []

    def judge(number: int) -> None:
        scene = scenes[number % len(scenes)]
        kept = FolderVerdicts(folder)
        found.append(kept.find(scene))
        kept.keep(scene, Verdict(scene.item_id, None))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(judge, range(100)))
    assert {verdict.item_id for verdict in found if verdict} <= {scene.item_id for scene in scenes}
    assert sorted(path.name for path in Path(folder.at("scenes")).iterdir()) == sorted(
        verdict_name(scene).partition("/")[2] for scene in scenes
    )
