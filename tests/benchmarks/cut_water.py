"""Time and memory of cutting water polygons to cells, of a made file as large as the planet's.

    python tests/benchmarks/cut_water.py [--polygons N] [--nodes N]

Each file is read in a process of its own, for a thousand cells at the coast of one of its polygons.
"""

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

FORMATS = {"water.shp": "ESRI Shapefile", "water.gpkg": "GPKG", "water.fgb": "FlatGeobuf"}
AREA = "9.1,46.4,10.2,46.7"
PLACE = (9.5, 46.5)
RADIUS = 0.55
"""Of a polygon in degrees; split ones overlap."""


def make(folder: Path, polygons: int, nodes: int) -> None:
    """Writes the same polygons in each format, one of them at `PLACE`, the others south of it all around the world."""
    import numpy as np
    import shapely

    from beam_pipeline.runtime.vector_drivers import pyogrio

    rng = np.random.default_rng(0)
    lon = rng.permuted(np.tile(np.arange(-179.5, 180.0), polygons // 360 + 1)[:polygons])
    lat = rng.uniform(-79.0, 40.0, polygons)
    lon[0], lat[0] = PLACE
    angle = np.linspace(0.0, 2 * np.pi, nodes, endpoint=False)
    radius = RADIUS * (1 + 0.05 * np.sin(40 * angle))
    x, y = lon[:, None] + radius * np.cos(angle), lat[:, None] + radius * np.sin(angle)
    x = np.clip(x, -180.0, 180.0)
    geometries = np.array(shapely.to_wkb(shapely.polygons(np.stack([x, y], axis=-1))), dtype=object)
    for name, driver in FORMATS.items():
        pyogrio.raw.write(
            folder / name, geometries, [], [], geometry_type="Polygon", crs="EPSG:4326", driver=driver
        )


def measure(path: str) -> None:
    """Prints what one file costs."""
    from beam_pipeline.cells.region import cells_in_region
    from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
    from beam_pipeline.labels.water_polygons import sea_of_cells
    from beam_pipeline.runtime.vector_drivers import pyogrio

    assert pyogrio  # what it takes to import is no part of the reading
    ontology = Ontology.load(DEFAULT_ONTOLOGY.read_text())
    chips = {cell.cell_id: cell.chip for cell in cells_in_region(AREA, 1000, 0).cells}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.perf_counter(), time.process_time()
    sea = sea_of_cells(path, chips, ontology)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = sum(map(len, sea.values()))
    print(
        f"{Path(path).name:12} {os.path.getsize(path) / 1e6:7.0f} MB {seconds:6.1f} s {cpu:6.1f} s CPU "
        f"{peak / 1024:5.0f} MB peak, {before / 1024:.0f} before; "
        f"{len(sea)} of {len(chips)} cells have sea, {held / 1e6:.1f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polygons", type=int, default=50_000)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        # By another process: what it held would count as ours.
        making = multiprocessing.get_context("spawn").Process(
            target=make, args=(Path(folder), given.polygons, given.nodes)
        )
        making.start()
        making.join()
        for name in FORMATS:
            subprocess.run([sys.executable, __file__, "--measure", str(Path(folder, name))], check=True)


if __name__ == "__main__":
    main()
