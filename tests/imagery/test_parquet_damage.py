"""Files that are no STAC GeoParquet, break their own word, or would fill memory."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from beam_pipeline.imagery import parquet_file
from beam_pipeline.imagery.catalog import check_catalog
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from tests.imagery.stac_parquet import catalogue, change, find, write_items, year_of

pytestmark = pytest.mark.usefixtures("trusted_footers")


def _drop(name: str) -> Any:
    return lambda table: table.drop_columns([name])


def _set(name: str, column: Any) -> Any:
    """Replaces a column by what is made of it."""

    def set_column(table: pa.Table) -> pa.Table:
        number = table.schema.names.index(name)
        return table.set_column(number, name, column(table.column(name).combine_chunks()))

    return set_column


def _cast(name: str, kind: pa.DataType) -> Any:
    return _set(name, lambda column: column.cast(kind))


def _nest(table: pa.Table) -> pa.Table:
    """Puts all properties into a column of their own."""
    names = ["datetime", "platform", "grid:code"]
    inner = pa.StructArray.from_arrays([table.column(name).combine_chunks() for name in names], names)
    return table.drop_columns(names).append_column("properties", inner)


def _each_asset(kind: Any) -> Any:
    return _set(
        "assets",
        lambda assets: pa.StructArray.from_arrays(
            [kind(asset) for asset in assets.flatten()], [field.name for field in assets.type]
        ),
    )


def _hrefs(assets: pa.StructArray) -> pa.Array:
    return assets.field("href")


def _texts(bounds: pa.StructArray) -> pa.Array:
    return pa.StructArray.from_arrays([pa.array(["a"] * len(bounds))] * 4, ["xmin", "ymin", "xmax", "ymax"])


def _mapped(assets: pa.StructArray) -> pa.Array:
    return pa.array(
        [[("red", "https://example.org/B04.tif")]] * len(assets), pa.map_(pa.string(), pa.string())
    )


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (_drop("assets"), "no column 'assets'"),
        (_drop("id"), "no column 'id'"),
        (_drop("datetime"), "no column 'datetime'"),
        (_cast("datetime", pa.string()), "'datetime' must be a timestamp"),
        (_cast("id", pa.binary()), "'id' must be text"),
        (
            _set("collection", lambda column: pa.array([5] * len(column))),
            "'collection' must be text, and is int64",
        ),
        (_set("grid:code", lambda column: column.cast(pa.binary())), "'grid:code' must be text or a number"),
        (_set("bbox", _texts), "'bbox.xmin' must be a number, and is string"),
        (_nest, "no column 'datetime'"),
        (_set("assets", lambda column: pa.array(["{}"] * len(column))), "must be a struct .* and is string"),
        (_set("assets", _mapped), "must be a struct .* and is map"),
        (_each_asset(_hrefs), "none of the asset keys that are known"),
        (_set("id", lambda column: pa.array([None] * len(column), pa.string())), "an item has no id"),
        (lambda table: table.select(["assets"]), "no column 'id'"),
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
    cut = (whole[: len(whole) // 2], whole[:-1])
    for content in (b"", b"PAR1", b"no parquet at all", *cut, whole[:-9] + b"\xff" * 5 + b"PAR1"):
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


def test_texts_that_no_item_has_are_refused(tmp_path: Path) -> None:
    items = year_of("33TWN", 3)
    items[1]["assets"]["red"]["href"] = "https://example.org/" + "x" * (1 << 17)
    path = write_items(tmp_path / "items.parquet", items)
    with pytest.raises(PermanentFault, match="a text has 131,092 bytes"):
        find(path)


@pytest.mark.parametrize("said", [1, 3, 4])
def test_counts_of_items_that_lie_are_found_out(tmp_path: Path, said: int) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, year_of("33TWN", 2))
    whole = path.read_bytes()
    # An i64 of 2 is 04 in Thrift's compact protocol; 16 says that one follows.
    at = whole.index(b"\x16\x04", len(whole) - int.from_bytes(whole[-8:-4], "little") - 8)
    while at >= 0:
        lying = whole[: at + 1] + bytes([2 * said]) + whole[at + 2 :]
        group = parquet.read_metadata(pa.BufferReader(lying)).row_group(0)
        if group.num_rows == said:
            break
        at = whole.find(b"\x16\x04", at + 1)
    assert at >= 0
    path.write_bytes(lying)
    with pytest.raises(
        PermanentFault, match=r"damaged_catalogue.*row group 0 cannot be what its footer says"
    ):
        find(str(path))
    path.write_bytes(whole)
    assert find(str(path)).found == 2


def _asset_of(*hrefs: Any) -> Any:
    return lambda _asset: pa.StructArray.from_arrays([pa.array(hrefs)], ["href"])


def _without(_asset: pa.StructArray) -> pa.Array:
    return pa.array([None, None], pa.struct({"href": pa.string()}))


@pytest.mark.parametrize(
    ("edit", "reasons"),
    [
        (_each_asset(_asset_of(1, 2)), ["bad_item"] * 2),
        (_each_asset(_asset_of(None, "https://example.org/a.tif")), ["bad_item"]),
        (_each_asset(_without), ["no_scl"] * 2),
        (_set("assets", lambda column: pa.array([None, None], column.type)), ["no_scl"] * 2),
        (_set("links", lambda column: pa.array([None, None], column.type)), []),
        (_set("links", lambda _column: pa.array([["self"], []])), []),
        (_set("bbox", lambda _column: pa.array([[9.0, 47.0, 9.1, 47.1]] * 2)), []),
    ],
)
def test_items_that_lack_something_are_refused_each_by_itself(
    tmp_path: Path, edit: Any, reasons: list[str]
) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, year_of("33TWN", 2))
    change(path, edit)
    check_catalog(catalogue(str(path)))
    found = find(str(path))
    assert [note.reason for note in found.refused] == reasons
    assert len(found.scenes) == 2 - len(reasons)
