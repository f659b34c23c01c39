"""wsgate's end of one guardian process: starts it, reads its reports, relays PHP's log."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from wsgate.php import guardian
from wsgate.php.lines import LineSplitter, LogLine, read_log_line

# A background process that a script started can hold the log pipe open long after PHP's end.
LAST_WORDS = 0.25

# A cause of death quotes at most so many of PHP's own last complaints, and none older than this (in
# seconds): a warning of yesterday has nothing to do with it.
MOST_COMPLAINTS = 5
FRESH = 5.0


class GuardedPHP(ProcessProtocol):
    """One run of PHP below its guardian, from spawn to end.

    `ended` fires once, with the cause in words, when none of PHP's processes is left.
    `relay` is called with each line of PHP's log.
    """

    def __init__(self, reactor: Any, relay: Callable[[LogLine], None]) -> None:
        self.ended: Deferred[str] = Deferred()
        self._reactor = reactor
        self._relay = relay
        self._log = LineSplitter()
        self._reports = LineSplitter()
        self._complaints: deque[tuple[float, str]] = deque(maxlen=MOST_COMPLAINTS)
        self._php: int | None = None
        self._cause: str | None = None
        self._last_words: IDelayedCall | None = None

    def spawn(
        self,
        options: Mapping[str, str],
        command: Sequence[str],
        environment: Mapping[str, str],
        lock: int,
    ) -> None:
        """Start guardian and PHP. `options` are the guardian's keys. Raises OSError."""
        keys = [f"{name}={value}" for name, value in options.items()]
        arguments = ["-I", "-S", str(Path(guardian.__file__)), *keys, "--", *command]
        self._reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, *arguments],
            env=dict(environment),
            childFDs={
                guardian.LIFELINE: "w",
                guardian.REPORTS: "r",
                guardian.LOG: "r",
                guardian.LOCK: lock,
            },
        )

    def stop(self) -> None:
        """Let the guardian end PHP, which takes it a bounded time."""
        if self.transport is not None:
            self.transport.closeStdin()

    def kill(self) -> None:
        """End the guardian and PHP at once."""
        if self.transport is not None:
            with contextlib.suppress(ProcessExitedAlready):
                self.transport.signalProcess("KILL")
        self._kill_php()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Twisted: bytes of the log or of the reports."""
        if childFD == guardian.REPORTS:
            for line in self._reports.feed(data):
                self._reported(line)
        else:
            self._relay_all(self._log.feed(data))

    def processExited(self, reason: Failure) -> None:
        """Twisted: the guardian ended; its pipes may still hold lines."""
        self._last_words = self._reactor.callLater(LAST_WORDS, self._finish, reason)

    def processEnded(self, reason: Failure) -> None:
        """Twisted: the guardian ended and its pipes are empty."""
        self._finish(reason)

    def _finish(self, reason: Failure) -> None:
        if self._last_words is None:
            return
        if self._last_words.active():
            self._last_words.cancel()
        self._last_words = None
        if self.transport is not None:
            self.transport.loseConnection()
        self._relay_all(self._log.flush())
        if self._cause is None:
            self._cause = f"its guardian ended first ({reason.getErrorMessage()})"
            self._kill_php()
        oldest = self._reactor.seconds() - FRESH
        said = "; ".join(text for said_at, text in self._complaints if said_at >= oldest)
        self.ended.callback(f"{self._cause}: {said}" if said else self._cause)

    def _reported(self, line: bytes) -> None:
        word, _, number = line.partition(b" ")
        if word == b"started":
            self._php = int(number)
        elif word == b"ended":
            self._php = None
            self._cause = _in_words(int(number))

    def _relay_all(self, lines: list[bytes]) -> None:
        for line in lines:
            entry = read_log_line(line)
            if entry.level >= LogLevel.warn:
                self._complaints.append((self._reactor.seconds(), entry.text))
            self._relay(entry)

    def _kill_php(self) -> None:
        # The guardian reports PHP's end before its own, so this number is still PHP's.
        if self._php is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._php, signal.SIGKILL)


def _in_words(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"killed by signal {number} ({signal.strsignal(number)})"
    return f"exit status {os.WEXITSTATUS(status)}"
