"""The work of a job, counted: searches, requests, bytes, CPU time and memory, with their spread."""

import dataclasses
from collections.abc import Sequence

from beam_pipeline.cells.cell import CHIP_SIZE_M
from beam_pipeline.imagery.api_probe import PAGE_SIZE
from beam_pipeline.imagery.asset_grid import MAX_BLOCKS_A_READ
from beam_pipeline.imagery.image import BANDS_10, BANDS_20, BANDS_60, NUM_SLOTS
from beam_pipeline.imagery.opened_asset import GDAL_OPTIONS
from beam_pipeline.jobs.plan.figures import Figure, Figures
from beam_pipeline.jobs.plan.reads import BLOCK_PX, PlannedUnit, Weather, Work, walk
from beam_pipeline.runtime.keyed_hash import keyed_hash

LAUNCH_REQUESTS = 5
"""To the API, before any worker: its root, the collection, and three searches that show what it can do."""

HEADER_BYTES = int(GDAL_OPTIONS["GDAL_INGESTED_BYTES_AT_OPEN"])
"""That come with the opening of an asset."""

WEATHER_SPREAD = 0.15
"""By so much the clear fraction of a year and place lies above or below: a guess."""

_MOST_WALKS = 20_000  # about 6 seconds
_SPREAD_UNITS = 500  # of which the spread of the weather is taken


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """The assumptions that are not measured.

    Attributes:
        weather: How often a chip is clear.
        cells_per_shard: The most cells of a unit.
        reads_in_flight: Of a reader.
        extract_gb: All `.osm.pbf` extracts together.
        largest_extract_gb: The largest of them, which one worker has whole.
        seed: Draws the weather.
    """

    weather: Weather
    cells_per_shard: int
    reads_in_flight: int
    extract_gb: float
    largest_extract_gb: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Load:
    """One unit's reading.

    Attributes:
        number: Of its shard within the split.
        requests: Sent to hosts of files.
        reading_cpu_s: CPU time while it reads.
        other_cpu_s: CPU time before and after, on the same thread.
    """

    number: int
    requests: float
    reading_cpu_s: float
    other_cpu_s: float

    @property
    def cpu_s(self) -> float:
        """CPU time in all."""
        return self.reading_cpu_s + self.other_cpu_s


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The work, time and money of a job, all in all.

    Attributes:
        cells: How many.
        tiles: Over which they lie.
        units: Shards.
        years: How many.
        api_requests: To the STAC API.
        work: Blocks, requests for files and images.
        requests: To hosts of files, with their spread.
        bytes_in: Read from hosts of files.
        bytes_out: Of all shards.
        cpu_hours: Of one core.
        largest_extract_s: In which one worker reads the largest extract.
        loads: Of each unit.
    """

    cells: int
    tiles: int
    units: int
    years: int
    api_requests: int
    work: Work
    requests: Figure
    bytes_in: Figure
    bytes_out: Figure
    cpu_hours: Figure
    largest_extract_s: float
    loads: tuple[Load, ...]

    @property
    def tile_years(self) -> int:
        """Searches of the catalogue, each for one tile and year."""
        return self.tiles * self.years


def estimate(
    units: Sequence[PlannedUnit], years: Sequence[int], assumed: Assumptions, figures: Figures
) -> Estimate:
    """Counts the work of a job.

    Args:
        units: All shards.
        years: All years.
        assumed: What is not measured.
        figures: What is.
    """
    works = [work_of_unit(unit, years, assumed.weather, assumed.seed, len(units)) for unit in units]
    work = sum(works, Work())
    cells, tiles = sum(len(unit.places) for unit in units), len({unit.tile for unit in units})
    fewer, more = _weather_spread(units, years, assumed)
    requests = _scaled(figures.requests_over_plan, work.requests, fewer, more)
    in_gb = bytes_in(work, figures)
    reading = _scaled(figures.block_cpu_s, work.blocks / 3600, fewer, more)
    others = [
        _scaled(figures.image_cpu_s, work.images / 3600),
        _scaled(figures.unit_write_s, len(units) / 3600),
        _scaled(figures.cell_label_cpu_s, cells / 3600),
        _scaled(figures.extract_gb_cpu_s, assumed.extract_gb / 3600),
    ]
    loads = tuple(_load(unit, one, figures) for unit, one in zip(units, works, strict=True))
    return Estimate(
        cells=cells,
        tiles=tiles,
        units=len(units),
        years=len(years),
        api_requests=tiles * len(years) * -(-assumed.weather.scenes // PAGE_SIZE) + LAUNCH_REQUESTS,
        work=work,
        requests=requests,
        bytes_in=Figure(in_gb.value, in_gb.low * fewer, in_gb.high * more),
        bytes_out=_scaled(figures.image_bytes, work.images),
        cpu_hours=_sum([reading, *others]),
        largest_extract_s=assumed.largest_extract_gb * figures.extract_gb_cpu_s.value,
        loads=loads,
    )


def work_of_unit(
    unit: PlannedUnit, years: Sequence[int], weather: Weather, seed: int, num_units: int
) -> Work:
    """Counts a unit's reading in all years; of very many units one year is walked and stands for all."""
    if num_units * len(years) > _MOST_WALKS:
        year = years[keyed_hash(seed, "plan year", unit.name) % len(years)]
        return walk(unit.places, weather.dates(unit, year, seed)).times(len(years))
    return sum((walk(unit.places, weather.dates(unit, year, seed)) for year in years), Work())


def bytes_in(work: Work, figures: Figures) -> Figure:
    """Returns the bytes that the hosts of files send."""
    header = work.opened * HEADER_BYTES
    kinds = (
        (work.blocks_10, figures.block_10_bytes),
        (work.blocks_20, figures.block_20_bytes),
        (work.blocks_60, figures.block_60_bytes),
        (work.blocks_scl, figures.block_scl_bytes),
    )
    return _sum([Figure(header, header, header), *(_scaled(figure, blocks) for blocks, figure in kinds)])


def unit_mb(cells: int, years: int, figures: Figures) -> float:
    """Returns what a unit holds until its shard is written: pixels and what they are encoded to.

    Args:
        cells: Of the unit.
        years: All are held at once.
        figures: Measured.
    """
    side = CHIP_SIZE_M // 10
    pixels = 2 * (
        len(BANDS_10) * side**2 + len(BANDS_20) * (side // 2) ** 2 + len(BANDS_60) * (side // 6) ** 2
    )
    image = pixels + (side // 2) ** 2 + figures.image_bytes.value
    return cells * years * NUM_SLOTS * image / 1e6


def process_mb(threads: int, years: int, assumed: Assumptions, figures: Figures) -> float:
    """Returns the memory of a worker process in which every thread has a full unit and reads blocks.

    Args:
        threads: Of the process.
        years: Of the dataset.
        assumed: Cells of a unit, and reads in flight.
        figures: The measured process has one thread with a unit of its own in it, which is not taken off.
    """
    reading = assumed.reads_in_flight * MAX_BLOCKS_A_READ * 2 * BLOCK_PX**2 / 1e6
    return figures.process_mb.value + threads * (unit_mb(assumed.cells_per_shard, years, figures) + reading)


def _load(unit: PlannedUnit, work: Work, figures: Figures) -> Load:
    other = work.images * figures.image_cpu_s.value + figures.unit_write_s.value
    return Load(
        unit.number,
        work.requests * figures.requests_over_plan.value,
        work.blocks * figures.block_cpu_s.value,
        other,
    )


def _weather_spread(
    units: Sequence[PlannedUnit], years: Sequence[int], assumed: Assumptions
) -> tuple[float, float]:
    """Returns the requests in clear and in cloudy years, over those in the years that are planned for."""
    some = units[:: -(-len(units) // _SPREAD_UNITS)]
    requests = []
    for more in (WEATHER_SPREAD, 0.0, -WEATHER_SPREAD):
        clear = min(max(assumed.weather.clear + more, 0.05), 0.95)
        weather = dataclasses.replace(assumed.weather, clear=clear)
        year = years[:1]
        # Few units are walked in many weathers: the luck of one is no spread.
        seeds = range(assumed.seed, assumed.seed + -(-_SPREAD_UNITS // len(some)))
        requests.append(
            sum(work_of_unit(unit, year, weather, seed, 1).requests for unit in some for seed in seeds)
        )
    clearest, usual, cloudiest = requests
    return min(1.0, clearest / usual), max(1.0, cloudiest / usual)


def _scaled(figure: Figure, by: float, fewer: float = 1.0, more: float = 1.0) -> Figure:
    return Figure(figure.value * by, figure.low * by * fewer, figure.high * by * more)


def _sum(figures: Sequence[Figure]) -> Figure:
    return Figure(
        sum(figure.value for figure in figures),
        sum(figure.low for figure in figures),
        sum(figure.high for figure in figures),
    )
