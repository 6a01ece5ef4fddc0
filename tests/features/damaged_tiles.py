"""Reads a tile file whose footer is damaged here and there.

    python -m tests.features.damaged_tiles FILE SEED ...

It is a process of its own, because what is not caught ends it.
"""

import io
import sys
from pathlib import Path

from beam_pipeline.features.reading import objects_of
from beam_pipeline.features.stored_tile import StoredTile
from beam_pipeline.runtime.faults import PermanentFault
from tests.imagery.damaged_footers import damage


def main():
    whole = Path(sys.argv[1]).read_bytes()
    for seed in map(int, sys.argv[2:]):
        try:
            list(objects_of(StoredTile(io.BytesIO(damage(whole, seed)), "a")))
        except PermanentFault as fault:
            print(seed, str(fault).replace("\n", " "))
        else:
            print(seed, "read")


if __name__ == "__main__":
    main()
