"""Windows of many chips from a scene's cloud-optimised GeoTIFFs, on the native grid, with no resampling.

An asset is opened once for all chips of a call. The distinct blocks that the chips touch are read once each,
in descending order of their place in the file: when a read starts where the last one ended, GDAL takes it for
the start of a sequential read and doubles what it asks for next. Neighbouring blocks come in one request.
"""

import concurrent.futures
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from beam_pipeline.cells.cell import CHIP_SIZE_M, ChipWindow
from beam_pipeline.imagery.asset_grid import (
    Block,
    Grid,
    check_bounds,
    checked_grid,
    extent_of_blocks,
    runs_of_blocks,
)
from beam_pipeline.imagery.image import SCL
from beam_pipeline.imagery.read_faults import Asset, Undecodable, fault_of_open, fault_of_read
from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic

Pixels: TypeAlias = npt.NDArray[np.uint16] | npt.NDArray[np.uint8]
ChipBands: TypeAlias = dict[str, Pixels]

_T = TypeVar("_T")

GDAL_OPTIONS = {
    # No listing of the folder and no look for .aux.xml, .ovr and .msk: 9 HEADs an asset otherwise.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif,.tiff",
    # The header of a full-size COG, block tables of its overviews included, fits in one request.
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    # No block is read twice, so a cache for each handle would only cost memory.
    "VSI_CACHE": "FALSE",
    # Of the process. In its default of 16 MB, and now and then in 32 MB, blocks of 8 assets push each other out before
    # they are decoded, and are fetched twice.
    "CPL_VSIL_CURL_CACHE_SIZE": str(64 << 20),
    # Whatever the environment says.
    "GDAL_HTTP_UNSAFESSL": "NO",
    # Retries are ours: GDAL's would keep what it remembers of a failed request.
    "GDAL_HTTP_MAX_RETRY": "0",
}

_COARSE_M = 20
"""Pixel size in metres of which a coarse answer's is a multiple, whatever the asset's own."""

FRESH_COPIES = 4
"""How often what cannot be used is fetched before it is called corrupt: the network flips bits too."""

OPEN_REQUESTS = 2
"""What opening costs a host: the file's size, and its header."""

_REPEATED = 2
"""About as many requests does GDAL send again by itself within an opening or a reading that fails."""

_NEVER_CACHED = "/vsicurl/:/vsigs/"
"""Every remote file. Set on re-opening: vsicurl remembers short answers, and after a 503 "does not exist"."""


class SceneReader:
    """Reads the same chips from several assets of a scene at once.

    It owns a pool of threads; a thread holds one open file at a time. Use it as a context manager, or `close`
    it.
    It may be used from one thread at a time.

    Args:
        reads_in_flight: Number of assets that are read at once, at least 1.
        retry: How often each single read is tried.
        timeout_s: Longest time in seconds that one request may take.
        connect_timeout_s: Longest time in seconds that a connection may take.
        traffic: Paces and caps the requests and counts what is read again.
    """

    def __init__(
        self,
        reads_in_flight: int = 8,
        retry: RetryPolicy | None = None,
        timeout_s: float = 60.0,
        connect_timeout_s: float = 10.0,
        traffic: Traffic | None = None,
    ) -> None:
        self._retry = RetryPolicy() if retry is None else retry
        self._timeout_s = timeout_s
        self._traffic = traffic or Traffic()
        self._options = {
            **GDAL_OPTIONS,
            "GDAL_HTTP_TIMEOUT": f"{timeout_s:g}",
            "GDAL_HTTP_CONNECTTIMEOUT": f"{connect_timeout_s:g}",
        }
        self._pool = concurrent.futures.ThreadPoolExecutor(reads_in_flight, thread_name_prefix="read")

    def read(
        self, assets: Mapping[str, str], bands: Sequence[str], chips: Sequence[ChipWindow]
    ) -> list[ChipBands | Fault]:
        """Reads the given bands of a scene for the given chips.

        Args:
            assets: Path or URL (http, https, gs, file) of each band's asset.
            bands: Keys of `PIXEL_SIZE_M`.
            chips: The chips; they may overlap and repeat.

        Returns:
            For each chip, in the order given, its bands in the order given: (192, 192), (96, 96) or (32, 32)
            by pixel size, uint16 DN or uint8 SCL classes, 0 = no data. Where a band could not be read the
            chip gets a fault instead: a `PermanentFault` of the first band that has one ("not_found",
            "forbidden", "corrupt", "misaligned", "wrong_crs", "outside", "wrong_dtype", "wrong_bands",
            "too_large", "missing_asset", "unreadable_href"), else the `TransientFault` that outlasted its retries
            ("throttled", "server_error", "timeout", "connection", "truncated").
        """
        if not chips:
            return []
        jobs = [self._pool.submit(self._read_asset, band, assets.get(band), chips) for band in bands]
        concurrent.futures.wait(jobs)  # so that nothing is still being read when one of them raises
        answers = [job.result() for job in jobs]
        return [_join(bands, [answer[index] for answer in answers]) for index in range(len(chips))]

    def read_coarse(self, assets: Mapping[str, str], bands: Sequence[str], side: int) -> dict[str, Pixels]:
        """Reads whole assets coarsely, from their overviews where they have them.

        Args:
            assets: As `read`.
            bands: As `read`.
            side: Most rows and columns of an answer.

        Returns:
            Each band, (H, W); bands of one scene have one shape whatever their pixel size. Pixels are the nearest of
            the overview that is read; how that was made is its maker's choice.

        Raises:
            Fault: As `read` gives.
        """
        jobs = [self._pool.submit(self._read_whole, band, assets.get(band), side) for band in bands]
        concurrent.futures.wait(jobs)
        return {band: job.result() for band, job in zip(bands, jobs, strict=True)}

    def close(self) -> None:
        """Ends the threads; the reader cannot be used any more."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> "SceneReader":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read_asset(
        self, band: str, href: str | None, chips: Sequence[ChipWindow]
    ) -> Sequence[Pixels | Fault]:
        try:
            with self._opened(band, href) as opened:
                return _read_chips(opened, chips)
        except Fault as fault:
            return [fault] * len(chips)

    def _read_whole(self, band: str, href: str | None, side: int) -> Pixels:
        with self._opened(band, href) as opened:
            return _read_coarse(opened, side)

    @contextlib.contextmanager
    def _opened(self, band: str, href: str | None) -> Iterator["_Opened"]:
        if href is None:
            raise PermanentFault("missing_asset", f"the scene has no asset {band}")
        asset = Asset.of_href(href)
        # Set in a thread other than the main one, GDAL's options hold in that thread only.
        with (
            self._traffic.slot(),
            rasterio.Env(**self._options),
            _Opened(asset, band, self._retry, self._timeout_s, self._traffic) as opened,
        ):
            yield opened


def _join(bands: Sequence[str], answers: Sequence[Pixels | Fault]) -> ChipBands | Fault:
    faults = [answer for answer in answers if isinstance(answer, Fault)]
    if not faults:
        return dict(zip(bands, answers, strict=True))  # type: ignore[arg-type]
    # A permanent fault decides: the scene could not be used even if the others passed.
    return next((fault for fault in faults if isinstance(fault, PermanentFault)), faults[0])


class _CannotOpen(Exception):
    """The retries of opening are used up: those of reading must not begin anew.

    Attributes:
        fault: What happened last.
    """

    def __init__(self, fault: TransientFault) -> None:
        super().__init__(fault)
        self.fault = fault


class _Opened:
    """An asset that is opened when it is first needed, and again, with nothing cached, after a fault."""

    def __init__(
        self, asset: Asset, band: str, retry: RetryPolicy, timeout_s: float, traffic: Traffic
    ) -> None:
        self.asset = asset
        self.band = band
        self.name = f"{band} at {asset.shown}"
        self._retry = retry
        self._timeout_s = timeout_s
        self._traffic = traffic
        self._dataset: Any = None
        self._layer: dict[str, str] = {}
        self._fresh = False

    def turn_to(self, overview: int | None) -> None:
        """Has the steps that follow see an overview alone, or what is no overview alone, as GDAL then does too."""
        self._close()
        self._layer = {"OVERVIEW_LEVEL": "NONE" if overview is None else f"{overview}only"}

    def run(self, step: Callable[[Any], _T], extent: tuple[int, int] = (0, 0), requests: int = 0) -> _T:
        """Calls `step` with the open dataset until it passes.

        Args:
            step: Reads from the dataset.
            extent: First byte of the file that the step reads, and one past the last.
            requests: How many requests the step sends when all goes well.

        Returns:
            What the step returned.

        Raises:
            PermanentFault: When every one of `FRESH_COPIES` could not be decoded ("corrupt"), or `check_bounds` or
                the step refused it, and what `fault_of_open` and `fault_of_read` find.
            TransientFault: The retries of opening or of reading are used up.
        """

        def attempt() -> _T:
            # Reading begins with an open file. Were opening a part of the same try, a network that loses every fifth
            # request would fail twice as many of them.
            try:
                dataset = self._retry.call(self._open, on_retry=self._traffic.retried)
            except TransientFault as fault:
                raise _CannotOpen(fault) from fault
            if requests and not self.asset.is_local:
                self._traffic.turn(requests)
            try:
                return step(dataset)
            except PermanentFault as fault:
                self._drop()  # a bit that flipped on the way looks like another grid
                raise Undecodable(fault.reason, fault.detail) from fault
            except RasterioError as error:
                self._drop()
                self._charge_repeated()
                raise fault_of_read(self.asset, error, extent, self._timeout_s, self._traffic) from error

        for copy in range(FRESH_COPIES):
            try:
                return self._retry.call(attempt, on_retry=self._traffic.retried)
            except _CannotOpen as error:
                raise error.fault from error
            except Undecodable as fault:
                if copy + 1 == FRESH_COPIES:
                    raise PermanentFault(fault.reason, fault.detail) from fault
                self._traffic.retried(fault)
                if not self.asset.is_local:
                    time.sleep(self._retry.wait_s(copy))
        raise AssertionError("FRESH_COPIES is at least 1")

    def _open(self) -> Any:
        if self._dataset is None:
            options = {"CPL_VSIL_CURL_NON_CACHED": _NEVER_CACHED} if self._fresh else {}
            # GDAL remembers the header of an overview with that of the file, but in a fresh copy.
            if not self.asset.is_local and (self._fresh or not self._layer):
                self._traffic.turn(OPEN_REQUESTS)
            try:
                with rasterio.Env(**options):
                    self._dataset = rasterio.open(self.asset.gdal_path, driver="GTiff", **self._layer)
                check_bounds(self._dataset, self.band, self.name)
            except PermanentFault as fault:
                self._drop()
                raise Undecodable(fault.reason, fault.detail) from fault
            except RasterioError as error:
                self._drop()
                self._charge_repeated()
                raise fault_of_open(self.asset, error, self._timeout_s, self._traffic) from error
        return self._dataset

    def _charge_repeated(self) -> None:
        if not self.asset.is_local:
            self._traffic.charge(_REPEATED)

    def _drop(self) -> None:
        self._fresh = True
        self._close()

    def _close(self) -> None:
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = None

    def __enter__(self) -> "_Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


def _read_coarse(opened: _Opened, side: int) -> Pixels:
    """Reads one asset from its coarsest overview that has as many pixels as are asked for, or from itself."""

    def plan(dataset: Any) -> tuple[int | None, tuple[int, ...]]:
        pixel_m = checked_grid(dataset, opened.band, opened.name).pixel_m
        step = max(1, -(-max(dataset.shape) * pixel_m // (_COARSE_M * side)))
        shape = tuple(max(1, length * pixel_m // (_COARSE_M * step)) for length in dataset.shape)
        most = min(length / coarse for length, coarse in zip(dataset.shape, shape, strict=True))
        factors = [(factor, level) for level, factor in enumerate(dataset.overviews(1)) if factor <= most]
        return max(factors)[1] if factors else None, shape

    overview, shape = opened.run(plan)
    opened.turn_to(overview)
    extent = opened.run(lambda dataset: extent_of_blocks(dataset, opened.name))
    pixels: Pixels = opened.run(lambda dataset: dataset.read(1, out_shape=shape), extent, requests=1)
    return pixels


def _read_chips(opened: _Opened, chips: Sequence[ChipWindow]) -> list[Pixels | Fault]:
    """Reads the chips from one asset; a fault of the asset as a whole is raised."""
    name = opened.name
    grid = opened.run(lambda dataset: checked_grid(dataset, opened.band, name))
    side = CHIP_SIZE_M // grid.pixel_m
    dtype: type[np.uint8 | np.uint16] = np.uint8 if opened.band == SCL else np.uint16
    answers: list[Pixels | Fault] = []
    corners: dict[int, tuple[int, int]] = {}
    for index, chip in enumerate(chips):
        try:
            corners[index] = grid.window(chip, name)
            answers.append(np.empty((side, side), dtype))  # type: ignore[arg-type]
        except PermanentFault as fault:
            answers.append(fault)
    users: dict[tuple[int, int], list[int]] = {}
    for index, (row, column) in corners.items():
        for block_row in range(row // grid.block_height, (row + side - 1) // grid.block_height + 1):
            for block_column in range(
                column // grid.block_width, (column + side - 1) // grid.block_width + 1
            ):
                users.setdefault((block_row, block_column), []).append(index)
    todo = opened.run(lambda dataset: runs_of_blocks(dataset, users, name))
    while todo:
        run = todo.pop()  # the last in the file: descending order
        needing = sorted({index for block in run for index in users[block.row, block.column]})
        needing = [index for index in needing if not isinstance(answers[index], Fault)]
        if not needing:
            continue
        try:
            _copy_run(opened, grid, run, [(corners[index], answers[index]) for index in needing])
        except PermanentFault as fault:
            # Only the chips that need the very block: what a chip gets must not depend on its neighbours.
            if len(run) > 1:
                todo += [(block,) for block in run]
            else:
                for index in needing:
                    answers[index] = fault
    return answers


def _copy_run(
    opened: _Opened, grid: Grid, run: tuple[Block, ...], chips: Sequence[tuple[tuple[int, int], Any]]
) -> None:
    """Reads a run of blocks, as far as chips need it, and copies it to chips: ((row, column), array)."""
    first_row, first_column = run[0].row * grid.block_height, run[0].column * grid.block_width
    end_row, end_column = first_row + grid.block_height, first_column + len(run) * grid.block_width
    side = CHIP_SIZE_M // grid.pixel_m
    parts = [
        (
            max(first_row, row),
            min(end_row, row + side),
            max(first_column, column),
            min(end_column, column + side),
        )
        for (row, column), _ in chips
    ]
    top, bottom = min(part[0] for part in parts), max(part[1] for part in parts)
    left, right = min(part[2] for part in parts), max(part[3] for part in parts)
    window = Window(left, top, right - left, bottom - top)
    pixels = opened.run(
        lambda dataset: dataset.read(1, window=window),
        extent=(min(block.offset for block in run), max(block.offset + block.size for block in run)),
        requests=1,
    )
    for ((row, column), out), (top_part, bottom_part, left_part, right_part) in zip(
        chips, parts, strict=True
    ):
        out[top_part - row : bottom_part - row, left_part - column : right_part - column] = pixels[
            top_part - top : bottom_part - top, left_part - left : right_part - left
        ]
