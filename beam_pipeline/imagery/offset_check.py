"""Scenes whose pixels contradict what their item says of the BOA offset."""

import dataclasses
import hashlib
import json
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pydantic

from beam_pipeline.imagery.asset_values import Pixels
from beam_pipeline.imagery.cog import SceneReader
from beam_pipeline.imagery.image import BANDS_10, SCL
from beam_pipeline.imagery.radiometry import CHECKED_DECISIONS, MAX_NEGATIVE_FRACTION, dark_share
from beam_pipeline.imagery.scenes import STORED, Scene, SceneNote
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.foreign_text import without_secrets
from beam_pipeline.runtime.parsing import parse_json

VISIBLE = BANDS_10[:3]
"""B02, B03 and B04."""

COARSE_PIXELS = 512
"""Most pixels a side of a scene that are looked at: at 10980 px one block of an overview for each asset."""

_LOOKED_AT = (*VISIBLE, SCL)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome of looking at a scene.

    Attributes:
        item_id: Id of the STAC item.
        refusal: Why the scene cannot be used; None where it can.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = STORED

    item_id: str
    refusal: SceneNote | None

    def to_json(self) -> str:
        """Returns JSON text, the same for equal verdicts."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Verdict":
        """Is the inverse of `to_json`.

        Raises:
            MalformedError: It is no verdict; the message names the field.
        """
        return parse_json(_VERDICT, text)


_VERDICT = pydantic.TypeAdapter(Verdict)


class Verdicts(Protocol):
    """A place where verdicts are kept, so that no scene is looked at twice, and no two looks differ."""

    def find(self, scene: Scene) -> Verdict | None:
        """Returns the verdict on a scene; None where there is none yet."""

    def keep(self, scene: Scene, verdict: Verdict) -> None:
        """Keeps a verdict; of several at once, which are equal, any may stay."""


class OffsetCheck:
    """Looks at each scene that says its 1000 are in its DN, when a chip would take it.

    It is decided once for the scene, from a coarse look at the whole of it: a chip of bright soil alone could not
    tell, and would be stored 0.1 too dark beside refused ones.

    Args:
        reader: Reads the assets.
        kept: Where verdicts are kept; without it they are not.
    """

    def __init__(self, reader: SceneReader, kept: Verdicts | None = None) -> None:
        self._reader = reader
        self._kept = kept

    def refusal(self, scene: Scene) -> SceneNote | None:
        """Tells why a scene cannot be used.

        Args:
            scene: Any; those whose decision is none of `CHECKED_DECISIONS` are not read.

        Returns:
            "offset_contradicted", or the reason for which it cannot be judged: a visible band or SCL is missing or
            broken for good. None where it can be used.

        Raises:
            TransientFault: It could not be read for now.
            Fault: The verdict could not be kept.
        """
        if scene.boa_decision not in CHECKED_DECISIONS:
            return None
        verdict = None if self._kept is None else self._kept.find(scene)
        if verdict is None:
            verdict = Verdict(scene.item_id, _look(scene, self._reader))
            if self._kept is not None:
                self._kept.keep(scene, verdict)
        return verdict.refusal


def digest_of_look(scene: Scene) -> str:
    """Returns 32 hexadecimal digits of what a verdict is on: the item, and the files that are looked at."""
    files = [without_secrets(scene.assets.get(band, "")) for band in _LOOKED_AT]
    return hashlib.sha256(json.dumps([scene.item_id, *files]).encode()).hexdigest()[:32]


def _look(scene: Scene, reader: SceneReader) -> SceneNote | None:
    try:
        coarse = reader.read_coarse(scene.assets, _LOOKED_AT, COARSE_PIXELS)
    except PermanentFault as fault:
        return SceneNote.of(scene.item_id, fault)
    if len({pixels.shape for pixels in coarse.values()}) > 1:
        return SceneNote(
            scene.item_id,
            "misaligned",
            "its visible bands and SCL differ in extent, so its offset cannot be judged",
        )
    share = dark_share(_visible([coarse[band] for band in VISIBLE]), np.asarray(coarse[SCL], np.uint8))
    if share is None or share <= MAX_NEGATIVE_FRACTION:
        return None
    return SceneNote(
        scene.item_id,
        "offset_contradicted",
        f"the item gives no sign that its offset is applied, but {share:.0%} of its clear pixels would be negative",
    )


def _visible(bands: list[Pixels]) -> npt.NDArray[np.uint16]:
    """Stacks bands to (H, W, 3); a pixel that one of them marks as no data is 0 in all."""
    stacked = np.stack([np.asarray(pixels, np.uint16) for pixels in bands], axis=-1)
    stacked[np.any([np.ma.getmaskarray(pixels) for pixels in bands], axis=0)] = 0
    return stacked
