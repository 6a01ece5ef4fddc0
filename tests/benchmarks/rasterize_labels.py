"""Seconds a cell of drawing labels, on every cell of Liechtenstein, beside the plain way.

    python tests/benchmarks/rasterize_labels.py [--check] [FILE]

The plain way is a GeoDataFrame of the cell's features, and for each tag of the ontology a query, a
`rasterio.features.rasterize` call and SciPy's dilation. Both get features already clipped to the cell; a cell's time
is the least of three. Without FILE it takes the real extract beside the repository, or says that there is none.
"""

import argparse
import collections
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import geopandas
import numpy as np
import rasterio.features
import scipy.ndimage
import shapely
from rasterio import Affine

from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.labels.extract import check_extract, features_of_cells
from beam_pipeline.labels.features import deduplicate
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.rasterize import SIZE, UNLABELED, rasterize

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "data" / "osm" / "liechtenstein-2022.osm.pbf"
MAX_MEDIAN_S = 0.030
MAX_WORST_S = 0.250
MIN_FACTOR = 5.0
REPEATS = 3
KINDS = {"area": ["Polygon", "MultiPolygon"], "line": ["LineString", "MultiLineString"], "point": ["Point"]}


def frame_of(features, ontology, epsg):
    """The cell's features as OSMnx gives them: a column a key."""
    columns = {key: [dict(one.tags).get(key) for one in features] for key in sorted(ontology.keys)}
    geometry = shapely.from_wkb([one.geometry for one in features])
    return geopandas.GeoDataFrame(columns, geometry=geometry, crs=epsg)


def plain(frame, chip, ontology):
    """The plain way, without the none table. Returns (192, 192, 3) uint8."""
    pad = int(ontology.max_dilation_m // 10)
    shape = (SIZE + 2 * pad, SIZE + 2 * pad)
    transform = Affine(10, 0, chip.left - 10 * pad, 0, -10, chip.top + 10 * pad)
    pixels = np.full((SIZE, SIZE, 3), UNLABELED, np.uint8)
    for label in sorted(ontology.labels, key=lambda label: label.precedence):
        for rule in label.rules:
            for value in rule.values:
                column = frame[rule.key]
                chosen = column.notna() & ~column.isin(rule.excluded) if value == "*" else column == value
                for key, values in rule.unless:
                    chosen &= ~frame[key].isin(values)
                for kind in rule.kinds:
                    rows = frame[chosen & frame.geom_type.isin(KINDS[kind])]
                    if rows.empty:
                        continue
                    burnt = rasterio.features.rasterize(
                        rows.geometry,
                        out_shape=shape,
                        transform=transform,
                        all_touched=rule.layer.all_touched or kind == "line",
                        dtype="uint8",
                    )
                    radius = int(rule.layer.dilation_m // 10)
                    if radius:
                        y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
                        disc = np.hypot(x, y) * 10 <= rule.layer.dilation_m
                        burnt = scipy.ndimage.binary_dilation(burnt, disc)
                    lit = burnt[pad : pad + SIZE, pad : pad + SIZE].astype(bool)
                    pixels[lit, label.channel] = label.value
    return pixels


def least(work):
    """Returns (result, seconds), the least of some repeats."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if not arguments.file.exists():
        print(f"no extract: give FILE, or put {DEFAULT.name} into {DEFAULT.parent}")
        return 0
    ontology = Ontology.load(DEFAULT_ONTOLOGY.read_text(encoding="utf-8"))
    bounds = check_extract(arguments.file).bounds
    cells = cells_in_region(",".join(map(str, bounds)), None, 0).cells
    chips = {cell.cell_id: cell.chip for cell in cells}
    of_cell = collections.defaultdict(list)
    for cell_id, one in features_of_cells(arguments.file, chips, ontology):
        of_cell[cell_id].append(one)

    ours, plains, agreed, drawn = [], [], 0, 0
    for cell_id, chip in chips.items():
        features = deduplicate(of_cell[cell_id])
        drawn += len(features)
        image, seconds = least(lambda f=features, c=chip: rasterize(f, c, ontology, True))
        ours.append(seconds)
        frame = frame_of(features, ontology, chip.epsg)
        pixels, seconds = least(lambda f=frame, c=chip: plain(f, c, ontology))
        plains.append(seconds)
        bare = rasterize(features, chip, ontology, False).pixels
        agreed += int((pixels == bare).sum())
        assert ((image.pixels == bare) | (bare == UNLABELED)).all()

    print(f"{arguments.file.name}: {len(chips)} cells, {sum(map(bool, of_cell.values()))} with features")
    print(f"  {'way':10}{'median ms':>10}{'worst ms':>10}{'sum s':>8}{'features/s':>12}")
    for name, seconds in (("rasterize", ours), ("plain", plains)):
        print(
            f"  {name:10}{statistics.median(seconds) * 1e3:10.1f}{max(seconds) * 1e3:10.1f}"
            f"{sum(seconds):8.2f}{drawn / sum(seconds):12,.0f}"
        )
    factor = sum(plains) / sum(ours)
    share = agreed / (len(chips) * SIZE * SIZE * 3)
    print(f"  plain / rasterize: {factor:.1f} x; same pixels: {share:.4%}; {drawn} features")
    missed = []
    if statistics.median(ours) > MAX_MEDIAN_S:
        missed.append(f"median {statistics.median(ours) * 1e3:.1f} ms is over {MAX_MEDIAN_S * 1e3:.0f} ms")
    if max(ours) > MAX_WORST_S:
        missed.append(f"worst {max(ours) * 1e3:.1f} ms is over {MAX_WORST_S * 1e3:.0f} ms")
    if factor < MIN_FACTOR:
        missed.append(f"{factor:.1f} x the plain way is under {MIN_FACTOR:.0f} x")
    print("\n".join(["missed:", *missed] if missed else ["every bound is kept"]))
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
