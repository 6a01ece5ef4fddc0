"""Where the examples of shards lie. A TFRecord file has no index, so its heads are gone through once."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from beam_pipeline.records.description import DATASET_FILE
from beam_pipeline.records.example_ids import read_ids
from beam_pipeline.records.info import DatasetInfo
from beam_pipeline.records.shards import parse_shard, record_places
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.faults import Fault, InvalidInputError, PermanentFault
from beam_pipeline.runtime.files import join

_DISK = Disk()


@dataclasses.dataclass(frozen=True)
class ShardIndex:
    """The examples of shards, in the order of the shards.

    Attributes:
        paths: The shards.
        shards: (N,) int32, index of each example's shard in `paths`.
        records: (N,) int32, its number in the shard.
        starts: (N,) int64, byte of the shard at which its record begins.
        cell_ids: (N,) int64, its cell; equal ones are neighbours.
        years: (N,) int64, its year.
    """

    paths: tuple[str, ...]
    shards: npt.NDArray[np.int32]
    records: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    cell_ids: npt.NDArray[np.int64]
    years: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(self.starts)

    @classmethod
    def of_shards(cls, paths: Sequence[str]) -> Self:
        """Goes through shards on a disk; of each example some kB are read.

        Args:
            paths: The shards.

        Raises:
            PermanentFault: A shard cannot be read, is damaged, or holds a cell and year twice or out of order.
        """
        rows = [
            (index, record, start, cell_id, year)
            for index, path in enumerate(paths)
            for record, start, cell_id, year in _examples_of(path)
        ]
        shards, records, starts, cell_ids, years = np.array(rows, np.int64).reshape(-1, 5).T
        index = cls(tuple(paths), shards.astype(np.int32), records.astype(np.int32), starts, cell_ids, years)
        index._require_cells_once()
        return index

    def payload(self, example: int) -> bytes:
        """Reads a serialised example, and checks it against its CRC.

        Raises:
            PermanentFault: "corrupt_shard"; or the shard cannot be read any more.
        """
        path, start = self.where(example), int(self.starts[example])
        with _DISK.open_ranges(path) as file:
            file.seek(start)
            for payload in parse_shard(file, path, int(self.records[example]), start):
                return payload
        raise PermanentFault("corrupt_shard", f"{path} ends before byte {start}")

    def where(self, example: int) -> str:
        """Returns the path of an example's shard."""
        return self.paths[int(self.shards[example])]

    def name(self, example: int) -> str:
        """Returns what to call an example in a message."""
        return f"{self.where(example)}: cell {self.cell_ids[example]}, year {self.years[example]}"

    def _require_cells_once(self) -> None:
        is_first = np.diff(self.cell_ids, prepend=-1) != 0
        first = np.flatnonzero(is_first | (np.diff(self.shards, prepend=-1) != 0))
        held, counts = np.unique(self.cell_ids[first], return_counts=True)
        doubled = held[counts > 1]
        if doubled.size:
            examples = first[self.cell_ids[first] == doubled[0]]
            paths = " and in ".join(self.where(example) for example in examples[:2])
            raise PermanentFault("corrupt_shard", f"cell {doubled[0]} is in {paths}")


def _examples_of(path: str) -> Iterator[tuple[int, int, int, int]]:
    """Yields (record, start, cell_id, year)."""
    before = (-1, -1)
    with _DISK.open_ranges(path) as file:
        for place in record_places(file, path):
            ids = read_ids(file, place, path)
            if ids <= before:
                raise PermanentFault(
                    "corrupt_shard",
                    f"{path}: examples must be sorted by cell and year, each once; record {place.record} is of cell "
                    f"{ids[0]}, year {ids[1]}, and comes after cell {before[0]}, year {before[1]}",
                )
            before = ids
            yield place.record, place.start, *ids


def index_split(info: DatasetInfo, split: str, shards: Sequence[int]) -> ShardIndex:
    """Goes through shards of a dataset, and compares what they hold with what the dataset says.

    Args:
        info: The dataset, on a disk.
        split: The split.
        shards: Indices of its shards, in order.

    Raises:
        InvalidInputError: A shard is damaged, or does not hold as many examples as it should.
    """
    with explained(info.folder):
        index = ShardIndex.of_shards([info.shards[split][shard] for shard in shards])
        held = np.bincount(index.shards, minlength=len(shards))
        for path, found, shard in zip(index.paths, held, shards, strict=True):
            wanted = info.shard_examples[split][shard]
            if found != wanted:
                raise PermanentFault("corrupt_shard", f"{path} has {found} examples instead of {wanted}")
    return index


@contextlib.contextmanager
def explained(folder: str) -> Iterator[None]:
    """Makes what is wrong with a shard into an error for people.

    Args:
        folder: The dataset's.

    Yields:
        Nothing.

    Raises:
        InvalidInputError: A shard is damaged, missing, or of another dataset; names it.
    """
    try:
        yield
    except Fault as fault:
        raise InvalidInputError(
            f"{folder}: a shard must hold what {join(folder, DATASET_FILE)} says. Received: {fault.detail}. Compare "
            "`sha256sum` of the shards with shards.sha256 there, and copy again what differs."
        ) from fault
