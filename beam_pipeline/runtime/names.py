"""Names of files and folders as people type them; each of these is the `type` of a flag."""

import argparse
import os


def path_name(text: str) -> str:
    """Returns a path, with `~` written out where the shell left it.

    Args:
        text: A path or a URL. A folder that is itself called `~` is given as `./~`.

    Raises:
        argparse.ArgumentTypeError: It is no UTF-8, which TensorFlow and JSON cannot hold, or no home is known.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError(
            f"holds bytes that are no UTF-8. Rename the file or folder. Received: {text}"
        ) from error
    if text != "~" and not text.startswith("~/"):
        return text
    expanded = os.path.expanduser(text)
    if expanded == text:
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
    if (path and not name) or name.endswith(":"):
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
        names.append(path_name(",".join(parts[:end])))
        del parts[:end]
    return tuple(name for name in names if name)
