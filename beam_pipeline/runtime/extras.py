"""Packages that only some commands need, and the extra that brings each."""

import importlib.util

from beam_pipeline.runtime.faults import InvalidInputError

_EXTRAS = {"matplotlib": "plots", "osmnx": "overpass"}
"""The package by which an extra is known, and the extra; pyproject.toml lists them."""


def require_package(package: str, needed_by: str) -> None:
    """Makes sure that a package of an extra is installed, without importing it.

    Args:
        package: Its name.
        needed_by: The flag or command that needs it, for the message.

    Raises:
        InvalidInputError: It is not; the message says which extra to install.
    """
    if importlib.util.find_spec(package) is None:
        raise InvalidInputError(
            f"{needed_by} needs the package {package}, which is not installed. Install the extra "
            f"{_EXTRAS[package]}: pip install 'opensentinelmap[{_EXTRAS[package]}]', or '.[{_EXTRAS[package]}]' "
            "in a copy of the repository"
        )
