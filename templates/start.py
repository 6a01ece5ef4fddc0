"""Runs the program that the image was built for; the launcher of a Flex Template starts a file, and no module."""

import importlib
import os
import sys

if __name__ == "__main__":
    program = importlib.import_module(f"beam_pipeline.{os.environ['TEMPLATE_ENTRY']}")
    sys.exit(program.main())
