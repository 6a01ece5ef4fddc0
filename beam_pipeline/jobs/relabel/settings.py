"""The settings of a job that relabels a dataset, checked."""

import dataclasses

from beam_pipeline.dataset.fingerprint import Fingerprint
from beam_pipeline.dataset.settings import LabelSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelabelSettings(LabelSettings):
    """The settings of the job; the plan lies in its output folder.

    Attributes:
        source: The folder of the dataset that the images are taken of.
        source_fingerprint: Its fingerprint.
    """

    source: str
    source_fingerprint: Fingerprint
