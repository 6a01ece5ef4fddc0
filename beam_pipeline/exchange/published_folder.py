"""Finds what published folders hold, before launch: cells with a label, years of images, and the rest.

Only names are looked at. They are listed in parts, so that a million of them are never held at once.
"""

import collections
import dataclasses
import datetime
import hashlib
import re
from collections.abc import Iterable, Iterator

from beam_pipeline.cells.cell import Cell
from beam_pipeline.cells.mgrs_tiles import normalise_tile_name
from beam_pipeline.cells.table import CELLS_FILE, RowError, parse_published_csv
from beam_pipeline.exchange.published import IMAGERY_FOLDER, LABELS_FOLDER
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.files import Files, join
from beam_pipeline.runtime.foreign_text import one_line

MOST_NAMED = 10
"""Of what is left out, so many are named; all are counted."""

_PARTS = (*(f"{digit}*" for digit in range(7)), "[!0-6]*")
"""Patterns of the names of tile folders, of which one fits any name: zones are 01 to 60."""

_DATE = re.compile(r"_(20[0-9]{2})([0-9]{2})([0-9]{2})(?:_|T|\Z)")
_PLATFORM = re.compile(r"\AS2([A-D])_")

Place = tuple[str, int]
"""(tile, cell id)."""


@dataclasses.dataclass(frozen=True)
class PublishedFolder:
    """Published folders whose names were looked at.

    Attributes:
        cells: The cells of the table that have a label image, in its order.
        years: The years of their images, ascending.
        images: Number of their images.
        images_sha256: SHA-256 of the names of those.
        rows: Lines of the table.
        rows_refused: Those that cannot be used, by the column at fault.
        first_refused: What is wrong with the first of them.
        rows_without_label: Lines of cells that have no label image.
        labels_without_row: Label images of no line.
        image_folders_without_row: Folders of images of no line.
        image_folders_without_label: Folders of images of lines that have no label image.
        files_elsewhere: Files that are called like no label and no image of a cell.
        first_elsewhere: The first of these, and of what has no line.
    """

    cells: tuple[Cell, ...]
    years: tuple[int, ...]
    images: int
    images_sha256: str
    rows: int
    rows_refused: dict[str, int]
    first_refused: tuple[str, ...]
    rows_without_label: int
    labels_without_row: int
    image_folders_without_row: int
    image_folders_without_label: int
    files_elsewhere: int
    first_elsewhere: tuple[str, ...]

    @property
    def tiles_in_two_splits(self) -> tuple[str, ...]:
        """Tiles of which one cell is of another split than another."""
        splits: dict[str, set[str]] = {}
        for cell in self.cells:
            splits.setdefault(cell.tile, set()).add(cell.split)
        return tuple(sorted(tile for tile, of_tile in splits.items() if len(of_tile) > 1))


def find_published(files: Files, folder: str, csv_text: str) -> PublishedFolder:
    """Looks at the names in published folders.

    Args:
        files: The file system.
        folder: The folder that holds the table, the labels and the images.
        csv_text: The content of the table.

    Returns:
        What they hold.

    Raises:
        InvalidInputError: There is nothing that could be imported.
        Fault: A folder cannot be listed.
    """
    refused: list[RowError] = []
    cells = list(parse_published_csv(csv_text, CELLS_FILE, refused.append))
    if not cells:
        more = f" The first of {len(refused)} lines: {refused[0]}." if refused else ""
        raise InvalidInputError(
            f"{join(folder, CELLS_FILE)} holds no cell that can be used.{more} Received: {folder}"
        )
    listing = _Listing({(cell.tile, cell.cell_id) for cell in cells})
    for names in _listed(files, join(folder, LABELS_FOLDER), "*"):
        listing.add_labels(names)
    labelled = tuple(cell for cell in cells if (cell.tile, cell.cell_id) in listing.labelled)
    if not labelled:
        raise InvalidInputError(
            f"There is no {join(folder, LABELS_FOLDER)}/TILE/CELL.png of a cell in {CELLS_FILE}: nothing can be "
            f"imported. Received: {folder}"
        )
    for names in _listed(files, join(folder, IMAGERY_FOLDER), "*/*"):
        listing.add_images(names)
    if not listing.years:
        raise InvalidInputError(
            f"There is no {join(folder, IMAGERY_FOLDER)}/TILE/CELL/NAME_YYYYMMDD_MORE.npz of a cell with a label: "
            f"nothing can be imported. Received: {folder}"
        )
    return PublishedFolder(
        cells=labelled,
        years=tuple(sorted(listing.years)),
        images=listing.images,
        images_sha256=listing.digest.hexdigest(),
        rows=len(cells) + len(refused),
        rows_refused=dict(sorted(collections.Counter(error.field for error in refused).items())),
        first_refused=tuple(map(str, refused[:MOST_NAMED])),
        rows_without_label=len(cells) - len(labelled),
        labels_without_row=listing.labels_without_row,
        image_folders_without_row=len(listing.unknown_folders),
        image_folders_without_label=len(listing.unlabelled_folders),
        files_elsewhere=listing.files_elsewhere,
        first_elsewhere=tuple(listing.first_elsewhere),
    )


def date_of(name: str) -> str | None:
    """Returns the day that the name of an image says, "YYYY-MM-DD"; None where it says none.

    Args:
        name: Without its ending, e.g. "S2A_43QEU_20201018_0_L2A".
    """
    match = _DATE.search(name)
    if match is None:
        return None
    try:
        return datetime.date(*map(int, match.groups())).isoformat()
    except ValueError:  # the 31st of June
        return None


def platform_of(name: str) -> str:
    """Returns the platform that the name of an image says, e.g. "sentinel-2a"; "" where it says none."""
    match = _PLATFORM.match(name)
    return f"sentinel-2{match[1].lower()}" if match else ""


def folder_names(tile: str) -> tuple[str, ...]:
    """Returns what a tile's folder may be called: with the zero in front, and without."""
    return (tile, tile[1:]) if tile.startswith("0") else (tile,)


class _Listing:
    """Adds up names, part by part.

    Args:
        known: The cells of the table.
    """

    def __init__(self, known: set[Place]) -> None:
        self._known = known
        self.labelled: set[Place] = set()
        self.labels_without_row = 0
        self.unknown_folders: set[tuple[str, str]] = set()
        self.unlabelled_folders: set[Place] = set()
        self.files_elsewhere = 0
        self.first_elsewhere: list[str] = []
        self.years: set[int] = set()
        self.images = 0
        self.digest = hashlib.sha256()

    def add_labels(self, names: Iterable[str]) -> None:
        """Adds names like "43QEU/82543044.png"."""
        for name in names:
            tile, _, file = name.partition("/")
            place = _place(tile, file.removesuffix(".png")) if file.endswith(".png") else None
            if place is None:
                self.files_elsewhere += 1
                self._name(f"{LABELS_FOLDER}/{name}")
            elif place in self._known:
                self.labelled.add(place)
            else:
                self.labels_without_row += 1
                self._name(f"{LABELS_FOLDER}/{name}")

    def add_images(self, names: Iterable[str]) -> None:
        """Adds names like "43QEU/82543044/S2A_43QEU_20201018_0_L2A.npz"."""
        for name in names:
            tile, cell_id, file = name.split("/")
            place = _place(tile, cell_id)
            if place is None or place not in self._known:
                if (tile, cell_id) not in self.unknown_folders:
                    self.unknown_folders.add((tile, cell_id))
                    self._name(f"{IMAGERY_FOLDER}/{tile}/{cell_id}")
            elif place not in self.labelled:
                self.unlabelled_folders.add(place)
            else:
                self.digest.update(f"{place[0]}/{place[1]}/{file}\n".encode(errors="surrogateescape"))
                self.images += 1
                if date := date_of(file.removesuffix(".npz")):
                    self.years.add(int(date[:4]))

    def _name(self, name: str) -> None:
        if len(self.first_elsewhere) < MOST_NAMED:
            self.first_elsewhere.append(one_line(name))


def _place(tile: str, cell_id: str) -> Place | None:
    try:
        normal = normalise_tile_name(tile)
    except ValueError:
        return None
    plain = tile in folder_names(normal) and cell_id.isascii() and cell_id.isdecimal()
    return (normal, int(cell_id)) if plain and str(int(cell_id)) == cell_id else None


def _listed(files: Files, folder: str, below: str) -> Iterator[Iterable[str]]:
    """Yields the names of the files in the tile folders, relative to the folder of these, in the order of the parts."""
    depth = below.count("/") + 2
    for part in _PARTS:
        yield ["/".join(path.split("/")[-depth:]) for path in files.glob(folder, f"{part}/{below}")]
