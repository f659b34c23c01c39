"""What a worker tells its parent: lines of JSON on a pipe. Pure.

{"ready": true}                                       it accepts connections
{"tally": [received, answered, refused, gone], "connections": n, "samples": [[key, value]]}
{"log": [level, namespace, text]}                     one event of its log
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from typing import NamedTuple

from wsgate.figures import Key, lasting, merged
from wsgate.gateway import Tally

LONGEST_TEXT = 8192
LONGEST_LINE = 16 * LONGEST_TEXT
"""Bytes of a report: JSON writes a character in 12 bytes at most."""


SAMPLES_PER_LINE = 100
"""Few enough for `LONGEST_LINE`, however long the paths of routes are within reason."""


class Ready(NamedTuple):
    """The worker accepts connections."""


class Figures(NamedTuple):
    """A worker's messages since its start, and its connections now.

    `samples` are the figures of `/metrics`, where there is one; of a report, those that changed.
    """

    tally: Tally
    connections: int
    samples: Mapping[Key, float] = {}

    def in_words(self) -> str:
        """As a line for people."""
        tally = self.tally
        return f"{self.connections} connections, {tally.received} messages, {tally.refused} refused"

    def __add__(self, other: Figures) -> Figures:  # type: ignore[override]  # no tuple is added
        return Figures(
            self.tally + other.tally,
            self.connections + other.connections,
            merged([self.samples, other.samples]),
        )

    def since(self, last: Figures) -> Iterator[Figures]:
        """What there is to report after `last`, in parts that fit a line; none if nothing."""
        changed = [pair for pair in self.samples.items() if last.samples.get(pair[0]) != pair[1]]
        for index in range(0, len(changed), SAMPLES_PER_LINE):
            yield self._replace(samples=dict(changed[index : index + SAMPLES_PER_LINE]))
        if not changed and self[:2] != last[:2]:
            yield self._replace(samples={})

    def then(self, report: Figures) -> Figures:
        """These figures after a report of changes."""
        return report._replace(samples={**self.samples, **report.samples})

    def of_ended(self) -> Figures:
        """What is left of them when their process has ended."""
        return Figures(self.tally, 0, lasting(self.samples))


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
        told = {
            "tally": astuple(report.tally),
            "connections": report.connections,
            "samples": list(report.samples.items()),
        }
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
            samples = {tuple(map(str, key)): float(value) for key, value in told["samples"]}
            return Figures(Tally(*map(int, told["tally"])), int(told["connections"]), samples)
        level, namespace, text = map(str, told["log"])
        if level not in _LEVELS:
            raise ValueError(level)
        return LogEvent(level, namespace, text)
    except (KeyError, TypeError, ValueError):
        raise ValueError("not a report of a worker") from None
