"""How connections are ended that nobody asked to end: a few at a time, after their answers."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.interfaces import IReactorTime

if TYPE_CHECKING:
    from wsgate.websocket.protocol import GatewayProtocol


class Farewell(NamedTuple):
    """What a close frame of the server's own says (RFC 6455 §7.4, and IANA's registry for 1012)."""

    code: int
    reason: str


GOING_AWAY = Farewell(1001, "the server is shutting down")
RESTARTING = Farewell(1012, "the server restarts, connect again")
NOT_SERVED = Farewell(1001, "this path is no longer served")

EACH = 0.002
"""Seconds for each connection, where that is less than the whole may take: a few go at once."""

TICK = 0.05
"""Seconds between two groups."""

OPENING_GRACE = 1.0
"""Seconds that a handshake gets which has begun before; it is then accepted, and closed."""


class Draining:
    """Tells `connections` to close as soon as they have their answers.

    In random order, evenly over `seconds`, so that not all of them come back in one moment; over
    less where there are few. Those that are still in their handshake get `OPENING_GRACE`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        connections: Iterable[GatewayProtocol],
        farewell: Farewell,
        seconds: float,
    ) -> None:
        self._clock = clock
        self._farewell = farewell
        every = list(connections)
        self._waiting = [connection for connection in every if connection.is_conversing]
        self._opening = [connection for connection in every if not connection.is_conversing]
        random.shuffle(self._waiting)
        ticks = int(min(seconds, EACH * len(self._waiting)) / TICK) + 1
        self._at_once = -(-len(self._waiting) // ticks)

    def start(self) -> None:
        """Tell the first ones; the reactor does the rest."""
        if self._opening:
            self._clock.callLater(OPENING_GRACE, self._tell, self._opening)
        self._next()

    def _next(self) -> None:
        now, self._waiting = self._waiting[: self._at_once], self._waiting[self._at_once :]
        if self._waiting:
            self._clock.callLater(TICK, self._next)
        self._tell(now)

    def _tell(self, connections: Iterable[GatewayProtocol]) -> None:
        for connection in connections:
            connection.drain(self._farewell)
