#!/usr/bin/env python3
"""The lookup of `.ci/audit` for a mirror of PyPI that has no page a version: asks the page of every package.

That page lists the known vulnerabilities of the newest release alone, which is what the locks pin where no other
package holds them back. Those that are held back are named, to be looked up by hand. Exits 1 when a pin is listed or
withdrawn.
"""

import pathlib
import sys

import requests
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = pathlib.Path(__file__).resolve().parents[1]

pins = set()
for lock in ("requirements.txt", "tests/requirements.txt"):
    for line in (ROOT / lock).read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            pins.add((requirement.name, str(requirement.specifier).removeprefix("==")))

older, listed = [], []
with requests.Session() as session:
    for name, version in sorted(pins):
        answer = session.get(f"https://pypi.org/pypi/{name}/json", timeout=60)
        answer.raise_for_status()
        page = answer.json()
        newest = page["info"]["version"]
        if any(file["yanked"] for file in page["releases"].get(version, ())):
            listed.append(f"{name}=={version}: withdrawn")
        if Version(version) != Version(newest):
            older.append(f"{name}=={version} (newest {newest})")
        listed += [
            f"{name}=={newest}: {flaw['id']}" for flaw in page["vulnerabilities"] if not flaw["withdrawn"]
        ]

print(f"{len(pins) - len(older)} of {len(pins)} pins are the newest release. Listed: {len(listed)}")
print(*listed, sep="\n", end="\n" if listed else "")
print(f"{len(older)} are older, which this list tells nothing of: {', '.join(older)}")
sys.exit(1 if listed else 0)
