"""Puts other labels to the images of a unit, as a build would have put them."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from beam_pipeline.dataset.cell_content import image_record
from beam_pipeline.dataset.outcomes import CellYearId, DeadLetter, sorted_letters
from beam_pipeline.dataset.source_unit import SourceUnit
from beam_pipeline.dataset.summary import BandSums, ShardContent, UnitSummary, band_sums, sorted_counts
from beam_pipeline.dataset.units import Unit
from beam_pipeline.labels.label_image import CellLabel
from beam_pipeline.records.example import decode
from beam_pipeline.records.stored_example import StoredExample, label_png
from beam_pipeline.runtime.faults import Failure

LABELS = "labels"
"""The stage of dead letters of cells that have no label, as a build names it."""

STAGE = "relabel"
"""The stage of dead letters that no build makes."""

NO_IMAGES = "no_images_in_source"
"""Reason of dead letters of cells whose label failed when the source was built, so that no image was read."""

INEXACT = "inexact_bounds"
"""Reason of dead letters of cells whose chip lies only nearly where its bounds say: a map cannot be laid over it."""


@dataclasses.dataclass(frozen=True)
class RelabelledUnit:
    """A unit of the new dataset.

    Attributes:
        payloads: The serialised examples, in order.
        summary: Its summary, but for the hash and size of the shard.
    """

    payloads: tuple[bytes, ...]
    summary: UnitSummary


def relabel_unit(
    unit: Unit,
    source: SourceUnit,
    labels: Sequence[CellLabel],
    years: Sequence[int],
    fingerprint: str,
) -> RelabelledUnit:
    """Puts new labels to a unit's images.

    Where no label fails this gives, byte for byte, what a build of the same images with these labels gives. Of a cell
    whose label fails a build reads no images, and so does not count the scenes that it would have passed over; here
    those of the source stay counted.

    Args:
        unit: The unit.
        source: The unit as the source has it.
        labels: The new label of each of the unit's cells.
        years: The years of the dataset.
        fingerprint: SHA-256 of the fingerprint of the new dataset.

    Returns:
        Every cell-year of the unit exactly once: written, rejected or a dead letter.

    Raises:
        ValueError: A cell has no label, or more than one: the runner lost or doubled records.
        PermanentFault: An example cannot be decoded whose label fails.
    """
    by_cell = {label.cell_id: label for label in labels}
    if len(labels) != len(unit.cells) or by_cell.keys() != {cell.cell_id for cell in unit.cells}:
        raise ValueError(f"{len(labels)} labels arrived for the {len(unit.cells)} cells of {unit.name}")
    failures = _failures(source.examples, by_cell)
    kept = [example for example in source.examples if example.cell_id not in failures]
    lost = [example for example in source.examples if example.cell_id in failures]
    content = ShardContent(_bands_without(source.summary.bands, lost))
    payloads: list[bytes] = []
    labels_of: dict[int, tuple[npt.NDArray[np.uint8], bytes]] = {}  # drawn once for all years
    for example in kept:
        if example.cell_id not in labels_of:
            drawn = by_cell[example.cell_id].unpack()
            labels_of[example.cell_id] = drawn, label_png(drawn)
        label, png = labels_of[example.cell_id]
        payloads.append(example.with_label(png))
        records = [image_record(example.year, *image) for image in example.images]
        content.add_described(example.cell_id, records, label, bounds_exact=example.bounds_exact)
    return RelabelledUnit(
        tuple(payloads), _summary(unit, source, by_cell, failures, years, content, fingerprint)
    )


def _failures(examples: Sequence[StoredExample], labels: Mapping[int, CellLabel]) -> dict[int, Failure]:
    """Returns why cells are without a label, by cell."""
    inexact = {example.cell_id for example in examples if not example.bounds_exact}
    failures = dict.fromkeys(
        sorted(inexact), (INEXACT, "the chip lies only nearly where its bounds say: no map fits it")
    )
    return failures | {label.cell_id: label.failure for label in labels.values() if label.failure is not None}


def _bands_without(bands: Mapping[str, BandSums], lost: Sequence[StoredExample]) -> dict[str, BandSums]:
    """Takes away what images add that are not written: the one case in which pixels are looked at."""
    left = dict(bands)
    for example in lost:
        for image in decode(example.payload).images:
            for band, sums in band_sums(image).items():
                left[band] = left.get(band, BandSums()) - sums
    return left


def _summary(
    unit: Unit,
    source: SourceUnit,
    labels: Mapping[int, CellLabel],
    failures: Mapping[int, Failure],
    years: Sequence[int],
    content: ShardContent,
    fingerprint: str,
) -> UnitSummary:
    dropped: collections.Counter[str] = collections.Counter()
    for label in labels.values():
        dropped.update(label.dropped)
    counts = content.counts()
    written = {cell.cell_id for cell in counts["contents"]}
    coastal = {label.cell_id for label in labels.values() if label.coastal}
    letters = [_still(letter) for letter in source.summary.dead_letters if letter.cell_id not in failures]
    letters += [
        DeadLetter(unit.name, cell_id, year, LABELS, *failure)
        for cell_id, failure in failures.items()
        for year in years
    ]
    return dataclasses.replace(
        source.summary,
        rejections=_rejections(source.summary.rejections, failures),
        dropped_geometries=sorted_counts(dropped),
        dead_letters=sorted_letters(letters),
        coastal_cells=tuple(sorted(written & coastal)),
        fingerprint=fingerprint,
        **counts,
    )


def _rejections(
    rejections: Mapping[str, tuple[CellYearId, ...]], failures: Mapping[int, Failure]
) -> dict[str, tuple[CellYearId, ...]]:
    left = {
        reason: tuple(it for it in rejected if it[0] not in failures)
        for reason, rejected in rejections.items()
    }
    return {reason: left[reason] for reason in sorted(left) if left[reason]}


def _still(letter: DeadLetter) -> DeadLetter:
    """Returns what a dead letter of the source is once its cell has a label: one of images stays what it is."""
    if letter.stage != LABELS:
        return letter
    detail = f"its label failed when the source was built ({letter.reason}: {letter.detail})"
    return dataclasses.replace(letter, stage=STAGE, reason=NO_IMAGES, detail=detail)
