"""Runs one target under atheris, coverage-guided, and prints one line of figures at the end.

usage: python -m tests.fuzz TARGET CORPUS [LIBFUZZER OPTIONS]
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["wsgate", "tests.fuzz.targets"]):
    from tests.fuzz.targets import TARGETS

if len(sys.argv) < 3 or sys.argv[1] not in TARGETS:
    sys.exit(f"usage: python -m tests.fuzz TARGET CORPUS [OPTIONS]; TARGET: {', '.join(TARGETS)}")
atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
atheris.Fuzz()
