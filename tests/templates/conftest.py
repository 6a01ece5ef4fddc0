"""The sample world and a dataset built from it, as the pipelines' tests have them."""

from tests.pipelines.conftest import built, run_folder, whole_world, world

__all__ = ["built", "run_folder", "whole_world", "world"]
