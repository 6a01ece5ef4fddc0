"""No pixel is taken for data that is none, however a file says so."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import rasterio
from rasterio.windows import from_bounds

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.chip_image import make_image, nodata_pixels
from beam_pipeline.imagery.chips import FilterSettings, select_images
from beam_pipeline.imagery.cog import ChipBands, SceneReader
from beam_pipeline.imagery.image import BANDS, BANDS_10, BANDS_20, SCL, Image
from beam_pipeline.imagery.scenes import Scene
from beam_pipeline.runtime.faults import Fault, PermanentFault
from beam_pipeline.runtime.retries import RetryPolicy
from tests.imagery.made_cogs import EPSG, LEFT, TOP, FolderServer, write_cog
from tests.imagery.range_server import Injected

SIDE_M = 5760
CHIPS = [ChipWindow(EPSG, LEFT + 1920, TOP - 3840), ChipWindow(EPSG, LEFT + 3840, TOP - SIDE_M)]
LENIENT = FilterSettings(allow_nodata=True)


@pytest.fixture
def reader() -> Iterator[SceneReader]:
    with SceneReader(2, RetryPolicy(attempts=2, base_s=0.001), timeout_s=5) as opened:
        yield opened


def pixels_read(reader: SceneReader, href: object, band: str = "B02") -> list[np.ndarray]:
    answers = reader.read({band: str(href)}, (band,), CHIPS)
    assert not any(isinstance(answer, Fault) for answer in answers), answers
    return [cast(ChipBands, answer)[band] for answer in answers]


def write_marked(path: Path, band: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Writes an asset whose north-west, a part of the first chip, is no data; returns its pixels and where."""
    side = SIDE_M // (20 if band == SCL else 10)
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 12 if band == SCL else 4000, (side, side))
    marked = np.add.outer(np.arange(side), np.arange(side)) < side * 0.9
    none = 255 if band == SCL else 65535
    if kind == "number":
        write_cog(path, band, side_m=SIDE_M, pixels=np.where(marked, none, pixels), nodata=none)
    else:
        write_cog(path, band, side_m=SIDE_M, pixels=pixels, mask=~marked)
    return pixels, marked


def part_of(path: Path, whole: np.ndarray, chip: ChipWindow) -> np.ndarray:
    with rasterio.open(path) as source:
        window = from_bounds(*chip.bounds, source.transform)
    return whole[window.round().toslices()]


@pytest.mark.parametrize("kind", ["number", "mask"])
@pytest.mark.parametrize("band", ["B02", SCL])
def test_what_a_file_marks_is_zero_and_masked(
    tmp_path: Path, reader: SceneReader, kind: str, band: str
) -> None:
    path = tmp_path / "a.tif"
    pixels, marked = write_marked(path, band, kind)
    with FolderServer(tmp_path) as server:
        for href in (path, server.url("a.tif")):
            first, second = pixels_read(reader, href, band)
            assert not np.ma.isMaskedArray(second)
            np.testing.assert_array_equal(second, part_of(path, pixels, CHIPS[1]))
            there = part_of(path, marked, CHIPS[0])
            assert there.any()
            assert not there.all()
            np.testing.assert_array_equal(np.ma.getmaskarray(first), there)
            expected = np.where(there, 0, part_of(path, pixels, CHIPS[0]))
            np.testing.assert_array_equal(np.ma.getdata(first), expected)
            coarse = reader.read_coarse({band: str(href)}, (band,), 48)[band]
            assert coarse.shape == (48, 48)
            assert np.ma.getmaskarray(coarse)[:20, :20].all()
            assert not np.ma.getdata(coarse)[:20, :20].any()
            assert not np.ma.getmaskarray(coarse)[25:, 25:].any()
            assert np.ma.getdata(coarse)[25:, 25:].all()


@pytest.mark.parametrize(
    "fault", [Injected("page", 200, 1), Injected("truncate", times=1), Injected("reset", times=1)]
)
def test_a_mask_is_found_when_the_header_came_badly(
    tmp_path: Path, reader: SceneReader, fault: Injected
) -> None:
    write_marked(tmp_path / "a.tif", "B02", "mask")
    with FolderServer(tmp_path) as server:
        server.inject("a.tif", fault)
        first, _ = pixels_read(reader, server.url("a.tif"))
    assert np.ma.is_masked(first)


def test_a_file_without_a_mask_costs_no_more(tmp_path: Path, reader: SceneReader) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 4000, (SIDE_M // 10,) * 2)
    for name, nodata in (("none.tif", None), ("zero.tif", 0), ("most.tif", 65535)):
        write_cog(tmp_path / name, side_m=SIDE_M, pixels=pixels, nodata=nodata)
    asked = {}
    with FolderServer(tmp_path) as server:
        for name in ("none.tif", "zero.tif", "most.tif"):
            pixels_read(reader, server.url(name))
            asked[name] = [request.method for request in server.requests if request.path.endswith(name)]
    assert asked["none.tif"] == asked["zero.tif"] == asked["most.tif"]
    # The file's size, its header, and at most the four blocks of each chip.
    assert len(asked["none.tif"]) <= 2 + 4 * len(CHIPS)


@pytest.mark.parametrize(
    ("band", "changes", "reason"),
    [
        ("B02", {"dtype": "int16"}, "wrong_dtype"),
        ("B02", {"dtype": "float32", "scale": (0.0001, 0.0)}, "wrong_dtype"),
        ("B02", {"dtype": "uint8"}, "wrong_dtype"),
        (SCL, {"dtype": "uint16"}, "wrong_dtype"),
        ("B02", {"count": 2}, "wrong_bands"),  # the second may be one of alpha
        ("B02", {"scale": (0.00002, 0.0)}, "wrong_scale"),
        ("B02", {"scale": (0.0001, -0.2)}, "wrong_scale"),
        ("B02", {"scale": (1.0, -1000.0)}, "wrong_scale"),
        ("B02", {"scale": (0.001, 0.0)}, "wrong_scale"),
        (SCL, {"scale": (0.0001, 0.0)}, "wrong_scale"),
        ("B02", {"scale": (1.0, 0.0)}, None),
        ("B02", {"scale": (0.0001, 0.0)}, None),
        ("B02", {"scale": (0.0001, -0.1)}, None),
        ("B02", {"scale": (float(np.float32(0.0001)), float(np.float32(-0.1)))}, None),
    ],
)
def test_numbers_that_are_no_dn_are_refused(
    tmp_path: Path, reader: SceneReader, band: str, changes: dict, reason: str | None
) -> None:
    path = tmp_path / "a.tif"
    write_cog(path, band, side_m=SIDE_M, **changes)
    answers = reader.read({band: str(path)}, (band,), CHIPS)
    if reason is None:
        assert not any(isinstance(answer, Fault) for answer in answers)
        return
    for answer in answers:
        assert isinstance(answer, PermanentFault)
        assert answer.reason == reason
        assert "Received: " in answer.detail
    with pytest.raises(PermanentFault, match=reason):
        reader.read_coarse({band: str(path)}, (band,), 48)


SCENE = Scene("a", "33TUJ", "2020-03-01T10:00:00.000000Z", "", "", "02.14", "", None, {}, 0, "host_applied")


def bands_of(dn: int) -> dict[str, np.ndarray]:
    sides = {band: 192 if band in BANDS_10 else 96 if band in BANDS_20 else 32 for band in BANDS}
    return {band: np.full((side, side), dn, np.uint16) for band, side in sides.items()}


class Shows:
    """A reader of one chip of a scene."""

    def __init__(self, bands: Mapping[str, np.ndarray], scl: np.ndarray) -> None:
        self._bands = {**bands, SCL: scl}

    def read(self, assets: object, bands: Sequence[str], chips: Sequence[object]) -> list[ChipBands]:
        return [{band: self._bands[band] for band in bands} for _ in chips]


def result(
    bands: Mapping[str, np.ndarray], filters: FilterSettings, scl: np.ndarray | None = None
) -> Image | dict[str, int]:
    """The image of a chip that SCL says is clear, or why there is none."""
    scl = np.full((96, 96), 5, np.uint8) if scl is None else scl
    shows = cast(SceneReader, Shows(bands, scl))
    (answer,) = select_images(shows, [SCENE], CHIPS[:1], filters)
    return answer.images[0] if answer.images else dict(answer.rejections)


@pytest.mark.parametrize("dn", [0, 1])
def test_what_has_no_dn_beyond_1_is_no_data(dn: int) -> None:
    bands = bands_of(700)
    for band, pixels in bands.items():
        pixels[: len(pixels) // 2] = dn if band != "B04" or not dn else 0
    assert result(bands, FilterSettings()) == {"nodata": 1}
    image = result(bands, LENIENT)
    assert isinstance(image, Image)
    for pixels in (image.gsd_10, image.gsd_20, image.gsd_60):
        half = len(pixels) // 2
        assert not pixels[:half].any()
        assert (pixels[half:] == 700).all()
    # One band with more is enough: it is dark water, and stays as it is.
    bands["B11"][:48] = 2
    image = result(bands, FilterSettings())
    assert isinstance(image, Image)
    assert (image.gsd_10[:96, :, 3] == dn).all()


def test_a_pixel_of_10_m_is_no_data_without_those_around_it() -> None:
    bands = bands_of(1)
    for band in BANDS_10:
        bands[band][:] = 700
        bands[band][0, 0] = 1
    image = result(bands, LENIENT)
    assert isinstance(image, Image)
    assert nodata_pixels(image).sum() == 1
    assert not image.gsd_60[0, 0].any()
    assert (image.gsd_60[0, 1] == 1).all()


@pytest.mark.parametrize(("band", "row"), [("B02", 7), ("B11", 3), ("B09", 1)])
def test_what_one_band_marks_is_no_data_in_all(band: str, row: int) -> None:
    """Whatever the others have there; in a band alone its 0 would pass for dark water."""
    bands = bands_of(700)
    mask = np.zeros(bands[band].shape, bool)
    mask[row, row] = True
    bands[band] = np.ma.MaskedArray(np.where(mask, 0, bands[band]), mask)
    assert result(bands, FilterSettings()) == {"nodata": 1}
    image = result(bands, LENIENT)
    assert isinstance(image, Image)
    for pixels in (image.gsd_10, image.gsd_20, image.gsd_60):
        step = len(pixels) // 32
        expected = np.full(pixels.shape, 700)
        expected[step : 2 * step, step : 2 * step] = 0  # a whole pixel of 60 m
        np.testing.assert_array_equal(pixels, expected)
        assert not np.ma.isMaskedArray(pixels)


def test_what_scl_marks_is_no_data() -> None:
    marked = np.zeros((96, 96), bool)
    marked[0] = True
    scl = np.ma.MaskedArray(np.where(marked, 0, 5).astype(np.uint8), marked)
    assert result(bands_of(700), FilterSettings(), scl) == {"nodata": 1}
    image = result(bands_of(700), LENIENT, scl)
    assert isinstance(image, Image)
    assert not np.ma.isMaskedArray(image.scl)
    assert not image.scl[0].any()


def test_a_clear_image_is_its_assets() -> None:
    rng = np.random.default_rng(0)
    bands = {band: rng.integers(0, 3, pixels.shape).astype(np.uint16) for band, pixels in bands_of(0).items()}
    bands["B01"] += 2
    image = make_image(SCENE, np.full((96, 96), 4, np.uint8), bands, 0.0)
    for index, band in enumerate(BANDS_10):
        np.testing.assert_array_equal(image.gsd_10[..., index], bands[band])
    assert dataclasses.replace(image) == image
