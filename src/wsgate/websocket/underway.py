"""Handshakes that are under way: how many, and who gives way when there are too many."""

from __future__ import annotations

from typing import Protocol

PATIENCE = 1.0
"""Seconds that a handshake has before a newer one may take its place."""


class Opening(Protocol):
    """A connection whose handshake is not over."""

    def give_way(self) -> None:
        """End: a newer connection takes this one's place."""


class HandshakesUnderWay:
    """At most `limit` handshakes at a time, 0 for any number.

    When all places are taken, the one that has taken longest gives way to a new one, unless it
    began less than `PATIENCE` ago. So slow clients, on purpose or not, never keep others out for
    longer than that; and in a storm of honest ones no work is thrown away half done.
    """

    __slots__ = ("_began", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._began: dict[Opening, float] = {}

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._began)

    def begin(self, opening: Opening, now: float) -> bool:
        """Give `opening` a place at the time `now`, in seconds; False if there is none."""
        if self.limit and len(self._began) >= self.limit:
            oldest, began = next(iter(self._began.items()))
            if now - began < PATIENCE:
                return False
            del self._began[oldest]
            oldest.give_way()
        self._began[opening] = now
        return True

    def end(self, opening: Opening) -> None:
        """The handshake of `opening` is over, however it ended. Harmless when it has no place."""
        self._began.pop(opening, None)
