"""The categories that the network predicts: one logit each."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

from beam_pipeline.records.description import Ontology
from beam_pipeline.records.schema import NONE, UNLABELED


@dataclasses.dataclass(frozen=True)
class CategoryTable:
    """All categories, ordered by channel and value. A category's index here is its logit's.

    Attributes:
        names: Name of each category.
        channels: Label channel of each category.
        values: Value of each category in its channel.
        channel_names: Name of each of the three label channels.
    """

    names: tuple[str, ...]
    channels: tuple[int, ...]
    values: tuple[int, ...]
    channel_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.channels) == len(self.values):
            counts = f"{len(self.names)}, {len(self.channels)} and {len(self.values)}"
            raise ValueError(f"names, channels and values must be equally many. Received: {counts}")

    @classmethod
    def from_ontology(cls, ontology: Ontology) -> Self:
        """Lists the categories of a dataset.

        Args:
            ontology: Of `dataset.json`.

        Returns:
            The table.
        """
        rows = sorted(
            (index, value, name)
            for index, channel in enumerate(ontology.channels)
            for name, value in channel.labels.items()
        )
        return cls(
            names=tuple(name for _, _, name in rows),
            channels=tuple(index for index, _, _ in rows),
            values=tuple(value for _, value, _ in rows),
            channel_names=tuple(channel.name for channel in ontology.channels),
        )

    def __len__(self) -> int:
        """Returns the number of categories, which is that of the logits."""
        return len(self.names)

    def of_channel(self, channel: int) -> tuple[int, ...]:
        """Returns the indices of a channel's categories."""
        return tuple(index for index, its_channel in enumerate(self.channels) if its_channel == channel)

    def valid_values(self, channel: int) -> tuple[int, ...]:
        """Returns the values that a pixel of a channel may hold, ascending; none and unlabelled are among them."""
        return (*(self.values[index] for index in self.of_channel(channel)), NONE, UNLABELED)

    def to_json(self) -> dict[str, list[Any]]:
        """Returns the fields, for `json.dump`."""
        return {field: list(values) for field, values in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Sequence[Any]]) -> Self:
        """Makes a table of what `to_json` gave."""
        return cls(**{field.name: tuple(content[field.name]) for field in dataclasses.fields(cls)})
