"""Time, memory and bytes of a search in STAC GeoParquet that is made of an item of Earth Search.

    python -m tests.benchmarks.search_parquet [--check] [--megabytes N] [--rows N] [--file FILE] ITEM.json

The file is sorted by tile and time: 600 items a tile over eight years, each with the names, hrefs, times, bounds and
numbers of its own tile and date. It is deleted at the end; one that `--file` names stays, and is used again.

What searches is a fresh process without Beam, which takes more memory by itself; like a worker, it knows from the
launch what the footer is, and starts no process of its own. Its peak is the most that was resident at once, libraries
included. The launch has the footer parsed by a child first: the peaks of both are printed, and are not bounded.
"""

import argparse
import datetime
import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAX_S = 2.0
MAX_MB = 200.0
ITEMS_PER_TILE = 600
FIRST, DAYS = datetime.datetime(2017, 1, 1, 10, tzinfo=datetime.UTC), 8 * 365


class Copies:
    """Makes tables of items of other tiles and dates from one item.

    Args:
        item: Of Earth Search v1.
        one: The table of the item, as rustac writes it.
    """

    def __init__(self, item, one):
        import numpy as np

        properties = item["properties"]
        tile = properties["grid:code"].removeprefix("MGRS-")
        sensed = datetime.datetime.fromisoformat(properties["datetime"])
        found = {
            "tile": tile,
            "folder": f"{int(tile[:2])}/{tile[2]}/{tile[3:]}",
            "date": f"{sensed:%Y%m%d}",
            "day": f"{sensed.year}/{sensed.month}/{sensed.day}/",
            "month": f"{sensed.year}/{sensed.month}/",
            "stamp": r"(?<=[0-9]T)[0-9]{6}",
            "dashed": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}",
            "hash": r"[0-9a-f]{32,}",
        }
        self._token = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in found.items()))
        self._one = one
        self._draw = np.random.default_rng(0)
        self._constant = {}

    def table(self, tiles, numbers):
        """Returns the items of the tiles, by their numbers of `ITEMS_PER_TILE`, in turn."""
        import numpy as np
        import pyarrow as pa
        import shapely
        from pyarrow import compute

        from beam_pipeline.cells.mgrs_tiles import tile_lonlat_bounds

        count = len(tiles)
        bounds = {tile: tile_lonlat_bounds(tile) for tile in set(tiles)}
        west, south, east, north = np.array([bounds[tile] for tile in tiles]).T
        # A footprint is a little less than its tile.
        west, south = (each + 1e-3 * self._draw.random(count) for each in (west, south))
        seconds = np.asarray(numbers) * DAYS // ITEMS_PER_TILE * 86_400 + self._draw.integers(0, 1800, count)
        times, later = (
            pa.array(int(FIRST.timestamp()) + seconds + lag, pa.timestamp("s", "UTC")) for lag in (0, 5000)
        )

        def formatted(pattern):
            return compute.strftime(times, pattern)

        year = formatted("%Y")
        month, day = (compute.utf8_ltrim(formatted(pattern), "0") for pattern in ("%m", "%d"))
        self._texts = {
            "tile": pa.array(tiles),
            "folder": pa.array([f"{int(tile[:2])}/{tile[2]}/{tile[3:]}" for tile in tiles]),
            "date": formatted("%Y%m%d"),
            "day": compute.binary_join_element_wise(year, month, day, "", "/"),
            "month": compute.binary_join_element_wise(year, month, "", "/"),
            "stamp": compute.strftime(later, "%H%M%S"),
            "dashed": formatted("%Y-%m-%dT%H:%M:%S"),
        }
        milliseconds = times.cast(pa.timestamp("ms", "UTC"))
        made = pa.array(self._draw.integers(1_667_000_000_000, 1_699_000_000_000, count))
        own = {
            "datetime": milliseconds,
            "created": made.cast(milliseconds.type),
            "updated": made.cast(milliseconds.type),
            "proj:epsg": pa.array(
                [32_600 + int(tile[:2]) + 100 * (tile[2] < "N") for tile in tiles], pa.int64()
            ),
            "mgrs:utm_zone": pa.array([int(tile[:2]) for tile in tiles], pa.int64()),
            "mgrs:latitude_band": pa.array([tile[2] for tile in tiles]),
            "mgrs:grid_square": pa.array([tile[3:] for tile in tiles]),
            "bbox": pa.StructArray.from_arrays(
                [pa.array(each) for each in (west, south, east, north)], ["xmin", "ymin", "xmax", "ymax"]
            ),
            "geometry": pa.array(shapely.to_wkb(shapely.box(west, south, east, north)), pa.binary()),
        }
        columns = []
        for field in self._one.schema:
            column = own.get(field.name)
            if column is None:
                column = self._column(field.name, self._one.column(field.name).chunk(0), count)
            columns.append(column.cast(field.type))
        return pa.table(columns, schema=self._one.schema)

    def _column(self, path, one, count):
        """Returns an array of so many rows, from an array of one."""
        import pyarrow as pa

        kind = one.type
        if one.null_count:
            return pa.nulls(count, kind)
        if pa.types.is_struct(kind):
            inner = [
                self._column(f"{path}.{field.name}", each, count)
                for field, each in zip(kind, one.flatten(), strict=True)
            ]
            return pa.StructArray.from_arrays(inner, fields=list(kind))
        if pa.types.is_list(kind):
            return self._list(path, one, count)
        if pa.types.is_string(kind) and self._token.search(one[0].as_py()):
            return self._text(one[0].as_py(), count)
        if pa.types.is_floating(kind) and "." not in path:
            return pa.array((self._draw.random(count) * 100).round(6), kind)
        if path not in self._constant or len(self._constant[path]) < count:
            self._constant[path] = pa.repeat(one[0], count)
        return self._constant[path][:count]

    def _list(self, path, one, count):
        import numpy as np
        import pyarrow as pa

        values = one.flatten()
        each = [self._column(f"{path}.{i}", values.slice(i, 1), count) for i in range(len(values))]
        if not each:
            return pa.repeat(one[0], count)
        order = np.arange(len(each) * count).reshape(len(each), count).T.ravel()
        offsets = pa.array(np.arange(count + 1) * len(each), pa.int32())
        return pa.ListArray.from_arrays(offsets, pa.concat_arrays(each).take(order), type=one.type)

    def _text(self, text, count):
        from pyarrow import compute

        parts, at = [], 0
        for match in self._token.finditer(text):
            parts += [text[at : match.start()], self._named(match.lastgroup, len(match.group()), count)]
            at = match.end()
        return compute.binary_join_element_wise(*parts, text[at:], "")

    def _named(self, name, length, count):
        import pyarrow as pa

        if name == "hash":
            drawn = self._draw.bytes(count * length // 2 + 1).hex()
            return pa.array([drawn[i * length : (i + 1) * length] for i in range(count)])
        return self._texts[name]


def write(path, item_path, megabytes, rows):
    """Writes the file."""
    import rustac
    from pyarrow import parquet

    from beam_pipeline.cells.mgrs_tiles import all_tiles

    item = json.loads(Path(item_path).read_text())
    rustac.write_sync(str(path), [item])
    copies = Copies(item, parquet.read_table(path).combine_chunks())
    compression = parquet.read_metadata(path).row_group(0).column(0).compression
    names = sorted(tile.name for tile in all_tiles())
    names = names[len(names) // 3 :]
    every = ((name, number) for name in names for number in range(ITEMS_PER_TILE))
    with parquet.ParquetWriter(path, copies._one.schema, compression=compression) as writer:
        while path.stat().st_size < megabytes << 20:
            tiles, numbers = zip(*itertools.islice(every, rows), strict=True)
            writer.write_table(copies.table(tiles, numbers), row_group_size=rows)


def middle(path):
    """Returns the number of items of the file, and the tile of those in the middle."""
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    codes = file.read_row_group(file.num_row_groups // 2, ["grid:code"]).column(0)
    return file.metadata.num_rows, codes[len(codes) // 2].as_py().removeprefix("MGRS-")


def measure(path, tile, footers):
    """Searches two years of a tile, as a worker does, and prints what it took, as JSON."""
    from beam_pipeline.imagery.catalog import find_scenes
    from beam_pipeline.imagery.catalog_settings import CatalogSettings
    from tests.imagery.damaged_footers import OnDisk

    settings = CatalogSettings(path, "sentinel-2-l2a", files=OnDisk(), footers=tuple(footers))
    libraries = _peak_mb()
    read = _bytes_read()
    took = {}
    for name, year in (("first_s", 2020), ("next_s", 2021)):
        started = time.perf_counter()
        found = find_scenes(settings, tile, year, 0)
        took[name] = round(time.perf_counter() - started, 3)
        took[f"{name[:-2]}_read_mb"] = round((_bytes_read() - read) / 1e6, 2)
        read = _bytes_read()
    took |= {"found": found.found, "scenes": len(found.scenes)}
    print(json.dumps({**took, "peak_mb": _peak_mb(), "libraries_mb": libraries}))


def launch(path):
    """Looks at the file as the launch does, and prints what it took, as JSON; its child's peak is not in its own."""
    from beam_pipeline.imagery.catalog import check_catalog
    from beam_pipeline.imagery.catalog_settings import CatalogSettings
    from tests.imagery.damaged_footers import OnDisk

    started = time.perf_counter()
    info = check_catalog(CatalogSettings(path, "sentinel-2-l2a", files=OnDisk()))
    took = round(time.perf_counter() - started, 2)
    print(json.dumps({"s": took, "peak_mb": _peak_mb(), "footers": info.footers}))


def parse():
    """Parses the footer on standard input as the launch's child does, and prints its peak, as JSON."""
    from beam_pipeline.runtime import parquet_footer

    code = parquet_footer.main()
    print(json.dumps({"code": code, "peak_mb": _peak_mb()}))


def _peak_mb():
    # What getrusage says is no less than what the process that started this had taken.
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return round(int(kilobytes) * 1024 / 1e6, 1)


def _bytes_read():
    return int(Path("/proc/self/io").read_text().split()[1])


def fresh(*arguments, given=b""):
    """Runs this in a fresh process; returns what it prints."""
    command = [sys.executable, "-m", "tests.benchmarks.search_parquet", *arguments]
    return json.loads(subprocess.run(command, check=True, input=given, stdout=subprocess.PIPE).stdout)


def footer_of(path):
    """Returns the footer as the launch gives it to its child."""
    with path.open("rb") as file:
        file.seek(-8, 2)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, 2)
        return file.read()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("item")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=50_000, help="items in a row group")
    parser.add_argument("--file", type=Path, help="is made where it is not there, and kept")
    parser.add_argument("--launch", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--parse", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs="+", metavar=("TILE", "FOOTER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.launch:
        launch(given.item)
        return 0
    if given.parse:
        parse()
        return 0
    if given.measure:
        measure(given.item, given.measure[0], given.measure[1:])
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = given.file or Path(folder) / "items.parquet"
        if not path.exists():
            write(path, given.item, given.megabytes, given.rows)
        count, tile = middle(path)
        print(f"{count} items, {path.stat().st_size / 1e6:.0f} MB", flush=True)
        looked = fresh(str(path), "--launch")
        footers = looked.pop("footers")
        child = fresh(str(path), "--parse", given=footer_of(path))
        print(f"launch: {looked}, its child: {child}")
        took = fresh(str(path), "--measure", tile, *footers)
        print(f"search of {tile}: {took}")
    if not took["found"] or took["scenes"] != took["found"]:
        print("not all items of the tile and year were found")
        return 1
    print(
        f"of the limits: {took['first_s'] / MAX_S:.2f} of the time, {took['peak_mb'] / MAX_MB:.2f} of the memory"
    )
    return int(given.check and (took["first_s"] > MAX_S or took["peak_mb"] > MAX_MB))


if __name__ == "__main__":
    sys.exit(main())
