"""What a worker tells its parent: lines of JSON on a pipe. Pure.

{"ready": true}                                       it accepts connections
{"tally": [received, answered, refused, gone], "connections": n}
{"log": [level, namespace, text]}                     one event of its log
"""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import NamedTuple

from wsgate.gateway import Tally

LONGEST_TEXT = 8192
LONGEST_LINE = 16 * LONGEST_TEXT
"""Bytes of a report: JSON writes a character in 12 bytes at most."""


class Ready(NamedTuple):
    """The worker accepts connections."""


class Figures(NamedTuple):
    """A worker's messages since its start, and its connections now."""

    tally: Tally
    connections: int

    def __add__(self, other: Figures) -> Figures:  # type: ignore[override]  # no tuple is added
        return Figures(self.tally + other.tally, self.connections + other.connections)


NONE = Figures(Tally(), 0)


class LogEvent(NamedTuple):
    """One event of a worker's log; `level` is a name of `LogLevel`'s."""

    level: str
    namespace: str
    text: str


Report = Ready | Figures | LogEvent

_LEVELS = frozenset({"debug", "info", "warn", "error", "critical"})


def to_line(report: Report) -> bytes:
    """As one line, with its end."""
    told: dict[str, object]
    if isinstance(report, Figures):
        told = {"tally": astuple(report.tally), "connections": report.connections}
    elif isinstance(report, LogEvent):
        told = {"log": [report.level, report.namespace[:256], report.text[:LONGEST_TEXT]]}
    else:
        told = {"ready": True}
    return json.dumps(told).encode() + b"\n"


def from_line(line: bytes) -> Report:
    """What `to_line` wrote. ValueError for anything else."""
    try:
        told = json.loads(line)
        if "ready" in told:
            return Ready()
        if "tally" in told:
            return Figures(Tally(*map(int, told["tally"])), int(told["connections"]))
        level, namespace, text = map(str, told["log"])
        if level not in _LEVELS:
            raise ValueError(level)
        return LogEvent(level, namespace, text)
    except (KeyError, TypeError, ValueError):
        raise ValueError("not a report of a worker") from None
