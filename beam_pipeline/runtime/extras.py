"""Packages that only some commands need, and the extra that brings each."""

import importlib.util

from beam_pipeline.runtime.faults import InvalidInputError


def require_package(package: str, needed_by: str, extra: str) -> None:
    """Makes sure that a package of an extra is installed, without importing it.

    Args:
        package: Its name.
        needed_by: The flag or command that needs it, for the message.
        extra: The extra of pyproject.toml that lists it.

    Raises:
        InvalidInputError: It is not; the message says which extra to install.
    """
    if importlib.util.find_spec(package) is None:
        raise InvalidInputError(
            f"{needed_by} needs the package {package}, which is not installed. Install the extra {extra}: "
            f"pip install 'opensentinelmap[{extra}]', or '.[{extra}]' in a copy of the repository"
        )
