"""Every fifth request fails, and nothing is lost and nothing changes.

`python -m pytest -m slow tests/pipelines/test_chaos.py` tries many seeds and prints what each run bore.
"""

import collections
from pathlib import Path

import pytest

from beam_pipeline.runtime.pacer import Pacer
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.sample_world import SampleWorld
from tests.imagery.range_server import Injected
from tests.pipelines.chaos import Chaos, ChaosApi, ChaosFiles, ThrottlingFiles, VirtualClock, report, retried
from tests.pipelines.conftest import Built
from tests.pipelines.hosts import serving

pytestmark = pytest.mark.usefixtures("quick_retries")

RATE = 0.2
MANY_SEEDS = 12


def survive(seed: int, built: Built, world: SampleWorld, output: Path) -> tuple[Chaos, Built]:
    """Builds with failing servers and compares with the calm build."""
    chaos = Chaos(seed, RATE)
    with serving(world, lambda root: ChaosFiles(root, chaos), lambda items: ChaosApi(items, chaos)) as hosts:
        stormy = hosts.build(world, output)
    assert stormy.dead_letters == []
    assert stormy.code == 0
    assert stormy.dataset["unusable_scenes"] == built.dataset["unusable_scenes"]
    assert stormy.shards == built.shards
    assert chaos.injected.total() > RATE / 2 * chaos.requests
    assert isinstance(hosts.api, ChaosApi)
    check_reported(stormy, chaos, hosts.api)
    return chaos, stormy


def check_reported(stormy: Built, chaos: Chaos, api: ChaosApi) -> None:
    """Compares what the run says that it asked once more with what the servers did to it."""
    said = retried(stormy.run["stages"])
    of_api = api.faults_of_the_job()
    # Each request to the API that fails is one to be sent again; two reasons are only ever its own.
    assert said["unreachable"] == of_api["reset"] + of_api["cut"]
    assert said["bad_answer"] == of_api["garbage"]
    assert retried({"": stormy.run["stages"]["find_scenes"]}).total() >= of_api.total()
    # GDAL bears some faults of a file by itself, in up to 4 requests a read; none that we bear comes of nothing.
    of_files = chaos.injected - collections.Counter(fault for _, fault in api.committed if fault)
    del of_files["stall"]  # too short a delay to be a fault
    assert of_files.total() / 5 <= said.total() - of_api.total() <= of_files.total()
    assert said["forbidden"] <= of_files["status 403"]
    slow_down = (
        of_files["status 429"] + of_files["status 503"] + of_api["429"] + of_api["503"] + of_api["403"]
    )
    assert said["throttled"] <= slow_down


def test_every_fifth_request_fails_and_nothing_changes(
    built: Built, world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, stormy = survive(1, built, world, tmp_path / "set")
    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("requests tried again: ")
    ]
    told = dict(part.rsplit(" ", 1) for part in line.partition(": ")[2].split(", "))
    assert {reason: int(count) for reason, count in told.items()} == retried(stormy.run["stages"])


@pytest.mark.slow
def test_many_seeds(
    built: Built, world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(world) as calm:
        assert calm.build(world, tmp_path / "calm").code == 0
        needed = len(calm.files.requests) + len(calm.api.requests)
    for seed in range(100, 100 + MANY_SEEDS):
        chaos, stormy = survive(seed, built, world, tmp_path / str(seed))
        with capsys.disabled():
            said = retried(stormy.run["stages"])
            print(f"\n{report(seed, chaos, needed, said, stormy.dead_letters)}")


@pytest.mark.slow
def test_a_host_that_throttles_by_rate_costs_nothing_but_time(
    built: Built, world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The real number of tries and the real waits, which nobody waits for. Its rate is so low that the slowest
    # machine asks faster.
    clock = VirtualClock()
    monkeypatch.setattr(RetryPolicy, "default", lambda: RetryPolicy(sleep=clock.sleep))
    monkeypatch.setattr(Pacer, "default", lambda per_second: Pacer(per_second, clock.now, clock.sleep))
    with serving(world, lambda root: ThrottlingFiles(root, per_second=5, burst=20, clock=clock)) as hosts:
        assert isinstance(hosts.files, ThrottlingFiles)
        throttled = hosts.build(world, tmp_path / "set")
        assert 20 < retried(throttled.run["stages"])["throttled"] <= hosts.files.throttled
    assert throttled.code == 0
    assert throttled.dead_letters == []
    assert throttled.shards == built.shards


@pytest.mark.slow  # in the calm: `test_data_faults.test_broken_images_cost_exactly_their_dates`
def test_what_fails_for_good_costs_exactly_its_date(built: Built, world: SampleWorld, tmp_path: Path) -> None:
    """In the storm as in the calm."""
    before = {(example.cell.cell_id, example.year): example for example in built.examples()}
    victim = next(iter(before.values())).images[0].item_id
    hit = {key for key, example in before.items() if victim in {image.item_id for image in example.images}}
    chaos = Chaos(2, RATE)
    with serving(world, lambda root: ChaosFiles(root, chaos), lambda items: ChaosApi(items, chaos)) as hosts:
        hosts.files.inject(hosts.paths[victim, "green"], Injected("status", 404))
        after = hosts.build(world, tmp_path / "set")
    assert after.dead_letters == []
    now = {(example.cell.cell_id, example.year): example for example in after.examples()}
    assert {key: now[key] for key in now.keys() - hit} == {key: before[key] for key in before.keys() - hit}
    rejected = after.dataset["rejections"].get("one_clear_date", 0)
    assert len(now) + rejected - built.dataset["rejections"].get("one_clear_date", 0) == len(before)
    for key in now.keys() & hit:
        others = {image.item_id for image in before[key].images} - {victim}
        taken = {image.item_id for image in now[key].images}
        assert victim not in taken
        assert others <= taken  # only the date that cannot be read is replaced
    noted = [note for note in after.dataset["unusable_scenes"] if note["item_id"] == victim]
    assert [note["reason"] for note in noted] == ["not_found"]
