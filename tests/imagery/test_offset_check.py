"""Whole scenes whose pixels contradict their item's flag."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.image import SCL
from beam_pipeline.imagery.offset_check import VISIBLE, OffsetCheck, Verdict, digest_of_look
from beam_pipeline.imagery.scenes import Scene, SceneNote
from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.runtime.parsing import MalformedError
from beam_pipeline.runtime.retries import RetryPolicy
from tests.imagery.made_cogs import FolderServer, write_cog, write_sparse
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("made"), "a", SIDE_10 // 5, 1000, "not_applied")


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """One whose 1000 were taken off."""
    return make_scene(tmp_path_factory.mktemp("wrong"), "wrong", SIDE_10 // 5, 0, "not_applied")


@pytest.mark.parametrize("decision", ["not_applied", "no_flag"])
def test_a_scene_is_refused_as_a_whole(made: Scene, wrong: Scene, reader: SceneReader, decision: str) -> None:
    note = OffsetCheck(reader).refusal(dataclasses.replace(wrong, boa_decision=decision))
    assert note is not None
    assert (note.item_id, note.reason) == ("wrong", "offset_contradicted")
    # A fifth of the scene is forest, a quarter is cloud: 0.2 / 0.75 of what is clear.
    assert "27%" in note.detail
    assert OffsetCheck(reader).refusal(dataclasses.replace(made, boa_decision=decision)) is None


def test_bare_soil_contradicts_nothing(tmp_path: Path, reader: SceneReader) -> None:
    assert OffsetCheck(reader).refusal(make_scene(tmp_path, "bare", 0, 0, "not_applied")) is None


@pytest.mark.parametrize("decision", ["host_applied", "baseline_before_0400"])
def test_no_pixels_of_other_scenes_are_read(reader: SceneReader, decision: str) -> None:
    scene = Scene("a", "33TUJ", "2022-06-01T10:00:00.000000Z", "", "", "04.00", "", None, {}, 0, decision)
    assert OffsetCheck(reader).refusal(scene) is None


def test_what_is_marked_as_no_data_is_no_evidence(wrong: Scene, tmp_path: Path, reader: SceneReader) -> None:
    """Here it is all that is dark."""
    dn = np.full((SIDE_10, SIDE_10), FOREST)
    there = np.broadcast_to(np.arange(SIDE_10)[:, None] >= SIDE_10 // 5, dn.shape)
    write_cog(tmp_path / "marked.tif", side_m=SIDE_M, pixels=dn, block=512, mask=there)
    marked = dataclasses.replace(wrong, assets={**wrong.assets, "B03": str(tmp_path / "marked.tif")})
    assert OffsetCheck(reader).refusal(marked) is None


def test_a_verdict_is_on_an_item_and_its_files(made: Scene) -> None:
    def digest(**changes: object) -> str:
        return digest_of_look(dataclasses.replace(made, **changes))  # type: ignore[arg-type]

    assert digest() == digest(boa_decision="no_flag", generated="2023-01-01T00:00:00.000000Z")
    secret = {band: f"{href}?sig=secret" for band, href in made.assets.items()}
    assert digest() == digest(assets=secret)
    assert digest() != digest(item_id="b")
    assert digest() != digest(assets={**made.assets, "B03": "/other/B03.tif"})


@pytest.mark.parametrize("text", ["", "{}", '{"item_id": "a"}', '{"item_id": "a", "refusal": "bad"}', "[1]"])
def test_what_is_no_verdict_says_so(text: str) -> None:
    with pytest.raises(MalformedError):
        Verdict.from_json(text)


@pytest.fixture
def scene(made: Scene, tmp_path: Path) -> Scene:
    """One that stays when it is looked at, to be broken."""
    (tmp_path / "a").mkdir()
    assets = {band: shutil.copy(href, tmp_path / "a") for band, href in made.assets.items()}
    return dataclasses.replace(made, assets=assets)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FolderServer]:
    with FolderServer(tmp_path) as running:
        yield running


def served(scene: Scene, server: FolderServer) -> Scene:
    assets = {band: server.url(f"{scene.item_id}/{band}.tif") for band in scene.assets}
    return dataclasses.replace(scene, assets=assets)


def only_note(scene: Scene, reader: SceneReader) -> SceneNote:
    note = OffsetCheck(reader).refusal(scene)
    assert note is not None
    assert note.item_id == scene.item_id
    return note


def end_of_overview(path: Path, level: int) -> int:
    with rasterio.open(path) as dataset, rasterio.open(path, overview_level=level) as overview:
        height, width = overview.block_shapes[0]
        return max(
            sum(
                int(dataset.get_tag_item(f"BLOCK_{kind}_{column}_{row}", "TIFF", bidx=1, ovr=level))
                for kind in ("OFFSET", "SIZE")
            )
            for row in range(-(-overview.height // height))
            for column in range(-(-overview.width // width))
        )


@pytest.mark.parametrize("band", ["B03", SCL])
def test_a_file_cut_short_costs_its_scene(
    scene: Scene, server: FolderServer, reader: SceneReader, band: str
) -> None:
    path = Path(scene.assets[band])
    with rasterio.open(path) as dataset:
        # 512 pixels of 100 m at most are asked for, and 480 are there.
        level = dataset.overviews(1).index({"B03": 8, SCL: 4}[band])
    end, whole = end_of_overview(path, level), path.read_bytes()
    assert end < len(whole) // 4
    for keep in (end - 1, end // 2):
        path.write_bytes(whole[:keep])
        for place in (scene, served(scene, server)):
            note = only_note(place, reader)
            assert note.reason == "corrupt"
            assert f"{end} bytes or more. Received: {keep}" in note.detail
    path.write_bytes(whole[:end])
    assert OffsetCheck(reader).refusal(scene) is None, "all that is looked at is there"


def test_an_answer_cut_short_costs_no_scene(scene: Scene, server: FolderServer, reader: SceneReader) -> None:
    path = Path(scene.assets["B03"])
    write_cog(path, "B03", side_m=SIDE_M, block=512)  # so textured that no overview comes with the header
    end = end_of_overview(path, 2)
    server.inject("a/B03.tif", Injected("status", 500, overlaps=(end - 1, end)))
    with pytest.raises(TransientFault, match="truncated"):
        OffsetCheck(reader).refusal(served(scene, server))
    server.heal()
    assert OffsetCheck(reader).refusal(served(scene, server)) is None


@pytest.mark.parametrize(("status", "reason"), [(404, "not_found"), (410, "not_found"), (401, "forbidden")])
def test_what_is_gone_costs_its_scene(
    scene: Scene, server: FolderServer, reader: SceneReader, status: int, reason: str
) -> None:
    server.inject("a/B03.tif", Injected("status", status))
    assert only_note(served(scene, server), reader).reason == reason
    gone = dataclasses.replace(scene, assets={**scene.assets, "B03": "/nowhere/none.tif"})
    assert only_note(gone, reader).reason == "not_found"


@pytest.mark.parametrize(
    ("status", "reason"), [(403, "forbidden"), (503, "throttled"), (502, "server_error")]
)
def test_what_cannot_be_reached_is_no_reason_to_go_on_without(
    scene: Scene, server: FolderServer, reader: SceneReader, status: int, reason: str
) -> None:
    server.inject("a/B03.tif", Injected("status", status))
    with pytest.raises(TransientFault, match=reason):
        OffsetCheck(reader).refusal(served(scene, server))


def test_what_is_off_the_grid_cannot_be_judged(scene: Scene, tmp_path: Path, reader: SceneReader) -> None:
    def with_green(path: Path) -> Scene:
        return dataclasses.replace(scene, assets={**scene.assets, "B03": str(path)})

    plain = np.full((SIDE_10, SIDE_10), SOIL)
    write_cog(tmp_path / "cropped.tif", side_m=SIDE_M - 1200, pixels=plain[120:, 120:], block=512)
    note = only_note(with_green(tmp_path / "cropped.tif"), reader)
    assert (note.reason, "differ in extent" in note.detail) == ("misaligned", True)
    write_cog(tmp_path / "coarse.tif", side_m=SIDE_M, pixels=plain[::2, ::2], pixel_m=20)
    assert only_note(with_green(tmp_path / "coarse.tif"), reader).reason == "misaligned"
    write_cog(tmp_path / "signed.tif", side_m=SIDE_M, dtype="int16", pixels=plain, block=512)
    assert only_note(with_green(tmp_path / "signed.tif"), reader).reason == "wrong_dtype"
    write_sparse(tmp_path / "huge.tif", 200_000, 16_384)
    assert only_note(with_green(tmp_path / "huge.tif"), reader).reason == "too_large"


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
