"""The description of the net in a `.keras` archive, read as data: no class that it names is looked for."""

import contextlib
import dataclasses
import json
import os
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Self

import keras
import pydantic
import tensorflow as tf

from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parsing import parse_json
from beam_pipeline.runtime.storage_failures import is_full

CONFIG_FILE = "config.json"
"""Its name in the archive. Source: keras/src/saving/saving_lib.py."""

WEIGHTS_FILE = "model.weights.h5"
"""Likewise."""

_MOST_MEMBERS = 4  # three of Keras, and train.py's

_MOST_BYTES = 1 << 20  # of a member but the weights; that of the largest net's description is 3 kB

_SLACK_BYTES = 1 << 16  # for names and places of the members

_NO_SIZES = ("name", "dtype", "seed", "trainable")
"""Names count the nets of a process, and dtypes may differ between float32 and mixed precision."""


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """Opens a `.keras` archive of which everything can be read at the cost of its own size.

    Args:
        file: The archive.

    Raises:
        BadZipFile: It is none, or it would unpack to more than it is, which Keras' archives do not.
    """
    archive = zipfile.ZipFile(file)
    members, size = archive.infolist(), file.seek(0, os.SEEK_END)
    unpacked = sum(member.file_size for member in members)
    if len(members) > _MOST_MEMBERS or len({member.filename for member in members}) != len(members):
        raise zipfile.BadZipFile(
            f"it holds {len(members)} files, of which Keras writes {_MOST_MEMBERS} at most"
        )
    if unpacked > size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise zipfile.BadZipFile(f"it would unpack to {unpacked} bytes, and Keras packs nothing")
    if size > unpacked + _SLACK_BYTES:
        raise zipfile.BadZipFile(f"it has {size} bytes, and {unpacked} in its files")
    for member in members:
        if member.filename != WEIGHTS_FILE and member.file_size > _MOST_BYTES:
            raise zipfile.BadZipFile(
                f"{member.filename} has {member.file_size} bytes, at most {_MOST_BYTES} are read"
            )
    return archive


@dataclasses.dataclass(frozen=True)
class SavedNet:
    """The record that Keras keeps of a net besides its weights.

    Attributes:
        class_name: Of the net's class.
        config: The arguments of its constructor.
    """

    class_name: str
    config: dict[str, Any]

    @classmethod
    def of_archive(cls, archive: zipfile.ZipFile) -> Self:
        """Reads it from an archive.

        Raises:
            KeyError: The archive describes no net.
            MalformedError: The description is not one of Keras.
        """
        saved: Self = parse_json(pydantic.TypeAdapter(cls), archive.read(CONFIG_FILE))
        return saved

    @classmethod
    def of_model(cls, model: keras.Model) -> Self:
        """Describes a net as its archive would."""
        content = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
        return cls(content["class_name"], content["config"])

    @property
    def sizes(self) -> dict[str, Any]:
        """The class and all numbers that decide the shapes of the weights, those of the backbone included."""
        content = {"class": self.class_name, **self.config}
        backbone = content.pop("backbone", None)
        arguments = backbone.get("config") if isinstance(backbone, dict) else None
        # Nets were saved without it before there was a choice.
        content |= {"upsample_20m": False, **arguments} if isinstance(arguments, dict) else {}
        return {key: value for key, value in content.items() if key not in _NO_SIZES}


@contextlib.contextmanager
def explain_load_faults(path: str, advice: str) -> Iterator[None]:
    """Runs what reads an archive, and tells one that is damaged from a machine that cannot read it.

    Of zipfile, h5py, numpy and Keras none lists what it raises. What h5py says of a file's content is an OSError
    without a number.

    Args:
        path: The archive, as a person gave it.
        advice: What to do where it is damaged.

    Yields:
        Nothing.

    Raises:
        InvalidInputError: It cannot be loaded; the message says why. A disk that is full is raised as it came.
    """
    try:
        yield
    except InvalidInputError:
        raise
    except Exception as error:
        if is_full(error):
            raise  # the disk of temporary files; which is no matter of the archive
        said = f"({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        of_machine = isinstance(error, ImportError | MemoryError | tf.errors.ResourceExhaustedError)
        if of_machine or (isinstance(error, OSError) and error.errno is not None):
            raise InvalidInputError(
                f"{path} cannot be loaded on this machine {said}. It may be sound: mend that, and give the same "
                "command again."
            ) from error
        raise InvalidInputError(
            f"{path} is damaged, or train.py did not write it {said}. {advice}."
        ) from error
