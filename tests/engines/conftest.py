"""The sample world and the dataset built from it in process, with which engines are compared."""

from tests.pipelines.conftest import built, run_folder, whole_world, world

__all__ = ["built", "run_folder", "whole_world", "world"]
