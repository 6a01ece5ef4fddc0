"""STAC GeoParquet as a catalogue: the scenes of an API, row groups that are left alone, and files that are damaged."""

import concurrent.futures
import contextlib
import copy
import dataclasses
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pytest
from pyarrow import parquet

from beam_pipeline.cells.mgrs_tiles import all_tiles
from beam_pipeline.imagery import parquet_file
from beam_pipeline.imagery.catalog import check_catalog, find_scenes, sign_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.parquet_statistics import ColumnRange, TileYear
from beam_pipeline.imagery.scenes import SceneList
from beam_pipeline.imagery.stac_item import tile_of_item
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.file_ranges import FileRanges
from beam_pipeline.runtime.retries import RetryPolicy
from tests.imagery.stac_parquet import catalogue, change, made, write_items
from tests.imagery.stac_server import StacServer
from tests.shared_data import shared

QUICK = RetryPolicy(attempts=3, base_s=0.0)


def year_of(tile: str, count: int, year: int = 2020) -> list[dict[str, Any]]:
    return [
        made(tile, f"{year}-{number % 12 + 1:02d}-{number // 12 + 1:02d}T10:00:00.123Z")
        for number in range(count)
    ]


def find(url: str, tile: str = "33TWN", year: int = 2020, collection: str = "sentinel-2-l2a") -> SceneList:
    return find_scenes(catalogue(url, collection), tile, year, 0, retry=QUICK)


class CountedFiles(BeamFiles):
    """Counts what is opened and read."""

    def __init__(self) -> None:
        self.opened = 0
        self.ranges: list[tuple[int, int]] = []
        self.failures: list[Exception] = []

    @contextlib.contextmanager
    def open_ranges(self, path: str) -> Iterator[BinaryIO]:
        self.opened += 1
        with super().open_ranges(path) as file:
            yield _Counted(file, self)  # type: ignore[misc]


class _Counted:
    def __init__(self, file: BinaryIO, counts: CountedFiles) -> None:
        self._file, self._counts = file, counts

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def read(self, size: int) -> bytes:
        if self._counts.failures:
            raise self._counts.failures.pop()
        self._counts.ranges.append((self._file.tell(), size))
        return self._file.read(size)


@pytest.mark.parametrize("rows", [None, 2])
def test_a_file_has_the_scenes_of_an_api(tmp_path: Path, rows: int | None) -> None:
    real = [json.loads(path.read_text()) for path in sorted(shared("stac").glob("*.json"))]
    path = write_items(tmp_path / "items.parquet", real, rows)
    with StacServer(real) as server:
        for item in real:
            tile, year = tile_of_item(item), int(item["properties"]["datetime"][:4])
            api = find_scenes(CatalogSettings(server.url, item["collection"]), tile, year, 0, retry=QUICK)
            assert item["id"] in {scene.item_id for scene in api.scenes}
            assert find(path, tile, year, item["collection"]) == api
    assert not find(path, "33TWM").found


def test_items_of_every_manner_are_those_of_an_api(tmp_path: Path) -> None:
    items = [
        *year_of("33TWN", 20),
        *year_of("05QKB", 3),
        made("33TWN", "2019-12-31T23:59:59.999Z"),
        made("33TWN", "2021-01-01T00:00:00Z"),
        made("33TWN", "2020-07-01T10:00:00Z", 7, **{"eo:cloud_cover": 99.0}),
    ]
    padded, relative, lacking, named_by_id = (
        made("33TWN", f"2020-08-0{day}T10:00:00Z") for day in range(1, 5)
    )
    padded["properties"]["grid:code"] = "MGRS-33TWN"
    relative["assets"]["blue"]["href"] = "./B02.tif"
    del lacking["assets"]["scl"]
    inner = made("33TWN", "2020-08-07T10:00:00Z")
    inner["assets"]["red"]["href"] = "http://10.0.0.1/B04.tif"
    items += [padded, relative, lacking, inner]
    path = write_items(tmp_path / "items.parquet", items, rows=4)
    with StacServer(items) as server:
        api = CatalogSettings(server.url, "sentinel-2-l2a")
        for tile in ("33TWN", "05QKB"):
            expected = find_scenes(api, tile, 2020, 3, 50.0, QUICK)
            found = find_scenes(catalogue(path), tile, 2020, 3, 50.0, QUICK)
            # On a disk, relative and inner hrefs may be meant.
            known = {scene.item_id for scene in expected.scenes}
            assert tuple(scene for scene in found.scenes if scene.item_id in known) == expected.scenes or (
                {scene.item_id for scene in found.scenes} - known == {relative["id"], inner["id"]}
            )
            assert (found.found, found.dropped_cloud) == (expected.found, expected.dropped_cloud)
    refused = {note.item_id: note.reason for note in find(path).refused}
    assert refused == {lacking["id"]: "no_scl"}
    names = write_items(tmp_path / "ids.parquet", [_without_tile(named_by_id)])
    assert [scene.item_id for scene in find(names).scenes] == [named_by_id["id"]]
    assert not find(names, "33TWM").found


def _without_tile(item: dict[str, Any]) -> dict[str, Any]:
    item = copy.deepcopy(item)
    del item["properties"]["grid:code"]
    return item


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


def test_several_files_are_one_catalogue(tmp_path: Path) -> None:
    write_items(tmp_path / "a.parquet", year_of("33TWN", 5))
    write_items(tmp_path / "b.parquet", year_of("33TWN", 12)[5:])
    assert find(str(tmp_path / "*.parquet")).found == 12
    write_items(tmp_path / "c.parquet", [made("33TWN", "2020-02-09T10:00:00Z")])
    assert find(str(tmp_path / "*.parquet")).found == 13
    with pytest.raises(InvalidInputError, match="no such file"):
        check_catalog(catalogue(str(tmp_path / "none*.parquet")))


def test_the_identity_is_that_of_the_content_wherever_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, year_of("33TWN", 5))
    info = check_catalog(catalogue(str(path)))
    assert info.kind == "static"
    assert info.identity.startswith("static:parquet:sentinel-2-l2a:")
    (tmp_path / "elsewhere.parquet").write_bytes(path.read_bytes())
    assert check_catalog(catalogue((tmp_path / "elsewhere.parquet").as_uri())) == info
    changed = year_of("33TWN", 5)
    changed[2]["properties"]["eo:cloud_cover"] = 13.0
    write_items(path, changed)
    assert check_catalog(catalogue(str(path))) != info
    with pytest.raises(InvalidInputError, match="no item of that collection, but of: sentinel-2-l2a"):
        check_catalog(catalogue(str(path), "landsat"))


def test_a_worker_takes_no_file_that_the_launch_did_not_see(tmp_path: Path) -> None:
    for name, count in (("a", 5), ("b", 12)):
        write_items(tmp_path / f"{name}.parquet", year_of("33TWN", count))
    pattern = catalogue(str(tmp_path / "*.parquet"))
    at_launch = dataclasses.replace(pattern, footers=check_catalog(pattern).footers)
    assert len(at_launch.footers) == 2
    assert find_scenes(at_launch, "33TWN", 2020, 0) == find_scenes(pattern, "33TWN", 2020, 0)
    whole = (tmp_path / "b.parquet").read_bytes()
    for edit in (
        lambda: write_items(tmp_path / "b.parquet", year_of("33TWN", 11)),
        (tmp_path / "b.parquet").unlink,
        lambda: (tmp_path / "c.parquet").write_bytes(whole),
    ):
        (tmp_path / "b.parquet").write_bytes(whole)
        edit()
        with pytest.raises(PermanentFault, match=r"changed: .* launch"):
            find_scenes(at_launch, "33TWN", 2020, 0)


def test_secrets_of_a_stored_list_are_asked_for_again(tmp_path: Path) -> None:
    items = year_of("33TWN", 2)
    for asset in items[0]["assets"].values():
        asset["href"] += "?sig=secret"
    path = write_items(tmp_path / "items.parquet", items)
    found = find(path)
    stored = SceneList.from_json(found.to_json())
    assert not stored.is_signed
    assert sign_scenes(stored, catalogue(path)) == found


def test_what_lies_in_a_bucket_names_nothing_on_disk(tmp_path: Path) -> None:
    items = year_of("33TWN", 3)
    items[0]["assets"]["blue"]["href"] = "file:///etc/B02.tif"
    items[1]["assets"]["blue"]["href"] = "http://127.0.0.1/B02.tif"
    path = write_items(tmp_path / "items.parquet", items)

    class Bucket(BeamFiles):
        def open_ranges(self, path: str) -> Any:
            return super().open_ranges(path.replace("gs://bucket", str(tmp_path)))

        def size(self, path: str) -> int | None:
            return super().size(path.replace("gs://bucket", str(tmp_path)))

    remote = CatalogSettings("gs://bucket/items.parquet", "sentinel-2-l2a", files=Bucket())
    found = find_scenes(remote, "33TWN", 2020, 0)
    assert [note.reason for note in found.refused] == ["unreadable_href"] * 2
    assert len(find(path).scenes) == 3
    assert check_catalog(remote) == check_catalog(catalogue(path))


@pytest.mark.parametrize("url", ["https://example.org/items.parquet", "ftp://example.org/items.parquet"])
def test_files_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="gs:// or s3://"):
        check_catalog(catalogue(url))


def _drop(name: str) -> Any:
    return lambda table: table.drop_columns([name])


def _cast(name: str, kind: pa.DataType) -> Any:
    def cast(table: pa.Table) -> pa.Table:
        number = table.schema.names.index(name)
        return table.set_column(number, name, table.column(name).cast(kind))

    return cast


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (_drop("assets"), "no column 'assets'"),
        (_drop("id"), "no column 'id'"),
        (_drop("datetime"), "no column 'datetime'"),
        (_cast("datetime", pa.string()), "'datetime' must be a timestamp"),
        (_cast("id", pa.binary()), "'id' must be text"),
        (lambda table: table.set_column(0, "assets", [["{}"] * len(table)]).select([0]), "no column 'id'"),
        (lambda table: table.slice(0, 0), "no item of that collection, but of: none"),
    ],
)
def test_files_that_hold_no_items_are_refused(tmp_path: Path, edit: Any, problem: str) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, year_of("33TWN", 3))
    change(path, edit)
    with pytest.raises(InvalidInputError, match=problem):
        check_catalog(catalogue(str(path)))


def test_damaged_files_are_refused_or_fail_that_tile_and_year(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, [*year_of("33TWN", 12), *year_of("33TWM", 12)], rows=12)
    whole = path.read_bytes()
    for content in (b"", b"PAR1", b"no parquet at all", whole[:-1], whole[:-9] + b"\xff" * 5 + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match="no STAC GeoParquet that can be read"):
            check_catalog(catalogue(str(path)))
    # The second row group is overwritten.
    said = parquet.ParquetFile(pa.BufferReader(whole)).metadata.row_group(1)
    start = min(said.column(i).dictionary_page_offset or 1 << 60 for i in range(said.num_columns))
    end = len(whole) - int.from_bytes(whole[-8:-4], "little") - 8
    path.write_bytes(whole[:start] + b"\x55" * (end - start) + whole[end:])
    with pytest.raises(InvalidInputError, match="row group 1"):
        check_catalog(catalogue(str(path)))
    assert find(str(path)).found == 12
    with pytest.raises(PermanentFault, match=r"damaged_catalogue.*row group 1"):
        find(str(path), "33TWM")


def test_what_would_fill_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, year_of("33TWN", 3))
    for name, least in (("_MOST_ROWS", 2), ("_MOST_PLAIN_BYTES", 100), ("_MOST_GROUP_BYTES", 100)):
        with monkeypatch.context() as patched:
            patched.setattr(parquet_file, name, least)
            with pytest.raises(
                InvalidInputError, match=r"row group 0 has 3 items.*row groups of about 50,000"
            ):
                check_catalog(catalogue(str(path)))
    monkeypatch.setattr(parquet_file, "_MOST_FOOTER_BYTES", 100)
    with pytest.raises(InvalidInputError, match="its footer takes"):
        check_catalog(catalogue(str(path)))


def test_items_of_a_tile_that_would_fill_memory_fail_its_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_items(tmp_path / "items.parquet", year_of("33TWN", 20))
    monkeypatch.setattr(parquet_file, "_MOST_KEPT_BYTES", 1 << 10)
    with pytest.raises(PermanentFault, match=r"damaged_catalogue.*items of row group 0 take more than"):
        find(path)


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


def test_texts_that_no_item_has_are_refused(tmp_path: Path) -> None:
    items = year_of("33TWN", 3)
    items[1]["assets"]["red"]["href"] = "https://example.org/" + "x" * (1 << 17)
    path = write_items(tmp_path / "items.parquet", items)
    with pytest.raises(PermanentFault, match="a text has 131,092 bytes"):
        find(path)


@pytest.mark.parametrize("is_sorted", [True, False])
def test_a_file_whose_statistics_tell_nothing_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_sorted: bool
) -> None:
    path = tmp_path / "items.parquet"
    tiles = [tile.name for tile in all_tiles() if tile.name.startswith("33T")][:32]
    items = [made(tile, "2020-05-05T10:00:00Z") for tile in tiles]
    write_items(path, [item | {"assets": {"red": item["assets"]["red"]}} for item in items])
    one = parquet.read_table(path).select(["id", "datetime", "collection", "grid:code", "assets"])
    numbers = [number for number in range(len(tiles)) for _ in range(8000)]
    table = one.take(numbers if is_sorted else list(range(len(tiles))) * 8000)
    parquet.write_table(table, path, row_group_size=16_000)
    with caplog.at_level(logging.WARNING):
        check_catalog(catalogue(str(path)))
    assert [record.getMessage()[-63:] for record in caplog.records] == (
        [] if is_sorted else ["docs/sources.md. Write it with row groups of about 50,000 items"]
    )


def _named(low: str, high: str, has_nulls: bool = False) -> dict[str, ColumnRange]:
    return {"grid:code": ColumnRange(low, high, has_nulls)}


@pytest.mark.parametrize(
    ("said", "may_be"),
    [
        ({}, True),
        (_named("MGRS-32TMS", "MGRS-33TWM"), False),
        (_named("MGRS-33TWN", "MGRS-33TWN"), True),
        (_named("MGRS-32TMS", "MGRS-33TWM", has_nulls=True), True),
        (_named("33TWP", "33TWQ"), False),
        (_named("T33TWA", "T33TXA"), True),
        (_named("LANDSAT-1", "LANDSAT-2"), True),
        (_named("33TAA", "MGRS-33TAA"), True),
        ({"datetime": ColumnRange(0, 1_577_836_799_999, False)}, False),
        ({"datetime": ColumnRange(0, 1_577_836_800_000, False)}, True),
        ({"datetime": ColumnRange(1_609_459_200_000, 1 << 60, False)}, False),
        ({"datetime": ColumnRange(0, 1, True)}, True),
        (
            {
                "mgrs:utm_zone": ColumnRange(33, 33, False),
                "mgrs:latitude_band": ColumnRange("S", "S", False),
                "mgrs:grid_square": ColumnRange("AA", "ZZ", False),
            },
            False,
        ),
        (
            {
                "sentinel:utm_zone": ColumnRange(30, 34, False),
                "sentinel:latitude_band": ColumnRange("S", "U", False),
                "sentinel:grid_square": ColumnRange("AA", "ZZ", False),
            },
            True,
        ),
    ],
)
def test_statistics_exclude_what_they_prove(said: dict[str, ColumnRange], may_be: bool) -> None:
    assert TileYear("33TWN", 2020).may_be_in(said, 1000) is may_be


def _box(west: tuple[float, float], east: tuple[float, float], south: float, north: float) -> dict:
    ends = {"xmin": west, "xmax": east, "ymin": (south, south), "ymax": (north, north)}
    return {f"bbox.{name}": ColumnRange(*each, False) for name, each in ends.items()}


@pytest.mark.parametrize(
    ("tile", "said", "may_be"),
    [
        ("33TWN", _box((14, 15), (16, 17), 46, 48), True),
        ("33TWN", _box((4, 5), (6, 7), 46, 48), False),
        ("33TWN", _box((14, 15), (16, 17), 6, 8), False),
        ("01KAB", _box((179, 179.5), (-179.5, -179), -17.5, -16), True),
        ("01KAB", _box((10, 11), (12, 13), -17.5, -16), False),
        ("33TWN", _box((-179, 179.5), (-179.5, 179), 46, 48), True),
        ("33TWN", _box((float("nan"), 1), (2, float("nan")), 46, 48), True),
    ],
)
def test_bounds_exclude_what_they_prove(tile: str, said: dict[str, ColumnRange], may_be: bool) -> None:
    assert TileYear(tile, 2020).may_be_in(said, 1000) is may_be


def test_five_characters_and_four_are_one_tile() -> None:
    for low, high, may_be in (
        ("MGRS-05QKA", "MGRS-05QKC", True),
        ("MGRS-5QKA", "MGRS-5QKC", True),
        ("MGRS-5QKC", "MGRS-5QKD", False),
    ):
        assert TileYear("05QKB", 2020).may_be_in(_named(low, high), 1000) is may_be
