"""The blocks that a unit reads: the walk of its cells through the scenes, on the blocks that the cells touch.

The blocks a cell touches follow from where it lies; which scenes are clear is drawn, as the weather is not known.
"""

import dataclasses
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from beam_pipeline.cells.cell import CHIP_SIZE_M
from beam_pipeline.cells.mgrs_tiles import TILE_SIZE_M, find_tile
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.asset_grid import MAX_BLOCKS_A_READ
from beam_pipeline.imagery.image import BANDS_10, BANDS_20, BANDS_60, NUM_SLOTS, SCL
from beam_pipeline.imagery.opened_asset import OPEN_REQUESTS
from beam_pipeline.records.shards import parse_shard_name
from beam_pipeline.runtime.keyed_hash import keyed_hash

BLOCK_PX = 1024
"""Side of a block of the public COGs. Source: items of Earth Search, sentinel-2-l2a."""

_BANDS = {10: len(BANDS_10), 20: len(BANDS_20), 60: len(BANDS_60)}

Place = tuple[int, int]
"""Metres from the tile's west and north edge to the chip's."""


@dataclasses.dataclass(frozen=True)
class PlannedUnit:
    """One shard's work, as far as a plan needs it.

    Attributes:
        number: Of the shard within its split.
        tile: Tells tiles apart.
        name: Tells units apart.
        places: Of its cells.
    """

    number: int
    tile: str
    name: str
    places: tuple[Place, ...]

    @classmethod
    def of_unit(cls, unit: Unit) -> Self:
        """Returns the same of a unit of a dataset."""
        tile = find_tile(unit.tile)
        places = tuple((cell.chip.left - tile.left, tile.top - cell.chip.top) for cell in unit.cells)
        return cls(parse_shard_name(unit.name)[1], unit.tile, unit.name, places)


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of reading a unit, or many.

    Attributes:
        opened: Assets opened, each scene's anew.
        reads: Requests for runs of blocks.
        blocks_10: Blocks of bands of 10 m, decoded; of 20 m, of 60 m and of SCL likewise.
        blocks_20: See `blocks_10`.
        blocks_60: See `blocks_10`.
        blocks_scl: See `blocks_10`.
        images: Images that passed.
        pairs: Cell-years with two of them.
    """

    opened: int = 0
    reads: int = 0
    blocks_10: int = 0
    blocks_20: int = 0
    blocks_60: int = 0
    blocks_scl: int = 0
    images: int = 0
    pairs: int = 0

    def __add__(self, other: "Work") -> "Work":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Work(*(mine + theirs for mine, theirs in pairs))

    def times(self, factor: int) -> "Work":
        """Returns so many times the work."""
        return Work(*(factor * mine for mine in dataclasses.astuple(self)))

    @property
    def blocks(self) -> int:
        """Blocks of all assets."""
        return self.blocks_10 + self.blocks_20 + self.blocks_60 + self.blocks_scl

    @property
    def requests(self) -> int:
        """Requests to the hosts of files."""
        return OPEN_REQUESTS * self.opened + self.reads


@dataclasses.dataclass(frozen=True)
class Weather:
    """The odds that a chip passes the filters.

    Attributes:
        clear: Of all dates and chips, 0 to 1.
        alike: How much the chips of a date are alike, above 0 and below 1: the correlation of two of them.
        scenes: Dates of a tile and year.
    """

    clear: float
    alike: float
    scenes: int

    def dates(self, unit: PlannedUnit, year: int, seed: int) -> Iterator[list[bool]]:
        """Yields for each date which chips pass. All units of a tile have the same weather.

        A date's clear fraction is drawn from the beta distribution of that mean and correlation.
        """
        of_tile = random.Random(keyed_hash(seed, "plan weather", unit.tile, year))  # noqa: S311 - no secret
        of_chips = random.Random(keyed_hash(seed, "plan chips", unit.name, year))  # noqa: S311
        spread = (1 - self.alike) / self.alike
        for _ in range(self.scenes):
            clear = of_tile.betavariate(self.clear * spread, (1 - self.clear) * spread)
            yield [of_chips.random() < clear for _ in unit.places]


def walk(places: Sequence[Place], dates: Iterable[Sequence[bool]], block_px: int = BLOCK_PX) -> Work:
    """Counts what one unit reads in one year, as `imagery.chips.select_images` walks the scenes.

    SCL is read for every chip that still wants an image, the bands for those that pass.

    Args:
        places: Of the chips.
        dates: For each scene, in walking order, whether it is clear over each chip.
        block_px: Side of a block.
    """
    touched = {pixel_m: [_blocks(place, pixel_m, block_px) for place in places] for pixel_m in (10, 20, 60)}
    found = [0] * len(places)
    opened = reads = images = 0
    blocks = dict.fromkeys((10, 20, 60, SCL), 0)
    for clear in dates:
        wanting = [index for index, taken in enumerate(found) if taken < NUM_SLOTS]
        if not wanting:
            break
        scl = _union(touched[20], wanting)
        opened, reads, blocks[SCL] = opened + 1, reads + num_reads(scl), blocks[SCL] + scl.bit_count()
        passing = [index for index in wanting if clear[index]]
        if not passing:
            continue
        for pixel_m, bands in _BANDS.items():
            union = _union(touched[pixel_m], passing)
            opened, reads = opened + bands, reads + bands * num_reads(union)
            blocks[pixel_m] += bands * union.bit_count()
        images += len(passing)
        for index in passing:
            found[index] += 1
    pairs = sum(taken == NUM_SLOTS for taken in found)
    return Work(opened, reads, blocks[10], blocks[20], blocks[60], blocks[SCL], images, pairs)


def num_reads(blocks: int) -> int:
    """Returns the number of requests for a set of blocks: runs of a row, each of `MAX_BLOCKS_A_READ` at most.

    Args:
        blocks: As from `_blocks`; rows are parted by a bit that is never set.
    """
    starts, reads = blocks & ~(blocks << 1), 0
    while starts:
        reads += starts.bit_count()
        # What goes on behind a whole read begins another.
        starts <<= MAX_BLOCKS_A_READ
        for step in range(MAX_BLOCKS_A_READ):
            starts &= blocks << step
    return reads


def _blocks(place: Place, pixel_m: int, block_px: int) -> int:
    """Returns the blocks of an asset that a chip touches, a bit each."""
    side = block_px * pixel_m
    stride = -(-TILE_SIZE_M // side) + 1
    columns, rows = (range(start // side, (start + CHIP_SIZE_M - 1) // side + 1) for start in place)
    return sum(1 << (row * stride + column) for row in rows for column in columns)


def _union(sets: Sequence[int], chosen: Iterable[int]) -> int:
    union = 0
    for index in chosen:
        union |= sets[index]
    return union
