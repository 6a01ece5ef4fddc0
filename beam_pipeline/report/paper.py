"""The numbers that the paper gives of its dataset, to be set beside one's own.

Source: Johnson, Treible, Crispell, "OpenSentinelMap: A Large-Scale Land Use Dataset using OpenStreetMap and Sentinel-2
Imagery", CVPR EarthVision workshop 2022, section 3 and figures 2, 4 and 5; shares are read off figure 4.
"""

from collections.abc import Mapping

from beam_pipeline.cells.cell import Split

CELLS = 137_045
IMAGES = 1_035_544
CATEGORIES = 15
YEARS = "2017–2020"
GIGABYTES = 445
CELL_KM2 = 3.7
SPLIT_SHARES: Mapping[Split, float] = {"training": 0.80, "validation": 0.10, "testing": 0.10}

LABELLED_BELOW_1 = 0.11
LABELLED_ABOVE_90 = 0.12
"""Shares of the cells of which less than 1 % and more than 90 % of the pixels hold a category."""

CELLS_HOLDING = {"road": "about 88 %", "water": "57 %", "building": "37 %", "quarry": "just under 3 %"}
"""The cells that hold a category."""

PIXELS_HOLDING = {"wooded": "about 8.7 %", "agricultural": "about 7.3 %"}
"""The pixels that hold a category."""
