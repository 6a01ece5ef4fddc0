"""A small made-up place in the real formats: cells, Sentinel-2 scenes with a STAC catalogue, maps, night lights."""

from beam_pipeline.sample_world.world import SampleWorld, default_directory, make_sample_world

__all__ = ["SampleWorld", "default_directory", "make_sample_world"]
