"""The Beam side of `select_cells`: rows of rasters fan out, ids of cells come together. Wiring, counts; no logic.

What is grouped is packed: 4 bytes an id. From the land-cover step on a cell is in one pack only, and packs are ranges
of ids, so that the list is written in pieces that need no sorting afterwards.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam import pvalue

from beam_pipeline import __version__
from beam_pipeline.cells import grid
from beam_pipeline.cells.chips import MAX_LAT, MIN_LAT, choose_chips
from beam_pipeline.cells.mgrs_tiles import NO_TILE, tile_table
from beam_pipeline.cells.region import bands_of, region_polygons, within_any
from beam_pipeline.cells.sampling import EVERY_CELL, Cut, cell_hashes, draw_tiles, fraction_cut, smallest
from beam_pipeline.jobs.select.cell_list import Part, write_part
from beam_pipeline.jobs.select.options import Sampling, SelectionSettings
from beam_pipeline.jobs.storage import BeamFiles, local_copy
from beam_pipeline.jobs.timing import Timing
from beam_pipeline.jobs.worker_image import require_launchers_version
from beam_pipeline.maps.activity import cells_of_lit, count_reached
from beam_pipeline.maps.land_cover import find_land, groups_of_bands
from beam_pipeline.maps.netcdf import is_netcdf
from beam_pipeline.maps.rasters import GDAL_OPTIONS, RasterFile, lit_pixels, open_raster
from beam_pipeline.runtime.gdal_drivers import gdal_options

Ints = npt.NDArray[np.int64]
Count = tuple[str, int]

COUNTS = "counts"
"""The tag of (name, number) pairs that are added up for the list's JSON."""

_PACK_CELLS = 1 << 18
_BANDS_COUNTED = 64


@dataclasses.dataclass(frozen=True)
class CellPack:
    """Cells of one range of ids.

    Attributes:
        ids: (N,) ids, ascending.
        tiles: (N,) int32, the index in `tile_table` of each cell's tile.
        hashes: (N,) uint64 keyed hashes; zeros where nothing is drawn.
    """

    ids: Ints
    tiles: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint64]

    def where(self, kept: npt.NDArray[np.bool_]) -> "CellPack":
        """Returns the cells that a mask (N,) keeps."""
        return CellPack(self.ids[kept], self.tiles[kept], self.hashes[kept])


class _Stage(beam.DoFn):
    """Measures latency under the name of the stage."""

    stage: str

    def __init__(self, settings: SelectionSettings) -> None:
        self._settings = settings
        self._launched_by = __version__
        self._timing = Timing(self.stage)

    def setup(self) -> None:
        require_launchers_version(self._launched_by)
        region = self._settings.region
        self._polygons = None if region is None else region_polygons(region)

    def _within(self, ids: Ints) -> Ints:
        return ids if self._polygons is None else ids[within_any(ids, self._polygons)]


class _RasterStage(_Stage):
    """A stage that reads rasters."""

    def setup(self) -> None:
        super().setup()
        self._copies = contextlib.ExitStack()

    def teardown(self) -> None:
        self._copies.close()

    def _near(self, path: str) -> str:
        """Returns the path that GDAL opens: a NetCDF is not read from a bucket, so each worker copies it once."""
        return self._copies.enter_context(local_copy(path)) if is_netcdf(path) else path


@dataclasses.dataclass(eq=False)
class CountCells(beam.PTransform):
    """Counts of cells: all, and those that the night lights reach."""

    settings: SelectionSettings

    def expand(self, start: Any) -> beam.PCollection[Count]:
        region = self.settings.region
        bands = range(grid.NUM_BANDS) if region is None else bands_of(region_polygons(region))
        return (
            start
            | "Bands" >> beam.Create(bands[::_BANDS_COUNTED], reshuffle=True)
            | "Count" >> beam.ParDo(_CountBands(self.settings)).with_output_types(Count)
        )


class _CountBands(_Stage):
    stage = "count_cells"

    def process(self, first_band: int) -> Iterator[Count]:
        window = self._settings.night_lights[0].window
        total = within = 0
        end = grid.NUM_BANDS if self._polygons is None else bands_of(self._polygons).stop
        for band in range(first_band, min(first_band + _BANDS_COUNTED, end)):
            cells, reached = count_reached(band, window, self._polygons)
            total, within = total + cells, within + reached
        yield "cells", total
        yield "beyond_night_lights", total - within
        yield "candidates", within


@dataclasses.dataclass(eq=False)
class FindLitCells(beam.PTransform):
    """Rows of the night lights -> packed ids of lit cells by land-cover group; tagged: counts."""

    settings: SelectionSettings
    rows: Sequence[range]

    def expand(self, start: Any) -> Any:
        return (
            start
            | "Rows" >> beam.Create([(rows.start, rows.stop) for rows in self.rows], reshuffle=True)
            | "Read"
            >> beam.ParDo(_ReadNightLights(self.settings))
            .with_output_types(tuple[int, bytes], **{COUNTS: Count})
            .with_outputs(COUNTS, main="cells")
        )


class _ReadNightLights(_RasterStage):
    stage = "read_night_lights"

    def setup(self) -> None:
        super().setup()
        self._groups = groups_of_bands(self._settings.land_cover, self._settings.rows_per_task)

    def process(self, bounds: tuple[int, int]) -> Iterator[Any]:
        with self._timing.measured():
            yield from self._lit_cells(range(*bounds))

    def _lit_cells(self, rows: range) -> Iterator[Any]:
        files = self._settings.night_lights
        window = files[0].window
        lit = self._lit(files[0], rows)
        for file in files[1:]:  # a pixel that is lit in any year
            lit |= self._lit(file, rows)
        ids = self._within(cells_of_lit(lit, window, rows.start))
        bands = np.searchsorted(grid.band_table().first, ids, side="right") - 1
        groups = self._groups[bands]
        for group in np.unique(groups).tolist():
            yield group, ids[groups == group].astype(np.uint32).tobytes()
        yield pvalue.TaggedOutput(COUNTS, ("pixels_read", lit.size * len(files)))
        yield pvalue.TaggedOutput(COUNTS, ("pixels", lit.size))
        yield pvalue.TaggedOutput(COUNTS, ("lit_pixels", int(np.count_nonzero(lit))))

    @staticmethod
    def _lit(file: RasterFile, rows: range) -> npt.NDArray[np.bool_]:
        with gdal_options(**GDAL_OPTIONS), open_raster(file) as opened:
            return lit_pixels(opened, file, rows)


@dataclasses.dataclass(eq=False)
class DropUnusable(beam.PTransform):
    """Packed ids by group -> packs of cells on land that have a tile; tagged: counts."""

    settings: SelectionSettings

    def expand(self, lit: beam.PCollection[tuple[int, bytes]]) -> Any:
        return (
            lit
            | "ByGroup" >> beam.GroupByKey()
            | "ReadLandCover"
            >> beam.ParDo(_ReadLandCover(self.settings))
            .with_output_types(CellPack, **{COUNTS: Count})
            .with_outputs(COUNTS, main="packs")
        )


class _ReadLandCover(_RasterStage):
    stage = "read_land_cover"

    def setup(self) -> None:
        super().setup()
        file = self._settings.land_cover
        self._land_cover = dataclasses.replace(file, path=self._near(file.path))
        self._blocks = file.row_blocks(self._settings.rows_per_task)
        sampling = self._settings.sampling
        self._draws = sampling.num_cells is not None or sampling.fraction < 1

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        with self._timing.measured():
            group, packed = element
            # Rows of two tasks may touch one cell.
            yield from self._usable_cells(group, self._united(packed))

    def _usable_cells(self, group: int, ids: Ints) -> Iterator[Any]:
        with gdal_options(**GDAL_OPTIONS), open_raster(self._land_cover) as opened:
            found = find_land(ids, opened, self._land_cover, self._blocks[group])
        counts = {
            "lit": len(ids),
            "beyond_land_cover": int((~found.reached).sum()),
            "all_water": int((found.reached & ~found.land).sum()),
            "not_all_water": int(found.land.sum()),
            "beyond_sentinel2": 0,
            "without_tile": 0,
            "usable": 0,
        }
        on_land = ids[found.land]
        for start in range(0, len(on_land), _PACK_CELLS):
            yield self._pack(on_land[start : start + _PACK_CELLS], counts)
        for count in counts.items():
            yield pvalue.TaggedOutput(COUNTS, count)

    @staticmethod
    def _united(packed: Iterable[bytes]) -> Ints:
        ids = np.concatenate([np.frombuffer(part, np.uint32) for part in packed]).astype(np.int64)
        ids.sort(kind="stable")  # merges what is sorted in parts; np.unique takes 25 times as long
        first = np.ones(len(ids), bool)
        first[1:] = ids[1:] != ids[:-1]
        return ids[first]

    def _pack(self, ids: Ints, counts: dict[str, int]) -> CellPack:
        lon, lat = grid.id_to_center(ids)
        tiles = choose_chips(lon, lat).tiles
        usable, beyond = tiles != NO_TILE, (lat < MIN_LAT) | (lat > MAX_LAT)
        counts["beyond_sentinel2"] += int(beyond.sum())
        counts["without_tile"] += int((~usable & ~beyond).sum())
        counts["usable"] += int(usable.sum())
        ids = ids[usable]
        hashes = (
            cell_hashes(self._settings.sampling.seed, ids) if self._draws else np.zeros(len(ids), np.uint64)
        )
        return CellPack(ids, tiles[usable].astype(np.int32), hashes)


@dataclasses.dataclass(eq=False)
class DrawCells(beam.PTransform):
    """Packs -> packs of the cells that are taken: first tiles are drawn, if so wished, then cells in them."""

    sampling: Sampling

    def expand(self, packs: beam.PCollection[CellPack]) -> beam.PCollection[CellPack]:
        sampling = self.sampling
        if sampling.max_tiles is not None:
            tiles = packs | "DrawTiles" >> beam.CombineGlobally(_DrawTiles(sampling))
            packs = packs | "InTiles" >> beam.Map(_in_tiles, pvalue.AsSingleton(tiles))
        if sampling.num_cells is None:
            return packs | "Take" >> beam.Map(_take, fraction_cut(sampling.fraction))
        near = packs | "DropFar" >> beam.ParDo(_DropFar(sampling.num_cells))
        cut = near | "Cut" >> beam.CombineGlobally(_FindCut(sampling.num_cells))
        return near | "Take" >> beam.Map(_take, pvalue.AsSingleton(cut))


def _in_tiles(pack: CellPack, tiles: npt.NDArray[np.int32]) -> CellPack:
    return pack.where(np.isin(pack.tiles, tiles))


def _take(pack: CellPack, cut: Cut) -> CellPack:
    return pack.where(cut.takes(pack.hashes, pack.ids))


class _DrawTiles(beam.CombineFn):
    """Packs -> the drawn tiles of all that have a cell, as sorted indices."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling

    def create_accumulator(self) -> npt.NDArray[np.int32]:
        return np.zeros(0, np.int32)

    def add_input(self, tiles: npt.NDArray[np.int32], pack: CellPack) -> npt.NDArray[np.int32]:
        return np.union1d(tiles, pack.tiles)

    def merge_accumulators(self, accumulators: Iterable[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
        return np.unique(np.concatenate(list(accumulators)))

    def extract_output(self, tiles: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        assert self._sampling.max_tiles is not None
        index_of = {tile_table().names[index].decode(): index for index in tiles.tolist()}
        drawn = draw_tiles(self._sampling.seed, index_of, self._sampling.max_tiles)
        return np.array(sorted(index_of[tile] for tile in drawn), np.int32)


_Drawn = tuple[npt.NDArray[np.uint64], Ints]


class _DropFar(beam.DoFn):
    """Drops cells behind N others of one bundle: no sample of N holds them, and they need not travel."""

    def __init__(self, num_cells: int) -> None:
        self._find = _FindCut(num_cells)

    # Not of the DoFn's whole life: a bundle that is tried again must not be counted twice.
    def start_bundle(self) -> None:
        self._drawn = self._find.create_accumulator()

    def process(self, pack: CellPack) -> Iterator[CellPack]:
        self._drawn = self._find.add_input(self._drawn, pack)
        yield _take(pack, self._find.extract_output(self._drawn))


class _FindCut(beam.CombineFn):
    """Packs -> the cut behind the N smallest hashes; it never holds more than those and one pack."""

    def __init__(self, num_cells: int) -> None:
        self._num_cells = num_cells

    def create_accumulator(self) -> _Drawn:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)

    def add_input(self, drawn: _Drawn, pack: CellPack) -> _Drawn:
        return self.merge_accumulators([drawn, (pack.hashes, pack.ids)])

    def merge_accumulators(self, accumulators: Iterable[_Drawn]) -> _Drawn:
        hashes, ids = (np.concatenate(parts) for parts in zip(*accumulators, strict=True))
        return smallest(hashes, ids, self._num_cells)

    def extract_output(self, drawn: _Drawn) -> Cut:
        hashes, ids = drawn
        return Cut.behind(hashes, ids) if len(ids) == self._num_cells else EVERY_CELL


@dataclasses.dataclass(eq=False)
class WriteParts(beam.PTransform):
    """Packs -> pieces of the list, written aside."""

    settings: SelectionSettings

    def expand(self, packs: beam.PCollection[CellPack]) -> beam.PCollection[Part]:
        return (
            packs
            | "NotEmpty" >> beam.Filter(_holds_cells)
            | "Spread" >> beam.Reshuffle()
            | "Write" >> beam.Map(_write_part, self.settings.output, self.settings.sampling.seed)
        )


def _holds_cells(pack: CellPack) -> bool:
    return len(pack.ids) > 0


def _write_part(pack: CellPack, output: str, seed: int) -> Part:
    return write_part(BeamFiles(), output, pack.ids, seed)
