"""The graph of importing published files."""

import apache_beam as beam

from beam_pipeline.jobs.build.transforms import CloseDataset, ReadPlan, WriteUnits
from beam_pipeline.jobs.import_published.settings import ImportSettings
from beam_pipeline.jobs.import_published.transforms import ReadPublished


def build_graph(pipeline: beam.Pipeline, settings: ImportSettings) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: From `prepare_import`; the plan lies in its output folder.
    """
    units = pipeline | "ReadPlan" >> ReadPlan(settings)
    steps = [("ReadPublished", ReadPublished(settings))]
    names = {"unit": units} | "WriteUnits" >> WriteUnits(settings, steps)
    names | "CloseDataset" >> CloseDataset(settings)
