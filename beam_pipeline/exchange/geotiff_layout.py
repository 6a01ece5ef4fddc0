"""The names of the files of the format `geotiff`, relative to its folder."""

TILES_FOLDER = "tiles"
ZONES_FOLDER = "zones"
STYLES_FOLDER = "styles"


def tile_folder(tile: str) -> str:
    """Returns the folder of a tile."""
    return f"{TILES_FOLDER}/{tile}"


def cell_folder(tile: str, cell_id: int) -> str:
    """Returns the folder of a cell's files."""
    return f"{tile_folder(tile)}/{cell_id}"


def item_name(cell_id: int, year: int) -> str:
    """Returns the name of a STAC item in its cell's folder."""
    return f"{cell_id}-{year}.json"


def label_name(stem: str) -> str:
    """Returns the name of a label channel's file in its cell's folder."""
    return f"{stem}.tif"


def image_key(slot: int, what: str) -> str:
    """Returns what an image's part is called, e.g. "image_0_gsd_10" or "image_1_scl"."""
    return f"image_{slot}_{what}"


def image_name(year: int, slot: int, what: str) -> str:
    """Returns the name of the file of an image's part in its cell's folder."""
    return f"{year}_{image_key(slot, what)}.tif"
