"""The graph of relabelling."""

import apache_beam as beam

from beam_pipeline.jobs.build.label_transforms import MakeLabels
from beam_pipeline.jobs.build.transforms import CloseDataset, ReadPlan, WriteUnits
from beam_pipeline.jobs.relabel.settings import RelabelSettings
from beam_pipeline.jobs.relabel.transforms import CopyScenes, Relabel


def build_graph(pipeline: beam.Pipeline, settings: RelabelSettings) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: From `check_relabelling`; the plan lies in its output folder.
    """
    units = pipeline | "ReadPlan" >> ReadPlan(settings)
    labels = units | "MakeLabels" >> MakeLabels(settings)
    steps = [("Relabel", Relabel(settings))]
    names = {"unit": units, "labels": labels} | "WriteUnits" >> WriteUnits(settings, steps)
    copied = pipeline | "CopyScenes" >> CopyScenes(settings)
    names | "CloseDataset" >> CloseDataset(settings, copied, settings.source_fingerprint.sha256)
