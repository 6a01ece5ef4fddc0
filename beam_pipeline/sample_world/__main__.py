"""Makes a sample world: `python -m beam_pipeline.sample_world --output out/world`."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.names import folder_name
from beam_pipeline.runtime.program import run_program
from beam_pipeline.sample_world.world import MAX_CELLS, default_directory, make_sample_world

PROG = "python -m beam_pipeline.sample_world"


def build_parser(prog: str = PROG) -> FlagParser:
    """Returns the parser of the flags.

    Args:
        prog: The command, as a person types it.
    """
    parser = FlagParser(
        prog,
        "Makes a small made-up place in the real formats: cells, Sentinel-2 scenes with a STAC\n"
        "catalogue, an OpenStreetMap extract, night lights and land cover. Nothing in it exists.",
    )
    parser.add_argument(
        "--output", type=folder_name, metavar="DIR", help="the folder to make (default: a cache)"
    )
    parser.add_argument("--cells", type=int, default=50, help=f"about how many cells, up to {MAX_CELLS} (50)")
    parser.add_argument("--seed", type=int, default=0, help="of the place and the splits (0)")
    parser.add_argument(
        "--full_tiles",
        action="store_true",
        help="rasters of the true 10980 px, one date a year: for benchmarks",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the world that the flags ask for and prints where its files are.

    Args:
        argv: Command-line arguments; None takes the program's own.

    Returns:
        The exit code: 0; 1 where the disk failed; 2 where the input cannot be used; 130 after Ctrl-C.
    """
    return run_program(lambda: _make(argv), interrupted="no world was made")


def _make(argv: Sequence[str] | None) -> int:
    started = time.monotonic()
    flags = build_parser().parse_all(argv)
    directory = (
        Path(flags.output) if flags.output else default_directory(flags.cells, flags.seed, flags.full_tiles)
    )
    world = make_sample_world(directory, flags.cells, flags.seed, flags.full_tiles)
    years = ",".join(map(str, world.years))
    print(
        f"cells    {world.cells_csv}\nscenes   {world.stac_catalog} ({years})\nmap      {world.osm_extract}\n"
        f"lights   {','.join(map(str, world.night_lights))}\nland     {world.land_cover}"
    )
    print(f"region   {world.region}\nseconds  {time.monotonic() - started:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
