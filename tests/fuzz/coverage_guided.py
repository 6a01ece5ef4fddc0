"""Fuzzes a reader of foreign files guided by the code that it reaches; for as long as wanted.

    pip install atheris
    python tests/fuzz/coverage_guided.py example -max_total_time=300

Readers: example, shard, png, ontology, item, overpass, cells. What follows is libFuzzer's. It ends at the first error
that is not meant for what was read, with the input, or with the number of executions.
"""

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

sys.path[0] = str(Path(__file__).resolve().parents[2])

with atheris.instrument_imports(include=["beam_pipeline"]):
    from beam_pipeline.cells.table import parse_cells_csv
    from beam_pipeline.imagery.stac_item import parse_item
    from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
    from beam_pipeline.labels.overpass_answer import parse_answer
    from beam_pipeline.records.example import decode
    from beam_pipeline.records.png import decode_png, encode_png
    from beam_pipeline.records.shards import frame, parse_shard
    from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
    from beam_pipeline.runtime.reach import Reach
    from tests.fuzz.test_decoders import CELLS, ITEM, PAYLOAD
    from tests.fuzz.test_inputs import ELEMENTS

Read = Callable[[bytes], object]


def _item(content: bytes) -> None:
    item = json.loads(content)
    if isinstance(item, dict):
        parse_item(item, "33TWN", "", Reach("https://example.org/v1"))


def _small_png() -> bytes:
    import numpy as np

    return encode_png(np.arange(24, dtype=np.uint16).reshape(3, 4, 2))


READERS: dict[str, tuple[Read, bytes]] = {
    "example": (decode, PAYLOAD),
    "shard": (lambda content: [*parse_shard(io.BytesIO(content), "x")], frame(b"abc") + frame(b"")),
    "png": (decode_png, _small_png()),
    "ontology": (lambda content: Ontology.load(content.decode()), DEFAULT_ONTOLOGY.read_bytes()),
    "item": (_item, json.dumps(ITEM).encode()),
    "overpass": (parse_answer, json.dumps({"elements": ELEMENTS}).encode()),
    "cells": (lambda content: parse_cells_csv(content.decode(), "x"), CELLS.encode()),
}
"""By name: the reader, and a sound input to begin with."""

# The second line: what json and decode() of the readers that take text raise for what is no JSON or no text.
_MEANT = (
    *(PermanentFault, InvalidInputError),
    *(json.JSONDecodeError, UnicodeDecodeError, RecursionError),
)


def main() -> None:
    """Fuzzes until libFuzzer's limits are reached."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in READERS:
        sys.exit(f"error: name a reader: {', '.join(READERS)}. Received: {name!r}")
    read, sound = READERS[name]
    meant = (*_MEANT, ValueError) if name == "overpass" else _MEANT

    def once(content: bytes) -> None:
        with contextlib.suppress(*meant):
            read(content)

    with tempfile.TemporaryDirectory() as corpus:
        Path(corpus, "sound").write_bytes(sound)
        atheris.Setup([*sys.argv, f"-max_len={max(4096, 2 * len(sound))}", corpus], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
