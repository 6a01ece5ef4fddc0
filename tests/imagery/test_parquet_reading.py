"""The part of STAC GeoParquet that a search reads, and storage that fails or changes in the middle of it."""

import concurrent.futures
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pyarrow import parquet

from beam_pipeline.imagery.catalog import check_catalog, find_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.scenes import SceneList
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.file_ranges import FileRanges
from beam_pipeline.runtime.retries import RetryPolicy
from tests.imagery.counted_files import CountedFiles
from tests.imagery.stac_parquet import QUICK, catalogue, change, write_items, year_of

pytestmark = pytest.mark.usefixtures("trusted_footers")


def test_row_groups_of_other_tiles_and_years_are_not_read(tmp_path: Path) -> None:
    items = [
        item
        for tile in ("32TMS", "33TWM", "33TWN", "33TXN")
        for year in (2019, 2020)
        for item in year_of(tile, 24, year)
    ]
    path = write_items(tmp_path / "items.parquet", items, rows=24)
    files = CountedFiles()
    settings = CatalogSettings(path, "sentinel-2-l2a", files=files)
    said = parquet.ParquetFile(path).metadata
    begins = [
        min(said.row_group(group).column(i).data_page_offset for i in range(said.num_columns))
        for group in range(said.num_row_groups)
    ]
    for group, tile, year in ((4, "33TWN", 2019), (7, "33TXN", 2020)):
        files.ranges.clear()
        assert find_scenes(settings, tile, year, 0).found == 24
        end = begins[group + 1] if group < 7 else Path(path).stat().st_size
        footer_at = Path(path).stat().st_size - said.serialized_size - 8
        read = [(start, size) for start, size in files.ranges if start < footer_at]
        assert read
        assert all(start >= begins[group] - 1000 and start + size <= end for start, size in read)
    assert files.opened == 1  # once for all searches
    files.ranges.clear()
    assert not find_scenes(settings, "33TWN", 2018, 0).found
    assert not files.ranges


def test_only_columns_that_are_needed_are_read(tmp_path: Path) -> None:
    items = year_of("33TWN", 200)
    for number, item in enumerate(items):
        item["assets"]["visual"] = {"href": f"https://example.org/{number}/" + f"{number:05d}" * 900}
        item["id"] = f"S2A_33TWN_{number}_L2A"
    path = write_items(tmp_path / "items.parquet", items)
    change(tmp_path / "items.parquet", lambda table: table, compression="none", use_dictionary=False)
    files = CountedFiles()
    assert find_scenes(CatalogSettings(path, "sentinel-2-l2a", files=files), "33TWN", 2020, 0).found == 200
    assert sum(size for _, size in files.ranges) < Path(path).stat().st_size / 2


def test_where_one_of_several_files_is_refused_none_stays_open(tmp_path: Path) -> None:
    write_items(tmp_path / "a.parquet", year_of("33TWN", 3))
    (tmp_path / "b.parquet").write_bytes(b"PAR1" * 100)
    files = CountedFiles()
    with pytest.raises(InvalidInputError, match=r"b\.parquet is no STAC GeoParquet"):
        check_catalog(CatalogSettings(str(tmp_path / "*.parquet"), "sentinel-2-l2a", files=files))
    assert files.opened == files.closed == 2


def test_threads_share_one_open_file(tmp_path: Path) -> None:
    path = write_items(tmp_path / "items.parquet", [*year_of("33TWN", 24), *year_of("33TWM", 24)], rows=8)
    files = CountedFiles()
    settings = CatalogSettings(path, "sentinel-2-l2a", files=files)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        tiles = ["33TWN", "33TWM"] * 8
        found = list(pool.map(lambda tile: find_scenes(settings, tile, 2020, 0), tiles))
    assert [each.found for each in found] == [24] * 16
    assert [each.tile for each in found] == tiles
    assert files.opened == 1


def test_a_read_that_fails_is_tried_again_on_a_file_opened_anew(tmp_path: Path) -> None:
    path = write_items(tmp_path / "items.parquet", year_of("33TWN", 3))
    files = CountedFiles()
    settings = CatalogSettings(path, "sentinel-2-l2a", files=files)
    files.failures = [ConnectionResetError("reset"), ConnectionResetError("reset")]
    assert find_scenes(settings, "33TWN", 2020, 0, retry=QUICK).found == 3
    assert files.opened == 3
    ranges = FileRanges(files, path, RetryPolicy(1))
    files.failures = [ConnectionResetError("reset")]
    with pytest.raises(TransientFault, match="reset"):
        ranges.read(0, 4)
    assert ranges.read(0, 4) == b"PAR1"
    with pytest.raises(PermanentFault, match="short_file"):
        ranges.read(0, 1 << 30)


def test_a_search_imports_no_pandas(tmp_path: Path) -> None:
    path = write_items(tmp_path / "items.parquet", year_of("33TWN", 5))
    footers = check_catalog(catalogue(path)).footers
    search = f"""
import sys
from beam_pipeline.imagery.catalog import find_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from tests.imagery.damaged_footers import OnDisk
settings = CatalogSettings({path!r}, "sentinel-2-l2a", files=OnDisk(), footers={footers!r})
assert find_scenes(settings, "33TWN", 2020, 0).found == 5
assert "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", search], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def replaced(path: Path, others: bytes) -> Callable[[], object]:
    """Puts another file at the path."""
    (path.parent / "others").write_bytes(others)
    return lambda: os.replace(path.parent / "others", path)


def overwritten(path: Path, others: bytes) -> Callable[[], object]:
    """Writes others bytes into the file at the path."""

    def write() -> None:
        with path.open("r+b") as file:
            file.write(others)
            file.truncate()

    return write


@pytest.mark.parametrize("others_come", [replaced, overwritten])
def test_a_file_that_is_replaced_while_it_is_read_is_said_to_be(
    tmp_path: Path, others_come: Callable[[Path, bytes], Callable[[], object]]
) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, year_of("33TWN", 24))
    others = Path(write_items(tmp_path / "others.parquet", year_of("33TWN", 23))).read_bytes()
    whole = path.read_bytes()
    files = CountedFiles()
    settings = CatalogSettings(str(path), "sentinel-2-l2a", files=files)
    at_launch = dataclasses.replace(settings, footers=check_catalog(settings).footers)
    (path.parent / "again").write_bytes(whole)
    os.replace(path.parent / "again", path)  # so that the search opens it
    swap = others_come(path, others)

    def swap_after_the_keys() -> None:
        if files.ranges[-1][0] + files.ranges[-1][1] < len(whole):
            files.then = lambda: None
            swap()

    files.then = swap_after_the_keys
    is_changed = pytest.raises(PermanentFault, match=r"^changed: .*items\.parquet is not as it was at launch")
    if others_come is replaced:  # what is open stays as it was
        assert find_scenes(at_launch, "33TWN", 2020, 0, retry=QUICK).found == 24
    with is_changed:
        find_scenes(at_launch, "33TWN", 2020, 0, retry=QUICK)
    path.write_bytes(whole)
    assert find_scenes(at_launch, "33TWN", 2020, 0, retry=QUICK).found == 24


@pytest.mark.parametrize("reads", range(6))
def test_storage_that_stops_answering_is_no_damage(tmp_path: Path, reads: int) -> None:
    path = write_items(tmp_path / "items.parquet", year_of("33TWN", 24), rows=12)
    files = CountedFiles()
    settings = CatalogSettings(path, "sentinel-2-l2a", files=files)

    def stop() -> None:
        if len(files.ranges) == reads:
            files.failures = [ConnectionResetError("reset")] * 3

    files.then = stop
    stop()

    def launch_and_search() -> SceneList:
        check_catalog(settings, retry=QUICK)
        return find_scenes(settings, "33TWN", 2020, 0, retry=QUICK)

    with pytest.raises(TransientFault, match="reset"):
        launch_and_search()
    files.then = lambda: None
    assert launch_and_search().found == 24
