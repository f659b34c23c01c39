"""PHP hears of the clients that have left: once each, and again where that may have gone wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from wsgate.fastcgi import (
    ConnectionPool,
    Response,
)
from wsgate.floods import CalmLogger
from wsgate.gateway.wayout import WayOut
from wsgate.journal import Entry
from wsgate.timeouts import Timeouts

if TYPE_CHECKING:
    from wsgate.gateway.route import Route

OUTCOMES = ("delivered", "too old", "too many")

ENTRY_SIZE = 2048
"""Bytes of variables that a disconnect may have on the average of a full backlog. Most have less; a
client may send as much as a handshake's header holds."""

LEAST_SIZE = 16 * 2**20
"""Bytes that all may have however small the backlog is: a few long ones are no flood."""

_log = CalmLogger(namespace="wsgate")


class DepartureLimits(NamedTuple):
    """How long a disconnect is kept for PHP, in seconds, and how many are."""

    age: float = 86400.0
    backlog: int = 100_000


class Keeper(Protocol):
    """What departures ask of the journal."""

    def put(self, entry: Entry) -> Deferred[None]:
        """Keep an entry as it is now; fires when it is safe."""

    def note(self, entry: Entry) -> None:
        """As `put`, where nobody waits for it."""

    def remove(self, connection_id: str) -> None:
        """Forget an entry."""


class Departure:
    """One client that has left. `entry` is what the journal has of it, or will have."""

    __slots__ = ("entry", "failures", "is_dropped")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.failures = 0
        self.is_dropped = False


class Departures:
    """Those that PHP has not heard of yet.

    Args:
        keeper: the journal.
        timeouts: for pauses.
        wall: Unix time.
    """

    def __init__(
        self,
        keeper: Keeper,
        timeouts: Timeouts,
        wall: Callable[[], float],
        limits: DepartureLimits,
    ) -> None:
        self.keeper = keeper
        self.timeouts = timeouts
        self.wall = wall
        self.limits = limits
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        """What became of disconnects: "delivered", or given up as "too old" or "too many"."""
        self.heard: Callable[[str, Response], None] = _nothing_to_say
        """Called with a connection's id and PHP's answer to its disconnect, once PHP has heard."""
        self.retries = 0
        """Requests that were made because an earlier one failed."""
        self._pending: dict[str, Departure] = {}
        self._size = 0
        """Bytes of the variables of all of these."""
        self._ways_out: dict[str, WayOut] = {}
        self._waiters: list[Deferred[None]] = []
        self._elsewhere = 0

    def __len__(self) -> int:
        """How many PHP has not heard of yet."""
        return len(self._pending)

    def serve(self, routes: Mapping[str, Route]) -> None:
        """Ask these from now on, by their paths; others as long as their pools go on."""
        for path, route in routes.items():
            self._way_out(path, route).route = route
        for way_out in self._ways_out.values():
            way_out.send_on()

    def add(self, entry: Entry, route: Route | None = None) -> None:
        """Tell PHP of `entry`; `route` is asked unless another is served at its path."""
        if entry.connection_id in self._pending:
            return
        departure = Departure(entry)
        self._pending[entry.connection_id] = departure
        self._size += len(entry.params)
        self._bound()
        if not departure.is_dropped:
            self._way_out(entry.path, route).add(departure)

    def is_using_others(self, pools: Collection[ConnectionPool]) -> bool:
        """Whether any would go at once to a pool that is not one of `pools`."""
        return any(way_out.is_using_others(pools) for way_out in self._ways_out.values())

    def settled(self) -> Deferred[None]:
        """Fires when none is about to be sent: those left wait for PHP, or for another start."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        self.look()
        return waiter

    def begin_elsewhere(self) -> None:
        """A conversation tells PHP of an end by itself; `settled` waits for it, too."""
        self._elsewhere += 1

    def end_elsewhere(self) -> None:
        """It has done so, or given up."""
        self._elsewhere -= 1
        self.look()

    def stop(self) -> None:
        """Send nothing more; what is left stays in the journal."""
        for way_out in self._ways_out.values():
            way_out.stop()
        self.look()

    # -- what ways out call

    def delivered(self, departure: Departure) -> None:
        """PHP has heard of it."""
        self._forget(departure, "delivered")

    def is_too_old(self, departure: Departure) -> bool:
        """Whether it has been kept for long enough; then it is dropped."""
        left_at = departure.entry.left_at
        if departure.is_dropped:
            return True
        if left_at is None or self.wall() - left_at <= self.limits.age:
            return False
        self._drop(departure, "too old", "gateway.disconnect_age")
        return True

    def look(self) -> None:
        """Tell those who wait for `settled`."""
        is_busy = self._elsewhere or any(way.is_busy for way in self._ways_out.values())
        if self._waiters and not is_busy:
            waiting, self._waiters = self._waiters, []
            for waiter in waiting:
                waiter.callback(None)

    def _bound(self) -> None:
        backlog = self.limits.backlog
        most = max(backlog * ENTRY_SIZE, LEAST_SIZE)
        while len(self._pending) > backlog or self._size > most:
            oldest = next(iter(self._pending.values()))
            self._drop(oldest, "too many", "gateway.disconnect_backlog")

    def _drop(self, departure: Departure, outcome: str, setting: str) -> None:
        _log.error(
            "PHP never hears of the end of connection {id}: {setting} is exceeded",
            id=departure.entry.connection_id,
            setting=setting,
            kind=outcome,
        )
        self._forget(departure, outcome)

    def _forget(self, departure: Departure, outcome: str) -> None:
        departure.is_dropped = True
        if self._pending.pop(departure.entry.connection_id, None) is not None:
            self._size -= len(departure.entry.params)
            self.outcomes[outcome] += 1
            self.keeper.remove(departure.entry.connection_id)

    def _way_out(self, path: str, route: Route | None) -> WayOut:
        way_out = self._ways_out.get(path)
        if way_out is None:
            way_out = self._ways_out[path] = WayOut(self)
        if way_out.route is None:
            way_out.route = route
        return way_out


def _nothing_to_say(_connection_id: str, _response: Response) -> None:
    """Answers are heard by nobody."""
