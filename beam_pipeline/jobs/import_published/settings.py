"""The settings of a job that imports published files, checked."""

import dataclasses

from beam_pipeline.dataset.settings import LabelSettings
from beam_pipeline.labels.label_image import NONE, UNLABELED


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportSettings(LabelSettings):
    """The settings of the job; the plan lies in its output folder.

    Attributes:
        published: The folder that holds the published folders.
    """

    published: str

    @property
    def label_values(self) -> tuple[frozenset[int], ...]:
        """Per channel, the values that a label may have."""
        return tuple(
            frozenset({*(label.value for label in channel.labels), NONE, UNLABELED})
            for channel in self.ontology.channels
        )
