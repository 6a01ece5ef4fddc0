"""The lanes of a job: keys by which its work is grouped where a limit is too small for all worker processes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import apache_beam as beam

from beam_pipeline.records.shards import parse_shard_name
from beam_pipeline.runtime.keyed_hash import keyed_hash
from beam_pipeline.runtime.traffic import Share


@dataclasses.dataclass(eq=False)  # not frozen: Beam keeps notes of its own on a transform
class InLanes(beam.PTransform):
    """(key, value) -> the same, those of a lane one after the other; nothing changes where parts are processes.

    Attributes:
        share: The limit that the work is done under.
        lane_of: (key, number of lanes) -> a lane's number.
    """

    share: Share
    lane_of: Callable[[Any, int], int]

    def expand(self, pcoll: beam.PCollection[tuple[Any, Any]]) -> beam.PCollection[tuple[Any, Any]]:
        """Groups by lane, and parts the groups again."""
        if not self.share.by_lane:
            return pcoll
        lane_of, lanes = self.lane_of, self.share.parts
        return (
            pcoll
            | "KeyByLane"
            >> beam.Map(lambda pair: (lane_of(pair[0], lanes), pair)).with_output_types(tuple[int, Any])
            | "GroupByLane" >> beam.GroupByKey()
            # What follows is fused with this, or the lanes would be mixed again.
            | "OneAfterAnother" >> beam.FlatMap(lambda group: group[1])
        )


def lane_of_search(tile_year: tuple[str, int], lanes: int) -> int:
    """Returns the lane in which a tile and year is searched."""
    return keyed_hash(0, "lane of a search", *tile_year) % lanes


def lane_of_unit(name: str, lanes: int) -> int:
    """Returns the lane in which a unit is read; each has as many, so that they end together."""
    return parse_shard_name(name)[1] % lanes
