"""Names of files and folders as people type them; each of these is the `type` of a flag."""

import argparse
import os
import re

_ROOT_OF_URLS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://+")


def path_name(text: str) -> str:
    """Returns a path, with `~` and `~user` written out where the shell left them.

    Args:
        text: A path or a URL. A folder that is itself called `~` is given as `./~`. Where nobody is called so, `~user`
            is a name, as to the shell.

    Raises:
        argparse.ArgumentTypeError: It is empty or no UTF-8, which TensorFlow and JSON cannot hold, or no home is known.
    """
    if not text:
        raise argparse.ArgumentTypeError(
            "is empty. Is a variable empty? Give a name, or . for the current folder"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError(
            f"holds bytes that are no UTF-8. Rename the file or folder. Received: {text}"
        ) from error
    expanded = os.path.expanduser(text)
    if expanded == text and (text == "~" or text.startswith("~/")):
        raise argparse.ArgumentTypeError(f"begins with ~, and no home folder is known. Received: {text}")
    return expanded


def folder_name(text: str) -> str:
    """Returns the path of a folder, without slashes at its end, as `path_name`.

    Raises:
        argparse.ArgumentTypeError: It names the root, as what stands before the slash is an empty variable; or as
            `path_name`.
    """
    path = path_name(text)
    name = path.rstrip("/")
    if not name or _ROOT_OF_URLS.fullmatch(path):
        raise argparse.ArgumentTypeError(
            f"names no folder but the root of all. Is a variable before the slash empty? Received: {text}"
        )
    return name


def path_names(text: str) -> tuple[str, ...]:
    """Returns the paths, URLs and patterns that commas separate, each as `path_name` gives it.

    A file on disk whose name holds commas is one.
    """
    parts = text.split(",")
    names: list[str] = []
    while parts:
        ends = (end for end in range(len(parts), 1, -1) if os.path.isfile(path_name(",".join(parts[:end]))))
        end = next(ends, 1)
        if name := ",".join(parts[:end]):
            names.append(path_name(name))
        del parts[:end]
    return tuple(names)
