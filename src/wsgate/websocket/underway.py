"""Handshakes that are under way: how many, and who gives way when there are too many."""

from __future__ import annotations

from typing import Protocol

PATIENCE = 5.0
"""Seconds that a handshake has before a newer one may take its place. In a storm over TLS, honest
ones take as long."""

LOOKS = 4
"""Looks, each in a turn of the reactor of its own, that find every place taken before one is made
free: a handshake that waits for nothing but us gets on in each of them."""

GIVING_WAY = 4
"""Handshakes that give way after so many looks. Were it all of them, a storm of honest clients that
are slow because they are many would never get through."""

CALM_GAP = 0.1
"""Seconds between two looks that tell a reactor with time to spare: twice the pause of a port. What
takes long then waits for its client, not for us."""

CALM_PATIENCE = 3.0
"""As `PATIENCE`, after `LOOKS` looks with no longer gap in which no handshake ended; then all that
have taken longer give way. Else a few addresses with silent connections would keep everybody else
waiting in the kernel."""

_ANY = 2**16


class Opening(Protocol):
    """A connection whose handshake is not over."""

    def give_way(self) -> None:
        """End: a newer connection takes this one's place."""


class HandshakesUnderWay:
    """At most `limit` handshakes at a time, 0 for any number.

    When all places are taken, the one that has taken longest gives way to a new one, unless it
    began less than `PATIENCE` ago, or `CALM_PATIENCE` where there is nothing else to do. So slow
    clients, on purpose or not, never keep others out for longer than that; and in a storm of honest
    ones no work is thrown away half done.
    """

    __slots__ = ("_began", "_calm_looks", "_full_looks", "_looked_at", "_patience", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._began: dict[Opening, float] = {}
        self._full_looks = 0
        self._calm_looks = 0
        self._looked_at = 0.0
        self._patience = PATIENCE

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._began)

    def room(self, now: float) -> int:
        """How many more may begin, those included for which others would give way.

        Asked by ports before they accept, once in a turn.
        """
        if not self.limit or len(self._began) < self.limit:
            self._full_looks = self._calm_looks = 0
            return self.limit - len(self._began) if self.limit else _ANY
        if self._is_calm(now):
            self._patience = CALM_PATIENCE
            return self._giving_way(now)
        self._patience = PATIENCE
        self._full_looks += 1
        if self._full_looks < LOOKS:
            return 0
        self._full_looks = 0
        return min(GIVING_WAY, self._giving_way(now))

    def _is_calm(self, now: float) -> bool:
        gap, self._looked_at = now - self._looked_at, now
        self._calm_looks = self._calm_looks + 1 if gap <= CALM_GAP else 0
        return self._calm_looks >= LOOKS

    def _giving_way(self, now: float) -> int:
        return sum(1 for began in self._began.values() if now - began >= self._patience)

    def begin(self, opening: Opening, now: float) -> bool:
        """Give `opening` a place at the time `now`, in seconds; False if there is none."""
        if self.limit and len(self._began) >= self.limit:
            oldest, began = next(iter(self._began.items()))
            if now - began < self._patience:
                return False
            del self._began[oldest]
            oldest.give_way()
        self._began[opening] = now
        return True

    def end(self, opening: Opening) -> None:
        """The handshake of `opening` is over, however it ended. Harmless when it has no place."""
        self._began.pop(opening, None)
