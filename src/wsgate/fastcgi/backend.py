"""The addresses where the application listens."""

from __future__ import annotations

from collections.abc import Sequence
from errno import EAGAIN
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from wsgate.fastcgi.protocol import FastCGIProtocol

REST = 1.0
"""Seconds that a backend which refused is left alone while there are others."""


class Backend:
    """Where to connect to, and how that has gone lately.

    `name` is for people: logs, errors and metrics. A backend may belong to one pool only.
    """

    __slots__ = ("_endpoint", "connections", "last_used", "name", "resting_until")

    def __init__(self, name: str, endpoint: IStreamClientEndpoint) -> None:
        self.name = name
        self._endpoint = endpoint
        self.connections = 0
        """How many connections are open or being made."""
        self.last_used = 0
        """The turn in which it was last chosen; higher is later."""
        self.resting_until = 0.0
        """On the pool's clock, set from its first refusal until it accepts; else 0."""

    def connect(self, protocol: FastCGIProtocol) -> Deferred[IProtocol]:
        """Connect `protocol`. The Deferred fails with whatever the endpoint says, never raises."""
        return maybeDeferred(self._endpoint.connect, protocol)

    def __repr__(self) -> str:
        return f"<Backend {self.name}: {self.connections} connections>"


class Backends:
    """All backends of a pool: whose turn it is, and who has refused lately.

    One that refused rests for `REST` seconds. After that a single request finds out whether it
    still refuses, while it goes on resting for the others.
    """

    __slots__ = ("_all", "_clock", "_turn")

    _log = Logger()

    def __init__(self, clock: IReactorTime, backends: Sequence[Backend]) -> None:
        self._clock = clock
        self._all = tuple(backends)
        self._turn = 0

    def choose(self, tried: Sequence[Backend]) -> Backend | None:
        """The next to connect to: the one with the fewest connections, in turn among equals.

        Not one of `tried`, and one that rests only if all do; None if that leaves none.
        """
        backends = self._all
        if len(backends) == 1:
            return None if tried else backends[0]
        now = self._clock.seconds()
        awake = [backend for backend in backends if backend.resting_until <= now]
        candidates = [backend for backend in awake or backends if backend not in tried]
        chosen = min(candidates, key=_busyness, default=None)
        if chosen is not None:
            self._turn += 1
            chosen.last_used = self._turn
            if chosen.resting_until:
                chosen.resting_until = now + REST
        return chosen

    def refused(self, backend: Backend, cause: str) -> None:
        """A connect to `backend` failed; `cause` is for the log, once until it accepts again."""
        if not backend.resting_until:
            self._log.warn("No connection to {cause}", cause=cause)
        backend.resting_until = self._clock.seconds() + REST

    def accepted(self, backend: Backend) -> None:
        """A connect to `backend` succeeded."""
        if backend.resting_until:
            backend.resting_until = 0.0
            self._log.info("Connected to {backend} again", backend=backend.name)

    def wake(self) -> None:
        """Forget all refusals."""
        for backend in self._all:
            backend.resting_until = 0.0


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
