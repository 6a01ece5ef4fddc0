"""Embeddings: those of the net, kept as they are, made once."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.storage_failures import is_full
from model_tf.downstream_tasks import cache as caches
from model_tf.downstream_tasks import encoders
from model_tf.downstream_tasks.cache import EmbeddingCache, require_room
from model_tf.downstream_tasks.embedding import cache_of, embed
from model_tf.downstream_tasks.eurosat import read_eurosat
from model_tf.downstream_tasks.inputs import BANDS, Preparation, cropped, margin_of, survey
from model_tf.downstream_tasks.patch_set import Pixels
from model_tf.network.hrnet import embedding_model
from model_tf.network.layers import GroupNorm
from tests.failing_disk import small_disk
from tests.model_tf.downstream_tasks.made_tiles import made_chips, write_tiles
from tests.model_tf.training.training_runs import build_small

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return read_eurosat(str(write_tiles(tmp_path_factory.mktemp("tiles"), 3, ("x", "y"))), None)


@pytest.fixture(scope="module")
def preparation(patches):
    return Preparation(survey(patches).statistics(), 0)


@pytest.fixture(scope="module")
def net():
    return build_small("tiny", 3, seed=5)


def filled(folder, patches, encoder, preparation, grid=16, at_once=4) -> EmbeddingCache:
    cache = cache_of(str(folder), patches, encoder, preparation, grid)
    side, reach = patches.side + 2 * preparation.margin, int(np.abs(patches.offsets).max())
    of_images = encoders.Pooled(encoder, side, patches.crop, grid, reach)
    embed(patches, of_images, preparation, cache, at_once)
    return cache


def joined(encoder, images) -> np.ndarray:
    """(N, S, S, E): an encoder's embedding of every pixel."""
    return np.concatenate(encoder.maps(images), axis=-1)


def test_standardised_pixels_have_mean_0_and_variance_1(patches, preparation):
    images = preparation.images(patches.read(range(6)))
    for grid in images.values():
        np.testing.assert_allclose(grid.mean(axis=(0, 1, 2)), 0, atol=1e-4)
        np.testing.assert_allclose(grid.std(axis=(0, 1, 2)), 1, atol=1e-3)


def test_mirrored_context_surrounds_the_patch(patches, preparation):
    margin = margin_of(patches, "mirror")
    assert (margin, margin_of(patches, "none")) == (64, 0)
    plain = preparation.images(patches.read(range(2)))
    wide = dataclasses.replace(preparation, margin=margin).images(patches.read(range(2)))
    for name, side in (("gsd_10", 192), ("gsd_20", 96)):
        assert wide[name].shape[1:3] == (side, side)
        np.testing.assert_array_equal(cropped(wide[name], 64), plain[name])
        third = side // 3
        np.testing.assert_array_equal(wide[name][:, third - 1], wide[name][:, third])  # mirrored at the edge


def test_what_is_kept_is_the_nets_embedding(patches, preparation, net, tmp_path):
    encoder = encoders.of_net(net, "trained encoder", "key")
    cache = filled(tmp_path, patches, encoder, preparation)
    images = preparation.images(patches.read(range(6)))
    true = np.asarray(embedding_model(net)(images, training=False))
    np.testing.assert_allclose(cache.means(), true.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    blocks = true.reshape(6, 16, 4, 16, 4, -1).mean(axis=(2, 4))
    which = np.array([4, 0, 5])
    assert cache.grids(which).dtype == np.float16
    np.testing.assert_allclose(cache.grids(which), blocks[which], rtol=2e-3, atol=2e-3)
    assert cache.num_bytes == sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))


def own_patch(wide: np.ndarray, offset: tuple[int, int], crop: int) -> np.ndarray:
    """(crop, crop, c) of (S, S, c) at 10 m, around the place, by plain slices."""
    top, left = ((len(wide) - crop) // 2 + it for it in offset)
    return wide[top : top + crop, left : left + crop]


def at_10_m(pixels) -> np.ndarray:
    """(N, S, S, 10) of pixels at 10 and 20 m."""
    return np.concatenate([pixels.gsd_10, pixels.gsd_20.repeat(2, axis=1).repeat(2, axis=2)], axis=-1)


@pytest.mark.parametrize("grid", [16, 4])
def test_a_patch_around_its_place_is_cut_from_the_embedding_of_its_chip(grid, net, tmp_path):
    """All 49 offsets, in batches; against the whole embedding, cut and averaged by numpy."""
    chips = made_chips()
    preparation = Preparation(survey(chips).statistics(), 0)
    cache = filled(tmp_path, chips, encoders.of_net(net, "n", "key"), preparation, grid, 16)
    whole = np.asarray(embedding_model(net)(preparation.images(chips.read(range(49))), training=False))
    cut = np.stack([own_patch(it, patch.offset, 16) for it, patch in zip(whole, chips.patches, strict=True)])
    np.testing.assert_allclose(cache.means(), cut.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    blocks = cut.reshape(49, grid, 16 // grid, grid, 16 // grid, -1).mean(axis=(2, 4))
    np.testing.assert_allclose(cache.grids(np.arange(49)), blocks, rtol=2e-3, atol=2e-3)
    in_middle = whole[:, 4:20, 4:20].mean(axis=(1, 2))
    assert (np.abs(cache.means() - in_middle).max(axis=1) > 1e-4).sum() == 48


def test_statistics_are_of_the_pixels_around_the_place():
    """A pixel of 20 m of which a patch has a half counts by that half."""
    chips = made_chips()
    found = survey(chips)
    wide = at_10_m(chips.read(range(49)))
    cut = np.stack([own_patch(it, patch.offset, 16) for it, patch in zip(wide, chips.patches, strict=True)])
    np.testing.assert_allclose(found.mean, np.nanmean(cut, axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found.deviation, np.nanstd(cut, axis=(1, 2)), rtol=1e-4)
    assert found.without_data == np.isnan(cut[..., 0]).sum() > 0


def test_a_patch_without_data_is_named_though_its_chip_has_some():
    chips = made_chips(crop=4)

    def read(which: range) -> Pixels:
        pixels = chips.read(which)
        own_patch(pixels.gsd_10[40], chips.patches[40].offset, 4)[:] = np.nan
        return pixels

    with pytest.raises(InvalidInputError, match=r"^p40 must hold data"):
        survey(dataclasses.replace(chips, read=read))


@pytest.mark.parametrize("grid", [16, 4])
def test_raw_reflectance_around_the_place_is_that_of_the_bands(grid, tmp_path):
    chips = made_chips()
    preparation = Preparation(survey(chips).statistics(), 0)
    cache = filled(tmp_path, chips, encoders.raw_reflectance(), preparation, grid)
    mean = np.array([preparation.statistics.mean[band] for band in BANDS])
    deviation = np.sqrt([preparation.statistics.variance[band] for band in BANDS])
    wide = np.nan_to_num((at_10_m(chips.read(range(49))) - mean) / deviation, nan=0.0)
    cut = np.stack([own_patch(it, patch.offset, 16) for it, patch in zip(wide, chips.patches, strict=True)])
    np.testing.assert_allclose(cache.means(), cut.mean(axis=(1, 2)), atol=1e-5)
    blocks = cut.reshape(49, grid, 16 // grid, grid, 16 // grid, -1).mean(axis=(2, 4))
    np.testing.assert_allclose(cache.grids(np.arange(49)), blocks, rtol=1e-3, atol=1e-3)


def test_patches_in_the_middle_keep_their_caches_and_others_do_not_take_them(patches, preparation):
    """The text of the key is that by which embeddings of tiles as published have been kept."""
    encoder = encoders.raw_reflectance()
    statistics = sorted(preparation.statistics.to_json().items())

    def key(chosen) -> str:
        return cache_of("c", chosen, encoder, preparation, 16).key

    assert key(patches) == f"2 {patches.fingerprint} 64 raw 0 {statistics} 16"
    chips = made_chips()
    moved = tuple(dataclasses.replace(it, offset=it.offset[::-1]) for it in chips.patches)
    middle = tuple(dataclasses.replace(it, offset=(0, 0)) for it in chips.patches)
    sets = [dataclasses.replace(chips, patches=it) for it in (chips.patches, moved, middle)]
    assert len({key(it) for it in sets}) == 3
    assert len({it.crop_key for it in sets}) == 3
    assert key(sets[2]) == f"2 made 16 raw 0 {statistics} 16"


@pytest.mark.slow
def test_context_is_cropped_away(patches, preparation, net, tmp_path):
    wide = dataclasses.replace(preparation, margin=64)
    cache = filled(tmp_path, patches, encoders.of_net(net, "n", "key"), wide)
    true = np.asarray(embedding_model(net)(wide.images(patches.read(range(6))), training=False))
    np.testing.assert_allclose(cache.means(), true[:, 64:128, 64:128].mean(axis=(1, 2)), rtol=1e-4, atol=1e-4)


def test_raw_reflectance_is_that_of_the_bands(patches, preparation, tmp_path):
    cache = filled(tmp_path, patches, encoders.raw_reflectance(), preparation, grid=64)
    statistics = preparation.statistics
    mean = np.array([statistics.mean[band] for band in BANDS])
    deviation = np.sqrt([statistics.variance[band] for band in BANDS])
    np.testing.assert_allclose(cache.means(), (survey(patches).mean - mean) / deviation, atol=2e-4)
    standard = preparation.images(patches.read(range(6)))["gsd_10"]
    np.testing.assert_allclose(cache.grids(np.arange(6))[..., :4], standard, atol=2e-2)


@pytest.mark.slow
def test_random_weights_go_by_their_seed(patches, preparation, tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "build_hrnet", build_small)
    first, again, other = (
        filled(tmp_path / str(index), patches, encoders.random_net("tiny", 15, seed), preparation).means()
        for index, seed in enumerate((1, 1, 2))
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_what_is_there_is_not_embedded_again(patches, preparation, tmp_path, monkeypatch):
    """Neither after a kill: part by part, and a part that is cut short is made again."""
    monkeypatch.setattr(caches, "PART", 2)
    read: list[range] = []

    def counted(which: range):
        read.append(which)
        return patches.read(which)

    counting = dataclasses.replace(patches, read=counted)
    encoder = encoders.raw_reflectance()
    cache = filled(tmp_path, counting, encoder, preparation)
    whole = cache.means(), cache.grids(np.arange(6))
    read.clear()
    filled(tmp_path, counting, encoder, preparation)
    assert read == []
    files = sorted(path for path in tmp_path.rglob("*.npy"))
    assert len(files) == 6
    (tmp_path / files[0].parent / "mean-00001.npy").unlink()  # a kill between the two files of a part
    filled(tmp_path, counting, encoder, preparation)
    assert read == [range(2, 4)]
    cut = tmp_path / files[0].parent / "grid-00002.npy"
    cut.write_bytes(cut.read_bytes()[:-1])
    (tmp_path / files[0].parent / "mean-00000.npy").write_bytes(b"")
    filled(tmp_path, counting, encoder, preparation)
    assert read == [range(2, 4), range(0, 2), range(4, 6)]
    np.testing.assert_array_equal(cache.means(), whole[0])
    np.testing.assert_array_equal(cache.grids(np.arange(6)), whole[1])


def test_other_patches_nets_and_settings_have_other_caches(patches, preparation, net, tmp_path):
    encoder = encoders.of_net(net, "n", "key")
    wide = dataclasses.replace(preparation, margin=64)
    paths = {
        cache_of("c", *given).path
        for given in (
            (patches, encoder, preparation, 16),
            (patches, encoder, preparation, 8),
            (patches, encoder, wide, 16),
            (patches, dataclasses.replace(encoder, key="other"), preparation, 16),
            (dataclasses.replace(patches, fingerprint="other"), encoder, preparation, 16),
        )
    }
    assert len(paths) == 5


def test_a_disk_without_room_is_refused_before_anything_is_embedded(tmp_path, monkeypatch):
    cache = EmbeddingCache(str(tmp_path / "not" / "there"), "key", 27_000, 126, 16)
    assert cache.num_bytes == pytest.approx(27_000 * 126 * (2 * 16 * 16 + 4), rel=1e-4)
    monkeypatch.setattr(caches, "free_disk", lambda folder: 1_000_000_000)
    with pytest.raises(
        InvalidInputError, match=r"--cache must .* room for 1,755,\d{3},\d{3} bytes.*1,000,000,000 are free"
    ):
        require_room([cache])
    monkeypatch.setattr(caches, "free_disk", lambda folder: 2_000_000_000)
    require_room([cache])


def test_room_is_asked_for_what_is_missing_alone(patches, preparation, tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "PART", 2)
    cache = filled(tmp_path, patches, encoders.raw_reflectance(), preparation)
    (tmp_path / cache.path / "mean-00001.npy").unlink()
    part = sum(path.stat().st_size for path in (tmp_path / cache.path).glob("*-00000.npy"))
    monkeypatch.setattr(caches, "free_disk", lambda folder: part)
    require_room([cache])
    monkeypatch.setattr(caches, "free_disk", lambda folder: part - 1)
    with pytest.raises(InvalidInputError, match=f"room for {part:,} bytes"):
        require_room([cache])


def test_a_cache_that_cannot_be_written_is_refused(tmp_path):
    def refused(folder, said):
        with pytest.raises(InvalidInputError, match=said):
            require_room([EmbeddingCache(str(folder), "key", 10, 4, 1)])

    (tmp_path / "file").write_bytes(b"")
    refused(tmp_path / "file", "--cache must be a folder")
    refused(tmp_path / "file" / "in", "--cache must be a folder.*file is none")
    (tmp_path / "elsewhere").mkdir()
    cache = EmbeddingCache(str(tmp_path / "linked"), "key", 10, 4, 1)
    (tmp_path / "linked").mkdir()
    Path(cache.path).symlink_to(tmp_path / "elsewhere")
    refused(tmp_path / "linked", "is a link")
    with small_disk(tmp_path / "disk", "64k") as disk:
        disk.remount("ro")
        refused(disk.folder / "cache", "--cache must be a folder that can be written")


def test_a_disk_that_fills_up_leaves_whole_parts_and_the_same_goes_on(
    patches, preparation, tmp_path, monkeypatch
):
    monkeypatch.setattr(caches, "PART", 2)
    encoder = encoders.raw_reflectance()
    expected = filled(tmp_path / "roomy", patches, encoder, preparation)
    with small_disk(tmp_path / "disk", "28k") as disk:
        with pytest.raises(PermanentFault) as failed:
            filled(disk.folder, patches, encoder, preparation)
        assert is_full(failed.value)
        cache = cache_of(str(disk.folder), patches, encoder, preparation, 16)
        assert 0 < len(cache.missing()) < 3
        names = {path.name for path in Path(cache.path).iterdir()}
        assert all(name.endswith(".npy") for name in names)
        disk.remount("size=1m")
        filled(disk.folder, patches, encoder, preparation)
        np.testing.assert_array_equal(cache.means(), expected.means())
        np.testing.assert_array_equal(cache.grids(np.arange(6)), expected.grids(np.arange(6)))


@pytest.mark.parametrize("kind", ["mean", "grid"])
def test_a_part_of_another_form_is_made_again(kind, patches, preparation, tmp_path):
    cache = filled(tmp_path, patches, encoders.raw_reflectance(), preparation)
    path = Path(cache.path) / f"{kind}-00000.npy"
    whole, array = path.read_bytes(), np.load(path)
    wrong = (array.astype(np.float64), array[:-1], array[..., :-1], np.asfortranarray(array.astype(object)))
    for other in wrong:
        np.save(path, other, allow_pickle=True)
        assert cache.missing() == [0]
    for content in (b"", whole[:50], whole[:-1], b"no array" * 100, whole.replace(b"(6,", b"(9,")):
        path.write_bytes(content)
        assert cache.missing() == [0]
    with path.open("wb") as file:  # more than a number of bytes can be
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**70, 16)}
        np.lib.format.write_array_header_1_0(file, header)
    assert cache.missing() == [0]
    with path.open("wb") as file:
        np.savez(file, array)
    assert cache.missing() == [0]
    (Path(cache.path) / f".{'0' * 32}.part").write_bytes(b"of a kill")
    filled(tmp_path, patches, encoders.raw_reflectance(), preparation)
    assert path.read_bytes() == whole
    assert len([*Path(cache.path).iterdir()]) == 2


@pytest.mark.slow
def test_sigterm_while_embedding_and_the_same_again_are_one_run(tmp_path):
    """Killed when some parts are there, in a process of its own; against one that was not killed."""
    tiles = write_tiles(tmp_path / "tiles", 40, ("x", "y"))

    def begin(output: str) -> subprocess.Popen:
        given = ["--patches", str(tiles), "--output", str(tmp_path / output), "--task=classes"]
        given += ["--width=tiny", "--methods=knn", "--columns=2", "--seeds=1", "--at_once=2"]
        program = "import sys; from model_tf.downstream_tasks import cache; cache.PART = 2; "
        program += "from model_tf import downstream; sys.exit(downstream.main(sys.argv[1:]))"
        return subprocess.Popen([sys.executable, "-c", program, *given], cwd=ROOT)

    def embeddings(output: str) -> dict[str, bytes]:
        folder = tmp_path / output / "cache"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npy")}

    killed = begin("killed")
    while len(embeddings("killed")) < 10:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.terminate()
    assert killed.wait() == -signal.SIGTERM
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("mean-*.npy")}
    assert 4 <= len(kept) < 40  # of the first encoder's
    assert begin("killed").wait() == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert begin("whole").wait() == 0
    assert embeddings("killed") == embeddings("whole")
    tables = [json.loads((tmp_path / name / "table1.json").read_text()) for name in ("killed", "whole")]
    assert tables[0]["scores"] == tables[1]["scores"]


def test_an_embedding_that_is_no_number_is_named(patches, preparation, tmp_path):
    encoder = dataclasses.replace(
        encoders.raw_reflectance(), maps=lambda images: [images["gsd_10"] * float("nan")], width=4
    )
    with pytest.raises(InvalidInputError, match=r"embeddings must be finite.* for x/x_1\.tif"):
        filled(tmp_path, patches, encoder, preparation)


def test_a_link_in_the_cache_is_refused(patches, preparation, tmp_path):
    cache = filled(tmp_path, patches, encoders.raw_reflectance(), preparation)
    path = tmp_path / cache.path / "mean-00000.npy"
    shutil.move(path, tmp_path / "kept.npy")
    path.symlink_to(tmp_path / "kept.npy")
    with pytest.raises(Exception, match="is a link"):
        cache.missing()


@pytest.mark.slow
def test_norm_over_patches_is_that_of_one_large_image(patches, preparation, net):
    """Six patches, each normalised by the statistics of all, layer by layer; against the net's own norm, taught so."""
    images = preparation.images(patches.read(range(6)))
    encoder = encoders.of_net(net, "n", "key")
    of_sample = encoders.normalised_by(encoder, images, "all")
    ours = joined(of_sample, images)
    of_image = GroupNorm._group_mean

    def of_batch(layer: GroupNorm, per_channel):
        return np.mean(of_image(layer, per_channel), axis=0, keepdims=True).repeat(len(per_channel), axis=0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroupNorm, "_group_mean", of_batch)
        theirs = np.asarray(embedding_model(net)(images, training=False))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
    assert np.abs(ours - joined(encoder, images)).max() > 0.1
    # What is beside a patch in its batch does not matter, and the net itself is as before.
    alone = joined(of_sample, {name: image[:1] for name, image in images.items()})
    np.testing.assert_allclose(alone[0], ours[0], rtol=1e-3, atol=1e-3)
    assert (of_sample.name, of_sample.key) == ("n, norm over patches", "key norm all")
