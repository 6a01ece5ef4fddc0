"""Bodies of HTTP answers, of which no server may send without end."""

from typing import Any

import requests

from beam_pipeline.faults import PermanentFault

MOST_BYTES = 1 << 27
"""Of an answer, unpacked. A page of 100 items is about 2.5 MB, the densest chip of OpenStreetMap some 20 MB."""

_PIECE_BYTES = 1 << 16


def read_body(answer: requests.Response, *_: Any, **__: Any) -> None:
    """Reads the body of an answer; a hook of `requests`, which without it reads on until memory is full.

    Raises:
        PermanentFault: "endless_answer": it is longer than `MOST_BYTES`.
    """
    pieces: list[bytes] = []
    size = 0
    for piece in answer.iter_content(_PIECE_BYTES):
        size += len(piece)
        if size > MOST_BYTES:
            answer.close()
            raise PermanentFault("endless_answer", f"{answer.url} sends more than {MOST_BYTES >> 20} MiB")
        pieces.append(piece)
    answer._content = b"".join(pieces)  # where requests itself keeps it
