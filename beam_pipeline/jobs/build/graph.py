"""The graph of a build."""

import apache_beam as beam

from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.jobs.build.label_transforms import MakeLabels
from beam_pipeline.jobs.build.transforms import CloseDataset, FindScenes, ReadPlan, WriteUnits


def build_graph(pipeline: beam.Pipeline, settings: BuildSettings) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: From `prepare_build`; the plan lies in its output folder.
    """
    units = pipeline | "ReadPlan" >> ReadPlan(settings)
    scenes = units | "FindScenes" >> FindScenes(settings)
    labels = units | "MakeLabels" >> MakeLabels(settings)
    names = {"unit": units, "scenes": scenes, "labels": labels} | "WriteUnits" >> WriteUnits(settings)
    names | "CloseDataset" >> CloseDataset(settings)
