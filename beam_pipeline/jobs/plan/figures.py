"""What a unit of work costs, as measured: every figure with its spread, and the benchmark that measures it again.

`python -m tests.benchmarks.unit_costs` prints them all. Times are of one core of the machine that measured, which other
programs kept busy; bytes are of the benchmark's scene and of the made-up sample.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measured figure: its median, and the least and most of the measurement."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Figures:
    """All that a plan takes from measurement."""

    requests_over_plan: Figure = Figure(1.0, 0.99, 1.01)
    """Requests really sent, over those that `reads.walk` counts. Benchmark: read_chips, by unit_costs."""

    block_10_bytes: Figure = Figure(1.373e6, 0.778e6, 1.443e6)
    """Of a block of 1024 px, packed as deflate with a predictor. Benchmark: the scene of read_chips."""

    block_20_bytes: Figure = Figure(1.157e6, 0.205e6, 1.443e6)
    """Likewise. Benchmark: the scene of read_chips."""

    block_60_bytes: Figure = Figure(1.163e6, 0.915e6, 1.441e6)
    """Likewise; a tile has 2 x 2 blocks, three of them partly filled. Benchmark: the scene of read_chips."""

    block_scl_bytes: Figure = Figure(51.6e3, 10.4e3, 67.0e3)
    """Likewise. Benchmark: the scene of read_chips."""

    block_cpu_s: Figure = Figure(0.012, 0.010, 0.02)
    """Fetching and decoding a block and cutting its chips, 8 in flight. Benchmark: read_chips, by unit_costs."""

    image_cpu_s: Figure = Figure(0.02, 0.01, 0.03)
    """Encoding an image. Benchmark: builds of the sample, by unit_costs: stage "encode" of `run.json`."""

    image_bytes: Figure = Figure(283e3, 200e3, 290e3)
    """Of a shard, an image. Benchmark: builds of the sample, by unit_costs; of real chips, records."""

    cell_label_cpu_s: Figure = Figure(0.012, 0.007, 0.054)
    """Drawing the labels of a cell. Benchmark: builds of the sample, by unit_costs: stage "rasterize"."""

    unit_write_s: Figure = Figure(0.05, 0.01, 0.3)
    """Committing a shard to a local disk. Benchmark: builds of the sample, by unit_costs: stage "write"."""

    extract_gb_cpu_s: Figure = Figure(1000, 500, 2000)
    """Reading a GB of `.osm.pbf` with the features of the cells. Benchmark: builds of the sample, by unit_costs."""

    process_mb: Figure = Figure(900, 800, 1000)
    """Most memory of a worker process that builds the sample. Benchmark: build, by unit_costs."""


MEASURED = Figures()
"""Measured on 29 November 2026, on 2 cores shared with other work."""
