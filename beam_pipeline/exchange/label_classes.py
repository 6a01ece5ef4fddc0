"""The meaning and the colour of the values of a label channel, for formats that hold one channel a file."""

import dataclasses
import re

from beam_pipeline.records.categories import CategoryTable
from beam_pipeline.records.schema import NONE, UNLABELED
from beam_pipeline.report.colours import NONE_COLOUR, UNLABELED_COLOUR, category_colours

_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z_-]+")


@dataclasses.dataclass(frozen=True)
class LabelClass:
    """A value of a channel of the label image, or of the scene classification.

    Attributes:
        value: The pixel's value.
        name: For people, e.g. "wooded".
        colour: RGB.
    """

    value: int
    name: str
    colour: tuple[int, int, int]

    @property
    def key(self) -> str:
        """The name in the letters that names of files and of STAC's classes may have."""
        return plain_name(self.name, f"class_{self.value}")


@dataclasses.dataclass(frozen=True)
class LabelChannel:
    """A channel of the label image.

    Attributes:
        index: Its place in the label image.
        name: As the ontology has it, e.g. "OSM_land_use".
        stem: Of the names of its files, e.g. "label_OSM_land_use": plain letters, and no other channel's.
        classes: Its categories in order of their values, then none and unlabelled.
    """

    index: int
    name: str
    stem: str
    classes: tuple[LabelClass, ...]


def label_channels(categories: CategoryTable) -> tuple[LabelChannel, ...]:
    """Returns the channels of a dataset's label images.

    Args:
        categories: What the labels mean.
    """
    colours = category_colours(categories.names)
    stems = [f"label_{plain_name(name, str(index))}" for index, name in enumerate(categories.channel_names)]
    if len({stem.lower() for stem in stems}) != len(stems):  # some file systems do not tell cases apart
        stems = [f"label_{index}" for index in range(len(stems))]
    return tuple(
        LabelChannel(
            index,
            name,
            stems[index],
            (
                *(
                    LabelClass(categories.values[number], categories.names[number], colours[number])
                    for number in categories.of_channel(index)
                ),
                LabelClass(NONE, "none", NONE_COLOUR),
                LabelClass(UNLABELED, "unlabeled", UNLABELED_COLOUR),
            ),
        )
        for index, name in enumerate(categories.channel_names)
    )


def plain_name(name: str, otherwise: str) -> str:
    """Returns a name in letters, digits, "_" and "-".

    Args:
        name: Anything.
        otherwise: What is returned where nothing of it is left.
    """
    return _NOT_IN_NAMES.sub("_", name).strip("_-") or otherwise
