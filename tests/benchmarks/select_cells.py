"""Time and memory of choosing cells on rasters of the true size, and how both grow with the lit pixels.

Run: `python tests/benchmarks/select_cells.py [--check] [--size 1] [--netcdf] [--folder DIR]`. It makes, once, a
night-light composite of 86401 x 33601 px and a land-cover map of 129600 x 64800 px in --folder: coastlines are real,
the lights are made up, 3 % of the pixels in clusters on land, with random values. Layouts are assumed, not checked on
the products: LZW strips of one row; the NetCDF in deflated chunks of 2025 x 2025. --size 0.1 takes a window of a tenth
of each side. The floor is reading the blocks of both rasters with rasterio and doing nothing else. CPU seconds are
those of all processes, their start among them: Beam is imported once by the default runner, in one process, and three
times with two worker processes. A busy machine makes the same work cost more, so the floor is measured before and
after each run, and the run is set beside the mean of the two. Minutes and memory are bounded for both runs, CPU for
the one process only: the floor is one process too, while two workers also pay for two more starts of Beam and for
moving cells between processes; their figure is printed. With --check it exits 1 when a bound is missed.
"""

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize
from rasterio.windows import Window

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from beam_pipeline.maps.continents import coastlines
from beam_pipeline.maps.raster_grid import LAND_COVER, NIGHT_LIGHTS, RasterWindow

ROOT = Path(__file__).resolve().parents[2]

MAX_MINUTES = 10.0
MAX_GIB = 2.0
MAX_TIMES_FLOOR = 3.0
MAX_BEND = 1.3
"""Of the CPU seconds a lit pixel, when the lit pixels double: with 1 the time grows linearly."""

LIT = 0.03
RUNNERS = {
    "one process": (),
    "two workers": ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
}
"""Names, and Beam's flags: the default runner, and one worker for each of two cores."""

NUM_CELLS = 137_045
ROWS = 64
LINEAR_SIZE = 0.2
LINEAR_LIT = 0.001, 0.06, 0.12
MARGIN = 40

_LOOK_EVERY_S = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")
_NOISE_STEPS = (12, 80)  # of the fine and the coarse texture of the lights, in two pixels


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a run: wall and CPU seconds of all processes, GiB of the largest of them."""

    wall: float
    cpu: float
    gib: float


def lights_window(size: float) -> RasterWindow:
    """A window of a part of each side of the night lights, in Africa; all of it with 1."""
    columns, rows = round(NIGHT_LIGHTS.columns * size), round(NIGHT_LIGHTS.rows * size)
    column, row = round((NIGHT_LIGHTS.columns - columns) * 0.55), round((NIGHT_LIGHTS.rows - rows) * 0.3)
    return RasterWindow(NIGHT_LIGHTS, column, row, columns, rows)


def land_window(size: float) -> RasterWindow:
    """The window of the land cover around that; all of it with 1."""
    whole = RasterWindow(LAND_COVER, 0, 0, LAND_COVER.columns, LAND_COVER.rows)
    if size == 1:
        return whole
    west, south, east, north = lights_window(size).bounds
    column, row = int((west + 180) * 360) - MARGIN, int((90 - north) * 360) - MARGIN
    columns, rows = round((east - west) * 360) + 2 * MARGIN, round((north - south) * 360) + 2 * MARGIN
    return RasterWindow(LAND_COVER, column, row, columns, rows)


def transform_of(window: RasterWindow, row: int = 0) -> Affine:
    west, _, _, north = window.bounds
    step = 1 / window.lattice.pixels_per_degree
    return Affine(step, 0, west, 0, -step, north - row * step)


def land(window: RasterWindow, rows: range, shapes: Sequence[shapely.Polygon]) -> np.ndarray:
    """Which pixels of some rows are land, uint8."""
    size = len(rows), window.columns
    return rasterize(shapes, size, transform=transform_of(window, rows.start), dtype=np.uint8)


def texture(rows: range, columns: int, step: int, seed: int) -> np.ndarray:
    """Smooth noise (rows, columns), the same wherever a strip of rows begins; about normal with deviation 1."""
    first = rows.start // step
    last = (rows.stop - 1) // step + 1
    lines = np.stack(
        [
            np.random.default_rng([seed, line]).standard_normal(columns // step + 2)
            for line in range(first, last + 1)
        ]
    ).astype(np.float32)
    at = np.arange(columns) / step
    low = at.astype(np.int64)
    share = (at - low).astype(np.float32)
    lines = lines[:, low] * (1 - share) + lines[:, low + 1] * share
    at = np.asarray(rows) / step - first
    low = at.astype(np.int64)
    share = (at - low).astype(np.float32)[:, None]
    return lines[low] * (1 - share) + lines[low + 1] * share


def field(window: RasterWindow, rows: range, shapes: Sequence[shapely.Polygon]) -> np.ndarray:
    """The brightness that some rows are meant to have, float32: clusters on land, 0 at sea; in steps of two pixels."""
    rows, columns = range(rows.start // 2, -(-rows.stop // 2)), -(-window.columns // 2)
    fine, coarse = (texture(rows, columns, step, step) for step in _NOISE_STEPS)
    doubled = (coarse + fine * np.float32(0.7)).repeat(2, axis=0).repeat(2, axis=1)
    doubled = doubled[: 2 * len(rows), : window.columns]
    on_land = land(window, range(2 * rows.start, 2 * rows.start + len(doubled)), shapes)
    return doubled * on_land


def threshold_of(window: RasterWindow, shapes: Sequence[shapely.Polygon], lit: float) -> np.float32:
    """The brightness that a part of the pixels is above, from a sample of rows."""
    starts = range(0, window.rows - 8, max(8, window.rows // 64 // 2 * 2))
    sample = np.concatenate([field(window, range(start, start + 8), shapes).ravel() for start in starts])
    return np.float32(np.quantile(sample, 1 - lit))


def lights(
    window: RasterWindow, rows: range, shapes: Sequence[shapely.Polygon], threshold: np.float32
) -> np.ndarray:
    """Made-up radiances of some rows, float32."""
    glow = np.maximum(field(window, rows, shapes)[: len(rows)] - threshold, 0)
    bright = glow > 0
    glow[bright] *= np.random.default_rng(rows.start).random(int(bright.sum()), np.float32) * 30
    return glow


def write_strips(path: Path, window: RasterWindow, dtype: str, pixels: Callable[[range], np.ndarray]) -> None:
    """Writes a GeoTIFF in strips of one row, of what is made of some rows at a time."""
    profile = {
        "driver": "GTiff",
        "width": window.columns,
        "height": window.rows,
        "count": 1,
        "dtype": dtype,
        "crs": "EPSG:4326",
        "transform": transform_of(window),
        "compress": "lzw",
        "blockysize": 1,
        "bigtiff": "yes",
    }
    with rasterio.open(path, "w", **profile) as file:
        for row in range(0, window.rows, ROWS):
            rows = range(row, min(row + ROWS, window.rows))
            file.write(pixels(rows), 1, window=Window(0, row, window.columns, len(rows)))


def write_night_lights(path: Path, window: RasterWindow, lit: float) -> None:
    shapes = [shapely.Polygon(line) for line in coastlines()]
    threshold = threshold_of(window, shapes, lit)
    write_strips(path, window, "float32", lambda rows: lights(window, rows, shapes, threshold))


def classes(window: RasterWindow, rows: range, shapes: Sequence[shapely.Polygon]) -> np.ndarray:
    """Made-up land cover of some rows, uint8."""
    kinds = np.array([10, 11, 30, 40, 50, 60, 100, 130, 190, 200], np.uint8)
    patch = 7 * texture(rows, window.columns, 6, 1) + np.float32(50)
    return np.where(
        land(window, rows, shapes) == 1, kinds[patch.astype(np.int64) % len(kinds)], np.uint8(210)
    )


def write_land_cover(path: Path, window: RasterWindow) -> None:
    shapes = [shapely.Polygon(line) for line in coastlines()]
    if path.suffix == ".nc":
        write_land_cover_netcdf(path, window, shapes)
        return
    write_strips(path, window, "uint8", lambda rows: classes(window, rows, shapes))


def write_land_cover_netcdf(path: Path, window: RasterWindow, shapes: Sequence[shapely.Polygon]) -> None:
    west, _, _, north = window.bounds
    step, chunk = 1 / window.lattice.pixels_per_degree, 2025
    with h5py.File(path, "w") as file:
        axes = {
            "time": np.zeros(1),
            "lat": north - step * (np.arange(window.rows) + 0.5),
            "lon": west + step * (np.arange(window.columns) + 0.5),
        }
        shape = (1, window.rows, window.columns)
        chunks = (1, min(chunk, shape[1]), min(chunk, shape[2]))
        variable = file.create_dataset(
            "lccs_class", shape, np.uint8, chunks=chunks, compression="gzip", compression_opts=5
        )
        for axis, (name, values) in enumerate(axes.items()):
            file.create_dataset(name, data=values).make_scale(name)
            variable.dims[axis].attach_scale(file[name])
        file["lat"].attrs["units"] = np.bytes_("degrees_north")
        file["lon"].attrs["units"] = np.bytes_("degrees_east")
        for row in range(0, window.rows, chunks[1]):
            rows = range(row, min(row + chunks[1], window.rows))
            variable[0, row : rows.stop] = classes(window, rows, shapes)


def made(folder: Path, size: float, lit: float, suffix: str) -> tuple[Path, Path]:
    """Returns the two rasters, made where they are not there yet."""
    paths = folder / f"vnl-{size:g}-{lit:g}.tif", folder / f"land-{size:g}{suffix}"
    for path, write in (
        (paths[0], lambda aside: write_night_lights(aside, lights_window(size), lit)),
        (paths[1], lambda aside: write_land_cover(aside, land_window(size))),
    ):
        if path.exists():
            continue
        started = time.monotonic()
        aside = path.with_name(f"part-{path.name}")
        write(aside)
        aside.rename(path)
        print(
            f"made {path.name}: {path.stat().st_size / 2**20:,.0f} MiB, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    return paths


def read_everything(paths: Sequence[str]) -> None:
    """The floor: every block of the rasters, and nothing else."""
    from beam_pipeline.maps.rasters import GDAL_OPTIONS, read_rows

    for path in paths:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path, driver="GTiff") as dataset:
            rows = max(32, dataset.block_shapes[0][0])  # more at a time costs more CPU, in the kernel
            for row in range(0, dataset.height, rows):
                read_rows(dataset, range(row, min(row + rows, dataset.height)))


def measure(command: Sequence[str]) -> Cost:
    """Runs a command and watches it and its descendants."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        cpu: dict[int, float] = {}
        peak = 0
        while process.poll() is None:
            for pid in descendants(process.pid):
                try:
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    status = Path(f"/proc/{pid}/status").read_text()
                except OSError:
                    continue  # it has just ended
                cpu[pid] = (int(fields[11]) + int(fields[12])) / _TICKS
                high = [line for line in status.splitlines() if line.startswith("VmHWM")]
                peak = max(peak, int(high[0].split()[1]) if high else 0)
            time.sleep(_LOOK_EVERY_S)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(log.read().decode()[-3000:])
    return Cost(time.monotonic() - started, sum(cpu.values()), peak / 2**20)


def descendants(root: int) -> list[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def select(night_lights: Path, land_cover: Path, folder: Path, *flags: str) -> tuple[Cost, dict[str, object]]:
    """Runs select_cells; returns its cost and the JSON beside the list."""
    with tempfile.TemporaryDirectory(dir=folder) as output:
        cost = measure(
            [
                *(sys.executable, "-m", "beam_pipeline.select_cells", "--output", output),
                *("--night_lights", str(night_lights), "--land_cover", str(land_cover)),
                *flags,
            ]
        )
        return cost, json.loads((Path(output) / "spatial_cell_info.json").read_text())


def floor(paths: Sequence[Path]) -> Cost:
    return measure([sys.executable, __file__, "--floor", *map(str, paths)])


def row(name: str, cost: Cost, *more: str) -> None:
    print(f"{name:34}{cost.wall:9.1f}{cost.cpu:9.1f}{cost.gib:8.2f}  {'  '.join(more)}", flush=True)


def main() -> int:
    """Runs everything and returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    parser.add_argument("--size", type=float, default=1.0, help="part of each side (1)")
    parser.add_argument("--netcdf", action="store_true", help="the land cover as NetCDF")
    parser.add_argument("--folder", type=Path, help="keep the rasters here (default: for this run only)")
    parser.add_argument("--floor", nargs="+", metavar="PATH", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.floor:
        read_everything(given.floor)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        bounds = whole(folder, given.size, ".nc" if given.netcdf else ".tif") + linear(
            folder, min(LINEAR_SIZE, given.size)
        )
    print()
    for what, kept, bound in bounds:
        print(f"{'ok  ' if kept else 'MISS'} {what} ({bound})")
    return int(given.check and not all(kept for _, kept, _ in bounds))


def whole(folder: Path, size: float, suffix: str) -> list[tuple[str, bool, str]]:
    """Measures the Earth."""
    paths = made(folder, size, LIT, suffix)
    print(f"{'':34}{'wall s':>9}{'CPU s':>9}{'GiB':>8}")
    row("floor, night lights", floor(paths[:1]))
    before = floor(paths)
    row("floor, both rasters", before)
    wanted = max(1, round(NUM_CELLS * size**2 / 4))
    number = f"--num_cells={NUM_CELLS if size == 1 else wanted}"
    checks = []
    for name, how in RUNNERS.items():
        cost, described = select(*paths, folder, number, *how)
        pixels, lit = described["night_light_pixels"], described["lit_pixels"]
        counts = described["counts"]
        row(
            f"select_cells, {name}",
            cost,
            f"{lit / pixels:.2%} lit",
            f"{pixels / cost.wall / 1e6:.0f} million night-light pixels a second",
            f"{counts['lit'] / cost.wall:,.0f} lit cells a second",
        )
        after = floor(paths)
        row("floor, both rasters", after)
        times = 2 * cost.cpu / (before.cpu + after.cpu)
        before = after
        bound = MAX_TIMES_FLOOR if not how else math.inf
        checks += [
            (
                f"{name}: {cost.wall / 60:.1f} minutes",
                cost.wall <= 60 * MAX_MINUTES,
                f"at most {MAX_MINUTES:g}",
            ),
            (
                f"{name}: {cost.gib:.2f} GiB in the largest process",
                cost.gib <= MAX_GIB,
                f"at most {MAX_GIB:g}",
            ),
            (
                f"{name}: {times:.2f} times the CPU of the floor",
                times <= bound,
                "not bounded" if math.isinf(bound) else f"at most {bound:g}",
            ),
        ]
    print(json.dumps(counts))
    return checks


def linear(folder: Path, size: float) -> list[tuple[str, bool, str]]:
    """Measures how the CPU seconds above those of a nearly dark Earth grow when the lit pixels double."""
    costs, pixels = [], []
    for lit in LINEAR_LIT:
        paths = made(folder, size, lit, ".tif")
        cost, described = select(*paths, folder)
        costs.append(cost.cpu)
        pixels.append(int(described["lit_pixels"]))
        share = pixels[-1] / described["night_light_pixels"]
        row(f"all cells, {size:g} of each side", cost, f"{share:.2%} lit")
    once, twice = ((costs[i] - costs[0]) / (pixels[i] - pixels[0]) for i in (1, 2))
    what = f"{twice / once:.2f} times the CPU seconds a lit pixel when twice as many are lit"
    return [(what, twice / once <= MAX_BEND, f"at most {MAX_BEND:g}")]


if __name__ == "__main__":
    sys.exit(main())
