"""Reading chips from COGs, compared with plain windowed reads, and what each fault becomes."""

import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import from_bounds

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.image import BANDS, SCL
from beam_pipeline.imagery.read_faults import Asset, Peek
from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Share, Traffic
from tests.imagery.made_cogs import (
    EPSG,
    LEFT,
    SAMPLES_PER_PIXEL,
    SIDE_M,
    TILE_BYTE_COUNTS,
    TILE_LENGTH,
    TILE_WIDTH,
    TOP,
    FolderServer,
    set_tag,
    write_cog,
    write_sparse,
)
from tests.imagery.range_server import Injected
from tests.shared_data import shared

QUICK = RetryPolicy(attempts=3, base_s=0.001)
CHIPS = [
    ChipWindow(EPSG, LEFT, TOP - 1920),
    ChipWindow(EPSG, LEFT + 4200, TOP - 7020),
    ChipWindow(EPSG, LEFT + 4800, TOP - 6960),
    ChipWindow(EPSG, LEFT + SIDE_M - 1920, TOP - SIDE_M),
    ChipWindow(EPSG, LEFT + 4200, TOP - 7020),
]


def plain_read(path: Path, chip: ChipWindow) -> np.ndarray:
    """The independent answer: one windowed read."""
    with rasterio.open(path) as dataset:
        return dataset.read(1, window=from_bounds(*chip.bounds, dataset.transform).round())


def only_fault(
    reader: SceneReader, href: str | Path, chip: ChipWindow = CHIPS[1], band: str = "B02"
) -> Fault:
    (answer,) = reader.read({band: str(href)}, (band,), [chip])
    assert isinstance(answer, Fault), "the read passed"
    return answer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FolderServer]:
    with FolderServer(tmp_path) as running:
        yield running


@pytest.fixture
def reader() -> Iterator[SceneReader]:
    with SceneReader(4, QUICK, timeout_s=0.5, connect_timeout_s=0.5) as opened:
        yield opened


def blocks_of(path: Path, chip: ChipWindow) -> list[tuple[int, int]]:
    """(offset, size) of the blocks that hold the chip, found pixel by pixel of a small grid."""
    with rasterio.open(path) as dataset:
        window = from_bounds(*chip.bounds, dataset.transform).round()
        height, width = dataset.block_shapes[0]
        places = {
            (row // height, column // width)
            for row in range(int(window.row_off), int(window.row_off + window.height))
            for column in range(int(window.col_off), int(window.col_off + window.width))
        }
        return sorted(
            tuple(
                int(dataset.get_tag_item(f"BLOCK_{kind}_{column}_{row}", "TIFF", bidx=1))
                for kind in ("OFFSET", "SIZE")
            )
            for row, column in places
        )


@pytest.mark.parametrize("where", ["path", "file", "http"])
def test_equals_plain_reads(tmp_path: Path, server: FolderServer, reader: SceneReader, where: str) -> None:
    hrefs = {}
    for band in (*BANDS, SCL):
        path = tmp_path / f"{band}.tif"
        write_cog(path, band)
        hrefs[band] = {"path": str(path), "file": path.as_uri(), "http": server.url(path.name)}[where]
    answers = reader.read(hrefs, (*BANDS, SCL), CHIPS)
    assert len(answers) == len(CHIPS)
    for chip, bands in zip(CHIPS, answers, strict=True):
        assert not isinstance(bands, Fault)
        assert list(bands) == [*BANDS, SCL]
        for band, pixels in bands.items():
            expected = plain_read(tmp_path / f"{band}.tif", chip)
            assert pixels.dtype == expected.dtype
            np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("layout", ["strips", "sparse"])
def test_other_layouts(tmp_path: Path, reader: SceneReader, layout: str) -> None:
    path = tmp_path / "a.tif"
    more = (
        {"tiled": True, "blockxsize": 256, "blockysize": 256, "SPARSE_OK": True} if layout == "sparse" else {}
    )
    with rasterio.open(
        path, "w", driver="GTiff", width=1200, height=1200, count=1, dtype="uint16", nodata=0,
        crs=f"EPSG:{EPSG}", transform=from_origin(LEFT, TOP, 10, 10), compress="deflate", **more,
    ) as dataset:  # fmt: skip
        pixels = np.zeros((1200, 1200), np.uint16)
        pixels[:500, :500] = np.random.default_rng(0).integers(1, 4000, (500, 500))
        dataset.write(pixels, 1)
    for chip, answer in zip(CHIPS, reader.read({"B02": str(path)}, ("B02",), CHIPS), strict=True):
        assert not isinstance(answer, Fault)
        np.testing.assert_array_equal(answer["B02"], plain_read(path, chip))


def test_asset_is_opened_once_and_each_block_comes_once_in_descending_order(
    tmp_path: Path, server: FolderServer, reader: SceneReader
) -> None:
    write_cog(tmp_path / "a.tif")
    reader.read({"B02": server.url("a.tif")}, ("B02",), CHIPS)
    opening, header, *reads = server.requests
    assert (opening.method, header.method, header.start) == ("HEAD", "GET", 0)
    blocks = {block for chip in CHIPS for block in blocks_of(tmp_path / "a.tif", chip)}
    assert len(reads) <= len(blocks)
    starts = [request.start for request in reads]
    assert starts == sorted(starts, reverse=True)
    for offset, size in blocks:
        holders = [r for r in reads if r.start <= offset and offset + size <= r.stop]
        assert len(holders) == 1
    # GDAL asks for whole pieces of 16 KiB.
    assert sum(request.sent for request in reads) <= sum(size for _, size in blocks) + len(reads) * 2 * 16384


def test_order_of_results_does_not_depend_on_which_asset_is_slow(
    tmp_path: Path, server: FolderServer, reader: SceneReader
) -> None:
    hrefs = {}
    for band in ("B02", "B03", "B05"):
        write_cog(tmp_path / f"{band}.tif", band)
        hrefs[band] = server.url(f"{band}.tif")
    server.inject("B02.tif", Injected("stall", seconds=0.1, times=2))
    (answer,) = reader.read(hrefs, ("B02", "B05", "B03"), CHIPS[:1])
    assert not isinstance(answer, Fault)
    assert list(answer) == ["B02", "B05", "B03"]


class Watch(FolderServer):
    """Says how many requests it ever answered at once."""

    now = most = 0
    watch = threading.Lock()

    def fault_for(self, *args: object) -> None:
        with self.watch:
            self.now += 1
            self.most = max(self.most, self.now)
        threading.Event().wait(0.02)
        with self.watch:
            self.now -= 1


def test_reads_in_flight_is_the_bound(tmp_path: Path) -> None:
    for band in BANDS[:6]:
        write_cog(tmp_path / f"{band}.tif", band)
    with Watch(tmp_path) as server, SceneReader(2, QUICK) as reader:
        hrefs = {band: server.url(f"{band}.tif") for band in BANDS[:6]}
        (answer,) = reader.read(hrefs, BANDS[:6], CHIPS[:1])
    assert not isinstance(answer, Fault)
    assert server.most == 2


def test_readers_of_one_process_share_the_bound(tmp_path: Path) -> None:
    bands = BANDS[:4]
    for band in bands:
        write_cog(tmp_path / f"{band}.tif", band)
    faults: list[object] = []

    def read(server: FolderServer) -> None:
        hrefs = {band: server.url(f"{band}.tif?{threading.get_ident()}") for band in bands}
        with SceneReader(
            8, QUICK, traffic=Traffic.of_job(str(tmp_path), "files", Share(in_flight=3))
        ) as reader:
            faults.extend(answer for answer in reader.read(hrefs, bands, CHIPS) if isinstance(answer, Fault))

    with Watch(tmp_path) as server:
        threads = [threading.Thread(target=read, args=(server,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not faults
    assert server.most == 3


class Told(Traffic):
    """Traffic that adds up the requests that it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0

    def turn(self, requests: int = 1) -> None:
        self.requests += requests

    charge = turn


@pytest.mark.parametrize("block", [128, 512, 1024])
def test_every_request_has_its_turn(tmp_path: Path, server: FolderServer, block: int) -> None:
    for band in ("B02", "B05", "B09", SCL):
        write_cog(tmp_path / f"{band}.tif", band, block=block)
    told = Told()
    with SceneReader(2, QUICK, traffic=told) as reader:
        for bands, chips in ((("B02", "B05", "B09", SCL), CHIPS), (("B02",), CHIPS[:1])):
            hrefs = {band: server.url(f"{band}.tif?{len(bands)}") for band in bands}
            assert not any(isinstance(answer, Fault) for answer in reader.read(hrefs, bands, chips))
        reader.read_coarse({"B02": server.url("B02.tif?coarse")}, ("B02",), 300)
        reader.read({"B02": str(tmp_path / "B02.tif")}, ("B02",), CHIPS)  # costs no host anything
    assert len(server.requests) == told.requests


@pytest.mark.parametrize("kind", ["status", "truncate", "reset"])
def test_requests_that_gdal_repeats_are_charged(tmp_path: Path, server: FolderServer, kind: str) -> None:
    told = Told()
    with SceneReader(1, RetryPolicy(attempts=8, base_s=0.001), traffic=told) as reader:
        for place in ("header", "block"):
            path = tmp_path / f"{place}.tif"
            write_cog(path)
            offset, _ = blocks_of(path, CHIPS[1])[0]
            overlaps = (0, 1) if place == "header" else (offset, offset + 1)
            server.inject(path.name, Injected(kind, 503, overlaps=overlaps))  # type: ignore[arg-type]
            reader.read({"B02": server.url(path.name)}, ("B02",), CHIPS[1:2])
    # As docs/running.md says: about right, not exact.
    assert 0.75 * len(server.requests) <= told.requests <= 1.5 * len(server.requests)


def test_southern_lattice_is_measured_from_the_equator(tmp_path: Path, reader: SceneReader) -> None:
    top = 10_000_000 - 60 * 16_000  # ULY = 40 mod 60, as real southern tiles have
    assert top % 60 == 40
    path = tmp_path / "south.tif"
    write_cog(path, epsg=32733, top=top)
    chip = ChipWindow(32733, LEFT + 600, top - 1920 - 660)
    (answer,) = reader.read({"B02": str(path)}, ("B02",), [chip])
    assert not isinstance(answer, Fault)
    np.testing.assert_array_equal(answer["B02"], plain_read(path, chip))
    write_cog(path, epsg=32733, top=top + 20)  # a multiple of 60, and so off the southern lattice
    assert only_fault(reader, path, chip).reason == "misaligned"


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("misaligned", {"left": LEFT + 10}),
        ("misaligned", {"top": TOP - 20}),
        ("misaligned", {"left": LEFT + 0.5}),
        ("misaligned", {"pixel_m": 20}),
        ("wrong_dtype", {"dtype": "int16"}),
        ("wrong_dtype", {"dtype": "float32"}),
        ("wrong_bands", {"count": 3}),
        ("wrong_crs", {"epsg": 32632}),
        ("outside", {"left": LEFT + 6000}),
        ("outside", {"side_m": 6000}),
    ],
)
def test_unfit_rasters_are_refused(
    tmp_path: Path, reader: SceneReader, reason: str, changes: dict[str, object]
) -> None:
    write_cog(tmp_path / "a.tif", **changes)  # type: ignore[arg-type]
    fault = only_fault(reader, tmp_path / "a.tif")
    assert isinstance(fault, PermanentFault)
    assert fault.reason == reason


def both_ways(reader: SceneReader, path: Path, band: str = "B02") -> list[Fault]:
    """Returns the faults of a raster when chips of it are read, and the whole of it coarsely."""
    faults = [only_fault(reader, path, band=band)]
    with pytest.raises(Fault) as raised:
        reader.read_coarse({band: str(path)}, (band,), 60)
    return [*faults, raised.value]


@pytest.mark.parametrize(
    ("side", "block", "what"),
    [
        (30_720, 30_720, "12000 rows and columns"),
        (200_000, 16_384, "12000 rows and columns"),
        (12_016, 512, "12000 rows and columns"),
        (1200, 30_720, "32 MiB"),
        (1200, 4112, "32 MiB"),
    ],
)
def test_small_files_that_claim_much_are_refused(
    tmp_path: Path, reader: SceneReader, side: int, block: int, what: str
) -> None:
    path = tmp_path / "a.tif"
    write_sparse(path, side, block)
    for fault in both_ways(reader, path):
        assert isinstance(fault, PermanentFault)
        assert fault.reason == "too_large"
        assert what in fault.detail


def test_the_largest_blocks_that_are_read(tmp_path: Path, reader: SceneReader) -> None:
    path = tmp_path / "a.tif"
    write_sparse(path, 12_000, 4096)
    (answer,) = reader.read({"B02": str(path)}, ("B02",), CHIPS[:1])
    assert not isinstance(answer, Fault)
    assert not answer["B02"].any()
    assert reader.read_coarse({"B02": str(path)}, ("B02",), 60)["B02"].shape == (60, 60)


@pytest.mark.parametrize("compress", [None, "deflate"])
def test_all_pixels_in_one_strip(tmp_path: Path, reader: SceneReader, compress: str | None) -> None:
    """Of an unpacked one GDAL reads single rows; a packed one is unpacked whole."""
    side, path = 4800, tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint16", blockysize=side,
        crs=f"EPSG:{EPSG}", transform=from_origin(LEFT, TOP, 10, 10), compress=compress,
    ) as dataset:  # fmt: skip
        dataset.write(np.arange(side * side).reshape(side, side) % 4001 + 1, 1)
    (answer,) = reader.read({"B02": str(path)}, ("B02",), CHIPS[:1])
    if compress is None:
        assert not isinstance(answer, Fault)
        np.testing.assert_array_equal(answer["B02"], plain_read(path, CHIPS[0]))
    else:
        assert isinstance(answer, PermanentFault)
        assert answer.reason == "too_large"


def test_claims_of_bands_blocks_and_overviews(tmp_path: Path, reader: SceneReader) -> None:
    path = tmp_path / "a.tif"
    write_sparse(path, 1200, 256)
    set_tag(path, SAMPLES_PER_PIXEL, 65_535)
    assert [fault.reason for fault in both_ways(reader, path)] == ["wrong_bands"] * 2

    # A block of 16 kB that takes 64 kB in the file.
    write_cog(path, SCL, block=128)
    set_tag(path, TILE_BYTE_COUNTS, 65_535)
    fault = only_fault(reader, path, CHIPS[0], SCL)
    assert (fault.reason, "65535" in fault.detail) == ("too_large", True)

    # The block of an overview. Chips have no need of it.
    write_cog(path, block=256)
    with rasterio.open(path) as dataset:
        assert dataset.overviews(1) == [2, 4, 8]
    for tag in (TILE_WIDTH, TILE_LENGTH):
        set_tag(path, tag, 16_384, directory=3)
    with pytest.raises(PermanentFault, match="too_large"):
        reader.read_coarse({"B02": str(path)}, ("B02",), 60)
    assert reader.read_coarse({"B02": str(path)}, ("B02",), 200)["B02"].any()
    assert not isinstance(reader.read({"B02": str(path)}, ("B02",), CHIPS[:1])[0], Fault)


def test_only_the_chips_outside_are_refused(tmp_path: Path, reader: SceneReader) -> None:
    write_cog(tmp_path / "a.tif")
    beyond = ChipWindow(EPSG, LEFT - 60, TOP - 1920)
    answers = reader.read({"B02": str(tmp_path / "a.tif")}, ("B02",), [beyond, *CHIPS])
    assert [isinstance(answer, Fault) for answer in answers] == [True] + [False] * len(CHIPS)


@pytest.mark.parametrize("seen_by", ["every request", "one block"])
@pytest.mark.parametrize(
    "fault",
    [
        Injected("status", 503),
        Injected("status", 429),
        Injected("status", 500),
        Injected("truncate"),
        Injected("reset"),
        Injected("stall", seconds=0.8),
        Injected("garble"),
        Injected("page", 200),
        Injected("page", 206),
        Injected("status", 416),
    ],
    ids=lambda fault: f"{fault.kind}{fault.status if fault.kind in ('status', 'page') else ''}",
)
def test_passing_faults_leave_no_trace(
    tmp_path: Path, server: FolderServer, reader: SceneReader, fault: Injected, seen_by: str
) -> None:
    write_cog(tmp_path / "a.tif")
    offset, _ = blocks_of(tmp_path / "a.tif", CHIPS[1])[1]
    # GDAL itself asks again for a range that failed, so a single 503 would not be noticed.
    times = 1 if seen_by == "every request" or fault.kind in ("garble", "truncate", "page") else 3
    overlaps = None if seen_by == "every request" else (offset + 5, offset + 6)
    server.inject("a.tif", Injected(fault.kind, fault.status, times, overlaps, fault.seconds))
    answers = reader.read({"B02": server.url("a.tif")}, ("B02",), CHIPS)
    for chip, answer in zip(CHIPS, answers, strict=True):
        assert not isinstance(answer, Fault), answer
        np.testing.assert_array_equal(answer["B02"], plain_read(tmp_path / "a.tif", chip))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Injected("status", 503), "throttled"),
        (Injected("status", 429), "throttled"),
        (Injected("status", 403), "forbidden"),
        (Injected("status", 502), "server_error"),
        (Injected("reset"), "connection"),
        (Injected("stall", seconds=1.0), "timeout"),
        (Injected("page", 200), "connection"),
        (Injected("page", 206), "server_error"),
        (Injected("status", 416), "connection"),
    ],
    ids=["503", "429", "403", "502", "reset", "stall", "page", "page as range", "416"],
)
def test_outages_are_transient(
    tmp_path: Path, server: FolderServer, reader: SceneReader, fault: Injected, reason: str
) -> None:
    write_cog(tmp_path / "a.tif")
    server.inject("a.tif", fault)
    found = only_fault(reader, server.url("a.tif"))
    assert isinstance(found, TransientFault)
    assert found.reason == reason
    server.heal()
    (answer,) = reader.read({"B02": server.url("a.tif")}, ("B02",), CHIPS[:1])
    assert not isinstance(answer, Fault), "what failed before is remembered"


@pytest.mark.parametrize(
    ("kind", "status"),
    [("truncate", 0), ("reset", 0), ("status", 503), ("status", 416), ("page", 200), ("page", 206)],
)
def test_outages_of_a_block_and_of_the_header_are_transient(
    tmp_path: Path, server: FolderServer, reader: SceneReader, kind: str, status: int
) -> None:
    write_cog(tmp_path / "a.tif")
    ((offset, size), *_) = blocks_of(tmp_path / "a.tif", CHIPS[0])
    for overlaps in ((offset + size - 1, offset + size), (0, 1)):
        server.heal()
        server.inject("a.tif", Injected(kind, status, overlaps=overlaps))  # type: ignore[arg-type]
        answer = reader.read({"B02": server.url("a.tif")}, ("B02",), CHIPS[:1])[0]
        # GDAL asks for the missing half of a truncated answer until it has it all, or has too little left.
        assert isinstance(answer, TransientFault) or (kind == "truncate" and not isinstance(answer, Fault))


@pytest.mark.parametrize(
    ("status", "place"), [(429, "file"), (503, "file"), (429, "header"), (503, "blocks")]
)
def test_retry_after_is_honoured_within_the_cap(
    tmp_path: Path, server: FolderServer, status: int, place: str
) -> None:
    """GDAL says the status, or not even that, and never the header."""
    path = tmp_path / "a.tif"
    write_cog(path)
    overlaps = {"file": None, "header": (0, 1), "blocks": (40_000, 1 << 30)}[place]
    times = {"file": 2, "header": 3, "blocks": 4}[
        place
    ]  # GDAL's requests in one try, and ours for the header

    def read(url: str, retry_after: str, cap_s: float) -> float:
        server.heal()
        server.inject(
            path.name, Injected("status", status, times, overlaps, headers={"Retry-After": retry_after})
        )
        traffic, started = Traffic(), time.monotonic()
        with SceneReader(1, RetryPolicy(8, 0.001, cap_s), timeout_s=5, traffic=traffic) as reader:
            (answer,) = reader.read({"B02": url}, ("B02",), CHIPS[1:2])
        assert not isinstance(answer, Fault), answer
        np.testing.assert_array_equal(answer["B02"], plain_read(path, CHIPS[1]))
        retried = traffic.take_retried()
        assert retried.pop("throttled") >= 1
        assert retried.keys() <= {"truncated", "connection"}  # when the host was well again for the peek
        return time.monotonic() - started

    assert read(server.url("a.tif?1"), "1", cap_s=60.0) >= 1.0
    assert read(server.url("a.tif?2"), "86400", cap_s=0.01) < 5.0


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("trickle", "file"),
        ("trickle header", "file"),
        ("stall", "file"),
        ("trickle", "block"),
        ("stall", "block"),
    ],
)
def test_nothing_waits_for_ever(tmp_path: Path, server: FolderServer, kind: str, place: str) -> None:
    path = tmp_path / "a.tif"
    write_cog(path)
    offset, size = blocks_of(path, CHIPS[1])[0]
    overlaps = None if place == "file" else (offset, offset + size)
    seconds = 30.0 if kind == "stall" else 0.02
    server.inject(path.name, Injected(kind, overlaps=overlaps, seconds=seconds))  # type: ignore[arg-type]
    started = time.monotonic()
    with SceneReader(1, RetryPolicy(2, 0.001), timeout_s=0.2) as reader:
        fault = only_fault(reader, server.url("a.tif"))
    assert isinstance(fault, TransientFault)
    # Two tries of up to 4 requests of GDAL and one of ours.
    assert time.monotonic() - started < 2 * 5 * 0.2 + 2


@pytest.mark.parametrize("fault", [Injected("trickle", seconds=0.02), Injected("stall", seconds=30.0)])
def test_a_peek_waits_within_limits(tmp_path: Path, server: FolderServer, fault: Injected) -> None:
    (tmp_path / "a.tif").write_bytes(bytes(1000))
    asset = Asset.of_href(server.url("a.tif"))
    server.inject("a.tif", fault)
    started = time.monotonic()
    assert asset.peek(0, 1000, 0.3, Traffic()) is None
    assert time.monotonic() - started < 2
    server.heal()
    assert asset.peek(990, 1010, 5.0, Traffic()) == Peek(206, bytes(10), 1000)
    beyond = asset.peek(1000, 1010, 5.0, Traffic())
    assert beyond == Peek(416, b"", 1000)
    assert beyond.is_of_the_file


@pytest.mark.parametrize(("status", "reason"), [(404, "not_found"), (410, "not_found"), (401, "forbidden")])
def test_missing_is_permanent_and_asked_once(
    tmp_path: Path, server: FolderServer, reader: SceneReader, status: int, reason: str
) -> None:
    server.inject("a.tif", Injected("status", status))
    fault = only_fault(reader, server.url("a.tif"))
    assert isinstance(fault, PermanentFault)
    assert fault.reason == reason
    assert len(server.requests) == 1
    assert only_fault(reader, tmp_path / "none.tif").reason == "not_found"


def test_garbled_block_is_corrupt_for_its_chips_only(
    tmp_path: Path, server: FolderServer, reader: SceneReader
) -> None:
    path = tmp_path / "a.tif"
    write_cog(path)
    others = {block for chip in CHIPS[:2] + CHIPS[3:] for block in blocks_of(path, chip)}
    offset, size = next(block for block in blocks_of(path, CHIPS[2]) if block not in others)
    expected = [plain_read(path, chip) for chip in CHIPS]
    hit = [(offset, size) in blocks_of(path, chip) for chip in CHIPS]
    assert hit == [False, False, True, False, False]
    content = bytearray(path.read_bytes())
    content[offset + 20 : offset + size - 20] = bytes(size - 40)
    path.write_bytes(content)
    for href in (str(path), server.url("a.tif")):
        for answer, bad, pixels in zip(
            reader.read({"B02": href}, ("B02",), CHIPS), hit, expected, strict=True
        ):
            if bad:
                assert isinstance(answer, PermanentFault)
                assert answer.reason == "corrupt"
            else:
                assert not isinstance(answer, Fault)
                np.testing.assert_array_equal(answer["B02"], pixels)
    reads = [r for r in server.requests if r.method == "GET" and r.start <= offset + 5 < r.stop]
    assert len(reads) >= 2, "corrupt is said only after reading it again"


@pytest.mark.parametrize(("place", "times"), [("block", 9), ("header", 7)])
def test_three_bad_copies_are_borne(
    tmp_path: Path, server: FolderServer, reader: SceneReader, place: str, times: int
) -> None:
    """GDAL and we ask 3 times for a block and twice for a header of each copy; docs/running.md promises 4 copies."""
    path = tmp_path / "a.tif"
    write_cog(path)
    offset = blocks_of(path, CHIPS[1])[1][0] if place == "block" else 0
    server.inject("a.tif", Injected("garble", times=times, overlaps=(offset, offset + 1)))
    (answer,) = reader.read({"B02": server.url("a.tif")}, ("B02",), CHIPS[1:2])
    assert not isinstance(answer, Fault), answer
    np.testing.assert_array_equal(answer["B02"], plain_read(path, CHIPS[1]))
    assert len([it for it in server.requests if it.method == "GET" and it.start <= offset < it.stop]) > times


@pytest.mark.parametrize("keep", [0, 3, 200, 0.5, 0.99])
def test_file_cut_short_is_corrupt(
    tmp_path: Path, server: FolderServer, reader: SceneReader, keep: float
) -> None:
    path = tmp_path / "a.tif"
    write_cog(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep >= 3 else keep * len(whole))])
    for href in (path, server.url("a.tif")):
        fault = only_fault(reader, href, CHIPS[3])
        assert isinstance(fault, PermanentFault), fault
        assert fault.reason == "corrupt"


def test_not_a_tiff_is_corrupt(tmp_path: Path, server: FolderServer, reader: SceneReader) -> None:
    (tmp_path / "a.tif").write_text("<html>" * 10_000)
    for href in (tmp_path / "a.tif", server.url("a.tif")):
        fault = only_fault(reader, href)
        assert isinstance(fault, PermanentFault)
        assert fault.reason == "corrupt"


def test_permanent_fault_decides_before_a_transient_one(
    tmp_path: Path, server: FolderServer, reader: SceneReader
) -> None:
    write_cog(tmp_path / "a.tif")
    server.inject("a.tif", Injected("status", 503))
    hrefs = {"B02": server.url("a.tif"), "B03": server.url("none.tif")}
    (answer,) = reader.read(hrefs, ("B02", "B03"), CHIPS[:1])
    assert isinstance(answer, PermanentFault)


def test_hrefs_that_cannot_be_read(reader: SceneReader) -> None:
    assert only_fault(reader, "s3://bucket/a.tif").reason == "unreadable_href"
    # What libcurl will not ask for is no outage.
    for url in ("http://127.0.0.1:9/my file.tif", "http://127.0.0.1:99999/a.tif", "http://[::1/a.tif"):
        fault = only_fault(reader, url)
        assert isinstance(fault, PermanentFault), url
        assert fault.reason == "unreadable_href"
    (answer,) = reader.read({}, ("B02",), CHIPS[:1])
    assert isinstance(answer, PermanentFault)
    assert answer.reason == "missing_asset"
    assert reader.read({}, ("B02",), []) == []


def test_messages_hold_no_secrets(tmp_path: Path, server: FolderServer, reader: SceneReader) -> None:
    (tmp_path / "junk.tif").write_text("junk")
    for name in ("none.tif", "junk.tif", "slow.tif"):
        server.inject("slow.tif", Injected("reset"))
        url = server.url(f"{name}?sig=SECRET&x=1").replace("http://", "http://user:SECRET@")
        fault = only_fault(reader, url)
        assert "SECRET" not in str(fault)
        assert name in fault.detail
        assert str(pickle.loads(pickle.dumps(fault))) == str(fault)


def test_signed_urls_are_read(tmp_path: Path, server: FolderServer, reader: SceneReader) -> None:
    write_cog(tmp_path / "a.tif")
    (answer,) = reader.read({"B02": server.url("a.tif?sig=abc%2Fd&e=1")}, ("B02",), CHIPS[:1])
    assert not isinstance(answer, Fault)


def test_real_scene_of_manila() -> None:
    folder = shared("manila", "date_a")
    hrefs = {band: str(folder / f"{band}.tif") for band in (*BANDS, SCL)}
    chips = [
        ChipWindow(32651, 278_400 + dx, 1_617_600 - 1920 - dy) for dx in (0, 660, 2880) for dy in (0, 1020)
    ]
    with SceneReader() as reader:
        answers = reader.read(hrefs, (*BANDS, SCL), chips)
    for chip, answer in zip(chips, answers, strict=True):
        assert not isinstance(answer, Fault)
        for band, pixels in answer.items():
            np.testing.assert_array_equal(pixels, plain_read(folder / f"{band}.tif", chip))


def test_real_misaligned_scene_is_refused() -> None:
    folder = shared("virginia_l1c")
    chip = ChipWindow(32618, 441_000, 4_171_020)
    with SceneReader() as reader:
        (answer,) = reader.read({b: str(folder / f"{b}.tif") for b in BANDS}, BANDS, [chip])
    assert isinstance(answer, PermanentFault)
    assert answer.reason == "misaligned"
