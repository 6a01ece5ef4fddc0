"""The results for one part of what is verified, to be merged with those for the others."""

from beam_pipeline.audit.findings import Findings
from beam_pipeline.dataset.totals import Totals
from beam_pipeline.features.footer import ExtractFailure, TileFooter
from beam_pipeline.features.store_json import StoreTile


class StoreSums:
    """The sums over the files of a store's tiles.

    Attributes:
        tiles: Tile -> its file; of the files that can be read.
        superseded: As `store.json` has it.
        failures: What could not be read, of each tile.
    """

    def __init__(self) -> None:
        self.tiles: dict[str, StoreTile] = {}
        self.superseded = 0
        self.failures: list[ExtractFailure] = []

    def add(self, tile: str, file: StoreTile, footer: TileFooter) -> None:
        """Adds the file of a tile."""
        self.tiles[tile] = file
        self.superseded += footer.superseded
        self.failures += footer.failures

    def merge(self, other: "StoreSums") -> None:
        """Adds those of other tiles."""
        self.tiles |= other.tiles
        self.superseded += other.superseded
        self.failures += other.failures


class AuditPart:
    """The results for one unit or tile, or for several that follow each other. Small, and it pickles.

    Attributes:
        findings: What was checked and what differs.
        totals: Of the summaries that can be read.
        store: Of the tiles' files that can be read.
    """

    def __init__(self) -> None:
        self.findings = Findings()
        self.totals = Totals()
        self.store = StoreSums()

    def merge(self, behind: "AuditPart") -> None:
        """Adds what was found in the parts behind these; how they are parted does not change the sum."""
        self.findings.merge(behind.findings)
        self.totals.merge(behind.totals)
        self.store.merge(behind.store)
