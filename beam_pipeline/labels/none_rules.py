"""Tells what is known to be nothing from what is unknown: applies the `none` table of an ontology."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.dilation import Mask, crop, dilate
from beam_pipeline.labels.label_image import NONE, PIXEL_M, UNLABELED
from beam_pipeline.labels.ontology import NoneRule, Ontology

_LAND_USE = 0  # the channel whose categories are all land


def settle(
    pixels: npt.NDArray[np.uint8], drawn: Mapping[int, Mask], ontology: Ontology, *, sea_unknown: bool
) -> npt.NDArray[np.uint8]:
    """Writes `NONE` into the unlabelled pixels that the `none` table settles.

    Where there may be sea of which nothing is known, the channel that it would be drawn in is settled on land use
    only, and not around it.

    Args:
        pixels: (N, N, 3) uint8, 10 m: the labels that are drawn in the end, and `UNLABELED`.
        drawn: Value of a label -> (N + 2 P, N + 2 P) bool, P pixels more on each side: what features and rules that
            settle draw of the label, before any dilation.
        ontology: Has the table.
        sea_unknown: Whether there may be sea that is not drawn.

    Returns:
        (N, N, 3) uint8.
    """
    size = len(pixels)
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    settled = planes.copy()
    for rule in ontology.none_rules:
        if not _is_mapped(rule, planes):
            continue
        if sea_unknown and rule.channel == ontology.sea_channel:
            land = {label.value for label in ontology.channels[_LAND_USE].labels}
            known = _union(drawn, land.intersection(rule.where), size, 0)
        elif rule.distance_m:
            reach = math.floor(rule.distance_m / PIXEL_M)
            known = crop(dilate(_union(drawn, rule.where, size, reach), rule.distance_m), size)
        else:
            known = _on_top(drawn, rule, planes, ontology)
        channel = settled[rule.channel]
        np.copyto(channel, NONE, where=known & (channel == UNLABELED))
    return np.ascontiguousarray(np.moveaxis(settled, 0, -1))


def _holds(plane: npt.NDArray[np.uint8], values: Iterable[int]) -> Mask:
    """Returns where a contiguous plane of uint8 holds one of some values: a tenth of the time of `np.isin`."""
    table = bytearray(1 << 8)
    for value in values:
        table[value] = True
    return np.frombuffer(plane.tobytes().translate(table), np.bool_).reshape(plane.shape)


def _is_mapped(rule: NoneRule, planes: npt.NDArray[np.uint8]) -> bool:
    """Returns whether enough of the pixels that the rule is about hold the labels that it asks for."""
    if not rule.if_mapped:
        return True
    about = np.logical_or.reduce([_holds(plane, rule.where) for plane in planes])
    most = np.count_nonzero(about)
    return all(
        np.count_nonzero(about & (planes == value).any(axis=0)) >= share * most
        for value, share in rule.if_mapped
    )


def _union(drawn: Mapping[int, Mask], values: Iterable[int], size: int, margin: int) -> Mask:
    """Returns (size + 2 margin,) squared bool: where any of the labels is drawn; no margin is wider than that drawn."""
    masks = [drawn[value] for value in values if value in drawn]
    if not masks:
        return np.zeros((size, size), dtype=bool)
    side = min(size + 2 * margin, len(masks[0]))
    union: Mask = np.logical_or.reduce([crop(mask, side) for mask in masks])
    return union


def _on_top(
    drawn: Mapping[int, Mask], rule: NoneRule, planes: npt.NDArray[np.uint8], ontology: Ontology
) -> Mask:
    """Returns (N, N) bool: where a label of the rule is drawn, and none that the rule does not name lies over it."""
    known = np.zeros(planes.shape[1:], dtype=bool)
    for plane, channel in zip(planes, ontology.channels, strict=True):
        here = {label.value for label in channel.labels}.intersection(rule.where)
        if not here.isdisjoint(drawn):
            known |= _union(drawn, here, len(plane), 0) & _holds(plane, here)
    return known
