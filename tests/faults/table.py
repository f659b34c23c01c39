"""Writes the outcome of every case into docs/reliability.md, from the last runs of tests/faults.

`python -m tests.faults.table` reads reports/faults.json, which those runs write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.faults.cases import CASES

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "reports/faults.json"
DOCUMENT = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- faults:begin -->", "<!-- faults:end -->"


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table in Markdown: one row for each case, its tests' figures joined.

    `results` are those of reports/faults.json, by the name of the test.
    """
    lines = ["| case | what is done | outcome | measured |", "|---|---|---|---|"]
    for case, fault in CASES.items():
        tests = [result for _, result in sorted(results.items()) if result["case"] == case]
        cells = (case, fault, _outcome(tests), _measured(tests))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _outcome(tests: list[Mapping[str, Any]]) -> str:
    if not tests:
        return "not run"
    outcomes = {test["outcome"] for test in tests}
    if "failed" in outcomes:
        return "**failed**"
    if outcomes == {"skipped"}:
        return "not run here"
    return "passed"


def _measured(tests: list[Mapping[str, Any]]) -> str:
    said: dict[str, None] = {}
    for test in tests:
        said.update(dict.fromkeys(test["figures"]))
        if test["reason"]:
            said[f"not run here: {test['reason']}"] = None
    return "; ".join(said)


def write(document: Path, text: str) -> None:
    """Put `text` between the marks of the document. ValueError if they are not there."""
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{document} has no {BEGIN} … {END}")
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write(DOCUMENT, table(json.loads(RECORD.read_text(encoding="utf-8"))))
    print(f"wrote {DOCUMENT.relative_to(ROOT)}")
