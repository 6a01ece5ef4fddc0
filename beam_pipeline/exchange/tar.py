"""A tar archive as a stream: equal members give equal bytes, at any time and on any machine."""

import tarfile
from collections.abc import Iterable, Iterator

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_MODE = 0o644


def tar_chunks(members: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Writes an archive piece by piece; one member is in memory at a time.

    Its owner is 0, its time the beginning of 1970. It is padded to a whole record, as `tar` pads.

    Args:
        members: Name and content of each, in order. Names are ASCII of at most 100 characters.

    Yields:
        Its bytes.

    Raises:
        ValueError: A name does not fit.
    """
    written = 0
    for name, content in members:
        head = tarfile.TarInfo(name)
        head.size, head.mode = len(content), _MODE
        padding = bytes(-len(content) % _BLOCK)
        for piece in (head.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"), content, padding):
            written += len(piece)
            yield piece
    yield _END
    yield bytes(-(written + len(_END)) % tarfile.RECORDSIZE)
