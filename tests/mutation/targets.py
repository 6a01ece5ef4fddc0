"""The modules that are mutated, and the tests that should notice."""

from collections.abc import Mapping

_CLIPPING = ("tests/labels/test_clipping.py", "tests/labels/test_repair.py", "-k", "not soon and not bound")
_WITHOUT_TENSORFLOW = ("-k", "not tensorflow and not tf_data and not empty_slot")

TARGETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "cells": {
        "beam_pipeline/cells/cell.py": ("tests/cells/test_chips.py", "tests/cells/test_table.py"),
        "beam_pipeline/cells/chips.py": ("tests/cells/test_chips.py",),
        "beam_pipeline/cells/grid.py": ("tests/cells/test_grid.py",),
        "beam_pipeline/cells/mgrs_tiles.py": ("tests/cells/test_mgrs_tiles.py", "tests/cells/test_chips.py"),
        "beam_pipeline/cells/region.py": ("tests/cells/test_region.py",),
        "beam_pipeline/cells/sampling.py": ("tests/cells/test_sampling.py",),
        "beam_pipeline/cells/splits.py": ("tests/cells/test_splits.py",),
        "beam_pipeline/cells/table.py": ("tests/cells/test_table.py",),
    },
    "imagery": {
        "beam_pipeline/imagery/chips.py": ("tests/imagery/test_chips.py",),
        "beam_pipeline/imagery/scenes.py": ("tests/imagery/test_scenes.py",),
        "beam_pipeline/imagery/radiometry.py": ("tests/imagery/test_radiometry.py",),
        "beam_pipeline/imagery/stac_answers.py": ("tests/imagery/test_stac_answers.py",),
        "beam_pipeline/imagery/stac_item.py": ("tests/imagery/test_stac_item.py",),
    },
    "labels": {
        "beam_pipeline/labels/antimeridian.py": (
            "tests/labels/test_antimeridian.py",
            "tests/labels/test_clipping.py",
        ),
        "beam_pipeline/labels/cell_index.py": _CLIPPING,
        "beam_pipeline/labels/chip_boxes.py": (
            "tests/labels/test_chip_boxes.py",
            "tests/labels/test_clipping.py",
        ),
        "beam_pipeline/labels/clipping.py": _CLIPPING,
        "beam_pipeline/labels/geometries.py": _CLIPPING,
        "beam_pipeline/labels/ontology.py": ("tests/labels/test_ontology.py",),
        "beam_pipeline/labels/ontology_json.py": ("tests/labels/test_ontology.py",),
        "beam_pipeline/labels/rasterize.py": (
            *("tests/labels/test_rasterize.py", "tests/labels/test_repair.py"),
            *("-k", "not real and not gdal and not soon and not bound"),
        ),
    },
    "records": {
        "beam_pipeline/records/example.py": ("tests/records/test_example.py", *_WITHOUT_TENSORFLOW),
        "beam_pipeline/records/png.py": (
            "tests/records/test_png.py",
            "tests/records/test_example.py",
            *_WITHOUT_TENSORFLOW,
        ),
        "beam_pipeline/records/schema.py": (
            "tests/records/test_data_format.py",
            "tests/records/test_example.py",
            *_WITHOUT_TENSORFLOW,
        ),
        "beam_pipeline/records/shards.py": ("tests/records/test_shards.py", *_WITHOUT_TENSORFLOW),
        "beam_pipeline/records/version.py": ("tests/records/test_version.py",),
    },
    "runtime": {"beam_pipeline/runtime/retries.py": ("tests/runtime/test_retries.py",)},
    "dataset": {
        "beam_pipeline/dataset/assemble.py": ("tests/dataset/test_assemble.py",),
        "beam_pipeline/dataset/cell_content.py": (
            "tests/dataset/test_cell_content.py",
            "tests/dataset/test_totals.py",
        ),
        "beam_pipeline/dataset/totals.py": ("tests/dataset/test_totals.py",),
    },
}
"""Package -> file -> what pytest runs on its mutants: test files, the quickest to notice first, less slow tests."""
