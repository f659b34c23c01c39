"""Log lines that come in floods: the first of a kind are written, the rest counted.

PHP that is away fails ten thousand messages a second, and a stranger can be refused as often. A log
with a line for each would fill the disk, and tell no more than ten of them and a number.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel

BURST = 10
"""Lines of a kind that are written in each window."""

WINDOW = 10.0
"""Seconds."""

MAX_KINDS = 1000
"""Kinds told apart in a window; those beyond share one."""


class _Kind:
    """What came of one kind in this window, and the first line of it that was left out."""

    __slots__ = ("count", "line")

    def __init__(self) -> None:
        self.count = 0
        self.line: tuple[Logger, Any, str, dict[str, Any]] | None = None


class Floods:
    """Decides about each line of log that may come in floods.

    Until `start` every line is written. From then on, `BURST` lines of a kind are written in a
    `WINDOW`, which begins with the first line of any kind; at its end a line says how many more
    there were, with one of them as an example. `suppressed` counts all that were left out, ever.
    """

    def __init__(self) -> None:
        self.suppressed = 0
        self._clock: IReactorTime | None = None
        self._timer: IDelayedCall | None = None
        self._kinds: dict[Hashable, _Kind] = {}

    def start(self, clock: IReactorTime) -> None:
        """From now on, limit."""
        self._clock = clock

    def stop(self) -> None:
        """Limit no more; say what was left out so far."""
        self._clock = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._window_over()

    def allows(
        self, kind: Hashable, log: Logger, level: Any, line: str, values: dict[str, Any]
    ) -> bool:
        """Whether a line of this kind is to be written; if not, it is counted."""
        if self._clock is None:
            return True
        seen = self._kinds.get(kind)
        if seen is None:
            seen = self._begin(kind)
        seen.count += 1
        if seen.count <= BURST:
            return True
        self.suppressed += 1
        if seen.line is None:
            seen.line = (log, level, line, values)
        return False

    def _begin(self, kind: Hashable) -> _Kind:
        if self._timer is None and self._clock is not None:
            self._timer = self._clock.callLater(WINDOW, self._window_over)
        if len(self._kinds) >= MAX_KINDS:
            kind = None
        return self._kinds.setdefault(kind, _Kind())

    def _window_over(self) -> None:
        self._timer = None
        kinds, self._kinds = self._kinds, {}
        for seen in kinds.values():
            if seen.line is not None:
                log, level, line, values = seen.line
                Logger.emit(
                    log,
                    level,
                    "{more} more like this in the last {window:g} s: " + line,
                    **values,
                    more=seen.count - BURST,
                    window=WINDOW,
                )


OF_THIS_PROCESS = Floods()
"""A process has one log, and one limit on it."""


class CalmLogger(Logger):
    """A logger for what outsiders or PHP can cause as often as they like.

    The kind of a line is `kind`, where that is given, else the format and the failure's type.
    """

    floods = OF_THIS_PROCESS

    def __get__(self, instance: object, owner: object = None) -> CalmLogger:
        """As a class attribute it is itself; Twisted's makes a new one each time."""
        return self

    def emit(
        self, level: LogLevel, format: str | None = None, *, kind: Hashable = None, **values: Any
    ) -> None:
        """As Twisted's, unless there were too many of the kind."""
        line = format or ""
        if kind is None:
            failure = values.get("log_failure")
            kind = (line, failure.type if failure is not None else None)
        if self.floods.allows(kind, self, level, line, values):
            super().emit(level, format, **values)
