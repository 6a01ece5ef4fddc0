"""Processes of this interpreter that run modules of this package."""

import os
import sys


def environment_of_modules() -> dict[str, str]:
    """Returns an environment in which `python -m` finds the modules that this process finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
