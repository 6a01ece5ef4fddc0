"""Whole scenes whose pixels contradict what their item says of the BOA offset."""

import dataclasses

import numpy as np

from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.image import BANDS_10, SCL
from beam_pipeline.imagery.radiometry import CHECKED_DECISION, MAX_NEGATIVE_FRACTION, dark_share
from beam_pipeline.imagery.scenes import Scene, SceneList, SceneNote
from beam_pipeline.runtime.faults import PermanentFault

VISIBLE = BANDS_10[:3]
"""B02, B03 and B04."""

COARSE_PIXELS = 512
"""Most pixels a side of a scene that are looked at: at 10980 px one block of an overview for each asset."""


def refuse_contradicted(found: SceneList, reader: SceneReader) -> SceneList:
    """Moves scenes whose 1000 were taken off, though their item says they were not, to those refused.

    It is decided once for the scene, from a coarse look at the whole of it: a chip of bright soil alone could not
    tell, and would be stored 0.1 too dark beside refused ones. Only scenes whose decision rests on the flag are read.

    Args:
        found: The scenes of a tile and year.
        reader: Reads the assets.

    Returns:
        The list without the contradicted scenes, and without those that cannot be judged: a visible band or SCL is
        missing or broken for good.

    Raises:
        TransientFault: A scene could not be read for now.
    """
    notes = {
        scene.item_id: note
        for scene in found.scenes
        if scene.boa_decision == CHECKED_DECISION and (note := _refusal(scene, reader)) is not None
    }
    return dataclasses.replace(
        found,
        scenes=tuple(scene for scene in found.scenes if scene.item_id not in notes),
        refused=tuple(sorted((*found.refused, *notes.values()))),
    )


def _refusal(scene: Scene, reader: SceneReader) -> SceneNote | None:
    try:
        coarse = reader.read_coarse(scene.assets, (*VISIBLE, SCL), COARSE_PIXELS)
    except PermanentFault as fault:
        return SceneNote.of(scene.item_id, fault)
    if len({pixels.shape for pixels in coarse.values()}) > 1:
        return SceneNote(
            scene.item_id,
            "misaligned",
            "its visible bands and SCL differ in extent, so its offset cannot be judged",
        )
    visible = np.stack([coarse[band] for band in VISIBLE], axis=-1)
    share = dark_share(visible.astype(np.uint16, copy=False), coarse[SCL].astype(np.uint8, copy=False))
    if share is None or share <= MAX_NEGATIVE_FRACTION:
        return None
    return SceneNote(
        scene.item_id,
        "offset_contradicted",
        f"the item says that its offset is not applied, but {share:.0%} of its clear pixels would be negative",
    )
