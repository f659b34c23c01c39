"""The addresses where the application listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from errno import EAGAIN
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsgate.fastcgi.breaker import Breaker, BreakerRules

if TYPE_CHECKING:
    from wsgate.fastcgi.protocol import FastCGIProtocol


class Backend:
    """Where to connect to, and how that has gone lately.

    `name` is for people: logs, errors and metrics. A backend may belong to one pool only.
    """

    __slots__ = ("_endpoint", "breaker", "connections", "last_used", "name", "responses")

    def __init__(self, name: str, endpoint: IStreamClientEndpoint) -> None:
        self.name = name
        self._endpoint = endpoint
        self.connections = 0
        """How many connections are open or being made."""
        self.last_used = 0
        """The turn in which it was last chosen; higher is later."""
        self.responses = 0
        """Complete answers it has given, ever."""
        self.breaker = Breaker(BreakerRules())
        """Whether it is left alone for now."""

    def connect(self, protocol: FastCGIProtocol) -> Deferred[IProtocol]:
        """Connect `protocol`. The Deferred fails with whatever the endpoint says, never raises."""
        return maybeDeferred(self._endpoint.connect, protocol)

    def __repr__(self) -> str:
        return f"<Backend {self.name}: {self.connections} connections>"


class Backends:
    """All backends of a pool: whose turn it is, and who is left alone.

    `on_change` is called with a backend after its circuit breaker has opened or closed.
    """

    __slots__ = ("_all", "_clock", "_on_change", "_turn", "all_closed")

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        backends: Sequence[Backend],
        rules: BreakerRules,
        on_change: Callable[[Backend], object],
    ) -> None:
        self._clock = clock
        self._all = tuple(backends)
        self._on_change = on_change
        self._turn = 0
        self.all_closed = True
        """Whether no breaker is open."""
        for backend in self._all:
            backend.breaker = Breaker(rules)

    def __iter__(self) -> Iterator[Backend]:
        return iter(self._all)

    def choose(self, tried: Sequence[Backend]) -> Backend | None:
        """The next to connect to: the one with the fewest connections, in turn among equals.

        Not one of `tried`, nor one that is left alone; None if that leaves none. One whose time
        for a probe has come goes before all others.
        """
        if self.all_closed:
            if len(self._all) == 1:
                return None if tried else self._all[0]
            candidates = [backend for backend in self._all if backend not in tried]
        else:
            candidates = self._allowed(tried)
        chosen = min(candidates, key=_busyness, default=None)
        if chosen is not None:
            self._turn += 1
            chosen.last_used = self._turn
        return chosen

    def _allowed(self, tried: Sequence[Backend]) -> list[Backend]:
        now = self._clock.seconds()
        allowed = [b for b in self._all if b not in tried and b.breaker.allows(now)]
        return [b for b in allowed if b.breaker.is_open] or allowed

    @property
    def cut_off(self) -> bool:
        """Whether all are left alone, and none may be tried yet."""
        if self.all_closed:
            return False
        now = self._clock.seconds()
        return not any(backend.breaker.allows(now) for backend in self._all)

    @property
    def all_open(self) -> bool:
        """Whether all are left alone; requests may still find out one by one."""
        return not self.all_closed and all(backend.breaker.is_open for backend in self._all)

    @property
    def cause(self) -> str:
        """Why those are left alone that are."""
        return "; ".join(b.breaker.cause for b in self._all if b.breaker.is_open)

    # What happened to one of them, on which connection

    def begun(self, backend: Backend, connection: object) -> None:
        """A connect begins."""
        if backend.breaker.is_open:
            backend.breaker.probe(self._clock.seconds(), connection)

    def busy(self, backend: Backend, connection: object) -> None:
        """A connect failed because the backend, which is there, has no room."""
        backend.breaker.over(connection)

    def refused(self, backend: Backend, connection: object, cause: str) -> None:
        """A connect failed."""
        now, others = self._clock.seconds(), self._others(backend)
        if backend.breaker.refused(now, cause, connection, others=others):
            self._opened(backend)

    def accepted(self, backend: Backend) -> None:
        """A connect succeeded."""
        if backend.breaker.refusals and backend.breaker.accepted(self._clock.seconds()):
            self._closed(backend)

    def lost(self, backend: Backend, connection: object, cause: str) -> None:
        """A request was sent and will have no answer, by a fault of the backend's."""
        now, others = self._clock.seconds(), self._others(backend)
        cause = f"{backend.name}: {cause}"
        if backend.breaker.lost(now, cause, connection, backend.responses, others=others):
            self._opened(backend)

    def answered(self, backend: Backend, connection: object) -> None:
        """An answer came while not all breakers are closed."""
        if backend.breaker.is_open and backend.breaker.answered(self._clock.seconds(), connection):
            self._closed(backend)

    def reset(self) -> None:
        """Forget all failures."""
        for backend in self._all:
            backend.breaker.reset()
        self.all_closed = True

    def _others(self, backend: Backend) -> bool:
        return any(not b.breaker.is_open for b in self._all if b is not backend)

    def _opened(self, backend: Backend) -> None:
        self.all_closed = False
        if self.all_open:
            for each in self._all:
                each.breaker.no_others(self._clock.seconds())
        self._log.warn(
            "Backend {cause}; left alone but for one try in {rest:g} s",
            cause=backend.breaker.cause,
            rest=backend.breaker.rest,
        )
        self._on_change(backend)

    def _closed(self, backend: Backend) -> None:
        self.all_closed = not any(b.breaker.is_open for b in self._all)
        self._log.info("Backend {backend} serves again", backend=backend.name)
        self._on_change(backend)


def _busyness(backend: Backend) -> tuple[int, int]:
    return backend.connections, backend.last_used


def is_busy(failure: Failure) -> bool:
    """Whether a failed connect means that the backend listens but its UNIX backlog is full.

    Linux answers EAGAIN. Twisted's own client takes that for a connect under way, sees the socket
    hang up, and reports a ConnectError without an error number for a connection "closed cleanly".
    """
    error = failure.value
    if type(error) is not ConnectError:
        return False
    if error.osError is None:
        cause = error.args[0] if error.args else None
        return isinstance(cause, Failure) and cause.check(ConnectionDone) is not None
    return bool(error.osError == EAGAIN)
