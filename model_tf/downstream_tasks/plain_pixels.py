"""Pixels that lie in a file of their own as they are in memory, and are read without GDAL.

GDAL takes ten times as long for a small tile. Where pixels lie is tried out on each file, against what GDAL reads.
"""

import dataclasses
import os

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.regular_files import open_regular


@dataclasses.dataclass(frozen=True)
class PlainPixels:
    """A file whose pixels lie in one piece.

    Attributes:
        path: Of the file.
        file_bytes: Its size.
        start: The byte at which its pixels begin.
    """

    path: str
    file_bytes: int
    start: int

    def read_into(self, pixels: npt.NDArray[np.uint16]) -> None:
        """Fills an array with the pixels.

        Raises:
            InvalidInputError: The file is gone, or has another size than before.
        """
        try:
            with open_regular(self.path) as file:
                file.seek(self.start)
                num_bytes = file.readinto(pixels.data.cast("B"))
                file_bytes = os.fstat(file.fileno()).st_size
        except (OSError, PermanentFault) as error:
            raise InvalidInputError(f"{self.path} has changed since it was looked at: {error}") from error
        if num_bytes != pixels.nbytes or file_bytes != self.file_bytes:
            raise InvalidInputError(
                f"{self.path} has changed since it was looked at: it had {self.file_bytes:,} bytes. Received: "
                f"{file_bytes:,}"
            )


def plain_pixels(
    path: str, content: bytes, start: int | None, pixels: npt.NDArray[np.uint16]
) -> PlainPixels | None:
    """Looks whether the pixels of a file lie at a place of it as they are in memory.

    Args:
        path: The file.
        content: All of it.
        start: The byte at which they may begin; None where nothing is known.
        pixels: What they are.

    Returns:
        Where they lie, or None: they are compressed, in pieces or in another order of bytes.
    """
    if start is None or content[start : start + pixels.nbytes] != pixels.tobytes():
        return None
    return PlainPixels(path, len(content), start)
