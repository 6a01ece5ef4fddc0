"""The graph of a build."""

import apache_beam as beam

from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.dataset.units import Unit
from beam_pipeline.jobs.build.label_transforms import MakeLabels
from beam_pipeline.jobs.build.transforms import (
    CloseDataset,
    FindScenes,
    ReadPlan,
    WriteUnits,
    steps_of_build,
)
from beam_pipeline.jobs.extract.settings import ExtractSettings
from beam_pipeline.jobs.extract.transforms import FillStore


def build_graph(pipeline: beam.Pipeline, settings: BuildSettings, filling: ExtractSettings | None) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: From `prepare_build`; the plan lies in its output folder.
        filling: How the store of features is filled first; None where it is whole.
    """
    units = pipeline | "ReadPlan" >> ReadPlan(settings)
    tiles = closed = None
    if filling is not None:
        waiting = units | "Waiting" >> beam.Map(_tile_of).with_output_types(tuple[str, str])
        filled = pipeline | "FillStore" >> FillStore(filling, waiting)
        tiles, closed = filled["tiles"], filled["closed"]
    scenes = units | "FindScenes" >> FindScenes(settings)
    labels = units | "MakeLabels" >> MakeLabels(settings, tiles)
    parts = {"unit": units, "scenes": scenes, "labels": labels}
    names = parts | "WriteUnits" >> WriteUnits(settings, steps_of_build(settings))
    names | "CloseDataset" >> CloseDataset(settings, closed)


def _tile_of(unit: Unit) -> tuple[str, str]:
    return unit.tile, unit.name
