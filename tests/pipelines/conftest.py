"""A sample world and one dataset built from it, shared by the pipeline tests of all worker processes."""

import contextlib
import dataclasses
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.build_dataset import main
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.records.example import CellYear, decode
from beam_pipeline.records.shards import read_shard
from beam_pipeline.runtime.pacer import Pacer
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.sample_world import SampleWorld, default_directory, make_sample_world
from tests.pipelines.chaos import VirtualClock

CELLS = 24
"""Of the whole sample world."""

CELL_IDS = {
    *(112_387_737, 112_387_738),  # tile 23SQC, testing
    *(112_387_739, 112_387_740),  # 24STH, validation
    *(112_404_021, 112_420_302, 112_420_303, 112_452_850),  # 23SQD, training
    *(112_404_023, 112_404_024, 112_436_582, 112_452_854),  # 24STJ, training
}
"""Of the cells that the tests build: every tile and split, and cells with one clear date or none."""

CELLS_PER_SHARD = 2


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
def run_folder(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """The folder of this run of pytest, the same for all its workers."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(pytestconfig, "workerinput") else own


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lets one worker after the other make what they share."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def whole_world(run_folder: Path) -> SampleWorld:
    """The sample world with all its cells."""
    with alone(run_folder):
        return make_sample_world(default_directory(CELLS), CELLS)


@pytest.fixture(scope="session")
def world(whole_world: SampleWorld, tmp_path_factory: pytest.TempPathFactory) -> SampleWorld:
    """The sample world of which half the cells are built."""
    header, *rows = whole_world.cells_csv.read_text().splitlines(keepends=True)
    cells_csv = tmp_path_factory.mktemp("cells") / whole_world.cells_csv.name
    cells_csv.write_text(header + "".join(row for row in rows if int(row.partition(",")[0]) in CELL_IDS))
    return dataclasses.replace(whole_world, cells_csv=cells_csv)


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
def built(world: SampleWorld, run_folder: Path) -> Built:
    """A finished build. Tests that change files take a copy."""
    folder, ended = run_folder / "built" / "set", run_folder / "built" / "code"
    with alone(run_folder):
        if not ended.exists():
            ended.parent.mkdir(exist_ok=True)
            ended.write_text(str(build(world, folder).code))
    return Built(folder, int(ended.read_text()))


@pytest.fixture(scope="session")
def place_table(world: SampleWorld, run_folder: Path) -> Path:
    """A table of 14 places, of which 12 can be used."""
    from tests.pipelines.patches_of_sample import write_places

    path = run_folder / "places" / "places.csv"
    with alone(run_folder):
        if not path.exists():
            path.parent.mkdir()
            write_places(world, path)
    return path


@pytest.fixture(scope="session")
def made_patches(world: SampleWorld, place_table: Path, run_folder: Path) -> Built:
    """A dataset of those places, at random dates. Tests that change files take a copy."""
    from tests.pipelines.patches_of_sample import make_patches

    folder, ended = place_table.with_name("set"), place_table.with_name("code")
    with alone(run_folder):
        if not ended.exists():
            ended.write_text(str(make_patches(world, folder, "--places", str(place_table)).code))
    return Built(folder, int(ended.read_text()))


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the number of tries, not the minutes between them, nor those that throttling costs."""
    monkeypatch.setattr(RetryPolicy, "default", lambda: RetryPolicy(base_s=0.001, cap_s=0.01))
    clock = VirtualClock()
    monkeypatch.setattr(Pacer, "default", lambda per_second: Pacer(per_second, clock.now, clock.sleep))


@pytest.fixture
def world_copy(world: SampleWorld, tmp_path: Path) -> Callable[[], SampleWorld]:
    """Makes a copy of the world in a folder of its own, to be broken."""

    def copy() -> SampleWorld:
        target, root = tmp_path / "world", world.stac_catalog.parent
        while not world.osm_extract.is_relative_to(root):
            root = root.parent
        shutil.copytree(root, target)
        return dataclasses.replace(
            world,
            cells_csv=Path(shutil.copy(world.cells_csv, target)),
            stac_catalog=target / world.stac_catalog.relative_to(root),
            osm_extract=target / world.osm_extract.relative_to(root),
        )

    return copy
