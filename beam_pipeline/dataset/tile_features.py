"""The features that a store, in its folder, gives to the labels of cells."""

import dataclasses
from collections.abc import Mapping

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.features.names import tile_file
from beam_pipeline.features.reading import features_of_unit
from beam_pipeline.features.stored_tile import StoredTile
from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.runtime.faults import Failure


@dataclasses.dataclass(frozen=True)
class CellFeatures:
    """The features of cells of a tile.

    Attributes:
        features: Cell id -> features in metres of the chip's UTM zone; none of a cell that failed.
        failed: Cell id -> why the store may lack some of it.
    """

    features: dict[int, list[Feature]]
    failed: dict[int, Failure]


def read_cell_features(
    store: DatasetFolder, tile: str, chips: Mapping[int, ChipWindow], ontology: Ontology, digest: str = ""
) -> CellFeatures:
    """Reads the features of cells.

    Args:
        store: The store's folder.
        tile: The tile.
        chips: Cell id -> chip, of the tile.
        ontology: Says what is drawn.
        digest: As `StoredTile.known`.

    Returns:
        The features; what is too tangled to be drawn is not among them, and was counted when the extract was read.

    Raises:
        Fault: The tile's file is missing or damaged, or the storage failed.
    """
    path = store.at(tile_file(tile))
    features: dict[int, list[Feature]] = {cell_id: [] for cell_id in chips}
    with store.files.open_ranges(path) as file:
        stored = StoredTile(file, path, known=digest)
        failed = {
            cell_id: (failure.reason, failure.detail)
            for failure in reversed(stored.footer.failures)
            for cell_id in failure.cell_ids
            if cell_id in chips
        }
        sound = {cell_id: chip for cell_id, chip in chips.items() if cell_id not in failed}
        for found in features_of_unit(stored, sound, ontology) if sound else ():
            for cell_id, feature in found.features:
                features[cell_id].append(feature)
    return CellFeatures(features, failed)
