"""The disconnects of one path on their way to PHP: a few at a time, and again where one failed."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterator
from itertools import count
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsgate import cgi
from wsgate.fastcgi import ConnectionPool, Lane, NotSent, PoolStopped, Request, encode_params
from wsgate.floods import CalmLogger
from wsgate.gateway.answer import ScriptFailed, ScriptMissing, has_died, is_missing
from wsgate.journal import Entry
from wsgate.oneline import one_line
from wsgate.timeouts import Timeout

if TYPE_CHECKING:
    from wsgate.gateway.departures import Departure, Departures
    from wsgate.gateway.route import Route

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between two tries: of one disconnect, and of a PHP that is not there."""

AHEAD = 64
"""Disconnects of one path that are written to the journal together, before PHP gets them."""

_log = CalmLogger(namespace="wsgate")


class WayOut:
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
        self._preparing = 0
        """Those that the journal is about to have."""
        self._prepared: deque[Departure] = deque()
        """Those that it has, and PHP may get."""
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
        under_way = self._sending or self._preparing or self._prepared
        return bool(under_way or (self._waiting and self._may_send))

    @property
    def _may_send(self) -> bool:
        return self.route is not None and self._paused is None and not self._stopped

    def is_using_others(self, pools: Collection[ConnectionPool]) -> bool:
        return self.route is not None and self.route.pool not in pools and self.is_busy

    def add(self, departure: Departure) -> None:
        if self._has_room and not self._waiting:
            self._prepare(departure)
        else:
            self._departures.keeper.note(departure.entry)
            self._waiting.append(departure)

    @property
    def _has_room(self) -> bool:
        """Whether one more may be on its way."""
        # After a pause one alone finds out whether PHP is there.
        ahead = 1 if self._pause else AHEAD
        return self._may_send and self._preparing + len(self._prepared) + self._sending < ahead

    def send_on(self) -> None:
        while self._prepared and self._has_place:
            departure = self._prepared.popleft()
            if not departure.is_dropped:
                self._send(departure)
        while self._waiting and self._has_room:
            departure = self._waiting.popleft()
            if not self._departures.is_too_old(departure):
                self._prepare(departure)
        self._departures.look()

    def stop(self) -> None:
        self._stopped = True
        self._take_all_back()
        for timeout in (self._paused, self._alarm):
            if timeout is not None:
                timeout.cancel()
        self._paused = self._alarm = None

    # -- one request

    def _prepare(self, departure: Departure) -> None:
        """Before PHP can know of it: should we be killed then, the next one says that it may."""
        self._preparing += 1
        entry = departure.entry
        departure.entry = entry._replace(attempts=entry.attempts + 1)
        self._departures.keeper.put(departure.entry).addCallback(self._is_prepared, departure)

    def _is_prepared(self, _result: None, departure: Departure) -> None:
        self._preparing -= 1
        if self._may_send:
            self._prepared.append(departure)
        else:
            self._take_back(departure)
        self.send_on()

    def _take_back(self, departure: Departure) -> None:
        """It was not sent: it is the next again, and has no attempt more than before."""
        entry = departure.entry
        departure.entry = entry._replace(attempts=entry.attempts - 1)
        if not departure.is_dropped:
            self._departures.keeper.note(departure.entry)
            self._waiting.appendleft(departure)

    def _take_all_back(self) -> None:
        while self._prepared:
            self._take_back(self._prepared.pop())

    @property
    def _has_place(self) -> bool:
        if not self._may_send:
            return False
        assert self.route is not None
        return self._sending < max(1, self.route.pool.max_in_flight // 2)

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
        params = route.event_params("disconnect") + departure_params(departure.entry)
        response = await pool.request(Request(params, b""), Lane.DISCONNECT)
        require_heard(response.stdout, response.stderr)
        self._pause = 0.0
        self._departures.delivered(departure)
        self._departures.heard(departure.entry.connection_id, response)

    def _failed(self, failure: Failure, departure: Departure, pool: ConnectionPool) -> None:
        error = failure.value
        if departure.is_dropped:
            return
        if isinstance(error, NotSent):
            self._take_back(departure)
            if not isinstance(error, PoolStopped):
                self._rest()
            elif self.route is not None and self.route.pool is pool:
                # Its path is not served any more, or nothing is.
                self.route = None
                self._take_all_back()
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
            self._take_all_back()
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


def require_heard(stdout: bytes | bytearray, stderr: bytes) -> None:
    """See whether the script has taken note, whatever it thinks of it.

    Raises:
        cgi.MalformedResponse, ScriptFailed, ScriptMissing: it has not.
    """
    head, body = cgi.parse_response(stdout)
    if has_died(stderr) or head.status >= 500:
        raise ScriptFailed(max(head.status, 500))
    if is_missing(head.status, body, stderr):
        raise ScriptMissing(head.status)
