"""Makes the plain data that the records tests store."""

import dataclasses
from typing import Any

import numpy as np

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.cells.grid import GRID_NAME
from beam_pipeline.dataset.fingerprint import Filters, Fingerprint
from beam_pipeline.dataset.outcomes import AssembledUnit
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.imagery.image import Image
from beam_pipeline.records.example import CellYear
from beam_pipeline.records.schema import SCHEMA_VERSION


def make_image(rng: np.random.Generator, item_id: str = "S2A_29RKH_20200219_0_L2A", **changes: Any) -> Image:
    image = Image(
        item_id=item_id,
        datetime="2020-02-19T11:34:25.405000Z",
        platform="sentinel-2a",
        baseline="05.11",
        boa_add_offset=-1000,
        boa_decision="not_applied",
        bad_percent=int(rng.integers(0, 9217)) / 9216,
        gsd_10=rng.integers(1, 20000, (192, 192, 4), np.uint16),
        gsd_20=rng.integers(1, 20000, (96, 96, 6), np.uint16),
        gsd_60=rng.integers(1, 20000, (32, 32, 2), np.uint16),
        scl=rng.integers(1, 12, (96, 96), np.uint8),
    )
    return dataclasses.replace(image, **changes)


def make_cell(cell_id: int = 82543044, **changes: Any) -> Cell:
    cell = Cell(
        cell_id=cell_id,
        tile="56HLH",
        split="training",
        chip=ChipWindow(32756, 334080, 6250600),
        min_lon=151.2 + 1e-13,
        max_lon=151.22071,
        min_lat=-33.87313210001,
        max_lat=-33.85581,
    )
    return dataclasses.replace(cell, **changes)


def make_cell_year(seed: int = 0, num_images: int = 2, year: int = 2020, **cell: Any) -> CellYear:
    rng = np.random.default_rng(seed)
    images = tuple(make_image(rng, f"item_{seed}_{slot}") for slot in range(num_images))
    label = rng.choice(np.array([0, 2, 12, 13, 14, 254, 255], np.uint8), (192, 192, 3))
    return CellYear(make_cell(**cell), year, images, label)


def make_assembled(unit: Unit, years: int = 1, cell_years: Any = (), **parts: Any) -> AssembledUnit:
    """A unit whose pixels are read; what is not named is empty."""
    empty: dict[str, Any] = {
        "rejections": {},
        "scene_rejections": {},
        "dropped_geometries": {},
        "years_without_items": (),
        "notes": (),
        "dead_letters": (),
    }
    return AssembledUnit(unit, years, tuple(cell_years), **{**empty, **parts})


def make_fingerprint(**changes: Any) -> Fingerprint:
    """The fingerprint of a made-up dataset."""
    fields: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "grid": GRID_NAME,
        "cells_sha256": "0" * 64,
        "cells_per_shard": 16,
        "seed": 0,
        "years": (2020,),
        "catalogue": "static:made-up",
        "collection": "sentinel-2-l2a",
        "max_scene_cloud": None,
        "filters": Filters(**dataclasses.asdict(FilterSettings())),
        "allow_single": False,
        "ontology_sha256": "0" * 64,
        "none_labels": True,
        "osm": (),
    }
    return Fingerprint(**{**fields, **changes})
