"""What the Autobahn testsuite's reports must hold, and whether they do.

``wstest`` exits 0 whatever happened, so this is the judge: exactly the expected cases, each OK, or
with just the other result that expected.toml allows it and gives a reason for.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

OK = "OK"
COLUMNS = (OK, "NON-STRICT", "INFORMATIONAL", "FAILED", "missing")


class Expected(NamedTuple):
    """Every case of the suite in its order, and the behaviour other than OK allowed to some."""

    cases: tuple[str, ...]
    allowed: Mapping[str, str]


class Result(NamedTuple):
    """What one case came to; the suite judges the messages and the close apart."""

    behaviour: str
    behaviour_on_close: str
    milliseconds: int


def load_expected(path: Path) -> Expected:
    """Read expected.toml. Raises ValueError for an allowance without a reason or of no case."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    cases = tuple(
        f"{group}.{number}"
        for group, count in content["cases"].items()
        for number in range(1, count + 1)
    )
    allowed = {}
    for entry in content.get("allowed", ()):
        if not entry.get("reason", "").strip():
            raise ValueError(f"{path}: case {entry['case']} is allowed without a reason")
        if entry["case"] not in cases:
            raise ValueError(f"{path}: there is no case {entry['case']}")
        allowed[entry["case"]] = entry["behaviour"]
    return Expected(cases, allowed)


def _part_matches(pattern: str, part: str) -> bool:
    if pattern == "*":
        return True
    first, _, last = pattern.partition("-")
    return int(first) <= int(part) <= int(last or first)


def select(cases: Iterable[str], patterns: Iterable[str]) -> tuple[str, ...]:
    """Give the cases that match any pattern, in the suite's order.

    A pattern is a case with ``*`` or a range for any number, and may end early: ``9``, ``1-7``,
    ``12.*.1-6``. Raises ValueError for a pattern that is none, or that matches no case.
    """
    cases = tuple(cases)
    chosen: set[str] = set()
    for pattern in patterns:
        parts = pattern.split(".")
        found = {
            case
            for case in cases
            if len(parts) <= len(case.split("."))
            and all(map(_part_matches, parts, case.split(".")))
        }
        if not found:
            raise ValueError(f"{pattern!r} matches no case of the suite")
        chosen |= found
    return tuple(case for case in cases if case in chosen)


def read_report(path: Path, agent: str) -> dict[str, Result]:
    """Read one index.json; a report that was never written holds no case."""
    if not path.exists():
        return {}
    report = json.loads(path.read_text(encoding="utf-8"))
    return {
        case: Result(entry["behavior"], entry["behaviorClose"], entry["duration"])
        for case, entry in report.get(agent, {}).items()
    }


def problems(
    results: Mapping[str, Result], wanted: Collection[str], allowed: Mapping[str, str]
) -> list[str]:
    """Give one line for each wanted case missing or not as it must be, and for each other case."""
    found = [
        f"{case}: in the report, but not among the cases to run"
        for case in results
        if case not in wanted
    ]
    for case in wanted:
        result = results.get(case)
        right = allowed.get(case, OK)
        if result is None:
            found.append(f"{case}: missing in the report")
        elif result.behaviour != right:
            found.append(f"{case}: {result.behaviour}, must be {right}")
        elif result.behaviour_on_close != right:
            found.append(f"{case}: {result.behaviour_on_close} on close, must be {right}")
    return found


def _column(result: Result | None) -> str:
    if result is None:
        return "missing"
    return result.behaviour if result.behaviour in COLUMNS else "FAILED"


def table(results: Mapping[str, Result], wanted: Iterable[str]) -> str:
    """Give the counts and the time by the first number of the cases, and in all."""
    counts: dict[str, Counter[str]] = {}
    milliseconds: Counter[str] = Counter()
    for case in wanted:
        result = results.get(case)
        for group in (case.split(".")[0], "all"):
            counts.setdefault(group, Counter())[_column(result)] += 1
            milliseconds[group] += result.milliseconds if result else 0
    groups = [*(group for group in counts if group != "all"), "all"]
    lines = ["group  cases  " + "  ".join(COLUMNS) + "      time"]
    for group in groups:
        count = counts.get(group, Counter())
        cells = "  ".join(f"{count[column]:>{len(column)}}" for column in COLUMNS)
        seconds = milliseconds[group] / 1000
        lines.append(f"{group:>5}  {count.total():>5}  {cells}  {seconds:>6.1f} s")
    return "\n".join(lines)
