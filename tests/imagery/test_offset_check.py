"""Whole scenes whose pixels contradict their item's flag."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.faults import TransientFault
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.image import SCL
from beam_pipeline.imagery.offset_check import VISIBLE, refuse_contradicted
from beam_pipeline.imagery.scenes import Scene, SceneList
from beam_pipeline.retries import RetryPolicy
from tests.imagery.made_cogs import FolderServer, write_cog
from tests.imagery.range_server import Injected

SIDE_M = 48_000
SIDE_10 = SIDE_M // 10
FOREST, SOIL = 400, 1500


@pytest.fixture
def reader() -> Iterator[SceneReader]:
    with SceneReader(4, RetryPolicy(attempts=2, base_s=0.001), timeout_s=5) as opened:
        yield opened


def make_scene(folder: Path, item_id: str, forest_rows: int, added: int, decision: str) -> Scene:
    """A scene of soil with some rows of forest in the north, its south under cloud; `added` is left in its DN."""
    (folder / item_id).mkdir()
    dn = np.full((SIDE_10, SIDE_10), SOIL + added)
    dn[:forest_rows] = FOREST + added
    dn[-SIDE_10 // 4 :] = 300  # what lies under cloud is no evidence
    scl = np.full((SIDE_10 // 2, SIDE_10 // 2), 5)
    scl[: forest_rows // 2] = 4
    scl[-SIDE_10 // 8 :] = 9
    for band in VISIBLE:
        write_cog(folder / item_id / f"{band}.tif", band, side_m=SIDE_M, pixels=dn, block=512)
    write_cog(folder / item_id / "SCL.tif", SCL, side_m=SIDE_M, pixels=scl, block=512)
    assets = {band: str(folder / item_id / f"{band}.tif") for band in (*VISIBLE, SCL)}
    sensed = "2022-06-01T10:00:00.000000Z"
    return Scene(item_id, "33TUJ", sensed, "", "sentinel-2a", "04.00", "", None, assets, -1000, decision)


def listed(*scenes: Scene) -> SceneList:
    return SceneList("33TUJ", 2022, scenes, (), len(scenes), 0, 0)


def test_a_scene_is_refused_as_a_whole(tmp_path: Path, reader: SceneReader) -> None:
    wrong = make_scene(tmp_path, "wrong", SIDE_10 // 5, 0, "not_applied")
    right = make_scene(tmp_path, "right", SIDE_10 // 5, 1000, "not_applied")
    unchecked = make_scene(tmp_path, "unchecked", SIDE_10 // 5, 0, "no_flag")
    bare = make_scene(tmp_path, "bare", 0, 0, "not_applied")
    found = refuse_contradicted(listed(wrong, right, unchecked, bare), reader)
    assert [scene.item_id for scene in found.scenes] == ["right", "unchecked", "bare"]
    (note,) = found.refused
    assert (note.item_id, note.reason) == ("wrong", "offset_contradicted")
    # A fifth of the scene is forest, a quarter is cloud: 0.2 / 0.75 of what is clear.
    assert "27%" in note.detail
    assert found.found == 4


def test_no_pixels_of_other_scenes_are_read(tmp_path: Path, reader: SceneReader) -> None:
    scene = dataclasses.replace(make_scene(tmp_path, "a", 100, 0, "host_applied"), assets={})
    assert refuse_contradicted(listed(scene), reader).scenes == (scene,)


def test_what_cannot_be_read(tmp_path: Path, reader: SceneReader) -> None:
    scene = make_scene(tmp_path, "a", SIDE_10 // 5, 0, "not_applied")
    gone = dataclasses.replace(scene, assets={**scene.assets, "B03": str(tmp_path / "none.tif")})
    assert refuse_contradicted(listed(gone), reader).scenes == (gone,), "its chips will say so"
    with FolderServer(tmp_path) as server:
        server.inject("a/B03.tif", Injected("status", 503))
        remote = {band: server.url(f"a/{band}.tif") for band in scene.assets}
        with pytest.raises(TransientFault, match="throttled"):
            refuse_contradicted(listed(dataclasses.replace(scene, assets=remote)), reader)


def test_coarse_answers_are_nearest_pixels_of_one_shape(tmp_path: Path, reader: SceneReader) -> None:
    rng = np.random.default_rng(0)
    fine = np.kron(rng.integers(1, 4000, (60, 60)), np.ones((8, 8), np.int64))  # 80 m squares
    write_cog(tmp_path / "B02.tif", "B02", side_m=4800, pixels=fine, block=512)
    classes = np.kron(fine[::8, ::8] % 11 + 1, np.ones((4, 4)))
    write_cog(tmp_path / "SCL.tif", SCL, side_m=4800, pixels=classes, block=512)  # too small for overviews
    assets = {band: str(tmp_path / f"{band}.tif") for band in ("B02", SCL)}
    coarse = reader.read_coarse(assets, ("B02", SCL), 60)
    assert coarse["B02"].shape == coarse[SCL].shape == (60, 60)
    np.testing.assert_array_equal(coarse["B02"] % 11 + 1, coarse[SCL])
    whole = reader.read_coarse(assets, ("B02", SCL), 1000)
    assert whole["B02"].shape == whole[SCL].shape == (240, 240)
