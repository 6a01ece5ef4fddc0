"""Windows of many chips from a scene's cloud-optimised GeoTIFFs, on the native grid, with no resampling.

An asset is opened once for all chips of a call. The distinct blocks that the chips touch are read once each,
in descending order of their place in the file: when a read starts where the last one ended, GDAL takes it for
the start of a sequential read and doubles what it asks for next. Neighbouring blocks come in one request.

`opened_asset` reads bytes with GDAL, `asset_retries` decides what is tried again, and `chip_canvases` knows which
pixels are whose.
"""

import concurrent.futures
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from rasterio.windows import Window

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.asset_grid import Block, checked_grid, extent_of_blocks, runs_of_blocks
from beam_pipeline.imagery.asset_retries import AssetReader
from beam_pipeline.imagery.asset_values import PixelReader, Pixels
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.chip_canvases import ChipCanvases
from beam_pipeline.imagery.file_keys import NO_KEYS, FileKeys
from beam_pipeline.imagery.opened_asset import GDAL_OPTIONS, OpenedAsset
from beam_pipeline.imagery.read_faults import Asset
from beam_pipeline.runtime.faults import Fault, PermanentFault
from beam_pipeline.runtime.gate import gate_options
from beam_pipeline.runtime.gdal_drivers import gdal_options
from beam_pipeline.runtime.reach import WEB, Reach
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic

ChipBands: TypeAlias = dict[str, Pixels]

_COARSE_M = 20
"""Pixel size in metres of which a coarse answer's is a multiple, whatever the asset's own."""


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
        reach: What may be asked for the assets; without a choice of its own each asset that is named is one.
        keys: Knows what the assets are asked with.
    """

    def __init__(
        self,
        reads_in_flight: int = 8,
        retry: RetryPolicy | None = None,
        timeout_s: float = 60.0,
        connect_timeout_s: float = 10.0,
        traffic: Traffic | None = None,
        reach: Reach = WEB,
        keys: FileKeys = NO_KEYS,
    ) -> None:
        self._keys = keys
        self._retry = retry or RetryPolicy.default()
        self._timeout_s = timeout_s
        self._traffic = traffic or Traffic()
        self._options = {
            **GDAL_OPTIONS,
            "GDAL_HTTP_TIMEOUT": f"{timeout_s:g}",
            "GDAL_HTTP_CONNECTTIMEOUT": f"{connect_timeout_s:g}",
        }
        self._reach = reach
        self._connect_timeout_s = connect_timeout_s
        self._pool = concurrent.futures.ThreadPoolExecutor(reads_in_flight, thread_name_prefix="read")

    @classmethod
    def of_catalog(
        cls, settings: CatalogSettings, reads_in_flight: int, traffic: Traffic, api: Traffic
    ) -> Self:
        """Makes a reader of a catalogue's files.

        Args:
            settings: Of the catalogue.
            reads_in_flight: As the class.
            traffic: As the class.
            api: Paces what is asked of endpoints of tokens.
        """
        keys = FileKeys(settings, traffic=api)
        return cls(reads_in_flight, traffic=traffic, reach=settings.reach, keys=keys)

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
            by pixel size, uint16 DN or uint8 SCL classes, 0 = no data. A band of which the file marks pixels of
            the chip as no data, by another number than 0 or by a mask, is a masked array with 0 there. Where a
            band could not be read the chip gets a fault instead: a `PermanentFault` of the first band that has one
            ("not_found", "forbidden", "corrupt", "misaligned", "wrong_crs", "outside", "wrong_dtype", "wrong_bands",
            "wrong_scale", "too_large", "refers_elsewhere", "missing_asset", "unreadable_href"), else the
            `TransientFault` that outlasted its retries ("throttled", "server_error", "timeout",
            "connection", "truncated", "untrusted", "refused_link", "changed", "forbidden", "no_token").
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
            Each band, (H, W), masked as those of `read`; bands of one scene have one shape whatever their pixel size.
            Pixels are the nearest of the overview that is read; how that was made is its maker's choice.

        Raises:
            Fault: As `read` gives.
        """
        jobs = [self._pool.submit(self._read_whole, band, assets.get(band), side) for band in bands]
        concurrent.futures.wait(jobs)
        return {band: job.result() for band, job in zip(bands, jobs, strict=True)}

    def look_at(self, assets: Mapping[str, str], bands: Sequence[str]) -> None:
        """Opens assets one after the other, and checks what can be checked of them without a chip.

        Args:
            assets: As `read`.
            bands: As `read`.

        Raises:
            Fault: Of the first that cannot be used, as `read` gives.
        """
        for band in bands:
            self._pool.submit(self._look_at, band, assets.get(band)).result()

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
            with self._asset(band, href) as asset:
                return asset.read_one_state(lambda: _read_chips(asset, chips))
        except Fault as fault:
            return [fault] * len(chips)

    def _read_whole(self, band: str, href: str | None, side: int) -> Pixels:
        with self._asset(band, href) as asset:
            return _read_coarse(asset, side)

    def _look_at(self, band: str, href: str | None) -> None:
        with self._asset(band, href) as asset:
            asset.read(lambda dataset: checked_grid(dataset, asset.band, asset.name))

    @contextlib.contextmanager
    def _asset(self, band: str, href: str | None) -> Iterator[AssetReader]:
        if href is None:
            raise PermanentFault("missing_asset", f"the scene has no asset {band}")
        file = Asset.of_href(href, self._reach)
        opened = OpenedAsset(file, band, self._timeout_s, self._traffic, self._keys)
        through = gate_options(file.url, file.reach, self._connect_timeout_s) if file.url else {}
        # Set in a thread other than the main one, GDAL's options hold in that thread only.
        with (
            self._traffic.slot(),
            gdal_options(**self._options, **through),
            AssetReader(opened, self._retry, self._traffic) as asset,
        ):
            yield asset


def _join(bands: Sequence[str], answers: Sequence[Pixels | Fault]) -> ChipBands | Fault:
    faults = [answer for answer in answers if isinstance(answer, Fault)]
    if not faults:
        return dict(zip(bands, answers, strict=True))  # type: ignore[arg-type]
    # A permanent fault decides: the scene could not be used even if the others passed.
    return next((fault for fault in faults if isinstance(fault, PermanentFault)), faults[0])


def _read_coarse(asset: AssetReader, side: int) -> Pixels:
    """Reads one asset from its coarsest overview that has as many pixels as are asked for, or from itself."""

    def plan(dataset: Any) -> tuple[int | None, tuple[int, ...], int | None]:
        grid = checked_grid(dataset, asset.band, asset.name)
        pixel_m = grid.pixel_m
        step = max(1, -(-max(dataset.shape) * pixel_m // (_COARSE_M * side)))
        shape = tuple(max(1, length * pixel_m // (_COARSE_M * step)) for length in dataset.shape)
        most = min(length / coarse for length, coarse in zip(dataset.shape, shape, strict=True))
        factors = [(factor, level) for level, factor in enumerate(dataset.overviews(1)) if factor <= most]
        return max(factors)[1] if factors else None, shape, grid.nodata

    overview, shape, nodata = asset.read(plan)
    reader = PixelReader(nodata)
    asset.turn_to(overview)
    extent = asset.read(lambda dataset: extent_of_blocks(dataset, asset.name))
    return asset.read(lambda dataset: reader.read(dataset, out_shape=shape), extent, requests=reader.requests)


def _read_chips(asset: AssetReader, chips: Sequence[ChipWindow]) -> list[Pixels | Fault]:
    """Reads the chips from one asset; a fault of the asset as a whole is raised."""
    grid = asset.settle(lambda dataset: checked_grid(dataset, asset.band, asset.name))
    reader = PixelReader(grid.nodata)
    canvases = ChipCanvases(grid, asset.band, chips, asset.name)
    todo = asset.read(lambda dataset: runs_of_blocks(dataset, canvases.blocks, asset.name))
    while todo:
        run = todo.pop()  # the last in the file: descending order
        window = canvases.window(run)
        if window is None:
            continue
        try:
            pixels = _read_run(asset, run, window, reader)
        except PermanentFault as fault:
            if len(run) > 1:
                todo += [(block,) for block in run]
            else:
                canvases.refuse(run[0], fault)
        else:
            canvases.paint(run, window, pixels)
    return canvases.answers


def _read_run(asset: AssetReader, run: tuple[Block, ...], window: Window, reader: PixelReader) -> Pixels:
    extent = min(block.offset for block in run), max(block.offset + block.size for block in run)
    return asset.read(lambda dataset: reader.read(dataset, window=window), extent, requests=reader.requests)
