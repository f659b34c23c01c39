"""The last event of each cache channel, for those who come later. Pure."""

from __future__ import annotations

from collections import OrderedDict

KEPT_FOR = 1800.0
"""Seconds, as Pusher keeps them."""

MOST = 10_000
"""Channels."""

MOST_BYTES = 64 * 1024 * 1024


class Cache:
    """Events by channel, the last of each, for `KEPT_FOR` seconds.

    Beyond `most` channels or `most_bytes` the oldest go first.
    """

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._events: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def keep(self, channel: str, event: bytes, now: float) -> None:
        """This is the channel's last event now."""
        self._drop(channel)
        self._events[channel] = now, event
        self._bytes += len(event)
        while len(self._events) > self._most or self._bytes > self._most_bytes:
            self._drop(next(iter(self._events)))

    def find(self, channel: str, now: float) -> bytes | None:
        """The channel's last event, None where there is none, or it is too old."""
        kept = self._events.get(channel)
        if kept is None or now - kept[0] > KEPT_FOR:
            self._drop(channel)
            return None
        return kept[1]

    def _drop(self, channel: str) -> None:
        kept = self._events.pop(channel, None)
        if kept is not None:
            self._bytes -= len(kept[1])
