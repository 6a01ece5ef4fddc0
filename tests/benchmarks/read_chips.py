"""Reading chips from full-size COGs over HTTP, against the floor: the distinct blocks that the chips touch.

Run `python tests/benchmarks/read_chips.py`; with `--check` it exits 1 when a bound is missed. The first run makes the
COGs of one scene, 10980 px with blocks of 1024 px, in a cache folder (about 0.6 GB, `--cache`). A local server in
a process of its own counts requests and bytes really sent; every pass uses new URLs, so that nothing is cached. CPU
is user and system time of this process, the least of `--repeats` passes. The floor's is measured in as many threads as
read at once, because threads that take turns on a core decode the same blocks more slowly, whoever fetches them; and in
turn with the passes, because the machine is faster at one minute than at the next.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import importlib.util
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window, from_bounds
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from beam_pipeline.cells.cell import CHIP_SIZE_M, ChipWindow  # noqa: E402
from beam_pipeline.imagery.asset_grid import PIXEL_SIZE_M  # noqa: E402
from beam_pipeline.imagery.cog import SceneReader  # noqa: E402
from beam_pipeline.imagery.image import BANDS, SCL  # noqa: E402
from beam_pipeline.imagery.opened_asset import GDAL_OPTIONS  # noqa: E402
from beam_pipeline.runtime.faults import Fault  # noqa: E402
from tests.imagery.range_server import ServerProcess  # noqa: E402

EPSG, LEFT, TOP = 32633, 399_960, 4_900_020
TILE_M = 109_800
BLOCK = 1024
ASSETS = (*BANDS, SCL)
DELAY_S = 0.025

BOUNDS = {
    "17 random cells": {"requests": 1.05, "bytes": 1.03, "cpu": 1.35},
    "64 touching cells": {"requests": 1.3, "bytes": 1.03, "cpu": 1.5},
}

Way = Callable[[Mapping[str, str], Sequence[ChipWindow]], list[dict[str, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a pass; of `decoding_s`, CPU, the floor."""

    requests: float
    sent: float
    cpu_s: float
    wall_s: float
    decoding_s: float


def texture(side: int, classes: bool) -> np.ndarray:
    """DN with fields, a gradient and sensor noise, or SCL patches; about 9 bits a pixel after the predictor."""
    rng = np.random.default_rng(side)
    coarse = ndimage.zoom(rng.normal(size=(side // 60 + 2, side // 60 + 2)).astype(np.float32), 61, order=1)
    fields = ndimage.zoom(rng.normal(size=(side // 12 + 2, side // 12 + 2)).astype(np.float32), 13, order=0)
    coarse, fields = coarse[:side, :side], fields[:side, :side]
    if classes:
        return np.clip(5 + 2 * coarse + 0.7 * fields, 1, 11).astype(np.uint8)
    noise = rng.standard_normal((side, side), dtype=np.float32)
    return np.clip(1800 + 500 * coarse + 200 * fields + 45 * noise, 1, 10_000).astype(np.uint16)


def make_scene(folder: Path) -> None:
    """Writes the 13 assets once; bands of one pixel size share their content."""
    folder.mkdir(parents=True, exist_ok=True)
    for band in ASSETS:
        path = folder / f"{band}.tif"
        if path.exists():
            continue
        pixel_m, twin = PIXEL_SIZE_M[band], folder / f"{PIXEL_SIZE_M[band]}m{'-scl' * (band == SCL)}.tif"
        if not twin.exists():
            print(f"making {twin} ...", file=sys.stderr)
            side = TILE_M // pixel_m
            aside = twin.with_suffix(".part")
            with rasterio.open(
                aside, "w", driver="COG", width=side, height=side, count=1,
                dtype="uint8" if band == SCL else "uint16", nodata=0, crs=f"EPSG:{EPSG}",
                transform=from_origin(LEFT, TOP, pixel_m, pixel_m),
                compress="deflate", predictor=2, blocksize=BLOCK,
            ) as dataset:  # fmt: skip
                dataset.write(texture(side, band == SCL), 1)
            aside.rename(twin)
        os.link(twin, path)


def random_chips() -> list[ChipWindow]:
    rng = np.random.default_rng(17)
    steps = (TILE_M - CHIP_SIZE_M) // 60
    return [
        ChipWindow(EPSG, LEFT + 60 * int(x), TOP - CHIP_SIZE_M - 60 * int(y))
        for x, y in rng.integers(0, steps + 1, (17, 2))
    ]


def touching_chips() -> list[ChipWindow]:
    """8 x 8 cells that touch 3 x 3 blocks at 10 m and 2 x 2 at 20 m."""
    left, top = LEFT + 30_000, TOP - 30_000
    return [
        ChipWindow(EPSG, left + CHIP_SIZE_M * x, top - CHIP_SIZE_M * (y + 1))
        for y in range(8)
        for x in range(8)
    ]


class Floor:
    """The distinct blocks that the chips touch, and decoding each once from local files.

    Attributes:
        blocks: Their number.
        size: Their bytes.
    """

    def __init__(self, folder: Path, chips: Sequence[ChipWindow]) -> None:
        self._folder = folder
        self._touched: dict[str, set[tuple[int, int]]] = {}
        self.size = 0
        for band in ASSETS:
            with rasterio.open(folder / f"{band}.tif") as dataset:
                found = set()
                for chip in chips:
                    window = from_bounds(*chip.bounds, dataset.transform).round()
                    top, left = int(window.row_off), int(window.col_off)
                    bottom, right = top + int(window.height) - 1, left + int(window.width) - 1
                    found |= {
                        (row, column)
                        for row in range(top // BLOCK, bottom // BLOCK + 1)
                        for column in range(left // BLOCK, right // BLOCK + 1)
                    }
                self._touched[band] = found
                self.size += sum(
                    int(dataset.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=1))
                    for row, column in found
                )
        self.blocks = sum(map(len, self._touched.values()))

    def decode(self, threads: int) -> None:
        """Decodes all of them."""
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            list(pool.map(self._decode, ASSETS))

    def _decode(self, band: str) -> None:
        with rasterio.open(self._folder / f"{band}.tif") as dataset:
            for row, column in sorted(self._touched[band]):
                dataset.read(1, window=dataset.block_window(1, row, column))


def took(function: Callable[[], object]) -> tuple[float, float]:
    """Returns the CPU and wall seconds of a call."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    function()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def scene_reader(reads_in_flight: int) -> Way:
    def read(hrefs: Mapping[str, str], chips: Sequence[ChipWindow]) -> list[dict[str, np.ndarray]]:
        with SceneReader(reads_in_flight) as reader:
            answers = reader.read(hrefs, ASSETS, chips)
        for answer in answers:
            if isinstance(answer, Fault):
                raise answer
        return answers  # type: ignore[return-value]

    return read


def plain(hrefs: Mapping[str, str], chips: Sequence[ChipWindow]) -> list[dict[str, np.ndarray]]:
    """One `rasterio.open` for each chip and band, with the same settings."""
    answers = []
    with rasterio.Env(**GDAL_OPTIONS):
        for chip in chips:
            answers.append({})
            for band in ASSETS:
                with rasterio.open(hrefs[band]) as dataset:
                    window: Window = from_bounds(*chip.bounds, dataset.transform).round()
                    answers[-1][band] = dataset.read(1, window=window)
    return answers


def odc_stac(hrefs: Mapping[str, str], chips: Sequence[ChipWindow]) -> list[dict[str, np.ndarray]]:
    """`odc.stac.load` for each chip and pixel size, with the same settings."""
    import datetime

    import odc.stac
    import pystac
    from odc.geo.geobox import GeoBox

    when = datetime.datetime(2020, 7, 1, tzinfo=datetime.UTC)
    ring = [[14.0, 44.0], [16.0, 44.0], [16.0, 45.0], [14.0, 45.0], [14.0, 44.0]]
    item = pystac.Item("scene", {"type": "Polygon", "coordinates": [ring]}, [14, 44, 16, 45], when, {})
    item.stac_extensions = ["https://stac-extensions.github.io/projection/v1.1.0/schema.json"]
    for band in ASSETS:
        pixel_m = PIXEL_SIZE_M[band]
        side = TILE_M // pixel_m
        transform = [pixel_m, 0, LEFT, 0, -pixel_m, TOP, 0, 0, 1]
        extra = {"proj:epsg": EPSG, "proj:shape": [side, side], "proj:transform": transform}
        item.add_asset(
            band,
            pystac.Asset(hrefs[band], media_type=pystac.MediaType.COG, roles=["data"], extra_fields=extra),
        )
    answers = []
    with rasterio.Env(**GDAL_OPTIONS):
        for chip in chips:
            answers.append({})
            for pixel_m in (10, 20, 60):
                bands = [band for band in ASSETS if PIXEL_SIZE_M[band] == pixel_m]
                box = GeoBox.from_bbox(chip.bounds, crs=f"EPSG:{EPSG}", resolution=pixel_m)
                loaded = odc.stac.load([item], bands=bands, geobox=box)
                answers[-1] |= {band: loaded[band].values[0] for band in bands}
    return answers


def rslearn(hrefs: Mapping[str, str], chips: Sequence[ChipWindow]) -> list[dict[str, np.ndarray]]:
    """`read_raster` of rslearn's direct materialisation for each chip and band, with the same settings."""
    import shapely
    from rasterio.crs import CRS
    from rasterio.enums import Resampling
    from rslearn.data_sources import Item
    from rslearn.data_sources.direct_materialize_data_source import DirectMaterializeDataSource
    from rslearn.utils.geometry import Projection, STGeometry

    class Source(DirectMaterializeDataSource):
        def get_asset_url(self, item: Item, asset_key: str) -> str:
            return hrefs[asset_key]

        def get_items(self, *_: object) -> None:
            """Is abstract there; nothing is searched here."""

        def deserialize_item(self, *_: object) -> None:
            """Is abstract there; nothing travels here."""

    source = Source({band: [band] for band in ASSETS})
    crs = CRS.from_epsg(EPSG)
    answers = []
    with rasterio.Env(**GDAL_OPTIONS):
        for chip in chips:
            answers.append({})
            for band in ASSETS:
                pixel_m = PIXEL_SIZE_M[band]
                projection = Projection(crs, pixel_m, -pixel_m)
                left, bottom, right, top = (round(edge / pixel_m) for edge in chip.bounds)
                window = (left, -top, right, -bottom)
                item = Item("scene", STGeometry(projection, shapely.box(*window), None))
                read = source.read_raster("", item, [band], projection, window, Resampling.nearest)
                answers[-1][band] = read.get_chw_array()[0]
    return answers


class Bench:
    """Runs ways behind a server, always under new URLs."""

    def __init__(self, folder: Path, delay_s: float) -> None:
        self._server = ServerProcess(folder, delay_s)
        self._passes = 0

    def measure(
        self, way: Way, chips: Sequence[ChipWindow], repeats: int, decode: Callable[[], object]
    ) -> tuple[Cost, list[dict[str, np.ndarray]]]:
        self._server.take_requests()
        answers: list[dict[str, np.ndarray]] = []

        def once() -> None:
            self._passes += 1
            hrefs = {band: f"{self._server.base}{band}.tif?pass={self._passes}" for band in ASSETS}
            answers[:] = way(hrefs, chips)

        passes = [(*took(once), took(decode)[0]) for _ in range(repeats)]
        requests = self._server.take_requests()
        sent = sum(request.sent for request in requests)
        cpu, wall, decoding = map(min, zip(*passes, strict=True))
        return Cost(len(requests) / repeats, sent / repeats, cpu, wall, decoding), answers

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--repeats", type=int, default=7, help="passes of each of our ways")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "read_chips_scene")
    args = parser.parse_args()
    make_scene(args.cache)
    ways: list[tuple[str, Way, int, bool]] = [
        ("SceneReader, 8 in flight", scene_reader(8), 8, True),
        ("SceneReader, 1 in flight", scene_reader(1), 1, True),
        ("one open per chip and band", plain, 1, False),
    ]
    if importlib.util.find_spec("odc") and importlib.util.find_spec("odc.stac"):
        ways.append(("odc-stac", odc_stac, 1, False))
    if importlib.util.find_spec("rslearn"):
        ways.append(("rslearn", rslearn, 1, False))
    missed = []
    with Bench(args.cache, 0.0) as near, Bench(args.cache, DELAY_S) as far:
        for name, chips in (("17 random cells", random_chips()), ("64 touching cells", touching_chips())):
            floor = Floor(args.cache, chips)
            print(f"\n{name}: floor {floor.blocks} blocks, {floor.size / 1e6:.0f} MB")
            print(
                f"{'way':<28}{'requests':>9}{'bytes':>7}{'CPU':>6}{'wall s':>8}{'wall s, 25 ms a request':>25}"
            )
            expected = None
            for label, way, threads, ours in ways:
                decode = functools.partial(floor.decode, threads)
                cost, answers = near.measure(way, chips, args.repeats if ours else 1, decode)
                slow, _ = far.measure(way, chips, 1, decode)
                ratios = {
                    "requests": cost.requests / floor.blocks,
                    "bytes": cost.sent / floor.size,
                    "cpu": cost.cpu_s / cost.decoding_s,
                }
                print(
                    f"{label:<28}{ratios['requests']:>9.2f}{ratios['bytes']:>7.2f}{ratios['cpu']:>6.2f}"
                    f"{cost.wall_s:>8.2f}{slow.wall_s:>25.2f}"
                )
                expected = answers if expected is None else expected
                for mine, theirs in zip(expected, answers, strict=True):
                    for band in ASSETS:
                        np.testing.assert_array_equal(mine[band], theirs[band])
                if ours:
                    missed += [
                        f"{name}, {label}: {kind} {ratio:.2f} x, at most {BOUNDS[name][kind]} x"
                        for kind, ratio in ratios.items()
                        if ratio > BOUNDS[name][kind]
                    ]
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    for line in missed:
        print(f"MISSED {line}")
    return 1 if args.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
