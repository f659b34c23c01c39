"""PHP hears of the clients that have left: once each, and again where that may have gone wrong."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsgate import cgi
from wsgate.fastcgi import (
    ConnectionPool,
    Lane,
    NotSent,
    PoolStopped,
    Request,
    Response,
    encode_params,
)
from wsgate.floods import CalmLogger
from wsgate.gateway.answer import ScriptFailed, ScriptMissing, has_died, is_missing
from wsgate.journal import Entry
from wsgate.oneline import one_line
from wsgate.timeouts import Timeout, Timeouts

if TYPE_CHECKING:
    from wsgate.gateway.route import Route

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between two tries: of one disconnect, and of a PHP that is not there."""

OUTCOMES = ("delivered", "too old", "too many")

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
        self._outlets: dict[str, _Outlet] = {}
        self._waiters: list[Deferred[None]] = []

    def __len__(self) -> int:
        """How many PHP has not heard of yet."""
        return len(self._pending)

    def serve(self, routes: Mapping[str, Route]) -> None:
        """Ask these from now on, by their paths; others as long as their pools go on."""
        for path, route in routes.items():
            self._outlet(path, route).route = route
        for outlet in self._outlets.values():
            outlet.send_on()

    def add(self, entry: Entry, route: Route | None = None) -> None:
        """Tell PHP of `entry`; `route` is asked unless another is served at its path."""
        if entry.connection_id in self._pending:
            return
        departure = Departure(entry)
        self._pending[entry.connection_id] = departure
        self._bound()
        if not departure.is_dropped:
            self._outlet(entry.path, route).add(departure)

    def is_using_others(self, pools: Collection[ConnectionPool]) -> bool:
        """Whether any would go at once to a pool that is not one of `pools`."""
        return any(outlet.is_using_others(pools) for outlet in self._outlets.values())

    def settled(self) -> Deferred[None]:
        """Fires when none is about to be sent: those left wait for PHP, or for another start."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        self.look()
        return waiter

    def stop(self) -> None:
        """Send nothing more; what is left stays in the journal."""
        for outlet in self._outlets.values():
            outlet.stop()
        self.look()

    # -- what outlets call

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
        if self._waiters and not any(outlet.is_busy for outlet in self._outlets.values()):
            waiting, self._waiters = self._waiters, []
            for waiter in waiting:
                waiter.callback(None)

    def _bound(self) -> None:
        while len(self._pending) > self.limits.backlog:
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
            self.outcomes[outcome] += 1
            self.keeper.remove(departure.entry.connection_id)

    def _outlet(self, path: str, route: Route | None) -> _Outlet:
        outlet = self._outlets.get(path)
        if outlet is None:
            outlet = self._outlets[path] = _Outlet(self)
        if outlet.route is None:
            outlet.route = route
        return outlet


class _Outlet:
    """The departures of one path, on their way to its route's pool.

    A half of the pool's places at most, so that a thousand clients that leave do not keep the
    others from being served.
    """

    def __init__(self, departures: Departures) -> None:
        self.route: Route | None = None
        """None: the path is not served, so all wait."""
        self._departures = departures
        self._waiting: deque[Departure] = deque()
        self._later: list[tuple[float, int, Departure]] = []
        self._numbers: Iterator[int] = count()
        self._sending = 0
        self._pause = 0.0
        """Seconds of the last pause since PHP was there."""
        self._paused: Timeout | None = None
        self._alarm: Timeout | None = None
        self._stopped = False

    @property
    def is_busy(self) -> bool:
        if self._stopped:
            return False
        return bool(self._sending or (self._waiting and self._may_send))

    @property
    def _may_send(self) -> bool:
        return self.route is not None and self._paused is None and not self._stopped

    def is_using_others(self, pools: Collection[ConnectionPool]) -> bool:
        return self.route is not None and self.route.pool not in pools and self.is_busy

    def add(self, departure: Departure) -> None:
        if self._has_place and not self._waiting:
            self._send(departure)
        else:
            self._departures.keeper.note(departure.entry)
            self._waiting.append(departure)

    @property
    def _has_place(self) -> bool:
        if not self._may_send:
            return False
        assert self.route is not None
        # After a pause one finds out whether PHP is there.
        places = 1 if self._pause else max(1, self.route.pool.max_in_flight // 2)
        return self._sending < places

    def send_on(self) -> None:
        while self._waiting and self._has_place:
            departure = self._waiting.popleft()
            if not self._departures.is_too_old(departure):
                self._send(departure)
        self._departures.look()

    def stop(self) -> None:
        self._stopped = True
        for timeout in (self._paused, self._alarm):
            if timeout is not None:
                timeout.cancel()
        self._paused = self._alarm = None

    # -- one request

    def _send(self, departure: Departure) -> None:
        assert self.route is not None
        self._sending += 1
        if departure.failures:
            self._departures.retries += 1
        pool = self.route.pool
        sent = Deferred.fromCoroutine(self._ask(departure, self.route, pool))
        sent.addErrback(self._failed, departure, pool)
        sent.addBoth(self._over)

    async def _ask(self, departure: Departure, route: Route, pool: ConnectionPool) -> None:
        before = departure.entry
        # Before PHP can know of it: should we be killed now, the next one says that it may.
        departure.entry = before._replace(attempts=before.attempts + 1)
        await self._departures.keeper.put(departure.entry)
        params = route.event_params("disconnect") + departure_params(departure.entry)
        try:
            response = await pool.request(Request(params, b""), Lane.DISCONNECT)
        except NotSent:
            departure.entry = before
            raise
        _require_heard(response.stdout, response.stderr)
        self._pause = 0.0
        self._departures.delivered(departure)
        self._departures.heard(departure.entry.connection_id, response)

    def _failed(self, failure: Failure, departure: Departure, pool: ConnectionPool) -> None:
        error = failure.value
        if departure.is_dropped:
            return
        if isinstance(error, NotSent):
            self._departures.keeper.note(departure.entry)
            self._waiting.appendleft(departure)
            if not isinstance(error, PoolStopped):
                self._rest()
            elif self.route is not None and self.route.pool is pool:
                # Its path is not served any more, or nothing is.
                self.route = None
        else:
            departure.failures += 1
            self._try_later(departure)
        _log.warn(
            "disconnect of {id} is tried again: {error}",
            id=departure.entry.connection_id,
            error=one_line(str(error)),
            kind=type(error),
        )

    def _over(self, _result: object) -> None:
        self._sending -= 1
        self.send_on()

    # -- another try

    def _rest(self) -> None:
        """PHP is not there: leave it alone for a while."""
        if self._paused is None and not self._stopped:
            self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
            self._paused = self._departures.timeouts.call_later(self._pause, self._rested)

    def _rested(self) -> None:
        self._paused = None
        self.send_on()

    def _try_later(self, departure: Departure) -> None:
        pause = min(FIRST_PAUSE * 2 ** min(departure.failures - 1, 10), LONGEST_PAUSE)
        due = self._departures.timeouts.seconds() + pause
        heapq.heappush(self._later, (due, next(self._numbers), departure))
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._later and not self._stopped:
            delay = max(0.0, self._later[0][0] - self._departures.timeouts.seconds())
            self._alarm = self._departures.timeouts.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now = self._departures.timeouts.seconds()
        while self._later and self._later[0][0] <= now:
            self._waiting.append(heapq.heappop(self._later)[2])
        self._set_alarm()
        self.send_on()


def departure_params(entry: Entry) -> bytes:
    """The PARAMS records of a disconnect, but for those of its route."""
    return entry.params + encode_params(
        [
            (b"WSGATE_CLOSE_CODE", str(entry.code).encode()),
            (b"WSGATE_CLOSE_REASON", entry.reason.encode()),
            (b"WSGATE_ACCEPTED", b"yes" if entry.accepted else b"unknown"),
            (b"WSGATE_ATTEMPT", str(entry.attempts).encode()),
        ]
    )


def _nothing_to_say(_connection_id: str, _response: Response) -> None:
    """Answers are heard by nobody."""


def _require_heard(stdout: bytes | bytearray, stderr: bytes) -> None:
    """See whether the script has taken note, whatever it thinks of it.

    Raises:
        cgi.MalformedResponse, ScriptFailed, ScriptMissing: it has not.
    """
    head, body = cgi.parse_response(stdout)
    if has_died(stderr) or head.status >= 500:
        raise ScriptFailed(max(head.status, 500))
    if is_missing(head.status, body, stderr):
        raise ScriptMissing(head.status)
