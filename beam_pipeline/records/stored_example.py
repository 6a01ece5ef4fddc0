"""A serialised example that gets another label, while its images stay the bytes that they are."""

from collections.abc import Set
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from beam_pipeline.records.example import encode_value
from beam_pipeline.records.example_proto import Example
from beam_pipeline.records.schema import FEATURES, NUM_SLOTS, SCL_PIXELS, slot_prefix
from beam_pipeline.runtime.faults import PermanentFault

_LABEL = "label"


def label_png(label: npt.NDArray[np.uint8]) -> bytes:
    """Returns a label image as an example stores it.

    Args:
        label: (192, 192, 3) uint8.
    """
    return encode_value(FEATURES[_LABEL], label)


def stored_label(payload: bytes) -> bytes:
    """Returns the label image of an example that `decode` has read, as it is stored: a PNG.

    Args:
        payload: A serialised example.
    """
    features = Example.FromString(payload).features.feature
    return cast(bytes, features[_LABEL].bytes_list.value[0])


class StoredExample:
    """An example of any 1.x, of which no pixel is decoded.

    Args:
        payload: A serialised example.
        exactly: The features that it must have, and no other.

    Attributes:
        cell_id: The cell.
        year: The year of the images.
        bounds_exact: Whether the chip lies where its bounds say.
        images: (datetime, bad_pixels) of each image, in the order of their slots.

    Raises:
        PermanentFault: "corrupt_example": damaged, or of another schema.
    """

    def __init__(self, payload: bytes, exactly: Set[str]) -> None:
        try:
            self._message = Example.FromString(payload)
            self._features = self._message.features.feature
            wrong = exactly ^ set(self._features)
            if wrong:
                raise ValueError(f"features missing or unknown: {sorted(wrong)}")
            self.cell_id = self._int("cell_id")
            self.year = self._int("year")
            exact = FEATURES["bounds_exact"]
            self.bounds_exact = bool(self._int(exact.name) if exact.name in exactly else exact.default)
            num_images = self._int("num_images")
            if not 1 <= num_images <= NUM_SLOTS:
                raise ValueError(f"num_images is {num_images}")
            self.images = tuple(self._image(slot_prefix(slot)) for slot in range(num_images))
        except (DecodeError, ValueError) as error:
            raise PermanentFault(
                "corrupt_example", f"{len(payload)} bytes are no example: {error}"
            ) from error

    @property
    def payload(self) -> bytes:
        """The serialised example."""
        return cast(bytes, self._message.SerializeToString(deterministic=True))

    def with_label(self, png: bytes) -> bytes:
        """Returns the example of the current version with another label, as `example.encode` would give it.

        Args:
            png: From `label_png`.
        """
        # Made anew: a list that is assigned to keeps what an odd one holds beside its first value.
        self._features[_LABEL].Clear()
        self._features[_LABEL].bytes_list.value.append(png)
        for name, spec in FEATURES.items():
            if name not in self._features:  # what versions before did not have are integers
                self._features[name].int64_list.value.append(spec.default)
        return self.payload

    def _image(self, prefix: str) -> tuple[str, int]:
        stored: bytes = self._only(prefix + "datetime", "bytes_list")
        bad_pixels = self._int(prefix + "bad_pixels")
        if not 0 <= bad_pixels <= SCL_PIXELS:
            raise ValueError(f"{prefix}bad_pixels is {bad_pixels}")
        return stored.decode(), bad_pixels

    def _int(self, name: str) -> int:
        return int(self._only(name, "int64_list"))

    def _only(self, name: str, kind: str) -> Any:
        values = getattr(self._features[name], kind).value
        if len(values) != 1:
            raise ValueError(f"{name} holds {len(values)} values")
        return values[0]
