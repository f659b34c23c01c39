"""A new connection for a request that has a place, or the reason why there is none."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wsgate.fastcgi.backend import Backends, is_busy
from wsgate.fastcgi.errors import BackendBusy, BackendUnavailable, CircuitOpen, NotSent
from wsgate.fastcgi.protocol import FastCGIProtocol, Owner
from wsgate.fastcgi.unsent import Unsent

RETRY_DELAYS = (0.01, 0.05, 0.25)
"""Seconds before each further round over the backends, when none could be connected to."""


class Asker(Owner, Protocol):
    """Who wants connections: the pool."""

    def connect_again(self, unsent: Unsent) -> None:
        """A try has failed: call `Connects.connect` for another one, or do something else."""

    def give_up(self, unsent: Unsent, error: NotSent) -> None:
        """No backend could be connected to, this often or until the deadline."""


class Connects:
    """Connects requests to a backend, one after the other, round after round.

    A round tries each backend once that is not left alone: the one with the fewest connections, in
    turn among equals, first. Each has `connect_timeout` seconds to accept. Another round follows
    after each of `RETRY_DELAYS`, if the request's deadline is not over by then. Where all backends
    are left alone a request is given up at once.
    """

    def __init__(
        self,
        clock: IReactorTime,
        backends: Backends,
        asker: Asker,
        connect_timeout: float,
    ) -> None:
        self._clock = clock
        self._backends = backends
        self._asker = asker
        self._connect_timeout = connect_timeout
        self._connecting: dict[FastCGIProtocol, Unsent] = {}

    def connect(self, unsent: Unsent) -> None:
        """Connect to the next backend; the asker's `connected` or one of its others comes of it."""
        backend = self._backends.choose(unsent.tried)
        if backend is None:
            self._round_over(unsent)
            return
        unsent.tried += (backend,)
        backend.connections += 1
        protocol = FastCGIProtocol(self._asker, backend)
        self._backends.begun(backend, protocol)
        self._connecting[protocol] = unsent
        connecting = backend.connect(protocol)
        if not connecting.called:
            unsent.timeout = self._asker.timeouts.call_later(
                self._connect_timeout, connecting.cancel
            )
        connecting.addErrback(self._failed, protocol)

    def connected(self, protocol: FastCGIProtocol) -> Unsent:
        """The request that a connection, now open, was made for."""
        unsent = self._connecting.pop(protocol)
        unsent.stop_timeout()
        self._backends.accepted(protocol.backend)
        return unsent

    def _failed(self, failure: Failure, protocol: FastCGIProtocol) -> None:
        unsent = self._connecting.pop(protocol)
        unsent.stop_timeout()
        backend = protocol.backend
        protocol.discard()
        busy = is_busy(failure)
        unsent.busy = unsent.busy or busy
        unsent.cause = f"{backend.name}: {self._describe(failure, busy)}"
        if busy:
            self._backends.busy(backend, protocol)
        else:
            self._backends.refused(backend, protocol, unsent.cause)
        self._asker.connect_again(unsent)

    def _describe(self, failure: Failure, busy: bool) -> str:
        if busy:
            return "its queue of connections (UNIX backlog) is full"
        if failure.check(CancelledError, ConnectingCancelledError):
            return f"did not accept a connection within {self._connect_timeout:g} s"
        return failure.getErrorMessage()

    def _round_over(self, unsent: Unsent) -> None:
        rounds = unsent.rounds
        if rounds < len(RETRY_DELAYS) and not self._backends.cut_off:
            delay = RETRY_DELAYS[rounds]
            if self._clock.seconds() + delay < unsent.deadline:
                unsent.next_round()
                self._clock.callLater(delay, self._asker.connect_again, unsent)
                return
        self._asker.give_up(unsent, self._why_not(unsent))

    def _why_not(self, unsent: Unsent) -> NotSent:
        if not unsent.tried:
            return CircuitOpen(self._backends.cause)
        error = BackendBusy if unsent.busy else BackendUnavailable
        return error(unsent.cause, backend=unsent.tried[-1].name)
