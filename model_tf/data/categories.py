"""The categories that the network predicts: one logit each."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from beam_pipeline.records.schema import CHANNELS, NONE, UNLABELED
from beam_pipeline.runtime.faults import InvalidInputError

MOST_NAME_CHARS = 100
"""Of a category's or channel's name."""


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

    @classmethod
    def from_ontology(cls, ontology: Mapping[str, Any], source: str = "dataset.json") -> Self:
        """Reads the categories of a dataset.

        Args:
            ontology: {"channels": [{"name", "labels": {NAME: value}}]}, as in `dataset.json`.
            source: Where it is from, for messages.

        Returns:
            The table.

        Raises:
            InvalidInputError: It does not describe three channels, or a value is no category's.
        """

        def fail(what: str, received: object) -> InvalidInputError:
            return InvalidInputError(
                f"{source}: ontology.channels {what}. Received: {received!r}. Build the dataset again, or copy "
                "dataset.json again from where it was built."
            )

        channels = ontology.get("channels")
        if not isinstance(channels, list) or len(channels) != CHANNELS:
            raise fail(f"must list the {CHANNELS} channels of the label image", channels)
        rows = []
        for index, channel in enumerate(channels):
            labels = channel.get("labels") if isinstance(channel, Mapping) else None
            if not isinstance(labels, Mapping) or not isinstance(channel.get("name"), str):
                raise fail(f"[{index}] must have a name and labels", channel)
            for name, value in labels.items():
                if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < NONE:
                    raise fail(f"[{index}].labels.{name} must be an integer from 0 to {NONE - 1}", value)
                rows.append((index, value, name))
            for text in (channel["name"], *labels):
                # They are shown, drawn and part of file names.
                if not text.isprintable() or len(text) > MOST_NAME_CHARS:
                    raise fail(
                        f"[{index}] must have printable names of at most {MOST_NAME_CHARS} characters", text
                    )
            if len(set(labels.values())) != len(labels):
                raise fail(f"[{index}].labels must have different values", dict(labels))
        names = [name for _, _, name in rows]
        if not rows or len(set(names)) != len(names):
            raise fail("must hold categories of different names", sorted(names))
        rows.sort()
        return cls(
            names=tuple(name for _, _, name in rows),
            channels=tuple(index for index, _, _ in rows),
            values=tuple(value for _, value, _ in rows),
            channel_names=tuple(channel["name"] for channel in channels),
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
        """Returns what `from_json` reads, for `json.dump`."""
        return {field: list(values) for field, values in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Reads what `to_json` gave."""
        return cls(**{field.name: tuple(content[field.name]) for field in dataclasses.fields(cls)})
