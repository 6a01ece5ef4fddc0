"""Proves from the files alone that a dataset is whole.

    python -m beam_pipeline.verify out/sample

Every planned cell-year must be accounted for once, as an example, a rejection or a dead letter; every shard must be
readable and be what its summary and dataset.json say; every example must be what the plan and the schema say. All
of it is read. Exit codes: 0, nothing differs; 1, something does, and the table says what; 2, it is no dataset.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from beam_pipeline import plan
from beam_pipeline.closing import DATASET_FILE, DEAD_LETTERS_FILE
from beam_pipeline.faults import Fault, InvalidInputError
from beam_pipeline.records.audit import audit_dataset
from beam_pipeline.records.files import Files, join
from beam_pipeline.records.findings import Findings
from beam_pipeline.storage import BeamFiles, use_default_options


def verify_dataset(files: Files, output: str) -> Findings:
    """Reads a dataset and compares everything in it with everything else; shows a progress bar.

    Args:
        files: The file system.
        output: The dataset's folder.

    Returns:
        What was checked and what differs.

    Raises:
        InvalidInputError: The folder holds no plan, so it is no dataset.
        Fault: The storage failed.
    """
    for name in (plan.UNITS_FILE, plan.FINGERPRINT_FILE):
        if not files.exists(join(output, name)):
            raise InvalidInputError(f"There is no {name}: this is no dataset. Received: {output}")
    findings = Findings()
    try:
        text = files.read_text(join(output, plan.UNITS_FILE))
        fingerprint: dict[str, Any] = json.loads(files.read_text(join(output, plan.FINGERPRINT_FILE)))
        units = [plan.Unit.from_json(line) for line in text.splitlines()]
        planned = fingerprint["cells_sha256"]
        if not all(type(year) is int for year in fingerprint["years"]):
            raise ValueError(f"years are {fingerprint['years']!r}")
        _ = fingerprint["allow_single"], fingerprint["ontology_sha256"]  # which the audit reads
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        findings.differ("plan", "plan", f"cannot be read: {type(error).__name__}: {error}")
        return findings
    if hashlib.sha256(text.encode()).hexdigest() != planned:
        findings.differ("plan", plan.UNITS_FILE, "is not the plan whose hash is in the fingerprint")
    with tqdm(total=len(units), unit="shard", desc="verify", leave=False) as bar:
        audit_dataset(
            files, output, units, fingerprint, DATASET_FILE, DEAD_LETTERS_FILE, findings, bar.update
        )
    return findings


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m beam_pipeline.verify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", help="a folder that build_dataset wrote, local or gs://")
    output = parser.parse_args(argv).dataset.rstrip("/")
    use_default_options()
    try:
        findings = verify_dataset(BeamFiles(), output)
    except (InvalidInputError, Fault) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(findings.table())
    return 1 if findings.kinds else 0


if __name__ == "__main__":
    sys.exit(main())
