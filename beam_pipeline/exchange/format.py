"""The protocol of a format: how one shard is written, and what is written once for all."""

import abc
import argparse
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self

from beam_pipeline.exchange.output import ShardOutput, WholeOutput
from beam_pipeline.exchange.record import ShardRecord
from beam_pipeline.exchange.source import SourceDataset, SourceExample
from beam_pipeline.records.description import Shard


@dataclasses.dataclass(frozen=True)
class Format(abc.ABC):
    """A layout in which a dataset is written; small and picklable. Its fields are its settings, plain JSON values.

    Attributes:
        name: The value of --format.
        version: Raised when the same dataset and settings give other files than before.
        help: One line for --help.
        whole_files: Names of files that `finish` writes into the export's folder itself.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    help: ClassVar[str]
    whole_files: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def add_flags(cls, group: argparse._ArgumentGroup) -> None:
        """Adds the format's own flags; their default is None, by which the frame sees that one was not given.

        Args:
            group: Of the format's flags.
        """
        del group  # most formats have none

    @classmethod
    def from_flags(cls, given: argparse.Namespace) -> Self:
        """Makes the format of the flags of `add_flags`.

        Args:
            given: Our flags.

        Raises:
            InvalidInputError: One is out of range.
        """
        del given
        return cls()

    def check(self, source: SourceDataset) -> None:
        """Refuses, before launch, a dataset that this format cannot hold.

        Args:
            source: The dataset.

        Raises:
            InvalidInputError: Says what it lacks.
        """
        del source

    @abc.abstractmethod
    def write_shard(
        self, source: SourceDataset, shard: Shard, examples: Iterator[SourceExample], output: ShardOutput
    ) -> Any:
        """Writes the files of one shard; runs on a worker, and once more where it was interrupted.

        Args:
            source: The dataset.
            shard: The shard.
            examples: Its examples that can be read, sorted by cell and year. What cannot be read is a dead letter
                already.
            output: Takes the files, and what is to be said of them.

        Returns:
            What `finish` needs to know of the shard: plain JSON, small.

        Raises:
            Fault: A dead letter of the whole shard.
        """

    @abc.abstractmethod
    def finish(self, source: SourceDataset, records: Iterable[ShardRecord], output: WholeOutput) -> None:
        """Writes the files of the whole; runs once, behind all shards.

        Args:
            source: The dataset.
            records: Of the shards that were written, in order; read anew each time that it is iterated over.
            output: Takes the files.
        """

    @property
    def packages(self) -> tuple[tuple[str, str, str], ...]:
        """(package, what needs it, extra that brings it) of what it needs beyond the package's own dependencies."""
        return ()

    @property
    def settings(self) -> dict[str, Any]:
        """The format's settings by name."""
        return dataclasses.asdict(self)
