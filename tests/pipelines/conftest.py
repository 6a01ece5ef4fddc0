"""A sample world and one dataset built from it, shared by the pipeline tests."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.build_dataset import main
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.example import CellYear, decode
from beam_pipeline.records.shards import read_shard
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.sample_world import SampleWorld, default_directory, make_sample_world

CELLS = 24
CELLS_PER_SHARD = 4


@dataclasses.dataclass(frozen=True)
class Built:
    """A dataset and how its build ended."""

    folder: Path
    code: int

    @property
    def dataset(self) -> dict[str, Any]:
        return json.loads((self.folder / "dataset.json").read_text())

    @property
    def run(self) -> dict[str, Any]:
        return json.loads((self.folder / "run.json").read_text())

    @property
    def shards(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.glob("opensentinelmap-*"))}

    @property
    def dead_letters(self) -> list[dict[str, Any]]:
        lines = (self.folder / "dead_letters.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def payloads(self) -> list[bytes]:
        return [one for name in self.shards for one in read_shard(BeamFiles(), str(self.folder / name))]

    def examples(self) -> list[CellYear]:
        return [decode(payload) for payload in self.payloads()]

    def records(self) -> dict[tuple[int, int], bytes]:
        """The serialised examples by cell and year."""
        payloads = self.payloads()
        keys = [(example.cell.cell_id, example.year) for example in map(decode, payloads)]
        return dict(zip(keys, payloads, strict=True))


@pytest.fixture(scope="session")
def world() -> SampleWorld:
    return make_sample_world(default_directory(CELLS), CELLS)


def flags(world: SampleWorld, output: Path) -> list[str]:
    """The flags of a build from a world, as a user with data of their own gives them."""
    return [
        *("--cells", str(world.cells_csv)),
        *("--stac_url", str(world.stac_catalog)),
        *("--osm", str(world.osm_extract)),
        *("--years", ",".join(map(str, world.years))),
        *("--cells_per_shard", str(CELLS_PER_SHARD)),
        *("--output", str(output)),
    ]


def build(world: SampleWorld, output: Path, *more: str) -> Built:
    return Built(output, main([*flags(world, output), *more]))


@pytest.fixture(scope="session")
def built(world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A finished build. Tests that change files take a copy."""
    return build(world, tmp_path_factory.mktemp("built") / "set")


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the number of tries, not the minutes between them."""
    monkeypatch.setattr(RetryPolicy.__init__, "__defaults__", (RetryPolicy.attempts, 0.001, 0.01))


@pytest.fixture
def world_copy(world: SampleWorld, tmp_path: Path) -> Callable[[], SampleWorld]:
    """Makes a copy of the world in a folder of its own, to be broken."""

    def copy() -> SampleWorld:
        root = world.stac_catalog.parent
        while not all(path.is_relative_to(root) for path in (world.cells_csv, world.osm_extract)):
            root = root.parent
        target = tmp_path / "world"
        shutil.copytree(root, target)
        return dataclasses.replace(
            world,
            cells_csv=target / world.cells_csv.relative_to(root),
            stac_catalog=target / world.stac_catalog.relative_to(root),
            osm_extract=target / world.osm_extract.relative_to(root),
        )

    return copy
