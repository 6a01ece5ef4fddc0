"""Shares of pixels that decisions about the ontology weigh, and what its two `none` tables know.

    python tests/benchmarks/ontology_weights.py [FILE ...]

The first table says of tags that one may take another way how many pixels of all cells they draw, or would draw, and
how many of these show no other category of the channel. The second gives for both tables of the package, by channel,
the pixels of a category, of `none` and of `unlabeled`. Without FILE it takes the real extracts beside the repository.
Cells in which nothing is mapped are left out.
"""

import argparse
import collections
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.labels.extract import check_extract, features_of_cells
from beam_pipeline.labels.feature import deduplicate
from beam_pipeline.labels.label_image import NONE, UNLABELED
from beam_pipeline.labels.ontology import SHIPPED, Ontology, shipped_ontology
from beam_pipeline.labels.rasterize import rasterize
from tests.shared_data import SHARED

FILES = [SHARED / "osm" / f"{name}.osm.pbf" for name in ("liechtenstein-2022", "monaco-2023")]

LAND, WATER_AND_ROADS = 0, 1
TAGS = [  # channel, key, values, kind
    (LAND, "landuse", ["grass"], "area"),
    (LAND, "landuse", ["village_green"], "area"),
    (LAND, "landuse", ["cemetery"], "area"),
    (LAND, "landuse", ["winter_sports"], "area"),
    (LAND, "natural", ["glacier"], "area"),
    (LAND, "leisure", ["park"], "area"),
    (WATER_AND_ROADS, "highway", ["path", "footway", "steps", "bridleway", "cycleway"], "line"),
    (WATER_AND_ROADS, "highway", ["track"], "line"),
    (WATER_AND_ROADS, "waterway", ["stream"], "line"),
    (WATER_AND_ROADS, "waterway", ["ditch", "drain"], "line"),
]
WOODED, BUILT_UP, BUILDING, WATER = 0, (2, 3, 4), 14, 12
EXTRA = 240
"""Value of the category that such tags draw for themselves, over all else."""


def changed(unless=(), extra=()):
    """The default ontology with conditions more, and with EXTRA in each channel that `extra` has tags for."""
    document = json.loads(shipped_ontology("published"))
    document["unless"] += unless
    for channel, key, values, kind in extra:
        labels = document["channels"][channel]["labels"]
        label = labels.setdefault(
            f"extra {channel}", {"value": EXTRA - channel, "precedence": 98 if channel else 100}
        )
        label.setdefault(key, []).append({"values": values, "geometry": [kind], "unless": ["hidden"]})
    return Ontology.load(json.dumps(document))


def cells_of(file):
    """(chip, features) of each cell in which something is mapped: all that any of the questions needs."""
    # Conditions that hold for nothing, so that these keys are read.
    wanted = changed(unless=[{"intermittent": ["?"]}, {"seasonal": ["?"]}], extra=TAGS)
    bounds = check_extract(file).bounds
    chips = {cell.cell_id: cell.chip for cell in cells_in_region(",".join(map(str, bounds)), None, 0).cells}
    found = collections.defaultdict(list)
    for part in features_of_cells(file, chips, wanted):
        for cell_id, one in part.features:
            found[cell_id].append(one)
    return [(chips[cell_id], deduplicate(features)) for cell_id, features in sorted(found.items())]


def draw(cells, ontology, none_labels=False):
    """Returns the labels of all cells, (N, 192, 192, 3)."""
    return np.stack([rasterize(f, chip, ontology, none_labels, sea_known=False).pixels for chip, f in cells])


def show_weights(cells):
    """Prints the shares of pixels of the tags in question."""
    plain = draw(cells, changed())
    print(f"  {'tag':62}{'pixels':>9}{'nothing else':>14}")

    def show(name, here, alone):
        print(f"  {name:62}{here.mean():9.2%}{(here & alone).mean():14.2%}")

    for channel, key, values, kind in TAGS:
        here = draw(cells, changed(extra=[(channel, key, values, kind)]))[..., channel] == EXTRA - channel
        others = draw(cells, changed(unless=[{key: values}]))
        alone = others[..., channel] == UNLABELED
        show(f"{key}={', '.join(values)}", here, alone)
        if key == "highway":
            show("  under trees (wooded)", here & (plain[..., 0] == WOODED), alone)
        if key == "leisure":
            show(
                "  over residential, industrial or commercial",
                here & np.isin(others[..., 0], BUILT_UP),
                alone,
            )
            show("  with a building", here & (plain[..., 2] == BUILDING), alone)
    for key in ("intermittent", "seasonal"):
        others = draw(cells, changed(unless=[{key: {"except": ["no"]}}]))
        here = (plain[..., 1] == WATER) & (others[..., 1] != WATER)
        show(f"water with {key}", here, others[..., 1] == UNLABELED)


def show_tables(cells):
    """Prints a category, none and unlabelled by channel, for each table."""
    print(f"  {'table':12}{'channel':24}{'a category':>12}{'none':>9}{'unlabelled':>12}")
    for name in SHIPPED:
        ontology = Ontology.load(shipped_ontology(name))
        pixels = draw(cells, ontology, none_labels=True)
        for index, channel in enumerate(ontology.channels):
            values = pixels[..., index]
            shares = [(values < NONE).mean(), (values == NONE).mean(), (values == UNLABELED).mean()]
            print(f"  {name:12}{channel.name:24}{shares[0]:12.1%}{shares[1]:9.1%}{shares[2]:12.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=FILES)
    for file in parser.parse_args().files:
        if not file.exists():
            print(f"no {file.name}: give FILE, or put it into {file.parent}")
            continue
        cells = cells_of(file)
        print(f"{file.name}: {len(cells)} cells in which something is mapped")
        show_weights(cells)
        show_tables(cells)


if __name__ == "__main__":
    main()
