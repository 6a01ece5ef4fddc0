"""The graph of a job of patches."""

import apache_beam as beam

from beam_pipeline.dataset.settings import PatchSettings
from beam_pipeline.jobs.build.transforms import CloseDataset, FindScenes, ReadPlan, WriteUnits, steps_of
from beam_pipeline.jobs.patches.transforms import ReadPatches


def build_graph(pipeline: beam.Pipeline, settings: PatchSettings) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: From `prepare_patches`; the plan lies in its output folder.
    """
    units = pipeline | "ReadPlan" >> ReadPlan(settings)
    scenes = units | "FindScenes" >> FindScenes(settings)
    steps = steps_of(settings, ReadPatches(settings))
    names = {"unit": units, "scenes": scenes} | "WriteUnits" >> WriteUnits(settings, steps)
    names | "CloseDataset" >> CloseDataset(settings)
