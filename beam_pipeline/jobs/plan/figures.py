"""Costs of a unit of work, as measured: every figure with its spread, and the benchmark that measures it again.

`python -m tests.benchmarks.unit_costs` prints them all. Times are CPU seconds of one core of a machine on which
other programs ran; bytes are of the benchmark's scene and of the made-up sample.
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

    requests_over_plan: Figure = Figure(1.0, 1.0, 1.0)
    """Requests really sent, over those that `reads.walk` counts. Benchmark: read_chips, by unit_costs."""

    block_10_bytes: Figure = Figure(1.373e6, 1.373e6, 1.373e6)
    """Of a block of 1024 px, packed as deflate with a predictor. Benchmark: the scene of read_chips."""

    block_20_bytes: Figure = Figure(1.157e6, 1.157e6, 1.157e6)
    """Likewise. Benchmark: the scene of read_chips."""

    block_60_bytes: Figure = Figure(1.163e6, 1.163e6, 1.163e6)
    """Likewise; a tile has 2 x 2 blocks, three of them partly filled. Benchmark: the scene of read_chips."""

    block_scl_bytes: Figure = Figure(51.6e3, 51.6e3, 51.6e3)
    """Likewise. Benchmark: the scene of read_chips."""

    block_cpu_s: Figure = Figure(0.0087, 0.0075, 0.0103)
    """Fetching and decoding a block and cutting its chips, 8 in flight. Benchmark: read_chips, by unit_costs."""

    image_cpu_s: Figure = Figure(0.0093, 0.009, 0.0095)
    """Encoding an image. Benchmark: builds of the sample, by unit_costs: CPU time of stage "encode"."""

    image_bytes: Figure = Figure(282.8e3, 282.4e3, 283.3e3)
    """Of a shard, an image. Benchmark: builds of the sample, by unit_costs; of real chips, records."""

    cell_label_cpu_s: Figure = Figure(0.0147, 0.0119, 0.0171)
    """Drawing the labels of a cell. Benchmark: builds of the sample, by unit_costs: CPU time of stage "rasterize"."""

    unit_write_s: Figure = Figure(0.0147, 0.0125, 0.0169)
    """Committing a shard to a local disk. Benchmark: builds of the sample, by unit_costs: CPU time of stage "write"."""

    extract_gb_cpu_s: Figure = Figure(408.0, 319.0, 710.0)
    """Reading a GB of `.osm.pbf`, for one cell or all. Benchmark: the real extracts of read_extract, by unit_costs.

    They are of a few MB; a file of 43 MB, their copies, takes as much a GB.
    """

    process_mb: Figure = Figure(482.0, 440.0, 533.0)
    """Most memory of a worker process that builds the sample. Benchmark: build, by unit_costs."""


MEASURED = Figures()
"""Measured on 29 and 30 November 2026, on 2 cores shared with other work."""
