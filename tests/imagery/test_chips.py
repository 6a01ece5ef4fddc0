"""Which images chips get, from real COGs on disk and over HTTP."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import rasterio

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.chips import SNOW, ChipImages, FilterSettings, image_rejection, select_images
from beam_pipeline.imagery.cog import ChipBands, SceneReader
from beam_pipeline.imagery.image import BANDS, BANDS_10, BANDS_20, BANDS_60, SCL, Image
from beam_pipeline.imagery.radiometry import CHECKED_DECISIONS, DECISIONS
from beam_pipeline.imagery.scenes import Scene
from beam_pipeline.runtime.retries import RetryPolicy
from tests.imagery.made_cogs import EPSG, LEFT, TOP, FolderServer, write_cog
from tests.imagery.range_server import Injected

SIDE_M = 3840  # two chips by two
CHIPS = [
    ChipWindow(EPSG, LEFT + column * 1920, TOP - SIDE_M + row * 1920) for row in (0, 1) for column in (0, 1)
]
QUICK = RetryPolicy(attempts=2, base_s=0.0)
FILTERS = FilterSettings()


@pytest.fixture
def reader():
    with SceneReader(4, QUICK, timeout_s=5, connect_timeout_s=5) as made:
        yield made


def pixels_of(band: str, seed: int, low: int = 100, high: int = 3000) -> np.ndarray:
    side = SIDE_M // (10 if band in BANDS_10 else 60 if band in BANDS_60 else 20)
    return np.random.default_rng([seed, *band.encode()]).integers(low, high, (side, side)).astype(np.uint16)


def make_scene(
    folder: Path, item_id: str, day: str, scl: np.ndarray | int = 4, **pixels: np.ndarray
) -> Scene:
    """Writes a scene's 13 assets; whatever is not given is textured and clear."""
    folder = folder / item_id
    folder.mkdir(parents=True)
    classes = np.broadcast_to(np.asarray(scl, np.uint8), (SIDE_M // 20, SIDE_M // 20))
    for band in BANDS:
        write_cog(
            folder / f"{band}.tif", band, side_m=SIDE_M, pixels=pixels.get(band, pixels_of(band, len(day)))
        )
    write_cog(folder / "SCL.tif", SCL, side_m=SIDE_M, pixels=classes)
    return Scene(
        item_id=item_id,
        tile="33TUJ",
        datetime=f"{day}T10:00:00.000000Z",
        datastrip_start="",
        platform="sentinel-2a",
        baseline="02.14",
        generated="",
        cloud_cover=None,
        assets={band: str(folder / f"{band}.tif") for band in (*BANDS, SCL)},
        boa_add_offset=0,
        boa_decision="baseline_before_0400",
    )


def over_http(scene: Scene, server: FolderServer) -> Scene:
    assets = {band: server.url(f"{scene.item_id}/{band}.tif") for band in scene.assets}
    return dataclasses.replace(scene, assets=assets)


def ids(answer: ChipImages) -> list[str]:
    return [image.item_id for image in answer.images]


def quarter(value: int, elsewhere: int = 4, share: float = 1.0) -> np.ndarray:
    """SCL of which the first share of the south-western chip's rows (CHIPS[0]) has a class."""
    scl = np.full((192, 192), elsewhere, np.uint8)
    scl[96 : 96 + round(96 * share), :96] = value
    return scl


def test_pixels_are_the_assets_own(tmp_path: Path, reader: SceneReader) -> None:
    scenes = [make_scene(tmp_path, "b", "2020-07-01"), make_scene(tmp_path, "a", "2020-03-01")]
    for chip, answer in zip(CHIPS, select_images(reader, scenes, CHIPS, FILTERS), strict=True):
        # Walked as given, stored in order of time.
        assert ids(answer) == ["a", "b"]
        assert answer.failure is None
        assert answer.notes == ()
        for image, scene in zip(answer.images, reversed(scenes), strict=True):
            stored = {
                **{band: image.gsd_10[..., i] for i, band in enumerate(BANDS_10)},
                **{band: image.gsd_20[..., i] for i, band in enumerate(BANDS_20)},
                **{band: image.gsd_60[..., i] for i, band in enumerate(BANDS_60)},
                SCL: image.scl,
            }
            for band, pixels in stored.items():
                with rasterio.open(scene.assets[band]) as source:
                    window = rasterio.windows.from_bounds(*chip.bounds, source.transform)
                    np.testing.assert_array_equal(pixels, source.read(1, window=window))


def test_two_scenes_of_one_date_are_never_a_pair(tmp_path: Path, reader: SceneReader) -> None:
    days = {"a": "2020-03-01", "b": "2020-03-01", "c": "2020-05-01"}
    scenes = [make_scene(tmp_path, item_id, day) for item_id, day in days.items()]
    assert {tuple(ids(answer)) for answer in select_images(reader, scenes, CHIPS, FILTERS)} == {("a", "c")}
    only = select_images(reader, scenes[:2], CHIPS[:1], FILTERS)[0]
    assert ids(only) == ["a"]
    assert only.rejections == {}


@pytest.mark.parametrize(
    ("scl", "reason"),
    [
        (quarter(9, share=0.25), None),  # 25 % is not more than 25 %
        (quarter(9, share=25 / 96), "unusable"),
        (quarter(1), "unusable"),
        (quarter(3), "unusable"),
        (quarter(8), "unusable"),
        (quarter(10), "unusable"),
        (quarter(2), None),
        (quarter(11), None),
        (quarter(0, share=1 / 96), "nodata"),
    ],
)
def test_the_scene_classification_decides_per_chip(
    tmp_path: Path, reader: SceneReader, scl: np.ndarray, reason: str | None
) -> None:
    scenes = [make_scene(tmp_path, "a", "2020-03-01", scl), make_scene(tmp_path, "b", "2020-04-01")]
    first, *others = select_images(reader, scenes, CHIPS, FILTERS)
    assert ids(first) == (["b"] if reason else ["a", "b"])
    assert first.rejections == ({reason: 1} if reason else {})
    assert all(ids(other) == ["a", "b"] for other in others)
    if reason is None:
        assert first.images[0].bad_percent == np.isin(scl[96:, :96], FILTERS.bad_scl).mean()


def test_no_data_is_a_zero_in_every_band(tmp_path: Path, reader: SceneReader) -> None:
    def with_zeros(bands: tuple[str, ...]) -> dict[str, np.ndarray]:
        made = {}
        for band in bands:
            made[band] = pixels_of(band, 1)
            made[band][made[band].shape[0] // 2 :][:6, :6] = 0
        return made

    dark = make_scene(tmp_path, "dark", "2020-03-01", **with_zeros(("B02", "B03", "B04", "B08")))
    empty = make_scene(tmp_path, "empty", "2020-04-01", **with_zeros(BANDS))
    answer = select_images(reader, [dark, empty], CHIPS[:1], FILTERS)[0]
    assert ids(answer) == ["dark"]
    assert answer.rejections == {"nodata": 1}
    relaxed = dataclasses.replace(FILTERS, allow_nodata=True)
    assert ids(select_images(reader, [dark, empty], CHIPS[:1], relaxed)[0]) == ["dark", "empty"]


def test_bright_chips_are_cloud_that_scl_missed_or_snow(tmp_path: Path, reader: SceneReader) -> None:
    bright = {band: pixels_of(band, 2, 2001, 6000) for band in ("B02", "B03", "B04")}
    for pixels in bright.values():
        pixels[::100, ::7] = 50  # here and there something dark, which does not make it clear
    at_limit = {band: np.maximum(pixels, 2000) for band, pixels in bright.items()}
    at_limit["B03"][:] = 2000
    scenes = [
        make_scene(tmp_path, "cloud", "2020-01-01", **bright),
        make_scene(tmp_path, "snow", "2020-02-01", 11, **bright),
        make_scene(tmp_path, "limit", "2020-03-01", **at_limit),
    ]
    answer = select_images(reader, scenes, CHIPS[:1], FILTERS)[0]
    assert ids(answer) == ["limit"]
    assert answer.rejections == {"bright_snow": 1, "too_bright": 1}
    minimum = dataclasses.replace(FILTERS, min_reflectance_percentile=0)
    assert ids(select_images(reader, scenes, CHIPS[:1], minimum)[0]) == ["cloud", "snow"]


def image_of(gsd_10: int | np.ndarray, scl: int | np.ndarray = 4, others: int = 3000) -> Image:
    """An image whose four bands of 10 m are alike."""
    return Image(
        item_id="a",
        datetime="2020-03-01T10:00:00.000000Z",
        platform="sentinel-2a",
        baseline="02.14",
        boa_add_offset=0,
        boa_decision="baseline_before_0400",
        bad_percent=0.0,
        gsd_10=np.broadcast_to(np.atleast_3d(gsd_10), (192, 192, 4)).astype(np.uint16),
        gsd_20=np.full((96, 96, 6), others, np.uint16),
        gsd_60=np.full((32, 32, 2), others, np.uint16),
        scl=np.broadcast_to(scl, (96, 96)).astype(np.uint8),
    )


@pytest.mark.parametrize(
    ("snowy", "reason"),
    [
        (0, "too_bright"),
        (96 * 96 // 4 - 1, "too_bright"),
        (96 * 96 // 4, "bright_snow"),
        (96 * 96, "bright_snow"),
    ],
)
def test_a_quarter_of_snow_is_much(snowy: int, reason: str) -> None:
    scl = np.full(96 * 96, 4)
    scl[:snowy] = SNOW
    assert image_rejection(image_of(2001, scl.reshape(96, 96)), FILTERS) == reason


@pytest.mark.parametrize("decision", DECISIONS)
def test_what_the_pixels_may_contradict(decision: str) -> None:
    image = dataclasses.replace(image_of(999), boa_decision=decision)
    contradicted = "offset_contradicted" if decision in ("no_flag", "not_applied") else None
    assert image_rejection(image, FILTERS) == contradicted
    # A dataset of an older version holds images whose host has no flag as they are.
    older = dataclasses.replace(FILTERS, checked_decisions=("not_applied",))
    assert image_rejection(image, older) == (contradicted if decision == "not_applied" else None)
    assert FILTERS.checked_decisions == CHECKED_DECISIONS


PIXELS = 192 * 192


@pytest.mark.parametrize(
    ("percentile", "dark", "passes"),
    [
        (0, 1, True),
        (0, 0, False),
        # 5 % are 1843.2 pixels: the value at that rank is that of the 1844th.
        (5, 1844, True),
        (5, 1843, False),
        (50, PIXELS // 2, True),
        (50, PIXELS // 2 - 1, False),
        (100, PIXELS, True),
        (100, PIXELS - 1, False),
    ],
)
def test_brightness_is_the_value_at_a_rank(percentile: float, dark: int, passes: bool) -> None:
    pixels = np.full(PIXELS, 2001)
    pixels[np.random.default_rng(0).permutation(PIXELS)[:dark]] = 2000
    image = image_of(pixels.reshape(192, 192))
    filters = dataclasses.replace(FILTERS, min_reflectance_percentile=percentile)
    assert image_rejection(image, filters) == (None if passes else "too_bright")


def test_of_a_pixel_the_darkest_visible_band_counts() -> None:
    image = image_of(5000)
    for index in range(3):
        image.gsd_10[index::3, :, index] = 1500
    assert image_rejection(image, FILTERS) is None
    image.gsd_10[:] = 5000
    image.gsd_10[..., 3] = 100  # near infrared is not looked at
    assert image_rejection(image, FILTERS) == "too_bright"
    assert image_rejection(dataclasses.replace(image, boa_add_offset=-1000), FILTERS) == "too_bright"
    image.gsd_10[..., 0] = 3000
    assert image_rejection(dataclasses.replace(image, boa_add_offset=-1000), FILTERS) is None


@pytest.mark.parametrize("without", ["any band", "a class"])
def test_how_bright_a_chip_is_its_pixels_with_data_say(without: str) -> None:
    """Pixels without data have DN 0, or whatever lies beyond the swath, and would pass for dark pixels."""
    lenient = dataclasses.replace(FILTERS, allow_nodata=True)
    bright = image_of(2001)
    assert image_rejection(bright, lenient) == "too_bright"
    if without == "any band":
        part = dataclasses.replace(
            bright, **{it: getattr(bright, it).copy() for it in ("gsd_10", "gsd_20", "gsd_60")}
        )
        part.gsd_10[:96] = part.gsd_20[:48] = part.gsd_60[:16] = 0
    else:
        part = image_of(np.where(np.arange(PIXELS).reshape(192, 192, 1) < PIXELS // 2, 100, 2001))
        part.scl[:48] = 0
    assert image_rejection(part, lenient) == "too_bright"
    part.gsd_10[96:101] = 2000  # 5 of 96 rows with data are enough
    assert image_rejection(part, lenient) is None


def test_a_contradicted_offset_rejects(tmp_path: Path, reader: SceneReader) -> None:
    claims = {"boa_add_offset": -1000, "boa_decision": "no_flag"}
    shifted = {band: pixels_of(band, 3, 1050, 3000) for band in BANDS}
    true = dataclasses.replace(make_scene(tmp_path, "true", "2020-01-01", **shifted), **claims)
    dark = {band: pixels_of(band, 3, 50, 900) for band in BANDS}
    false = dataclasses.replace(make_scene(tmp_path, "false", "2020-02-01", **dark), **claims)
    # Dark in the first chip alone, which is too little of the scene.
    part = {band: pixels.copy() for band, pixels in shifted.items()}
    for band, pixels in part.items():
        side = len(pixels) // 2
        pixels[side : side + side // 3, : side // 3] = dark[band][: side // 3, : side // 3]
    partly = dataclasses.replace(make_scene(tmp_path, "partly", "2020-03-01", **part), **claims)
    first, second, *_ = select_images(reader, [true, false, partly], CHIPS, FILTERS)
    assert ids(first) == ["true"]
    assert ids(second) == ["true", "partly"]
    assert first.images[0].boa_add_offset == -1000
    assert first.rejections == {"offset_contradicted": 1}
    assert second.rejections == {}
    for answer in (first, second):
        assert [(note.item_id, note.reason) for note in answer.notes] == [("false", "offset_contradicted")]
        assert all(image_rejection(image, FILTERS) is None for image in answer.images)


def test_what_a_chip_gets_does_not_depend_on_its_company(tmp_path: Path, reader: SceneReader) -> None:
    rng = np.random.default_rng(0)
    scenes = []
    for number in range(6):
        scl = np.where(rng.random((2, 2)) < 0.5, 9, 4).repeat(96, axis=0).repeat(96, axis=1)
        scenes.append(make_scene(tmp_path, f"s{number}", f"2020-0{number + 1}-01", scl))
    together = select_images(reader, scenes, CHIPS, FILTERS)
    assert together == [select_images(reader, scenes, [chip], FILTERS)[0] for chip in CHIPS]
    assert together == list(reversed(select_images(reader, scenes, CHIPS[::-1], FILTERS)))
    with SceneReader(1, QUICK) as one_at_a_time:
        assert select_images(one_at_a_time, scenes, CHIPS, FILTERS) == together


def test_bands_are_read_for_chips_that_pass_only(tmp_path: Path, reader: SceneReader) -> None:
    cloudy = make_scene(tmp_path, "cloudy", "2020-01-01", 9)
    clear = [make_scene(tmp_path, "one", "2020-02-01"), make_scene(tmp_path, "two", "2020-03-01")]
    unneeded = make_scene(tmp_path, "three", "2020-04-01")
    with FolderServer(tmp_path) as server:
        scenes = [over_http(scene, server) for scene in (cloudy, *clear, unneeded)]
        answers = select_images(reader, scenes, CHIPS, FILTERS)
        paths = {
            request.path.rsplit("/", 2)[-2] + "/" + request.path.rsplit("/", 1)[-1]
            for request in server.requests
        }
    assert all(ids(answer) == ["one", "two"] for answer in answers)
    assert {path for path in paths if path.startswith("cloudy")} == {"cloudy/SCL.tif"}
    assert not any(path.startswith("three") for path in paths)
    assert len({path for path in paths if path.startswith("one")}) == 13


def test_permanent_faults_move_on_and_are_noted(tmp_path: Path, reader: SceneReader) -> None:
    scenes = [make_scene(tmp_path, name, f"2020-0{i + 1}-01") for i, name in enumerate("abcd")]
    Path(scenes[0].assets["B8A"]).unlink()
    Path(scenes[1].assets[SCL]).write_bytes(b"no tiff")
    for answer in select_images(reader, scenes, CHIPS, FILTERS):
        assert ids(answer) == ["c", "d"]
        assert [(note.item_id, note.reason) for note in answer.notes] == [
            ("a", "not_found"),
            ("b", "corrupt"),
        ]
        assert answer.rejections == {}


def test_transient_faults_end_the_walk_of_whom_they_hit(tmp_path: Path, reader: SceneReader) -> None:
    # The scene in trouble is cloudy over the first chip, which therefore needs none of its bands.
    scenes = [
        make_scene(tmp_path, "a", "2020-01-01", quarter(9)),
        make_scene(tmp_path, "b", "2020-02-01"),
        make_scene(tmp_path, "c", "2020-03-01"),
    ]
    with FolderServer(tmp_path) as server:
        server.inject("a/B03.tif", Injected("status", 503))
        remote = [over_http(scene, server) for scene in scenes]
        first, *others = select_images(reader, remote, CHIPS, FILTERS)
        assert ids(first) == ["b", "c"]
        for other in others:
            assert other.images == ()
            assert other.failure is not None
            assert other.failure[0] == "throttled"
            assert other.failure[1].startswith("a: ")
        server.heal()
        healed = select_images(reader, remote, CHIPS, FILTERS)
    assert healed == select_images(reader, scenes, CHIPS, FILTERS)


@pytest.mark.parametrize("lost", [SCL, "B02"])
def test_a_reader_that_loses_a_chip_is_found_out(lost: str) -> None:
    """Else a chip would get the pixels of its neighbour."""

    class Losing:
        def read(
            self, assets: Mapping[str, str], bands: Sequence[str], chips: Sequence[ChipWindow]
        ) -> list[ChipBands]:
            answers = [{band: np.full((96, 96), 4, np.uint16) for band in bands} for _ in chips]
            return answers[1:] if lost in bands else answers

    scene = Scene("a", "33TUJ", "2020-03-01T10:00:00.000000Z", "", "", "", "", None, {}, 0, "host_applied")
    with pytest.raises(ValueError, match="shorter"):
        select_images(cast(SceneReader, Losing()), [scene], CHIPS[:1], FILTERS)


def test_no_scenes_and_no_chips(reader: SceneReader) -> None:
    assert select_images(reader, [], CHIPS[:1], FILTERS) == [ChipImages((), {}, (), None)]
    assert select_images(reader, [], [], FILTERS) == []
