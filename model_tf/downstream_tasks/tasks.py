"""The tasks: where their patches come from, the columns of their table, and what others published of them."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

from model_tf.downstream_tasks.eurosat import read_eurosat
from model_tf.downstream_tasks.patch_set import PatchSet
from model_tf.downstream_tasks.resampled import is_resampled, read_resampled

EUROSAT_CROP, FMOW_CROP = 64, 16
"""Pixels of a patch, around its place. Source: Helber et al. 2019; Johnson et al. 2022, section 5.3."""

COUNTS = ("1", "5", "10", "100")
SHARES = ("10/90", "20/80", "30/70", "40/60", "50/50", "60/40", "70/30", "80/20", "90/10")
"""Training patches a class, and percent for training and testing. Source: Johnson et al. 2022, table 1."""


@dataclasses.dataclass(frozen=True)
class QuotedRow:
    """A row of a published table.

    Attributes:
        name: Of the method.
        level: Of the patches, "L1C" or "L2A".
        source: Where it was published, and by what protocol it was measured.
        scores: Top-1 in percent of random splits, by column; what was not published is not there.
    """

    name: str
    level: str
    source: str
    scores: Mapping[str, float]


def _row(name: str, level: str, source: str, *scores: float | None) -> QuotedRow:
    columns = zip((*COUNTS, *SHARES), scores, strict=True)
    return QuotedRow(name, level, source, {column: score for column, score in columns if score is not None})


PAPER_SOURCE = (
    "Johnson et al. 2022, table 1: a CNN head on frozen embeddings, EuroSAT resampled to L2A, random splits"
)
HELBER_SOURCE = (
    "Johnson et al. 2022, table 1, who quote Helber et al. 2019: whole networks trained on EuroSAT as published, L1C, "
    "random splits"
)
PAPER_ROWS = (
    _row(
        "ResNet-50", "L1C", HELBER_SOURCE, *[None] * 4, 75.06, 88.53, 93.75, 94.01, 94.45, 95.26, 95.32, 96.43, 96.37
    ),
    _row(
        "GoogLeNet", "L1C", HELBER_SOURCE, *[None] * 4, 77.37, 90.97, 90.57, 91.62, 94.96, 95.54, 95.70, 96.02, 96.17
    ),
    _row(
        "paper", "L2A", PAPER_SOURCE,
        57.56, 74.58, 81.66, 91.48, 92.45, 93.10, 93.62, 93.80, 93.95, 93.71, 93.80, 94.90, 94.70,
    ),
)  # fmt: skip

FIELD_SOURCE = (
    "torchgeo-bench, eurosat-spatial: EuroSAT as published, L1C; one split by longitude, all its training patches, the "
    "probe's penalty chosen on its validation patches"
)
FIELD_LEVEL = "L1C"
FIELD_ROWS = (
    ("image statistics", "73-78", "86-88"),
    ("OlmoEarth Nano (1.4 M weights, 128 channels)", "90.3", "93.0"),
    ("OlmoEarth Base", "94.1", "97.8"),
    ("TerraMind-B", "83.3", "95.0"),
    ("Prithvi-2", "73.8", "92.4"),
)
"""Name, top-1 of kNN (k = 5) and of a linear probe, in percent. Source: as `FIELD_SOURCE`."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        read: From a folder to its patches.
        does: For --help.
        paper_rows: What stands beside our rows.
        field_rows: Likewise, of another protocol.
    """

    read: Callable[[str], PatchSet]
    does: str
    paper_rows: tuple[QuotedRow, ...] = ()
    field_rows: tuple[tuple[str, str, str], ...] = ()


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "eurosat": Task(
            lambda folder: (
                read_resampled(folder, "eurosat", EUROSAT_CROP)
                if is_resampled(folder)
                else read_eurosat(folder)
            ),
            "EuroSAT as published: a folder for each of its ten classes; or the dataset of its places",
            PAPER_ROWS,
            FIELD_ROWS,
        ),
        "fmow": Task(
            lambda folder: read_resampled(folder, "fmow", FMOW_CROP), "the dataset of fMoW's places"
        ),
        "classes": Task(
            lambda folder: (
                read_resampled(folder, None, EUROSAT_CROP)
                if is_resampled(folder)
                else read_eurosat(folder, None)
            ),
            "a dataset of places of any classes; or tiles of EuroSAT's form in a folder for each class",
        ),
    }
)
"""The tasks by name."""
