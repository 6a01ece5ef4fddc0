"""The readers of a store for labels: of the objects of boxes, and of the features of cells."""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.features.rows import objects_of_rows, rows_with
from beam_pipeline.features.stored_tile import StoredTile
from beam_pipeline.labels.cell_index import CellIndex
from beam_pipeline.labels.chip_boxes import Boxes, lonlat_boxes
from beam_pipeline.labels.clipping import clip_margin
from beam_pipeline.labels.drawn_features import DrawnFeatures
from beam_pipeline.labels.feature import Feature, Found
from beam_pipeline.labels.map_object import MapObject
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.labels.store_keys import drawn_keys


def objects_of(tile: StoredTile, boxes: Boxes | None = None) -> Iterator[MapObject]:
    """Yields the objects of a file whose envelopes meet boxes, in order of the file; as `StoredTile.rows`."""
    for rows in tile.rows(boxes):
        yield from objects_of_rows(rows)


def features_of_unit(
    tile: StoredTile, chips: Mapping[int, ChipWindow], ontology: Ontology
) -> Iterator[Found[tuple[int, Feature]]]:
    """Reads the features that the ontology draws, clipped to chips; the same as `extract.features_of_cells` finds.

    Args:
        tile: The file of the chips' tile.
        chips: Cell id -> chip.
        ontology: Says what is drawn.

    Yields:
        Parts of some thousand features: (cell id, feature in metres of the chip's UTM zone). A cell comes as often as
        it has features, and not at all without. Dropped are the "tangled".

    Raises:
        PermanentFault: `DAMAGED`.
    """
    margin = clip_margin(ontology.reach_m)
    index = CellIndex(chips, margin)
    drawn = DrawnFeatures(ontology)
    of_drawn, looked_at = pa.array(drawn_keys(ontology)), pa.array(sorted(drawn.keys))
    for rows in tile.rows(lonlat_boxes([chips[cell_id] for cell_id in sorted(chips)], margin)):
        objects = objects_of_rows(rows_with(rows, of_drawn), looked_at)
        yield index.clip([feature for one in objects for feature in drawn.of(one)])
