"""What a script has the gateway send by itself: keep-alives, and delayed messages."""

from __future__ import annotations

from collections.abc import Callable

from wsgate.grip.control import KeepAlive, SendDelayed
from wsgate.timeouts import Timeout, Timeouts

SHORTEST = 1.0
"""Seconds between two keep-alives at least."""


class Pulses:
    """The keep-alive and the delayed message of one connection, at most one of each.

    `send` is called with a payload and whether it is binary. Pings and pongs are passed over: the
    gateway sends pings of its own.
    """

    __slots__ = ("_alive", "_delayed", "_keep_alive", "_send", "_sent_at", "_timeouts", "_waiting")

    def __init__(self, timeouts: Timeouts, send: Callable[[bytes, bool], object]) -> None:
        self._timeouts = timeouts
        self._send = send
        self._keep_alive: KeepAlive | None = None
        self._alive: Timeout | None = None
        self._delayed: SendDelayed | None = None
        self._waiting: Timeout | None = None
        self._sent_at = timeouts.seconds()

    def keep_alive(self, asked: KeepAlive) -> None:
        """Send `asked.content` from now on; the one before ends."""
        if self._alive is not None:
            self._alive.cancel()
            self._alive = None
        self._keep_alive = None
        if asked.content is not None and asked.type in ("text", "binary"):
            self._keep_alive = asked
            self._sent_at = self._timeouts.seconds()
            self._arm(asked, asked.timeout)

    def delay(self, asked: SendDelayed) -> None:
        """Send `asked.content` later, in place of what is delayed now."""
        self._drop_delayed()
        if asked.type in ("text", "binary"):
            self._delayed = asked
            self._waiting = self._timeouts.call_later(asked.timeout, self.flush)

    def flush(self) -> None:
        """Send what is delayed now."""
        delayed = self._delayed
        self._drop_delayed()
        if delayed is not None:
            self._send(delayed.content, delayed.type == "binary")

    def sent(self) -> None:
        """The client was sent something."""
        self._sent_at = self._timeouts.seconds()

    def stop(self) -> None:
        """Send nothing more."""
        self.keep_alive(KeepAlive(None))
        self._drop_delayed()

    def _drop_delayed(self) -> None:
        self._delayed = None
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _arm(self, asked: KeepAlive, delay: float) -> None:
        self._alive = self._timeouts.call_later(max(delay, SHORTEST), self._beat)

    def _beat(self) -> None:
        asked = self._keep_alive
        if asked is None or asked.content is None:
            return
        left = self._sent_at + asked.timeout - self._timeouts.seconds()
        if asked.mode == "idle" and left > 0:
            self._arm(asked, left)
            return
        self._arm(asked, asked.timeout)
        self._send(asked.content, asked.type == "binary")
