"""What signals do: SIGTERM and SIGINT stop, a second one ends at once, SIGHUP reloads.

Twisted's own handlers stop too, but twistd then ends *by* the signal (status -15), clean as the
stop may be, and a second signal is an error to them. With ours it ends with status 0.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

log = Logger(namespace="wsgate")

SAME = 0.5
"""Seconds within which a second signal is the first once more: timeout(1), terminals and systemd
send one to the process, and again to its group."""

OVERDUE = 5.0
"""Seconds after the hard limit at which the kernel ends a process that cannot even give up."""


class Signals:
    """The signals of one process, from the reactor's start on.

    `hurry` is called for a second SIGTERM or SIGINT, and when a stop takes `limit` seconds;
    `reload` for SIGHUP. Should the reactor hang in a stop, SIGALRM ends the process `OVERDUE`
    seconds later.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        hurry: Callable[[], object],
        reload: Callable[[], object],
        limit: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self._hurry = hurry
        self._reload = reload
        self._limit = limit
        self._stopping_since: float | None = None
        self._has_terminal = sys.stdin is not None and os.isatty(0)

    def install(self) -> None:
        """Take over as soon as the reactor runs: only then has it installed its own."""
        self._reactor.callWhenRunning(self._install)

    def _install(self) -> None:
        signal.signal(signal.SIGTERM, self._received)
        # Not where somebody debugs (twistd --debug).
        if getattr(signal.getsignal(signal.SIGINT), "__name__", "") in ("sigInt", _DEFAULT):
            signal.signal(signal.SIGINT, self._received)
        signal.signal(signal.SIGHUP, self._received)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._act, signal.Signals(number))

    def _act(self, which: signal.Signals) -> None:
        if which is not signal.SIGHUP or self._terminal_has_gone():
            self._asked_to_stop(which.name)
        elif self._stopping_since is None:
            self._reload()

    def _asked_to_stop(self, name: str) -> None:
        now: float = self._reactor.seconds()
        if self._stopping_since is None:
            self._stopping_since = now
            log.info("{signal}: stopping", signal=name)
            self._limit_the_stop(self._limit())
            with contextlib.suppress(ReactorNotRunning):
                self._reactor.stop()
        elif now - self._stopping_since >= SAME:
            log.warn("{signal} again: ending at once", signal=name)
            self._hurry()

    def _limit_the_stop(self, seconds: float) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds + OVERDUE)
        self._reactor.callLater(seconds, self._too_long, seconds)

    def _too_long(self, seconds: float) -> None:
        log.warn(
            "not stopped within {seconds:g} s (gateway.stop_timeout): ending at once",
            seconds=seconds,
        )
        self._hurry()

    def _terminal_has_gone(self) -> bool:
        """Whether this SIGHUP says that the window was closed in which wsgate was started."""
        if not self._has_terminal:
            return False
        try:
            os.tcgetpgrp(0)
        except OSError:
            return True
        return False


_DEFAULT = signal.default_int_handler.__name__
