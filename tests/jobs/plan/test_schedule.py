"""Times and bills, beside cases worked by hand."""

import dataclasses

import pytest

from beam_pipeline.cells.cell import Cell, ChipWindow
from beam_pipeline.cells.mgrs_tiles import find_tile
from beam_pipeline.dataset.units import make_units
from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.plan.estimate import (
    Assumptions,
    Estimate,
    Load,
    bytes_in,
    estimate,
    process_mb,
    unit_mb,
)
from beam_pipeline.jobs.plan.figures import Figure, Figures
from beam_pipeline.jobs.plan.prices import Prices
from beam_pipeline.jobs.plan.reads import PlannedUnit, Weather, Work
from beam_pipeline.jobs.plan.report import Machine, Plan, report
from beam_pipeline.jobs.plan.run import plan_of_build
from beam_pipeline.jobs.plan.schedule import Fleet, makespan, most_useful, times

ROUND = Figures(
    requests_over_plan=Figure(1.0, 1.0, 1.0),
    block_10_bytes=Figure(1e6, 1e6, 1e6),
    block_20_bytes=Figure(2e6, 1e6, 3e6),
    block_60_bytes=Figure(3e6, 3e6, 3e6),
    block_scl_bytes=Figure(1e5, 1e5, 1e5),
    block_cpu_s=Figure(0.01, 0.01, 0.02),
    image_cpu_s=Figure(0.02, 0.01, 0.03),
    image_bytes=Figure(250e3, 200e3, 300e3),
    cell_label_cpu_s=Figure(0.5, 0.5, 0.5),
    unit_write_s=Figure(0.25, 0.25, 0.5),
    extract_gb_cpu_s=Figure(100.0, 100.0, 100.0),
    process_mb=Figure(1000.0, 1000.0, 1000.0),
)
SUNNY = Assumptions(Weather(0.99, 0.5, 150), 16, 8, 4.0, 3.0, 0)
FLEET = Fleet(1, 1, 1, 20.0, 1.0, 8, 0.0)
ONE = PlannedUnit(0, "33TWN", "a", ((0, 0),))


def job(loads: list[Load], **changed: object) -> Estimate:
    zero = Figure(0.0, 0.0, 0.0)
    cpu = sum(load.cpu_s for load in loads) / 3600
    base = Estimate(
        1, 1, len(loads), 1, 0, Work(), zero, zero, zero, Figure(cpu, cpu, cpu), 0.0, tuple(loads)
    )
    return dataclasses.replace(base, **changed)


def test_bytes_are_blocks_and_headers() -> None:
    found = bytes_in(Work(opened=10, blocks_10=4, blocks_20=3, blocks_60=2, blocks_scl=5), ROUND)
    assert found.value == 10 * 32768 + 4e6 + 6e6 + 6e6 + 5e5
    assert (found.low, found.high) == (found.value - 3e6, found.value + 3e6)


def test_a_unit_holds_the_pixels_of_all_years_and_what_they_are_encoded_to() -> None:
    # 192 x 192 x 4 + 96 x 96 x 6 + 32 x 32 x 2 of two bytes, 96 x 96 of one: 418,816 bytes an image.
    assert unit_mb(16, 4, ROUND) == pytest.approx(16 * 4 * 2 * (418_816 + 250_000) / 1e6)
    # 8 reads of 4 blocks of 1024 x 1024 x 2 bytes a thread.
    expected = 1000 + 2 * (unit_mb(16, 4, ROUND) + 8 * 4 * 2.097152)
    assert process_mb(2, 4, SUNNY, ROUND) == pytest.approx(expected)


def test_counts_of_a_job() -> None:
    units = [ONE, dataclasses.replace(ONE, number=1, name="b", tile="33TXN")]
    found = estimate(units, (2019, 2020, 2021), SUNNY, ROUND)
    assert (found.cells, found.tiles, found.units, found.tile_years) == (2, 2, 2, 6)
    # 150 scenes are two pages of 100, and the launch asks five times.
    assert found.api_requests == 6 * 2 + 5
    assert found.work.images == 2 * 3 * 2
    assert found.bytes_out.value == 12 * 250e3
    assert found.requests.value == found.work.requests == sum(load.requests for load in found.loads)
    assert found.largest_extract_s == 300
    labels = 2 * 0.5 + 4 * 100
    by_hand = found.work.blocks * 0.01 + 12 * 0.02 + 2 * 0.25 + labels
    assert found.cpu_hours.value == pytest.approx(by_hand / 3600)
    # One core reads the extracts and draws before it reads any image.
    assert times(found, FLEET).labels * 3600 == pytest.approx(labels)
    for figure in (found.requests, found.bytes_in, found.bytes_out, found.cpu_hours):
        assert figure.low <= figure.value <= figure.high


def test_whoever_is_free_takes_the_next_piece() -> None:
    assert makespan([3, 1, 1, 1, 5], 1) == 11
    assert makespan([3, 1, 1, 1, 5], 2) == 8  # 3 and 5, beside 1, 1, 1
    assert makespan([3, 1, 1, 1, 5], 50) == 5
    assert makespan([], 3) == 0


def test_a_lane_is_one_reader_with_its_part_of_the_rate() -> None:
    # 60 requests a second are three lanes of 20: units 0 and 3 follow each other in the first.
    loads = [Load(number, 200.0, 0.0, 0.0) for number in range(4)]
    fleet = dataclasses.replace(FLEET, workers=10, files_per_second=60.0)
    found = times(job(loads), fleet)
    assert found.units * 3600 == pytest.approx(20.0)
    assert found.readers == 3
    # Two threads do the work of two lanes, each with half of the rate: two units of 200 / 30 s each.
    assert times(job(loads), dataclasses.replace(fleet, workers=2)).units * 3600 == pytest.approx(
        2 * 200 / 30
    )


def test_without_a_limit_latency_and_cores_decide() -> None:
    loads = [Load(number, 80.0, 1.0, 2.0) for number in range(8)]
    fleet = Fleet(2, 1, 2, None, None, reads_in_flight=8, latency_s=0.5, in_lanes=False)
    # 80 requests, 8 at once, 0.5 s each are 5 s, in which blocks are unpacked, and 2 s of encoding: two rounds.
    assert times(job(loads), fleet).units * 3600 == pytest.approx(14.0)
    # With no wait four threads want more than two cores give.
    busy = dataclasses.replace(fleet, latency_s=0.0)
    assert times(job(loads), busy).units * 3600 == pytest.approx(8 * 3 / 2)


def test_searches_and_labels_go_side_by_side_before_the_units() -> None:
    found = times(job([], api_requests=7200, largest_extract_s=1800.0), FLEET)
    assert (found.searches, found.labels, found.units, found.all) == (2.0, 0.5, 0.0, 2.0)
    found = times(job([], api_requests=7200, largest_extract_s=36_000.0), FLEET)
    assert found.all == 10.0


def test_more_workers_than_lanes_buy_nothing() -> None:
    loads = [Load(number, 2000.0, 0.0, 0.0) for number in range(640)]
    fleet = Fleet(4, 1, 1, 160.0, 20.0, 2, 0.1)  # 8 lanes of 20: as much as 2 in flight come to
    by_number, useful = most_useful(job(loads), fleet, 64)
    assert useful == 8
    hours = {number: found.all for number, found in by_number.items()}
    assert hours[1] == pytest.approx(2 * hours[2]) == pytest.approx(4 * hours[4])
    assert hours[8] == hours[16] == hours[64] == pytest.approx(640 * 2000 / 160 / 3600)


def test_a_report_has_the_bill_and_says_what_does_not_suffice() -> None:
    loads = [Load(number, 72_000.0, 0.0, 0.0) for number in range(2)]
    found = job(loads, bytes_out=Figure(100e9, 1, 1), bytes_in=Figure(1e12, 1, 1), work=Work(images=400_000))
    prices = Prices(0.1, 0.01, 0.001, 0.05, 0.02)
    fleet = dataclasses.replace(FLEET, workers=2, vcpus=4, files_per_second=40.0)
    text = report(Plan(found, SUNNY, fleet, Machine(32.0, 25.0), ROUND, prices, 2))
    # One hour of two workers of 0.4 + 0.32 + 0.025; 100 GB; 1 TB.
    assert "2 workers for 1 h" in text
    bill = text.partition("the bill")[2]

    def usd(what: str) -> float:
        (line,) = (line for line in bill.splitlines() if line.startswith(what))
        return float(line.removeprefix(what))

    assert usd("2 workers for 1 h") == pytest.approx(1.49)
    assert usd("keeping 100 GB, a month") == 2.0
    assert usd("Cloud NAT, if used, for 1,000 GB") == 50.0
    assert "250 kB; of the published dataset 430 kB" in text
    assert "MAY NOT SUFFICE" not in text
    small = report(Plan(found, SUNNY, fleet, Machine(2.0, 12.0), ROUND, prices, 2))
    assert "MEMORY MAY NOT SUFFICE" in small
    assert "THE DISK MAY NOT SUFFICE" in small


NEEDED = ["--osm=a.osm.pbf", "--output=out", "--cells=a.csv"]


@pytest.mark.parametrize(
    ("flags", "fleet"),
    [
        # The defaults of `plan_cost` where Dataflow's flags say nothing.
        (["--runner=DataflowRunner"], Fleet(25, 2, 12, 500.0, 20.0, 8, 0.1)),
        (
            [
                *("--runner=DataflowRunner", "--max_num_workers=10", "--machine_type=n1-highmem-4"),
                *("--number_of_worker_harness_threads=3", "--max_requests_per_second=2000"),
            ],
            Fleet(10, 4, 3, 2000.0, 20.0, 8, 0.1),
        ),
        ([], Fleet(1, 1, 1, None, None, 8, 0.1, in_lanes=False)),
        (
            [
                *("--direct_running_mode=multi_processing", "--direct_num_workers=4"),
                *("--max_requests_per_second=60", "--reads_in_flight=2"),
            ],
            Fleet(4, 1, 1, 60.0, None, 2, 0.1, in_lanes=False),
        ),
        # Nobody knows how many: one, until a flag says it.
        (["--runner=SparkRunner"], Fleet(1, 1, 1, None, None, 8, 0.1, in_lanes=False)),
    ],
)
def test_a_dry_run_plans_with_the_workers_that_the_flags_say(flags: list[str], fleet: Fleet) -> None:
    given, options = parse_build_flags([*NEEDED, *flags])
    tile = find_tile("33TWN")
    chip = ChipWindow(tile.epsg, tile.left + 600, tile.top - 3000)
    units = make_units([Cell(1, tile.name, "training", chip, 15.0, 15.1, 46.0, 46.1)], 16)
    plan = plan_of_build(units, build_settings(given, options), options, [3_000_000_000, 1_000_000_000])
    assert plan.fleet == fleet
    assert (plan.machine is not None) == ("--runner=DataflowRunner" in flags)
    assert (plan.assumed.extract_gb, plan.assumed.largest_extract_gb) == (4.0, 3.0)
