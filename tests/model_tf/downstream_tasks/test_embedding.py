"""Embeddings: those of the net, kept as they are, made once."""

import dataclasses
import shutil

import numpy as np
import pytest

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.downstream_tasks import cache as caches
from model_tf.downstream_tasks import encoders
from model_tf.downstream_tasks.cache import EmbeddingCache, require_room
from model_tf.downstream_tasks.embedding import cache_of, embed
from model_tf.downstream_tasks.eurosat import read_eurosat
from model_tf.downstream_tasks.inputs import BANDS, Preparation, cropped, margin_of, survey
from model_tf.network.hrnet import embedding_model
from model_tf.network.layers import GroupNorm
from tests.model_tf.downstream_tasks.made_tiles import write_tiles
from tests.model_tf.training.training_runs import build_small


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
    of_images = encoders.Pooled(encoder, patches.side + 2 * preparation.margin, patches.crop, grid)
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
