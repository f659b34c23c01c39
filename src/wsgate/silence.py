"""Whether a server still answers: one that is there but stuck is left, and connected to again."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

CHECK_EVERY = 1.0
"""Seconds between two looks at whether it answers; one that owes nothing is asked something."""

PATIENCE = 5
"""Looks that it may owe answers and say nothing. It answers within a millisecond otherwise."""


class Silence:
    """Looks at one connection, from `start` to `stop`.

    Args:
        owes: whether answers are due.
        ask: asks for something that has an answer; called when none is due.
        end: ends the connection; called with why when it said nothing for too long.
    """

    def __init__(
        self,
        clock: IReactorTime,
        owes: Callable[[], bool],
        ask: Callable[[], object],
        end: Callable[[str], object],
    ) -> None:
        self._owes = owes
        self._ask = ask
        self._end = end
        self._silent = 0
        """Looks in a row at which it owed something and had said nothing since the last."""
        self._check = LoopingCall(self._look)
        self._check.clock = clock

    def start(self) -> None:
        """The connection is made."""
        self._check.start(CHECK_EVERY, now=False)

    def stop(self) -> None:
        """The connection is gone. Harmless if it never was made."""
        if self._check.running:
            self._check.stop()

    def broken(self) -> None:
        """The server has said something."""
        self._silent = 0

    def _look(self) -> None:
        # Looks are counted, not seconds: this process may have been busy itself.
        self._silent += 1
        if not self._owes():
            self._ask()
        elif self._silent > PATIENCE:
            self._end(f"no answer for {PATIENCE} s")
