"""Which request goes out when, and on which connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from wsgate.fastcgi.backend import Backend, Backends
from wsgate.fastcgi.connection import Request, Response
from wsgate.fastcgi.connects import Connects
from wsgate.fastcgi.errors import (
    ApplicationOverloaded,
    CircuitOpen,
    FastCGIError,
    NotSent,
    PoolStopped,
    ProtocolError,
    QueueFull,
    QueueTimeout,
    RequestTimeout,
    ResponseCutOff,
    ResponseNeverReceived,
    ResponseTimeout,
    StreamStopped,
)
from wsgate.fastcgi.limits import PoolLimits
from wsgate.fastcgi.places import StreamPlaces
from wsgate.fastcgi.protocol import FastCGIProtocol
from wsgate.fastcgi.queue import Queue
from wsgate.fastcgi.unsent import Lane, Turn, Unsent
from wsgate.floods import CalmLogger
from wsgate.timeouts import Timeouts

LOST = (
    RequestTimeout,
    ResponseNeverReceived,
    ResponseCutOff,
    ProtocolError,
    ApplicationOverloaded,
)
"""Failures of transport after sending: they count for the backend's circuit breaker."""


class ConnectionPool:
    """Sends requests to an application, never more at once than it may.

    A request takes a place (of `max_in_flight`) from its first connect to its answer. The others
    wait, first come first served within their lane (see `Queue`): at most `queue` of them in each
    lane, each `queue_deadline` seconds (up to 0.1 s more), then they fail with QueueFull, at once,
    or QueueTimeout.

    A connection is made to the backend with the fewest, in turn among equals. Where one refuses, or
    does not accept within `connect_timeout` seconds, the next one is tried; when none is left a
    request tries all again after 10, 50 and 250 ms unless `queue_deadline` is over by then, and
    fails with BackendUnavailable, or BackendBusy if one was there but had no room. A backend that
    fails too often by `breaker` is left alone (see `Breaker`); while all are, nothing waits, and
    requests fail at once with CircuitOpen.

    Once a byte was sent, a request is never sent again; its answer must be complete within
    `response_timeout` seconds of that and hold at most `max_answer_size` bytes of STDOUT. A request
    of which the application takes nothing more for `write_timeout` seconds fails before that.

    With `keep_connections` a connection is used again, the least recently used first, since after
    `fastcgi_finish_request()` a worker goes on with the last request; there are never more than
    `max_in_flight`, idle ones included. Each holds a worker of PHP-FPM, so this is for an
    application that is ours alone and has as many workers as that; `own_workers` says that it is
    so, and lets a connection be opened to each worker before one is used again. Without
    `keep_connections` each request has a connection of its own, closed by us at END_REQUEST.

    An answer that its turn takes as a stream (`wsgate.fastcgi.sink`) may last as long as that says;
    its parts come within `response_timeout` of each other. One that begins while `max_streams` are
    open fails with StreamsFull.

    `requests` made == `responses` + the sum of `errors` (by name of the class; CancelledError is a
    request cancelled while it waited) + `in_flight` + `waiting`, at any time. `surplus` counts
    answers that were followed by bytes of no answer.
    """

    _log = CalmLogger(namespace="wsgate")

    def __init__(
        self,
        clock: IReactorTime,
        backends: Sequence[Backend],
        limits: PoolLimits | None = None,
        *,
        name: str = "default",
    ) -> None:
        if not backends:
            raise ValueError("a pool needs a backend")
        self.limits = limits = limits or PoolLimits()
        self.name = name
        self.timeouts = Timeouts(clock)
        self._clock = clock
        self.backends = Backends(clock, backends, limits.breaker, self._backend_changed)
        self._connects = Connects(clock, self.backends, self, limits.connect_timeout)
        self._queue = Queue(self.timeouts, limits.queue, name, self._waited_too_long)
        self.streams = StreamPlaces(limits.max_streams)
        self._max_in_flight = limits.max_in_flight
        self._in_flight = 0
        # Not empty only if no place is free or the pool is held; an idle connection exists only if
        # nobody waits, the pool is neither held nor stopped, and its backend is not left alone.
        self._idle: deque[FastCGIProtocol] = deque()
        self._given_up = 0
        """Workers that may still be busy with a request whose answer came too late."""
        self._filling = False
        self._held = False
        self.stopped = False
        self._ordinary = True
        """Not held, not stopped, and no backend is left alone: spares looking at each of these."""
        self._stop_waiters: list[Deferred[None]] = []
        self.requests = 0
        self.errors: dict[str, int] = {}
        self.surplus = 0

    @property
    def responses(self) -> int:
        """Requests that were answered."""
        return sum(backend.responses for backend in self.backends)

    @property
    def in_flight(self) -> int:
        """Requests that have a place: connecting, sent, or about to try again."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return self._queue.count

    @property
    def waiting_most(self) -> int:
        """The most requests that have ever waited at a time."""
        return self._queue.most

    def waiting_in(self, lane: Lane) -> int:
        """Requests of one lane that wait for a place."""
        return self._queue.waiting(lane)

    @property
    def max_in_flight(self) -> int:
        """How many places there are."""
        return self._max_in_flight

    @property
    def is_available(self) -> bool:
        """Whether a request that comes now would be sent, or wait for one that was."""
        return not (self._held or self.stopped or self._cut_off)

    @property
    def _cut_off(self) -> bool:
        """Whether all backends are left alone, and who comes now cannot try one: it is too early,
        or no place is free."""
        if self._in_flight < self._max_in_flight:
            return self.backends.cut_off
        return self.backends.all_open

    def __repr__(self) -> str:
        state = ", stopped" if self.stopped else ", held" if self._held else ""
        return (
            f"<ConnectionPool {self.name}: {self._in_flight} in flight, "
            f"{len(self._idle)} idle, {self.waiting} waiting{state}>"
        )

    # What a user of the pool calls

    def request(self, request: Request, lane: Lane = Lane.MESSAGE) -> Deferred[Response]:
        """Ask the application; the result fires with its Response or fails with a FastCGIError.

        Never raises. Cancelling works as long as the request waits, which then never runs; later it
        only means that nobody listens.
        """

        def withdraw(_cancelled: Deferred[Response]) -> None:
            self.withdraw(unsent)

        deferred: Deferred[Response] = Deferred(withdraw)
        unsent = self.ask(request, deferred, lane)
        return deferred

    def ask(self, request: Request, turn: Turn, lane: Lane = Lane.MESSAGE) -> Unsent | None:
        """Ask the application for `turn`, which is told when there is an answer or will be none.

        That may be before this returns; never raises. The result, if any, is for `withdraw`.
        """
        self.requests += 1
        if self._idle and (not self.limits.own_workers or self._free_workers() <= 0):
            self._in_flight += 1
            self._idle.popleft().send(request, turn)
            return None
        unsent = Unsent(request, turn, self._clock.seconds() + self.limits.queue_deadline, lane)
        if self._ordinary and self._in_flight < self._max_in_flight:
            self._in_flight += 1
            self._connects.connect(unsent)
        elif not (self._ordinary and self._queue.offer(unsent)):
            self._wait_or_refuse(unsent)
        return unsent

    def withdraw(self, unsent: Unsent | None) -> bool:
        """Take back what `ask` gave if it still waits for a place: it never runs, and tells nobody.

        Later it does nothing. The result is whether it was taken back.
        """
        if unsent is None or unsent not in self._queue:
            return False
        self._queue.remove(unsent)
        self._count_error("CancelledError")
        return True

    def hold(self) -> None:
        """Send nothing more for now: the application is not there. Requests wait.

        Those that were sent may still be answered. Idle connections are closed.
        """
        self._held = True
        self._ordinary = False
        self._close_idle()

    def release(self) -> None:
        """The application is there (again)."""
        self._held = False
        self._given_up = 0
        self.backends.reset()
        self._ordinary = not self.stopped
        self._fill_places()

    def stop(self) -> Deferred[None]:
        """Take no more requests; the result fires when none is in flight.

        Those that wait fail with PoolStopped. Idle connections are closed.
        """
        self.stopped = True
        self._ordinary = False
        self._close_idle()
        while self._queue.count:
            self._unsent_failed(self._queue.take(), self._stopped_error())
        waiter: Deferred[None] = Deferred()
        self._stop_waiters.append(waiter)
        self.finish_stop()
        return waiter

    def _free_workers(self) -> int:
        """How many of the application's own workers have no connection, as far as we know."""
        return self._max_in_flight - self._in_flight - len(self._idle) - self._given_up

    def _backend_changed(self, backend: Backend) -> None:
        self._ordinary = self.backends.all_closed and not self._held and not self.stopped
        if backend.breaker.is_open:
            for protocol in [idle for idle in self._idle if idle.backend is backend]:
                self._idle.remove(protocol)
                protocol.discard()

    # The queue

    def _wait_or_refuse(self, unsent: Unsent) -> None:
        if self.stopped:
            self._unsent_failed(unsent, self._stopped_error())
        elif not self._held and self._cut_off:
            self._unsent_failed(unsent, CircuitOpen(self.backends.cause))
        elif not self._held and self._in_flight < self._max_in_flight:
            self._in_flight += 1
            self._connects.connect(unsent)
        elif not self._queue.offer(unsent):
            self._queue.refuse()
            self._unsent_failed(unsent, QueueFull(f"too many requests wait in pool {self.name}"))

    def _waited_too_long(self, unsent: Unsent) -> None:
        seconds = self.limits.queue_deadline
        error = QueueTimeout(f"no place in pool {self.name} within {seconds:g} s")
        self._unsent_failed(unsent, error)

    def _fill_places(self) -> None:
        # What is started here may fail and free its place at once: that must not start the next
        # one from within, hundreds of calls deep.
        if self._filling:
            return
        self._filling = True
        try:
            while self._queue.count and not self._held:
                if not self._ordinary and self._cut_off:
                    error = CircuitOpen(self.backends.cause)
                    self._unsent_failed(self._queue.take(), error)
                elif self._in_flight < self._max_in_flight:
                    self._in_flight += 1
                    self._connects.connect(self._queue.take())
                else:
                    break
        finally:
            self._filling = False

    def _free_place(self) -> None:
        self._in_flight -= 1
        self._fill_places()

    def _stopped_error(self) -> PoolStopped:
        return PoolStopped(f"the pool {self.name} was stopped")

    def _unsent_failed(self, unsent: Unsent, error: NotSent) -> None:
        self._count_error(type(error).__name__)
        if not unsent.turn.called:
            unsent.turn.errback(error)

    def _count_error(self, name: str) -> None:
        self.errors[name] = self.errors.get(name, 0) + 1

    # Connections for requests that have a place

    def connect_again(self, unsent: Unsent) -> None:
        """A try to connect has failed: make the next, if this still makes sense."""
        if self.stopped:
            self.give_up(unsent, self._stopped_error())
        elif self._held:
            unsent.begin_again()
            self._in_flight -= 1
            self._queue.put_back(unsent)
        elif self._idle:
            self._idle.popleft().send(unsent.request, unsent.turn)
        else:
            self._connects.connect(unsent)
            # The last backend may have opened, and this be a probe of one whose rest is over: then
            # nobody waits for how it ends.
            self._fill_places()

    def give_up(self, unsent: Unsent, error: NotSent) -> None:
        """There is no connection for a request that has a place."""
        self._free_place()
        self._unsent_failed(unsent, error)
        self.finish_stop()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().discard()

    # What a connection tells; the request's turn is told after it

    def connected(self, protocol: FastCGIProtocol) -> None:
        """The connection is open: send what it was made for."""
        unsent = self._connects.connected(protocol)
        protocol.send(unsent.request, unsent.turn)

    def answered(self, protocol: FastCGIProtocol, reusable: bool) -> None:
        """The answer is complete: the connection serves who waits, stays idle, or is closed."""
        protocol.backend.responses += 1
        if not self._ordinary:
            reusable = self._may_be_kept(protocol) and reusable
        if not reusable:
            if protocol.surplus:
                self.surplus += 1
                self._log.warn(
                    "Bytes after END_REQUEST from {backend}", backend=protocol.backend.name
                )
            protocol.discard()
            self._free_place()
        elif self._queue.count:
            unsent = self._queue.take()
            protocol.send(unsent.request, unsent.turn)
        else:
            self._in_flight -= 1
            self._idle.append(protocol)
            if self._given_up and self._free_workers() < 0:
                # More connections were answered than the other workers have.
                self._given_up -= 1

    def _may_be_kept(self, protocol: FastCGIProtocol) -> bool:
        """An answer came, and something is out of the ordinary."""
        backend = protocol.backend
        self.backends.answered(backend, protocol)
        return not (self._held or self.stopped or backend.breaker.is_open)

    def failed(self, protocol: FastCGIProtocol, error: FastCGIError) -> None:
        """There will be no answer, and the connection is closed."""
        self._count_error(type(error).__name__)
        if isinstance(error, (ResponseTimeout, RequestTimeout, StreamStopped)):
            self._given_up += 1
        protocol.discard()
        backend = protocol.backend
        if isinstance(error, LOST):
            self.backends.lost(backend, protocol, str(error))
        elif backend.breaker.is_open:
            backend.breaker.over(protocol)
        self._free_place()

    def idle_lost(self, protocol: FastCGIProtocol) -> None:
        """A connection ended that nobody used."""
        self._idle.remove(protocol)
        protocol.discard()

    def finish_stop(self) -> None:
        """Tell who waits for `stop` if nothing is in flight any more."""
        if not self._in_flight:
            waiters = self._stop_waiters
            self._stop_waiters = []
            for waiter in waiters:
                waiter.callback(None)
