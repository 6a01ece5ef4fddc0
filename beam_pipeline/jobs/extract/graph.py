"""The graph of `extract_features`."""

import apache_beam as beam

from beam_pipeline.jobs.extract.settings import ExtractSettings
from beam_pipeline.jobs.extract.transforms import FillStore


def build_graph(pipeline: beam.Pipeline, settings: ExtractSettings) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: From `check_extraction`; the plan lies in the store's folder.
    """
    pipeline | "FillStore" >> FillStore(settings)
