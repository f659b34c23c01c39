"""What happens by itself on a connection: keep-alives, delayed messages, asking PHP again."""

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


class Interval:
    """Calls `due` whenever `seconds` have passed without `used`."""

    __slots__ = ("_due", "_seconds", "_timeout", "_timeouts", "_used_at")

    def __init__(self, timeouts: Timeouts, seconds: float, due: Callable[[], object]) -> None:
        self._timeouts = timeouts
        self._seconds = seconds
        self._due = due
        self._used_at = timeouts.seconds()
        self._timeout = timeouts.call_later(seconds, self._over)

    def used(self) -> None:
        """It begins anew."""
        self._used_at = self._timeouts.seconds()

    def stop(self) -> None:
        """Call nothing any more."""
        self._timeout.cancel()

    def _over(self) -> None:
        left = self._used_at + self._seconds - self._timeouts.seconds()
        self._timeout = self._timeouts.call_later(left if left > 0 else self._seconds, self._over)
        if left <= 0:
            self._due()
