"""The classes by which a store says what it was made of and for."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.store_keys import PADDING_M
from beam_pipeline.runtime.keyed_hash import keyed_hash

CUT_M = 1_000
"""An object of more than `MOST_NODES` nodes is cut to its tile's cells grown by so many metres."""

MOST_NODES = 10_000
"""Of an object that a store holds whole."""

_OVERPASS = "overpass"

_MOST_NAME_BYTES = 200  # a file's name may have 255, and suffixes follow


@dataclasses.dataclass(frozen=True, order=True)
class ExtractIdentity:
    """An extract of OpenStreetMap.

    Attributes:
        name: File name, without folders.
        bytes: Size of the file.
        timestamp: Of the data, ISO 8601 in UTC, as the header gives it; "" where it gives none.
    """

    name: str
    bytes: int
    timestamp: str

    @property
    def key(self) -> str:
        """The folder of its pieces: its name, cut where it is too long, and a hash that tells it from others."""
        short = self.name.encode()[:_MOST_NAME_BYTES].decode(errors="ignore")
        return f"{short}-{keyed_hash(0, 'extract', self.name, self.bytes, self.timestamp):016x}"


def overpass_identity(date: str) -> ExtractIdentity:
    """Returns what stands for Overpass where an extract stands.

    Args:
        date: As of when it is asked; "" for the time of asking.
    """
    return ExtractIdentity(_OVERPASS, 0, date)


@dataclasses.dataclass(frozen=True)
class StoreRequest:
    """The request for a store: which objects it shall hold, for which cells.

    Attributes:
        cells: Tile -> cell id -> chip.
        keys: An object with a tag of one of these keys is held; sorted.
        padding_m: How far from a chip an object is still held, in metres.
    """

    cells: Mapping[str, Mapping[int, ChipWindow]]
    keys: tuple[str, ...]
    padding_m: float = PADDING_M

    @functools.cached_property
    def cells_sha256(self) -> str:
        """SHA-256 of all cells and their tiles and chips, whatever their order."""
        digests = [(tile, cells_sha256(chips)) for tile, chips in sorted(self.cells.items()) if chips]
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def cells_sha256(chips: Mapping[int, ChipWindow]) -> str:
    """Returns the SHA-256 of cells and their chips, whatever their order."""
    rows = [(cell_id, *dataclasses.astuple(chips[cell_id])) for cell_id in sorted(chips)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
