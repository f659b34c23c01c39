"""One worker process, as its parent sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from wsgate.oneline import one_line
from wsgate.php.lines import LineSplitter
from wsgate.workers import reports
from wsgate.workers.inside import (
    BALANCE,
    BRIEF,
    ERRORS,
    HURRY,
    OUTPUT,
    REPORTS,
    STOP,
    STOP_REPLACED,
)

START_LIMIT = 60.0
"""Seconds after which a worker that is not ready is killed, and started anew."""

HURRY_LIMIT = 5.0
"""Seconds that a worker gets which was told to end at once: for its PHP, and its last report."""


class Watcher(Protocol):
    """Who wants to know of a worker's life."""

    def ready(self, worker: WorkerProcess) -> None:
        """It accepts connections."""

    def ended(self, worker: WorkerProcess, cause: str) -> None:
        """It has ended, and everything it reported has been read."""


class WorkerProcess(ProcessProtocol):
    """One run of a worker, from `spawn` to its end.

    `figures` are its last ones. `drain_limit` is how many seconds it may take to end by itself.
    """

    def __init__(self, reactor: Any, number: int, watcher: Watcher, drain_limit: float) -> None:
        self.number = number
        self.pid = 0
        self.figures = reports.NONE
        self._reactor = reactor
        self._watcher = watcher
        self._drain_limit = drain_limit
        self._timer: IDelayedCall | None = None
        self._draining = False
        self._is_ready = False
        self._renewal = b""
        self._lines = {
            OUTPUT: LineSplitter(),
            ERRORS: LineSplitter(),
            REPORTS: LineSplitter(reports.LONGEST_LINE),
        }

    def spawn(self, brief: bytes, balance: int, bus: int, ports: Sequence[int]) -> None:
        """Start it. `balance` is the memory's descriptor, `ports` are listening. Raises OSError.

        `bus` is its end of the socket between us.
        """
        descriptors: dict[int, int | str] = {BRIEF: "w", OUTPUT: "r", ERRORS: "r", REPORTS: "r"}
        descriptors.update(enumerate((balance, bus, *ports), BALANCE))
        # -P: nothing is imported from the working directory; what the parent can import, it can.
        command = [sys.executable, "-P", "-m", "wsgate.worker", str(self.number)]
        process = self._reactor.spawnProcess(
            self, sys.executable, command, env=_environment(os.environ), childFDs=descriptors
        )
        self.pid = process.pid
        process.write(brief)
        self._timer = self._reactor.callLater(START_LIMIT, self._lose_patience, "is not ready")

    def renew(self, line: bytes) -> None:
        """Tell it of renewed certificates, once it has read its brief."""
        self._renewal = line
        if self._is_ready and self.transport is not None:
            self.transport.write(line)

    def drain(self, *, replaced: bool = False) -> None:
        """Tell it to finish what it has begun and to end; kill it if that takes too long.

        `replaced`: its clients are told that they may connect again.
        """
        if not self._draining:
            self._draining = True
            self._signal(STOP_REPLACED if replaced else STOP)
            self._set_timer(self._drain_limit, "does not end")

    def hurry(self) -> None:
        """Tell it to end at once; kill it if it does not."""
        self._draining = True
        self._signal(HURRY)
        self._set_timer(HURRY_LIMIT, "does not end at once")

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Twisted: bytes of one of its pipes."""
        for line in self._lines[childFD].feed(data):
            if childFD == REPORTS:
                self._report_received(line)
            else:
                # Nothing of ours writes there: a crash, or a library in C.
                self._relay("wsgate", LogLevel.error if childFD == ERRORS else LogLevel.info, line)

    def processEnded(self, reason: Failure) -> None:
        """Twisted: it ended and its pipes are empty."""
        self._set_timer(None)
        for descriptor in (OUTPUT, ERRORS):
            for line in self._lines[descriptor].flush():
                self._relay("wsgate", LogLevel.error, line)
        self._watcher.ended(self, _in_words(reason))

    def _report_received(self, line: bytes) -> None:
        try:
            report = reports.from_line(line)
        except ValueError:
            self._relay("wsgate", LogLevel.error, b"a report that cannot be read: " + line)
            return
        if isinstance(report, reports.Figures):
            self.figures = self.figures.then(report)
        elif isinstance(report, reports.LogEvent):
            self._relay(report.namespace, LogLevel.lookupByName(report.level), report.text)
        elif not self._draining:
            self._set_timer(None)
            self._is_ready = True
            if self._renewal:
                self.renew(self._renewal)
            self._watcher.ready(self)

    def _relay(self, namespace: str, level: LogLevel, line: bytes | str) -> None:
        _logger(namespace).emit(
            level,
            "worker {worker}: {line}",
            worker=self.number,
            line=one_line(line, reports.LONGEST_TEXT),
        )

    def _set_timer(self, seconds: float | None, why: str = "") -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if seconds is not None:
            self._timer = self._reactor.callLater(seconds, self._lose_patience, why)

    def _lose_patience(self, why: str) -> None:
        self._relay("wsgate", LogLevel.error, f"{why}: killing it")
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self.transport is not None:
            with contextlib.suppress(ProcessExitedAlready):
                self.transport.signalProcess(number)


@cache
def _logger(namespace: str) -> Logger:
    return Logger(namespace=namespace)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The parent's, with its import path; without what systemd tells the parent alone."""
    own = ("LISTEN_", "NOTIFY_", "WATCHDOG_")
    kept = {name: value for name, value in environ.items() if not name.startswith(own)}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _in_words(reason: Failure) -> str:
    number = getattr(reason.value, "signal", None)
    if number:
        return f"killed by signal {number} ({signal.strsignal(number)})"
    return f"exit status {getattr(reason.value, 'exitCode', None)}"
