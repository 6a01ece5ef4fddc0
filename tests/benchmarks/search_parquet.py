"""Time, memory and bytes of a search in STAC GeoParquet of Earth Search's width.

    python -m tests.benchmarks.search_parquet [--check] [--megabytes N] ITEM.json

The file is made of copies of a real item whose ids, tiles, times, hrefs and percentages differ, sorted by tile,
and deleted at the end. The search runs in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAX_S = 2.0
MAX_MB = 200.0  # that the search adds to the process with its libraries
ROWS = 10_000


def write(path, item_path, megabytes):
    """Writes the file; returns a tile in its middle and its number of items."""
    import numpy as np
    import pyarrow as pa
    import rustac
    from pyarrow import compute, parquet

    from beam_pipeline.cells.mgrs_tiles import all_tiles

    item = json.loads(Path(item_path).read_text())
    rustac.write_sync(str(path), [item])
    one = parquet.read_table(path)
    old = item["properties"]["grid:code"].removeprefix("MGRS-")
    rng = np.random.default_rng(0)
    names = sorted(tile.name for tile in all_tiles())
    names = names[len(names) // 3 :]
    per_tile, count, tiles = 600, 0, iter(names)

    def renamed(array, texts):
        kind = array.type
        if pa.types.is_struct(kind):
            return pa.StructArray.from_arrays(
                [renamed(inner, texts) for inner in array.flatten()], fields=list(kind)
            )
        if pa.types.is_string(kind):
            return (
                compute.replace_substring_regex(
                    compute.binary_join_element_wise(array, texts, "\t"), rf"{old}([^\t]*)\t(.*)$", r"\2\1"
                )
                if old in (array[0].as_py() or "")
                else array
            )
        if pa.types.is_floating(kind) and array.null_count < len(array):
            return pa.array(rng.random(len(array)) * 100, kind)
        return array

    written = []
    with parquet.ParquetWriter(path, one.schema, compression="zstd") as writer:
        while path.stat().st_size < megabytes << 20:
            fresh = [next(tiles) for _ in range(ROWS // per_tile + 1)]
            tile_of = [name for name in fresh for _ in range(per_tile)][:ROWS]
            written += tile_of[::per_tile]
            base = one.take(pa.array([0] * ROWS)).combine_chunks()
            texts = pa.array([f"{tile}_{count + i}" for i, tile in enumerate(tile_of)])
            columns = []
            for field in base.schema:
                column = base.column(field.name).combine_chunks()
                if field.name == "grid:code":
                    column = pa.array([f"MGRS-{tile}" for tile in tile_of]).cast(field.type)
                elif field.name == "datetime":
                    seconds = 1_546_300_800 + rng.integers(0, 126_000_000, ROWS)
                    column = pa.array(seconds * 1000).cast(field.type)
                elif field.name not in ("bbox", "geometry"):
                    column = renamed(column, texts)
                columns.append(column)
            writer.write_table(pa.table(columns, schema=base.schema), row_group_size=ROWS)
            count += ROWS
    return written[len(written) // 2], count


def measure(path, tile):
    """Searches a tile and year twice, as a worker does, and prints what it took, as JSON."""
    from beam_pipeline.imagery.catalog import find_scenes
    from beam_pipeline.imagery.catalog_settings import CatalogSettings
    from beam_pipeline.jobs.storage import BeamFiles

    settings = CatalogSettings(path, "sentinel-2-l2a", files=BeamFiles())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read = _bytes_read()
    times = []
    for year in (2020, 2021):
        started = time.perf_counter()
        found = find_scenes(settings, tile, year, 0)
        times.append(time.perf_counter() - started)
    print(
        json.dumps(
            {
                "first_s": times[0],
                "next_s": times[1],
                "mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
                "read_mb": (_bytes_read() - read) / 2**20,
                "found": found.found,
            }
        )
    )


def _bytes_read():
    return int(Path("/proc/self/io").read_text().split()[1])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("item")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--measure", metavar="TILE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.item, given.measure)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.parquet"
        tile, count = write(path, given.item, given.megabytes)
        command = [sys.executable, "-m", "tests.benchmarks.search_parquet", str(path), "--measure", tile]
        took = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{count} items, {path.stat().st_size >> 20} MiB: {took}")
    print(
        f"of the limits: {took['first_s'] / MAX_S:.2f} of the time, {took['mb'] / MAX_MB:.2f} of the memory"
    )
    return int(given.check and (took["first_s"] > MAX_S or took["mb"] > MAX_MB))


if __name__ == "__main__":
    sys.exit(main())
