"""A bundle that is run again, as engines do with what a lost worker left, asks no host for what is committed."""

import collections
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.dataset.assemble import assemble_unit
from beam_pipeline.dataset.outcomes import AssembledUnit
from beam_pipeline.dataset.units import Unit
from beam_pipeline.jobs.build import transforms
from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.hosts import serving

REPLAYED = "--direct_runner_bundle_repeat=1"  # Beam runs every bundle twice, and takes the second's output


def test_a_replayed_bundle_sends_no_request(
    world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def assemble(unit: Unit, *given: Any) -> AssembledUnit:
        read.append(unit.name)
        return assemble_unit(unit, *given)

    monkeypatch.setattr(transforms, "assemble_unit", assemble)
    header, *rows = world.cells_csv.read_text().splitlines(keepends=True)
    few = tmp_path / world.cells_csv.name
    few.write_text(header + "".join(sorted(rows)[:4]))
    world = dataclasses.replace(world, cells_csv=few)
    asked, searches, built = {}, {}, {}
    # Requests alone would not tell: GDAL keeps what it has read for the process.
    for name, more in (("once", []), ("replayed", [REPLAYED])):
        with serving(world) as hosts:
            built[name] = hosts.build(world, tmp_path / name, *more)
            asked[name] = collections.Counter(request.path for request in hosts.files.requests)
            searches[name] = len(hosts.api.searches)
        assert built[name].code == 0
        assert sorted(read) == sorted(built[name].shards)
        read.clear()
    assert built["replayed"].shards == built["once"].shards
    assert sum(asked["once"].values()) > 50
    assert asked["replayed"] == asked["once"]
    assert searches["replayed"] == searches["once"] > 0
    # By which a person sees how far a job is. What the first attempt counted went with it.
    stages, units = built["replayed"].run["stages"], len(built["once"].shards)
    assert stages["plan"]["units_pending"] == units
    assert stages["look_before_reading"]["units_committed"] == units
    assert stages.get("write", {}).get("shards", 0) == 0
    assert built["once"].run["stages"]["write"]["shards"] == units
