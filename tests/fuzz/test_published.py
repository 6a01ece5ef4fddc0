"""Files of the published layout: read or refused, whatever they hold."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.cells.cell import SPLITS
from beam_pipeline.cells.table import RowError, parse_published_csv
from beam_pipeline.exchange.published_label import read_published_label
from beam_pipeline.exchange.published_npz import read_published_image
from beam_pipeline.imagery.image import Image
from beam_pipeline.records.example import encode
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from tests.exchange.published_files import HEADER, image_arrays, label_pixels, npz, png, square
from tests.fuzz.test_decoders import damaged_bytes, damaged_csv, outcome, patient
from tests.records.builders import make_cell_year

PUBLISHED_NPZ = npz(image_arrays(1))
PUBLISHED_LABEL = label_pixels(1)
LABEL_VALUES = (frozenset({0, 1, 2, 11, 255}), frozenset({12, 13, 254, 255}), frozenset({14, 254, 255}))
PUBLISHED_CSV = ",".join(HEADER) + "\n" + ",".join(map(str, square("43QEU").row)) + "\n"


@given(damaged_bytes(PUBLISHED_NPZ) | st.binary())
@patient
def test_a_published_image_is_read_or_refused(content: bytes) -> None:
    image = outcome(lambda: read_published_image(content, "x", "2018-01-15", ""), PermanentFault)
    if isinstance(image, Image):
        assert image.gsd_10.shape == (192, 192, 4)
        encode(dataclasses.replace(make_cell_year(), images=(image,)))


@given(damaged_bytes(png(PUBLISHED_LABEL)) | st.binary())
@patient
def test_a_published_label_is_read_or_refused(content: bytes) -> None:
    label = outcome(lambda: read_published_label(content, LABEL_VALUES), PermanentFault)
    if isinstance(label, np.ndarray):
        assert np.array_equal(label, PUBLISHED_LABEL)  # each byte is under a CRC


@given(damaged_csv(PUBLISHED_CSV) | st.text())
@patient
def test_a_published_table_is_read_and_each_odd_line_is_told(text: str) -> None:
    refused: list[RowError] = []
    cells = outcome(lambda: list(parse_published_csv(text, "cells.csv", refused.append)), InvalidInputError)
    if isinstance(cells, list):
        assert len({(cell.tile, cell.cell_id) for cell in cells}) == len(cells)
        assert all(cell.split in SPLITS and (cell.min_lat <= cell.max_lat) for cell in cells)
