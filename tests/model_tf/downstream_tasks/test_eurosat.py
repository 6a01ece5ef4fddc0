"""The published EuroSAT: what is read of it, and what is no tile of it."""

import math
import os
import re
import shutil

import numpy as np
import pytest
import rasterio

from beam_pipeline.places.eurosat_tile import BANDS, CLASSES
from beam_pipeline.records.statistics import INPUT_BANDS
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.downstream_tasks import eurosat
from model_tf.downstream_tasks.eurosat import read_eurosat
from model_tf.downstream_tasks.inputs import survey
from tests.model_tf.downstream_tasks.made_tiles import made_dn, write_tile, write_tiles
from tests.shared_data import shared


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Read only."""
    return write_tiles(tmp_path_factory.mktemp("tiles"), 2)


def test_every_tile_is_found_with_its_class_and_place(tiles):
    patches = read_eurosat(str(tiles))
    assert (patches.level, patches.side, patches.crop) == ("L1C", 64, 64)
    assert patches.classes == CLASSES
    assert patches.counts() == dict.fromkeys(CLASSES, 2)
    first = patches.patches[0]
    assert (first.name, first.class_index) == ("AnnualCrop/AnnualCrop_1.tif", 0)
    # 240,320 m east, 5,499,680 m north in zone 33, whose middle is 15 degrees east.
    assert first.longitude == pytest.approx(
        15 - 259_680 / 0.9996 / (111_320 * math.cos(math.radians(49.57))), abs=0.05
    )
    assert first.latitude == pytest.approx(49.6, abs=0.1)


def test_pixels_are_those_of_the_file(tiles):
    patches = read_eurosat(str(tiles))
    pixels = patches.read(range(2, 5))
    for row, index in enumerate(range(2, 5)):
        with rasterio.open(tiles / patches.patches[index].name) as tile:
            dn = tile.read().astype(np.float64)
        for place, band in enumerate(INPUT_BANDS["gsd_10"]):
            np.testing.assert_allclose(
                pixels.gsd_10[row, ..., place], dn[BANDS.index(band)] / 10_000, rtol=1e-6
            )
        for place, band in enumerate(INPUT_BANDS["gsd_20"]):
            quarters = [dn[BANDS.index(band), i::2, j::2] for i in (0, 1) for j in (0, 1)]
            np.testing.assert_allclose(
                pixels.gsd_20[row, ..., place], np.mean(quarters, axis=0) / 10_000, rtol=1e-5
            )


def test_b8a_is_the_last_band(tiles):
    assert (BANDS[-1], BANDS[9], len(BANDS)) == ("B8A", "B10", 13)


def test_tiles_are_in_the_order_of_their_numbers_and_other_content_is_another_set(tmp_path):
    folder = write_tiles(tmp_path / "a", 11, ("x", "y"))
    patches = read_eurosat(str(folder), None)
    numbers = [patch.name for patch in patches.patches[:11]]
    assert numbers == [f"x/x_{number}.tif" for number in range(1, 12)]
    assert patches.fingerprint == read_eurosat(str(folder), None).fingerprint
    write_tile(folder / "x" / "x_3.tif", made_dn(0, 99))
    assert patches.fingerprint != read_eurosat(str(folder), None).fingerprint


def test_pixels_without_data_are_no_reflectance_and_a_dark_band_is_one(tmp_path):
    folder = write_tiles(tmp_path, 1, ("x", "y"))
    dn = made_dn(0, 1)
    dn[:, :2, :4] = 0
    dn[1, 10, 10] = 0
    write_tile(folder / "x" / "x_1.tif", dn)
    patches = read_eurosat(str(folder), None)
    pixels = patches.read(range(1))
    assert np.isnan(pixels.gsd_10[0, :2, :4]).all()
    assert pixels.gsd_10[0, 10, 10, 0] == 0
    assert np.isnan(pixels.gsd_10).sum() == 2 * 4 * 4
    seen = survey(patches)
    assert seen.without_data == 8
    inside = np.ones((64, 64), bool)
    inside[:2, :4] = False
    assert seen.mean[0, 0] == pytest.approx(dn[1][inside].mean() / 10_000, rel=1e-4)
    assert seen.deviation[0, 0] == pytest.approx(dn[1][inside].std() / 10_000, rel=1e-4)
    write_tile(folder / "x" / "x_1.tif", np.zeros_like(dn))
    with pytest.raises(InvalidInputError, match=r"x/x_1\.tif must hold data"):
        survey(read_eurosat(str(folder), None))


def broken(tmp_path, **changes):
    """A folder whose tile x/x_1.tif is as said."""
    folder = write_tiles(tmp_path, 2, ("x", "y"))
    given = {"dn": made_dn(0, 1), **changes}
    write_tile(folder / "x" / "x_1.tif", given.pop("dn"), **given)
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dn": made_dn(0, 1)[:12]}, "count must be 13 bands. Received: 12"),
        ({"dn": made_dn(0, 1).astype(np.float32)}, "dtype must be uint16. Received: float32"),
        ({"dn": made_dn(0, 1)[:, :32]}, "width and height must be 64 x 64 pixels. Received: 64 x 32"),
        ({"epsg": None}, "crs must be given. Received: none"),
        ({"epsg": 4326, "pixel": 0.0001, "left": 12.0}, "crs must be in metres. Received: EPSG:4326"),
        ({"pixel": 20.0}, "pixel size must be 9 to 11 m. Received: 20 x 20"),
    ],
)
def test_a_tile_of_another_form_is_named_with_its_field(changes, said, tmp_path):
    with pytest.raises(InvalidInputError) as refused:
        read_eurosat(str(broken(tmp_path, **changes)), None)
    assert f"{tmp_path / 'x' / 'x_1.tif'} is no EuroSAT tile as published: {said}" in str(refused.value)


def test_what_is_no_geotiff_is_named(tmp_path):
    folder = write_tiles(tmp_path, 2, ("x", "y"))
    path = folder / "y" / "y_2.tif"
    whole = path.read_bytes()
    for content in (b"", b"no TIFF", whole[:100], b"<VRTDataset></VRTDataset>"):
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match=r"y_2\.tif is no GeoTIFF"):
            read_eurosat(str(folder), None)
    # A header that is whole and pixels that are not.
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInputError, match=r"y_2\.tif is (damaged|no GeoTIFF)"):
        read_eurosat(str(folder), None).read(range(3, 4))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InvalidInputError, match=r"y_2\.tif is no tile: .*a pipe"):
        read_eurosat(str(folder), None)
    path.unlink()
    path.symlink_to(folder / "y" / "y_1.tif")
    with pytest.raises(InvalidInputError, match=r"y_2\.tif is no tile: .*a link"):
        read_eurosat(str(folder), None)


def test_bands_in_another_order_are_refused(tmp_path):
    folder = write_tiles(tmp_path, 2, ("x", "y"))
    order = [*range(8), 12, *range(8, 12)]  # B8A after B08
    for name, index, number in [(n, i, k) for i, n in enumerate("xy") for k in (1, 2)]:
        write_tile(folder / name / f"{name}_{number}.tif", made_dn(index, number)[order])
    with pytest.raises(InvalidInputError, match="11th band is the darkest"):
        read_eurosat(str(folder), None)


def test_folders_that_are_not_of_eurosats_classes_are_refused(tiles, tmp_path):
    folder = shutil.copytree(tiles, tmp_path / "copy")
    (folder / "River").rename(folder / "Rivers")
    with pytest.raises(InvalidInputError, match=r"without River, and with Rivers\. Give --task classes"):
        read_eurosat(str(folder))
    assert "Rivers" in read_eurosat(str(folder), None).classes
    with pytest.raises(InvalidInputError, match="must be a folder on this machine"):
        read_eurosat(str(tmp_path / "none"))
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(InvalidInputError, match="at least two classes"):
        read_eurosat(str(tmp_path / "empty"), None)
    (tmp_path / "empty" / "b").mkdir()
    with pytest.raises(InvalidInputError, match=r"of whose 2 folders none has a \.tif"):
        read_eurosat(str(tmp_path / "empty"), None)
    write_tile(tmp_path / "empty" / "a" / "a_1.tif", made_dn(0, 1))
    with pytest.raises(InvalidInputError, match=r"of whose 2 folders one alone has a \.tif"):
        read_eurosat(str(tmp_path / "empty"), None)


def test_only_eurosats_own_classes_are_under_its_licence(tiles):
    assert "MIT" in " ".join(read_eurosat(str(tiles)).notices)
    of_others = " ".join(read_eurosat(str(tiles), None).notices)
    assert "MIT" not in of_others
    assert "whose owner says what may be done" in of_others
    assert "modified Copernicus Sentinel data" in of_others


def test_a_name_that_is_no_utf8_is_refused(tmp_path):
    folder = write_tiles(tmp_path / "tiles", 1, ("field", "town"))
    os.rename(os.fsencode(folder / "town"), os.fsencode(folder) + b"/\xff")
    with pytest.raises(InvalidInputError, match=r"no UTF-8. Rename .*\\udcff"):
        read_eurosat(str(folder), None)


def test_a_tile_without_one_whole_pixel_of_20_m_is_refused(tmp_path):
    """A pixel of 10 m in every 20 m has data: the bands of 20 m have none, and no mean."""
    folder = write_tiles(tmp_path / "tiles", 2, ("field", "town"))
    dn = made_dn(1, 1)
    dn[:, ::2] = 0
    write_tile(folder / "town" / "town_1.tif", dn)
    with pytest.raises(
        InvalidInputError, match=r"town/town_1\.tif must hold data. Received: no pixel of 20 m"
    ):
        survey(read_eurosat(str(folder), None))


def test_the_published_tiles_are_read():
    patches = read_eurosat(str(shared("eurosat_ms_l1c")))
    assert patches.counts() == dict.fromkeys(CLASSES, 20)
    places = np.array([(patch.longitude, patch.latitude) for patch in patches.patches])
    assert (
        places.min(axis=0) > (-25, 27)
    ).all()  # EuroSAT's 34 countries, the Azores and Canaries among them
    assert (places.max(axis=0) < (45, 72)).all()
    seen = survey(patches)
    sea = seen.mean[patches.labels == CLASSES.index("SeaLake")].mean(axis=0)
    forest = seen.mean[patches.labels == CLASSES.index("Forest")].mean(axis=0)
    assert (sea[3:] < 0.06).all()  # near infrared: B08 B05 B06 B07 B8A B11 B12
    assert forest[3] > 3 * forest[2]  # B08 over B04
    assert forest[7] > 0.9 * forest[3]  # B8A is like B08


@pytest.mark.parametrize(
    ("form", "is_plain"),
    [
        ({}, True),
        ({"bigtiff": "yes"}, True),
        ({"blockysize": 64}, True),
        ({"compress": "deflate"}, False),
        ({"interleave": "band"}, False),
        ({"endianness": "big"}, False),
        ({"tiled": True, "blockxsize": 32, "blockysize": 32}, False),
        ({"nbits": 14}, False),
    ],
)
def test_pixels_in_another_form_are_those_of_the_file(form, is_plain, tmp_path, monkeypatch):
    folder = write_tiles(tmp_path, 2, ("x", "y"))
    path = folder / "x" / "x_2.tif"
    with rasterio.open(path) as tile:
        profile, dn = tile.profile, tile.read()
    path.unlink()
    with rasterio.open(path, "w", **{**profile, **form}) as tile:
        tile.write(dn)
    patches = read_eurosat(str(folder), None)
    pixels = patches.read(range(1, 2))
    of_bands = dn[[BANDS.index(band) for band in INPUT_BANDS["gsd_10"]]]
    np.testing.assert_allclose(pixels.gsd_10[0], of_bands.transpose(1, 2, 0) / 10_000, rtol=1e-6)
    of_bands = dn[[BANDS.index(band) for band in INPUT_BANDS["gsd_20"]]].reshape(6, 32, 2, 32, 2)
    np.testing.assert_allclose(
        pixels.gsd_20[0], of_bands.mean(axis=(2, 4)).transpose(1, 2, 0) / 10_000, rtol=1e-6
    )
    decoded = []
    decode = eurosat._decode
    monkeypatch.setattr(eurosat, "_decode", lambda path, *rest: decoded.append(path) or decode(path, *rest))
    patches.read(range(1, 2))
    assert decoded == ([] if is_plain else [str(path)])  # pixels that lie there as they are need no GDAL


@pytest.mark.parametrize("form", [{}, {"compress": "deflate"}])
def test_a_tile_that_changes_while_it_is_read_is_named(form, tmp_path):
    folder = write_tiles(tmp_path / "tiles", 2, ("x", "y"))
    path = folder / "y" / "y_1.tif"
    with rasterio.open(path) as tile:
        profile, dn = tile.profile, tile.read()
    path.unlink()
    with rasterio.open(path, "w", **{**profile, **form}) as tile:
        tile.write(dn)
    patches, whole = read_eurosat(str(folder), None), path.read_bytes()

    def refused() -> None:
        with pytest.raises(InvalidInputError, match=re.escape(str(path))):
            patches.read(range(1, 4))

    for content in (b"", whole[:300], whole[: len(whole) // 2]):
        path.write_bytes(content)
        refused()
    write_tile(path, made_dn(1, 1)[:10])
    refused()
    path.unlink()
    path.symlink_to(folder / "y" / "y_2.tif")
    refused()
    path.unlink()
    refused()
