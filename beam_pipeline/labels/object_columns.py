"""Map objects by columns: thousands at once cost a small part of what they cost one by one."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from beam_pipeline.labels.map_object import MapObject, ObjectType

Offsets = npt.NDArray[np.int32]
"""(N + 1,) int32: where the parts of N objects begin, and where the last one ends."""


@dataclasses.dataclass(frozen=True)
class ObjectColumns:
    """N map objects of one type.

    Offsets and values fit the buffers of an Arrow array as they are.

    Attributes:
        osm_type: Their type.
        ids: (N,) int64.
        versions: (N,) int32; 0 where the source does not say.
        timestamps: (N,) int64 seconds since 1970 in UTC; 0 where the source does not say.
        strings: Texts of tags.
        tag_offsets: (N + 1,) int32: where each object's tags begin.
        tag_keys: (T,) int32 indices into `strings`; in each object by key, each key once.
        tag_values: (T,) int32 indices into `strings`.
        geometry_offsets: (N + 1,) int32: where each object's geometry begins.
        geometries: (B,) uint8, well-known binary as in `MapObject`, one behind the other.
    """

    osm_type: ObjectType
    ids: npt.NDArray[np.int64]
    versions: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.int64]
    strings: Sequence[str]
    tag_offsets: Offsets
    tag_keys: npt.NDArray[np.int32]
    tag_values: npt.NDArray[np.int32]
    geometry_offsets: Offsets
    geometries: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        """Returns the number of objects."""
        return len(self.ids)

    @classmethod
    def of(cls, osm_type: ObjectType, objects: Sequence[MapObject]) -> "ObjectColumns":
        """Returns objects of one type by columns."""
        strings = sorted({text for one in objects for tag in one.tags for text in tag})
        index = {text: number for number, text in enumerate(strings)}
        tags = [tag for one in objects for tag in one.tags]
        return cls(
            osm_type,
            np.array([one.osm_id for one in objects], np.int64),
            np.array([one.version for one in objects], np.int32),
            np.array([one.timestamp for one in objects], np.int64),
            strings,
            offsets_of(np.array([len(one.tags) for one in objects], np.int64)),
            np.array([index[key] for key, _ in tags], np.int32),
            np.array([index[value] for _, value in tags], np.int32),
            offsets_of(np.array([len(one.geometry) for one in objects], np.int64)),
            np.frombuffer(b"".join(one.geometry for one in objects), np.uint8),
        )

    @classmethod
    def joined(cls, parts: "Sequence[ObjectColumns]") -> "ObjectColumns":
        """Returns the objects of one part or more, which are of one type, one part behind the other."""
        if len(parts) == 1:
            return parts[0]
        strings: list[str] = []
        tags: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]] = []
        for part in parts:
            # Of the texts of a block most belong to other objects.
            used, numbers = np.unique(np.concatenate([part.tag_keys, part.tag_values]), return_inverse=True)
            places: npt.NDArray[np.int32] = (numbers + len(strings)).astype(np.int32)
            strings += [part.strings[index] for index in used.tolist()]
            tags.append((places[: len(part.tag_keys)], places[len(part.tag_keys) :]))
        return cls(
            parts[0].osm_type,
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.versions for part in parts]),
            np.concatenate([part.timestamps for part in parts]),
            strings,
            offsets_of(np.concatenate([np.diff(part.tag_offsets) for part in parts])),
            np.concatenate([keys for keys, _ in tags]),
            np.concatenate([values for _, values in tags]),
            offsets_of(np.concatenate([np.diff(part.geometry_offsets) for part in parts])),
            np.concatenate([part.geometries for part in parts]),
        )

    def objects(self) -> Iterator[MapObject]:
        """Yields the objects one by one."""
        strings = self.strings
        keys = [strings[index] for index in self.tag_keys.tolist()]
        tags = list(zip(keys, [strings[index] for index in self.tag_values.tolist()], strict=True))
        geometries = self.geometries.tobytes()
        tag, byte = self.tag_offsets.tolist(), self.geometry_offsets.tolist()
        columns = (self.ids.tolist(), self.versions.tolist(), self.timestamps.tolist())
        for i, (osm_id, version, timestamp) in enumerate(zip(*columns, strict=True)):
            yield MapObject(
                self.osm_type,
                osm_id,
                version,
                timestamp,
                tuple(tags[tag[i] : tag[i + 1]]),
                geometries[byte[i] : byte[i + 1]],
            )


def offsets_of(sizes: npt.NDArray[np.integer]) -> Offsets:
    """Returns where parts of some sizes begin that lie one behind the other.

    Args:
        sizes: (N,) integers.

    Raises:
        ValueError: All of them together are more than an int32 holds.
    """
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"they take {ends[-1]} bytes")
    return ends.astype(np.int32)
