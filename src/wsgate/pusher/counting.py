"""How many subscribers channels have, told to all of them a moment after that has changed."""

from __future__ import annotations

from collections.abc import Callable

from wsgate.channels import Member
from wsgate.timeouts import Timeout, Timeouts

PAUSE = 1.0
"""Seconds in which changes of a channel become one: all its subscribers are told of each."""


class Counting:
    """Calls `tell` with a channel whose number of subscribers has changed.

    Of presence channels nothing is told here: their members are.
    """

    def __init__(self, timeouts: Timeouts, tell: Callable[[str], object]) -> None:
        self._timeouts = timeouts
        self._tell = tell
        self._changed: dict[str, Timeout] = {}
        self._of: dict[Member, set[str]] = {}

    def came(self, member: Member, channel: str) -> None:
        """A connection has subscribed."""
        self._of.setdefault(member, set()).add(channel)
        self._change(channel)

    def went(self, member: Member, channel: str) -> None:
        """A connection has unsubscribed. Harmless when it had not come."""
        channels = self._of.get(member, set())
        if channel in channels:
            channels.discard(channel)
            if not channels:
                del self._of[member]
            self._change(channel)

    def gone(self, member: Member) -> None:
        """A connection is gone from everywhere."""
        for channel in self._of.pop(member, ()):
            self._change(channel)

    def _change(self, channel: str) -> None:
        if channel not in self._changed:
            self._changed[channel] = self._timeouts.call_later(PAUSE, self._now, channel)

    def _now(self, channel: str) -> None:
        del self._changed[channel]
        self._tell(channel)
