"""One asset as GDAL opens it: every failure comes out as a fault, and nothing is tried again here."""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from rasterio.errors import RasterioError

from beam_pipeline.imagery.asset_grid import check_bounds
from beam_pipeline.imagery.file_keys import NO_KEYS, FileKeys, Key
from beam_pipeline.imagery.read_faults import Asset, Undecodable, fault_of_open, fault_of_read
from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.gdal_drivers import gdal_options, rasterio
from beam_pipeline.runtime.raster_walls import NO_SIDECARS, named_elsewhere
from beam_pipeline.runtime.traffic import Traffic

_T = TypeVar("_T")

GDAL_OPTIONS = {
    **NO_SIDECARS,
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

OPEN_REQUESTS = 2
"""The requests that opening costs a host: the file's size, and its header."""

_REPEATED = 2
"""About as many requests does GDAL send again by itself within an opening or a reading that fails."""

_NEVER_CACHED = "/vsicurl/:/vsigs/"
"""Every remote file. Set on re-opening: vsicurl remembers short answers, and after a 503 "does not exist"."""


class Changed(TransientFault):
    """The file is not what it was when it was opened before."""


class OpenedAsset:
    """An asset that is opened when it is first needed, and again, with nothing cached, after a fault.

    Used from one thread, within the GDAL options of the reader.

    Args:
        asset: The file.
        band: Key of `PIXEL_SIZE_M`.
        timeout_s: Most seconds that it may take if the file is asked once more about a failure.
        traffic: Paces the requests.
        keys: Knows what the file is asked with, which may change while it is read.
    """

    def __init__(
        self, asset: Asset, band: str, timeout_s: float, traffic: Traffic, keys: FileKeys = NO_KEYS
    ) -> None:
        self.asset = asset
        self._keys = keys
        self.band = band
        self.name = f"{band} at {asset.shown}"
        self._timeout_s = timeout_s
        self._traffic = traffic
        self._dataset: Any = None
        self._layer: dict[str, str] = {}
        self._held: list[tuple[Callable[[Any], Any], Any]] = []
        self._fresh = False

    def turn_to(self, overview: int | None) -> None:
        """Has the steps that follow see an overview alone, or what is no overview alone, as GDAL then does too."""
        self.begin_anew()
        self._layer = {"OVERVIEW_LEVEL": "NONE" if overview is None else f"{overview}only"}

    def begin_anew(self) -> None:
        """Closes the file, and forgets what its openings are held to, and the overview."""
        self.close()
        self._layer, self._held = {}, []

    def hold_to(self, step: Callable[[Any], Any], answer: Any) -> None:
        """Has every later opening give the same answer to a step: between two, a host may change the file."""
        self._held.append((step, answer))

    def renew_key(self) -> bool:
        """Gets another key in place of one that the host refused; tells whether there is another.

        Raises:
            NoToken: There should be one, and is none.
        """
        before = self.asset.key
        self._take_key(self._keys.find(self.asset.url, refused=before))
        return self.asset.key != before

    def open(self) -> None:
        """Opens the asset where it is not open, or was opened with a key that is about to expire.

        Raises:
            NoToken: There should be a key for it, and is none.
            Undecodable: It names another file, `check_bounds` refuses what was read, or `fault_of_open`
                finds no header of a TIFF.
            Changed: It gives another answer than it was held to.
            Fault: What `fault_of_open` finds.
        """
        if self.asset.url:
            self._take_key(self._keys.find(self.asset.url))
        if self._dataset is not None:
            return
        options = {"CPL_VSIL_CURL_NON_CACHED": _NEVER_CACHED} if self._fresh else {}
        if not self.asset.is_local:
            # Whatever the file names, and should it change between two openings: no other is asked for.
            options["CPL_VSIL_CURL_ALLOWED_FILENAME"] = str(self.asset.gdal_path)
        # GDAL remembers the header of an overview with that of the file, but in a fresh copy.
        if not self.asset.is_local and (self._fresh or not self._layer):
            self._traffic.turn(OPEN_REQUESTS)
        try:
            with gdal_options(**options, **self.asset.key.gdal_options):
                self._open_alone()
            check_bounds(self._dataset, self.band, self.name)
            same = all(step(self._dataset) == answer for step, answer in self._held)
        except PermanentFault as fault:
            raise self._undecodable(fault) from fault
        except RasterioError as error:
            self._forget_failed()
            raise fault_of_open(self.asset, error, self._timeout_s, self._traffic) from error
        if not same:
            self._forget()
            raise Changed("changed", f"{self.name} changed while it was read")

    def read(self, step: Callable[[Any], _T], extent: tuple[int, int] = (0, 0), requests: int = 0) -> _T:
        """Calls `step` with the dataset, which is open.

        Args:
            step: Reads from the dataset.
            extent: First byte of the file that the step reads, and one past the last.
            requests: How many requests the step sends when all goes well.

        Returns:
            What the step returned.

        Raises:
            Undecodable: The step refuses what it read, or `fault_of_read` finds no other cause.
            Fault: What `fault_of_read` finds.
        """
        if requests and not self.asset.is_local:
            self._traffic.turn(requests)
        sent = self.asset.key.gdal_options
        try:
            with gdal_options(**sent) if sent else contextlib.nullcontext():
                return step(self._dataset)
        except PermanentFault as fault:
            raise self._undecodable(fault) from fault
        except RasterioError as error:
            self._forget_failed()
            raise fault_of_read(self.asset, error, extent, self._timeout_s, self._traffic) from error

    def close(self) -> None:
        """Closes the file; it can be opened again."""
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = None

    def _take_key(self, key: Key) -> None:
        if key != self.asset.key:
            self.close()
            self.asset = self.asset.with_key(key)

    def _open_alone(self) -> None:
        """Opens the file, or its overview, and refuses it where it names another file."""
        with contextlib.ExitStack() as stack:
            if self._layer:
                # To open an overview is to look for one where the file says. So the file itself is looked at first, and
                # stays open, so that GDAL keeps the header that was looked at.
                self._require_alone(stack.enter_context(rasterio.open(self.asset.gdal_path, driver="GTiff")))
            self._dataset = rasterio.open(self.asset.gdal_path, driver="GTiff", **self._layer)
        self._require_alone(self._dataset)

    def _require_alone(self, dataset: Any) -> None:
        if elsewhere := named_elsewhere(dataset):
            raise PermanentFault(
                "refers_elsewhere", f"{self.name} must hold its overviews itself. It names: {elsewhere}"
            )

    def _undecodable(self, fault: PermanentFault) -> Undecodable:
        """Doubts the copy before the file: a bit that flipped on the way looks like another grid."""
        self._forget()
        return Undecodable(fault.reason, fault.detail)

    def _forget_failed(self) -> None:
        self._forget()
        if not self.asset.is_local:
            self._traffic.charge(_REPEATED)

    def _forget(self) -> None:
        self._fresh = True
        self.close()
