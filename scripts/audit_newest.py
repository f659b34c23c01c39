"""Whether PyPI knows a vulnerability of a locked set, by the pages of projects instead of versions.

usage: python scripts/audit_newest.py REQUIREMENTS...

A project's page speaks of its newest release only. So a pin that is not the newest is `not known`,
and the end is 1, as it is for a vulnerable one. Some mirrors leave the field empty: a project that
was given up with open vulnerabilities must show them, else nothing is believed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from packaging.requirements import Requirement

CANARY = "pycrypto"
"""Its last release is of 2013; PYSEC-2017-94 and others have no fix."""


def main() -> int:
    """Print what was found; 0 only if each pin is known and nothing is open."""
    if not open_entries(page_of(CANARY)):
        print(f"not known: this index has no vulnerabilities, not even those of {CANARY}")
        return 1
    verdicts = [verdict(requirement) for requirement in locked(sys.argv[1:])]
    for said in filter(None, verdicts):
        print(said)
    print(f"{len(verdicts)} locked dependencies, {len([v for v in verdicts if v])} not found good")
    return 1 if any(verdicts) or not verdicts else 0


def locked(files: list[str]) -> Iterator[Requirement]:
    """The pins that hold for this Python and machine, each once."""
    pins = {
        match[1].strip()
        for file in files
        for match in re.finditer(r"(?m)^([A-Za-z0-9].*?)\s*\\?$", Path(file).read_text())
    }
    for pin in sorted(pins):
        requirement = Requirement(pin)
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def verdict(requirement: Requirement) -> str:
    """What stands against a pin; empty if nothing does."""
    page = page_of(requirement.name)
    newest = page["info"]["version"]
    if not requirement.specifier.contains(newest, prereleases=True):
        return f"not known: {requirement.name}{requirement.specifier}, the newest is {newest}"
    found = open_entries(page)
    return f"vulnerable: {requirement.name} {newest}: {', '.join(found)}" if found else ""


def open_entries(page: dict[str, Any]) -> list[str]:
    """The identifiers of what is known against the newest release and not withdrawn."""
    return [entry["id"] for entry in page["vulnerabilities"] if not entry.get("withdrawn")]


def page_of(project: str) -> dict[str, Any]:
    """PyPI's JSON page of a project."""
    with urlopen(f"https://pypi.org/pypi/{project}/json", timeout=30) as response:
        page: dict[str, Any] = json.load(response)
        return page


if __name__ == "__main__":
    sys.exit(main())
