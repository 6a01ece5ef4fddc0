"""The content that readers show, to be compared."""

from collections.abc import Iterable
from typing import Any

import numpy as np

Key = tuple[int, int, int]


def images_of_model_tf(info: Any, split: str, **given: Any) -> dict[Key, tuple[np.ndarray, ...]]:
    """(cell_id, year, slot) -> (gsd_10, gsd_20, label), bands last, that `model_tf` shows, in its order."""
    from model_tf.data.batches import make_dataset

    dataset = make_dataset(
        info, split, pairs_per_batch=given.get("hosts", 1), statistics=info.statistics, with_ids=True, **given
    )
    found = {}
    for x, y, ids in dataset.as_numpy_iterator():
        for row, key in enumerate(
            zip(*(ids[name].tolist() for name in ("cell_id", "year", "slot")), strict=True)
        ):
            if key != (-1, -1, -1):
                found[key] = (x["gsd_10"][row], x["gsd_20"][row], y[row])
    return found


def images_of_pairs(pairs: Iterable[dict[str, Any]]) -> dict[Key, tuple[np.ndarray, ...]]:
    """The same of pairs of `readers`, arrays or tensors, whose bands come first; no image may come twice."""
    found: dict[Key, tuple[np.ndarray, ...]] = {}
    for pair in pairs:
        arrays = {name: np.asarray(value) for name, value in pair.items()}
        keys = np.stack([arrays[name] for name in ("cell_id", "year", "slot")], axis=-1).tolist()
        for slot, key in enumerate(map(tuple, keys)):
            parts = tuple(np.moveaxis(arrays[name][slot], 0, -1) for name in ("gsd_10", "gsd_20", "label"))
            if key == (-1, -1, -1):
                assert not parts[0].any()
                assert not parts[1].any()
                assert (parts[2] == 255).all()
            else:
                assert key not in found, key
                found[key] = parts
    return found


def assert_same(found: dict[Key, tuple[np.ndarray, ...]], others: dict[Key, tuple[np.ndarray, ...]]) -> None:
    """The same images, each equal in every value, in whatever order."""
    assert sorted(found) == sorted(others)
    assert found
    for key, parts in found.items():
        for part, other in zip(parts, others[key], strict=True):
            assert part.dtype == other.dtype
            np.testing.assert_array_equal(part, other, err_msg=str(key))
