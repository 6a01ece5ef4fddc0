"""Reads pairs of images as arrays, bands first, as PyTorch and JAX take them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from beam_pipeline.readers.epochs import PADDING, Shown
from beam_pipeline.readers.pairs import (
    LabelCheck,
    Standardiser,
    decode_pair,
    ids_of_images,
    label_of_images,
    padding_pair,
    turn_pair,
)
from beam_pipeline.readers.shard_index import ShardIndex, explained
from beam_pipeline.records.description import require_map
from beam_pipeline.records.info import DatasetInfo, read_info
from beam_pipeline.records.statistics import BandStatistics
from beam_pipeline.runtime.disk import Disk, is_local
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault

Arrays = dict[str, npt.NDArray[Any]]


def open_split(folder: str, split: str) -> DatasetInfo:
    """Reads and checks what a dataset on a disk says of itself.

    Args:
        folder: The dataset's folder.
        split: The split that is wanted.

    Raises:
        InvalidInputError: It is not on a disk, it is of labelled places, or as of `read_info` and
            `DatasetInfo.require_examples`.
    """
    folder = str(folder)  # or a Path
    if not is_local(folder):
        raise InvalidInputError(
            f"The dataset must be on a disk: copy it, or mount its bucket. Received: {folder}"
        )
    info = read_info(Disk(), folder)
    require_map(info.grid_name, folder)
    info.require_examples(split)
    return info


class PairReader:
    """Reads pairs of a dataset; pickles.

    Args:
        info: The dataset.
        statistics: By which images are standardised.
    """

    def __init__(self, info: DatasetInfo, statistics: BandStatistics) -> None:
        self._folder = info.folder
        self._standardise = Standardiser(statistics)
        self._check = LabelCheck(info.categories)

    def read(self, index: ShardIndex, which: Shown) -> Arrays:
        """Reads a pair.

        Args:
            index: Where the examples are.
            which: The example and how it is turned.

        Returns:
            `gsd_10` (2, 4, 192, 192) and `gsd_20` (2, 6, 96, 96) float32, standardised reflectance, 0 where there is no
            data; `label` (2, 3, 192, 192) uint8, 255 where there is no data at 10 m; `cell_id`, `year` and `slot`, each
            (2,) int64, -1 where there is no image.

        Raises:
            InvalidInputError: The example is damaged; names the shard, the cell and the year.
        """
        if which.example == PADDING:
            pair = padding_pair()
        else:
            with explained(self._folder):
                payload = index.payload(which.example)
                try:
                    pair = decode_pair(payload)
                    self._check(pair.label)
                except PermanentFault as fault:
                    raise PermanentFault(
                        fault.reason, f"{index.name(which.example)}: {fault.detail}"
                    ) from fault
        pair = turn_pair(pair, which.symmetry)
        pixels = {grid: self._standardise(dn, pair.boa_add_offset, grid) for grid, dn in pair.dn.items()} | {
            "label": label_of_images(pair.label, pair.dn["gsd_10"])
        }
        return {name: np.moveaxis(it, -1, 1) for name, it in pixels.items()} | ids_of_images(pair)
