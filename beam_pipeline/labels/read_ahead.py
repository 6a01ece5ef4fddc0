"""Makes the next item of an iterator while the one before is used."""

import concurrent.futures
from collections.abc import Iterator
from typing import TypeVar

_T = TypeVar("_T")


def read_ahead(items: Iterator[_T]) -> Iterator[_T]:
    """Yields items that a second thread makes, one ahead: that pays where it waits or unpacks, as zlib lets others run.

    Args:
        items: None of them is None; what it raises passes unchanged.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
