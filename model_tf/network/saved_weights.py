"""Fills a net with the weights of a `.keras` archive, after their shapes were compared and before anything is read."""

import collections
import math
import os
import shutil
import tempfile
import zipfile
from typing import Any

import h5py
import keras
import numpy as np

from model_tf.network.archive import WEIGHTS_FILE

_OPTIMIZER = "optimizer/"
"""Begins the names of what a compiled net has more. A net that is not compiled leaves it where it is."""

_SLACK_BYTES = 1 << 22
"""Bytes that HDF5 needs for the names and places of the weights, and more."""

_NETS = 3
"""Parts of the size of the net that an archive may hold: the net, its momenta, and some room."""

_Shapes = collections.Counter[tuple[tuple[int, ...], str]]


def fill_in_weights(archive: zipfile.ZipFile, model: keras.Model) -> None:
    """Fills a net with the weights of an archive.

    Args:
        archive: As `open_archive` gives it.
        model: Gets the weights; where it is compiled, those of its optimizer too.

    Raises:
        BadZipFile: The weights are damaged, or are not what Keras writes of this net: others in number, shape or
            dtype, packed, or not in the file.
        KeyError: There are none.
    """
    wanted = _shapes_of(model)
    net_bytes = sum(
        math.prod(shape) * np.dtype(dtype).itemsize * count for (shape, dtype), count in wanted.items()
    )
    size = archive.getinfo(WEIGHTS_FILE).file_size
    if size > _NETS * net_bytes + _SLACK_BYTES:
        raise zipfile.BadZipFile(f"its weights have {size} bytes, those of the net {net_bytes}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, WEIGHTS_FILE)
        with archive.open(WEIGHTS_FILE) as source, open(path, "xb") as target:
            shutil.copyfileobj(source, target)  # which compares the check sum at its end
        try:
            with h5py.File(path, "r") as file:
                _require_same_shapes(file, model, wanted)
            model.load_weights(path)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of this machine, not of the file
            # Of HDF5 and of Keras, neither of which lists what it raises.
            raise zipfile.BadZipFile(str(error).partition("\n")[0]) from error


def _require_same_shapes(file: h5py.File, model: keras.Model, wanted: _Shapes) -> None:
    optimizer = getattr(model, "optimizer", None)
    found: _Shapes = collections.Counter()
    for name, dataset in _datasets(file):
        _require_plain(name, dataset)
        if optimizer is not None or not name.startswith(_OPTIMIZER):
            found[(dataset.shape, dataset.dtype.name)] += 1
    if found != wanted:
        more, fewer = (found - wanted).most_common(1), (wanted - found).most_common(1)
        said = [f"{what} {_text(*one)}" for what, one in (("it has", more), ("the net has", fewer)) if one]
        raise ValueError(f"its weights are of another net: {' where '.join(said)}")


def _text(shape_and_dtype: tuple[tuple[tuple[int, ...], str], int]) -> str:
    (shape, dtype), count = shape_and_dtype
    return f"{count} of {shape} {dtype}"


def _shapes_of(model: keras.Model) -> _Shapes:
    variables: list[Any] = list(model.variables)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        variables += optimizer.variables
    return collections.Counter((tuple(it.shape), it.dtype) for it in variables)


def _datasets(file: h5py.File) -> list[tuple[str, h5py.Dataset]]:
    """Returns all weights by name; a link of any kind is refused, as groups may then hold themselves."""
    found: list[tuple[str, h5py.Dataset]] = []
    seen = set()
    groups: list[tuple[str, h5py.Group]] = [("", file)]
    for prefix, group in groups:  # grows
        for name in group:
            path = f"{prefix}{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{path} is a link")
            it = group[name]
            place = h5py.h5o.get_info(it.id).addr
            if place in seen:
                raise ValueError(f"{path} has two names")
            seen.add(place)
            if isinstance(it, h5py.Group):
                groups.append((f"{path}/", it))
            elif isinstance(it, h5py.Dataset):
                found.append((path, it))
    return found


def _require_plain(name: str, dataset: h5py.Dataset) -> None:
    """Refuses what takes more to be read than it takes in the file."""
    stored = dataset.id.get_storage_size()
    if dataset.chunks is not None or dataset.is_virtual or dataset.external or stored != dataset.nbytes:
        raise ValueError(f"{name} is packed or lies elsewhere: {stored} bytes for {dataset.nbytes}")
