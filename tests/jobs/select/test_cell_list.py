"""The files of a selection on a disk that fails at any of its writes."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.jobs.select.cell_list import PLOT_FILE, SELECTION_FILE, close_selection, write_part
from beam_pipeline.jobs.select.options import Sampling, SelectionSettings
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.maps.raster_grid import LAND_COVER, NIGHT_LIGHTS, RasterWindow
from beam_pipeline.maps.rasters import RasterFile
from beam_pipeline.runtime.faults import PermanentFault

IDS = np.array([112_387_737, 112_387_738, 112_387_739])
COUNTS = {"candidates": 3, "lit": 3, "not_all_water": 3, "usable": 3}
CELLS_FILE = "spatial_cell_info.csv"


class Failing(BeamFiles):
    """A disk that takes so many changes, and none after them."""

    def __init__(self, changes: int) -> None:
        self.left = changes

    def _change(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise PermanentFault("storage", "No space left on device")

    def write_bytes(self, path: str, chunks: Iterable[bytes]) -> None:
        self._change()
        super().write_bytes(path, chunks)

    def rename(self, source: str, target: str) -> None:
        self._change()
        super().rename(source, target)

    def delete(self, path: str) -> None:
        self._change()
        super().delete(path)


def settings(folder: Path, seed: int) -> SelectionSettings:
    def raster(lattice: object) -> RasterFile:
        return RasterFile("x.tif", RasterWindow(lattice, 0, 0, 1, 1), 1, 1, None, False)

    return SelectionSettings(
        str(folder), (raster(NIGHT_LIGHTS),), raster(LAND_COVER), None, Sampling(seed=seed), 1024
    )


def select(folder: Path, ids: np.ndarray, files: BeamFiles) -> None:
    """Writes a list of cells as the job does."""
    part = write_part(files, str(folder), ids, seed=0)
    close_selection(files, settings(folder, seed=0), [part], dict(COUNTS))


def lists(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("changes", range(9))
def test_a_list_is_never_described_by_what_is_of_another(tmp_path: Path, changes: int) -> None:
    select(tmp_path, IDS[:2], BeamFiles())
    (tmp_path / PLOT_FILE).write_bytes(b"of the first")
    before = lists(tmp_path)
    files = Failing(changes)
    try:
        select(tmp_path, IDS, files)
    except PermanentFault:
        after = lists(tmp_path)
        if after[CELLS_FILE] != before[CELLS_FILE]:
            assert PLOT_FILE not in after
        if SELECTION_FILE in after:
            digest = hashlib.sha256(after[CELLS_FILE]).hexdigest()
            assert json.loads(after[SELECTION_FILE])["csv_sha256"] == digest
        select(tmp_path, IDS, BeamFiles())  # the same command goes on
    assert json.loads(lists(tmp_path)[SELECTION_FILE])["counts"]["sampled"] == len(IDS)
    assert not (tmp_path / "tmp").exists()


def test_that_is_all_changes(tmp_path: Path) -> None:
    files = Failing(1000)
    select(tmp_path, IDS, files)
    assert 1000 - files.left <= 9
