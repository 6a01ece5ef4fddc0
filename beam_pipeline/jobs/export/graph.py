"""The graph of an export."""

import apache_beam as beam

from beam_pipeline.exchange.settings import ExportSettings
from beam_pipeline.jobs.export.transforms import CloseExport, ExportShards, ReadShardNames


def build_graph(pipeline: beam.Pipeline, settings: ExportSettings) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: From `prepare_export`; they lie in the output folder.
    """
    names = pipeline | "ReadShardNames" >> ReadShardNames(settings)
    done = names | "ExportShards" >> beam.ParDo(ExportShards(settings))
    done | "CloseExport" >> CloseExport(settings)
