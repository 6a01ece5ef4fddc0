"""A reader of the published layout by the rules of terratorch's `OpenSentinelMap`, in its words.

Source: terratorch 1.2, terratorch/datasets/open_sentinel_map.py.
"""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class Reader:
    """The samples of one split."""

    def __init__(self, root: Path, split: str) -> None:
        self.root = root
        self.categories = json.loads((root / "osm_categories.json").read_text())
        with (root / "spatial_cell_info.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
        labels = root / "osm_label_images_v10"
        # A row without a label image is passed over.
        self.cells = [
            (row["MGRS_tile"], row["cell_id"])
            for row in rows
            if (labels / row["MGRS_tile"] / f"{row['cell_id']}.png").exists()
        ]

    def files(self, tile: str, cell: str) -> list[Path]:
        """The images of a cell by date, of which at least two are drawn from."""
        found = list((self.root / "osm_sentinel_imagery" / tile / cell).glob("*.npz"))
        assert len(found) >= 2
        assert all(re.search(r"_\d{8}_", path.stem) for path in found)
        return sorted(found, key=lambda path: re.search(r"(\d{8})", path.stem)[1])

    def sample(self, tile: str, cell: str) -> dict[str, Any]:
        """All dates of a cell, and its label with 254 and 255 as two classes more."""
        images = [np.load(path, allow_pickle=False) for path in self.files(tile, cell)]
        mask = np.array(Image.open(self.root / "osm_label_images_v10" / tile / f"{cell}.png")).astype(int)
        mask[mask == 254] = 15
        mask[mask == 255] = 16
        return {"images": images, "mask": mask}
