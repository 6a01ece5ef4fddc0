"""The sample world behind a STAC API and an HTTP server, calm and in trouble."""

import collections
import copy
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.build_dataset import main
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.imagery.range_server import Injected
from tests.imagery.stac_server import Fault
from tests.pipelines.conftest import Built, flags
from tests.pipelines.hosts import Hosts, serving
from tests.pipelines.test_resume import ROOT, state

SILENCE_S = 300.0

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def hosts(world: SampleWorld) -> Iterator[Hosts]:
    with serving(world) as served:
        yield served


def test_the_same_bytes_come_over_http(
    built: Built, world: SampleWorld, hosts: Hosts, tmp_path: Path
) -> None:
    # A few hiccups of every kind on the way, each of which another try saves. A launch searches three times.
    hosts.api.faults += [Fault("/search", 500, passing=4), Fault("/search", 403, '{"message": "Forbidden"}')]
    for number, (_, path) in enumerate(sorted(hosts.paths.items())[::40]):
        kinds = [Injected("status", 503, times=1), Injected("truncate", times=1), Injected("reset", times=1)]
        hosts.files.inject(path, kinds[number % 3])
    over_http = hosts.build(world, tmp_path / "set")
    assert over_http.code == 0
    assert over_http.dead_letters == []
    assert over_http.dataset["unusable_scenes"] == built.dataset["unusable_scenes"]
    assert over_http.shards == built.shards
    searches = [parameters["datetime"] for parameters in hosts.api.searches]
    tiles = {example.cell.tile for example in built.examples()}
    # Once a tile and year, once before launch, and once more for each of the two that failed.
    assert len(searches) == len(tiles) * len(world.years) + 3


def test_an_outage_costs_the_cell_years_it_hit_and_can_be_mended(
    built: Built, world: SampleWorld, hosts: Hosts, tmp_path: Path
) -> None:
    # Of a tile of several units, and used by few: some units of the tile are sound.
    used = collections.Counter(image.item_id for example in built.examples() for image in example.images)
    victim = min((item_id for item_id in used if "_24STJ_2021" in item_id), key=used.__getitem__)
    hosts.files.inject(hosts.paths[victim, "green"], Injected("status", 503))
    output = tmp_path / "set"
    hit = hosts.build(world, output)
    assert hit.code == 1
    assert {letter["stage"] for letter in hit.dead_letters} == {"read_chips"}
    lost = {(letter["cell_id"], letter["year"]) for letter in hit.dead_letters}
    needed = {
        (example.cell.cell_id, example.year): victim in {image.item_id for image in example.images}
        for example in built.examples()
    }
    # Just those whose pair has it: an outage never changes which dates are taken.
    assert lost == {key for key, needs in needed.items() if needs}
    kept = {(example.cell.cell_id, example.year): example for example in hit.examples()}
    before = {(example.cell.cell_id, example.year): example for example in built.examples()}
    assert kept == {key: example for key, example in before.items() if key not in lost}

    redone = {letter["unit"] for letter in hit.dead_letters}
    hosts.files.heal()
    hosts.files.requests.clear()
    hosts.api.requests.clear()
    before_retry = state(output)
    assert hosts.build(world, output).code == 1  # dead letters stay until they are retried
    assert hosts.files.requests == []

    mended = hosts.build(world, output, "--retry_dead_letters")

    assert mended.code == 0
    assert verify([str(output)]) == 0
    assert mended.shards == built.shards
    described = (output / "dataset.json").read_text()
    own, static = (it.dataset["fingerprint"]["catalogue"] for it in (mended, built))
    assert described.replace(own, static) == (built.folder / "dataset.json").read_text()
    # The units that held dead letters were done again, and only they.
    assert 0 < len(redone) < sum("24STJ" in line for line in (output / "plan/units.jsonl").open())
    after_retry = state(output)
    assert {name for name in after_retry if after_retry[name] != before_retry[name]} == redone
    stages = json.loads((output / "run.json").read_text())["stages"]
    assert stages["plan"]["units_committed_before"] == len(built.shards) - len(redone)
    assert stages["read_chips"]["milliseconds"]["count"] == len(redone)
    assert {request.path.split("_")[1] for request in hosts.files.requests} == {"24STJ"}
    assert hosts.api.searches == []  # it walks the list that it walked before


def test_ctrl_c_ends_a_build_whose_host_is_silent(
    built: Built, world: SampleWorld, hosts: Hosts, tmp_path: Path
) -> None:
    asked = threading.Event()
    fault_for = hosts.files.fault_for

    def silent(*request: Any) -> Injected:
        asked.set()
        return Injected("stall", seconds=SILENCE_S)

    hosts.files.fault_for = silent  # type: ignore[method-assign]
    output = tmp_path / "set"
    own = ["--stac_url", hosts.api.url, "--collection", hosts.collection]
    command = [sys.executable, "-m", "beam_pipeline.build_dataset", *flags(world, output), *own]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not asked.wait(0.05) and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SILENCE_S / 2)
    assert process.returncode == 130
    assert "the same command goes on" in said
    hosts.files.fault_for = fault_for  # type: ignore[method-assign]
    assert hosts.build(world, output).shards == built.shards


def test_a_host_that_forbids_changes_no_date(
    built: Built, world: SampleWorld, hosts: Hosts, tmp_path: Path
) -> None:
    opened = min(item_id for item_id, _ in hosts.paths if "_23SQC_2022" in item_id)  # before launch
    for (item_id, key), path in hosts.paths.items():
        if (item_id, key) not in ((opened, "scl"), (opened, "blue")):
            hosts.files.inject(path, Injected("status", 403))
    refused = hosts.build(world, tmp_path / "set")
    assert refused.code == 1
    assert {letter["reason"] for letter in refused.dead_letters} == {"forbidden"}
    cells = len(world.cells_csv.read_text().splitlines()) - 1
    assert len(refused.dead_letters) + sum(refused.dataset["rejections"].values()) == cells * len(world.years)


@pytest.mark.slow
def test_an_api_that_finds_nothing_is_asked_again(
    built: Built, world: SampleWorld, hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = list(hosts.api.items)
    elsewhen = copy.deepcopy(items[0])
    elsewhen["properties"]["datetime"] = "2016-07-01T10:00:00Z"
    hosts.api.items[:] = [elsewhen]
    output = tmp_path / "set"
    empty = hosts.build(world, output)
    assert empty.code == 1
    assert "NO EXAMPLE WAS WRITTEN" in capsys.readouterr().out
    assert set(empty.dataset["rejections"]) == {"no_items"}
    hosts.api.items[:] = items
    for shard in output.glob("opensentinelmap-*"):
        shard.unlink()
    assert hosts.build(world, output).shards == built.shards


@pytest.mark.slow
def test_a_catalogue_that_goes_away_is_no_silent_gap(
    built: Built, world: SampleWorld, hosts: Hosts, tmp_path: Path
) -> None:
    # The first three searches are those of the launch; and one looks for a first image.
    hosts.api.faults += [Fault("/search", 503, passing=4), *([Fault("/search", 503)] * 1000)]
    output = tmp_path / "set"
    gone = hosts.build(world, output)
    assert gone.code == 1
    cells = len(world.cells_csv.read_text().splitlines()) - 1
    assert len(gone.dead_letters) == cells * len(world.years)
    assert {letter["stage"] for letter in gone.dead_letters} == {"find_scenes"}
    assert not list(output.glob("scenes/*.json"))
    hosts.api.faults.clear()
    back = hosts.build(world, output, "--retry_dead_letters")
    assert back.code == 0
    assert back.shards == built.shards


def test_an_unreachable_catalogue_is_found_before_launch(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([*flags(world, tmp_path / "set"), "--stac_url", "http://127.0.0.1:9/"])
    assert code == 2
    assert "--stac_url cannot be reached" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
