"""Embeddings on a disk: in parts, each whole or not there, so that an embedding goes on where it ended.

A cache is the folder of its key. Part p holds patches 256 p to 256 p + 255: `mean-0000p.npy` (n, E) float32 and
`grid-0000p.npy` (n, G, G, E) float16, which is memory-mapped where it is read.
"""

import dataclasses
import glob
import hashlib
import os
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.free_room import free_disk
from beam_pipeline.runtime.whole_files import PARTIAL_SUFFIX
from model_tf.data.storage import require_own_folders, size, writing

PART = 256
"""Patches of a part."""

_HEADER = 128
"""Bytes before the values of a .npy file of ours; numpy rounds up to multiples of 64."""


@dataclasses.dataclass(frozen=True)
class EmbeddingCache:
    """The embeddings of a set of patches by one encoder.

    Attributes:
        folder: Of all caches, on this machine.
        key: Says all that decides the embeddings.
        count: Number of patches.
        width: Channels E.
        grid: Side G of what is kept of a patch's embeddings.
    """

    folder: str
    key: str
    count: int
    width: int
    grid: int

    @property
    def path(self) -> str:
        """The folder of the key."""
        return join(self.folder, hashlib.blake2b(self.key.encode(), digest_size=12).hexdigest())

    @property
    def num_bytes(self) -> int:
        """Bytes of all parts."""
        return self.bytes_of(self.parts)

    def bytes_of(self, parts: Iterable[int]) -> int:
        """Returns the bytes of some parts."""
        counts = [len(self.patches_of(part)) for part in parts]
        return sum(counts) * self.width * (4 + 2 * self.grid**2) + 2 * _HEADER * len(counts)

    @property
    def parts(self) -> range:
        """The numbers of the parts."""
        return range(-(-self.count // PART))

    def patches_of(self, part: int) -> range:
        """Returns the patches of a part."""
        return range(part * PART, min((part + 1) * PART, self.count))

    def missing(self) -> list[int]:
        """Returns the parts that are not there, or are not whole."""
        return [part for part in self.parts if not self._has(part)]

    def tidy(self) -> None:
        """Deletes what killed attempts left aside; to be called when nobody writes."""
        for path in glob.glob(join(glob.escape(self.path), f".{'[0-9a-f]' * 32}{PARTIAL_SUFFIX}")):
            os.remove(path)

    def write(self, part: int, mean: npt.NDArray[np.float32], grid: npt.NDArray[np.float16]) -> None:
        """Writes a part; its means last, by which it is known to be there."""
        for kind, array in (("grid", grid), ("mean", mean)):
            with writing(self._file(kind, part)) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array))

    def means(self) -> npt.NDArray[np.float32]:
        """Returns the mean embedding of every patch, (N, E)."""
        return np.concatenate([_mapped(self._file("mean", part)) for part in self.parts])

    def grids(self, which: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        """Returns what is kept of some patches' embeddings, (n, G, G, E)."""
        found = np.empty((len(which), self.grid, self.grid, self.width), np.float16)
        for part in self.parts:
            here = np.flatnonzero(which // PART == part)
            if len(here):
                found[here] = _mapped(self._file("grid", part))[which[here] % PART]
        return found

    def _file(self, kind: str, part: int) -> str:
        return join(self.path, f"{kind}-{part:05}.npy")

    def _has(self, part: int) -> bool:
        count = len(self.patches_of(part))
        wanted = {
            "grid": ((count, self.grid, self.grid, self.width), np.float16),
            "mean": ((count, self.width), np.float32),
        }
        for kind, (shape, dtype) in wanted.items():
            path = self._file(kind, part)
            if size(path) is None:  # a link or a pipe is refused
                return False
            try:
                mapped = _mapped(path)
            except (ValueError, OverflowError):  # cut short, or no array that can be
                return False
            if mapped.shape != shape or mapped.dtype != dtype:
                return False
        return True


def require_room(caches: list[EmbeddingCache]) -> None:
    """Checks that what is missing of caches fits on their disk and can be written there.

    Raises:
        InvalidInputError: It does not, or cannot.
    """
    folder = caches[0].folder
    require_own_folders(folder, tuple(os.path.basename(cache.path) for cache in caches))
    needed = sum(cache.bytes_of(cache.missing()) for cache in caches)
    above = os.path.abspath(folder)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        raise InvalidInputError(f"--cache must be a folder. Received: {folder}, and {above} is none")
    free = free_disk(above)
    if needed > free:
        raise InvalidInputError(
            f"--cache must lie on a disk with room for {needed:,} bytes of embeddings. Received: {folder}, "
            f"where {free:,} are free. Give another --cache, or a smaller --grid"
        )
    if needed and not os.access(above, os.W_OK | os.X_OK):
        raise InvalidInputError(
            f"--cache must be a folder that can be written. Received: {folder}. Give another --cache, or see that you "
            "may write there"
        )


def _mapped(path: str) -> npt.NDArray[np.generic]:
    # Not by np.load, which takes archives and pickles too.
    mapped: npt.NDArray[np.generic] = np.lib.format.open_memmap(path, mode="r")
    return mapped
