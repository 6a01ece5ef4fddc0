"""Where the files of a store lie in its folder."""

from beam_pipeline.features.identity import ExtractIdentity
from beam_pipeline.features.schema import PIECE_FILE, PIECES_FOLDER, TILE_SUFFIX


def tile_file(tile: str) -> str:
    """Returns the name of a tile's file."""
    return f"{tile}{TILE_SUFFIX}"


def piece_record(extract: ExtractIdentity) -> str:
    """Returns the name of the record of what an extract gave."""
    return f"{PIECES_FOLDER}/{extract.key}/{PIECE_FILE}"


def piece_of_tile(extract: ExtractIdentity, tile: str) -> str:
    """Returns the name of what an extract gave to a tile."""
    return f"{PIECES_FOLDER}/{extract.key}/{tile_file(tile)}"


def answered_record(extract: ExtractIdentity, tile: str) -> str:
    """Returns the name of the record of what Overpass gave to a tile: it is asked for one after the other."""
    return f"{PIECES_FOLDER}/{extract.key}/{tile}.json"
