"""A set of labelled patches, wherever it comes from: what every other module here knows of it."""

import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Patch:
    """A labelled place.

    Attributes:
        name: Unlike all others of its set; draws are keyed by it.
        class_index: Of its class, in the order of `PatchSet.classes`.
        longitude: Of its centre, in degrees east.
        latitude: Of its centre, in degrees north.
        split: "training", "validation" or "testing" where its source says so; else "".
        offset: (rows south, columns east) in 10 m pixels from the middle of what is read to the middle of the patch.
    """

    name: str
    class_index: int
    longitude: float
    latitude: float
    split: str = ""
    offset: tuple[int, int] = (0, 0)


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Reflectance of some patches, NaN where there is no data.

    Attributes:
        gsd_10: (N, S, S, 4) float32, B02 B03 B04 B08.
        gsd_20: (N, S / 2, S / 2, 6) float32, B05 B06 B07 B8A B11 B12.
    """

    gsd_10: npt.NDArray[np.float32]
    gsd_20: npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class PatchSet:
    """Labelled patches of one source.

    Attributes:
        title: The source, for people.
        level: Of Sentinel-2's processing, "L1C" or "L2A"; it stands wherever a score does.
        classes: Names of the classes.
        patches: The places, in the order in which they are read.
        side: Side of what `read` gives, in 10 m pixels; a multiple of 4.
        crop: Side of the patch itself, which lies its offset from the middle of that; what is around it is context.
        fingerprint: Hash of all of it.
        notices: Licences and attributions, a paragraph each.
        read: From a range of patches to their pixels. It raises `InvalidInputError` where a file is damaged.
    """

    title: str
    level: str
    classes: tuple[str, ...]
    patches: tuple[Patch, ...]
    side: int
    crop: int
    fingerprint: str
    notices: tuple[str, ...]
    read: Callable[[range], Pixels]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) class of every patch."""
        return np.array([patch.class_index for patch in self.patches], np.int64)

    @property
    def offsets(self) -> npt.NDArray[np.int32]:
        """(N, 2) rows and columns by which every patch lies off the middle of what is read."""
        return np.array([patch.offset for patch in self.patches], np.int32).reshape(-1, 2)

    @property
    def crop_key(self) -> str:
        """Says which of the pixels that are read are those of the patches."""
        offsets = self.offsets
        if not offsets.any():
            return str(self.crop)
        digest = hashlib.blake2b(offsets.astype("<i4").tobytes(), digest_size=16)
        return f"{self.crop} off {digest.hexdigest()}"

    def counts(self) -> dict[str, int]:
        """Returns the number of patches of every class."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return dict(zip(self.classes, counts.tolist(), strict=True))
