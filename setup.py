"""For Beam's `--setup_file=./setup.py`, by which workers get this package; all is said in pyproject.toml."""

from setuptools import setup

setup()
