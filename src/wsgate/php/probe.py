"""Waits until a FastCGI application answers on its socket."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IDelayedCall, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

# Seconds between two attempts, and how long one may wait for its answer.
EVERY = 0.02
PATIENCE = 10.0

# FCGI_GET_VALUES (FastCGI 1.0 §4.1), which a worker answers without running anything: a socket
# that accepts would not do, since the kernel accepts for a worker that never comes.
_NAME = b"FCGI_MPXS_CONNS"
QUESTION = bytes([1, 9, 0, 0, 0, 2 + len(_NAME), 0, 0, len(_NAME), 0]) + _NAME


class Probe:
    """Asks again and again until there is an answer, or until it is cancelled.

    `answered` fires with None at the first answer; never when cancelled.
    """

    def __init__(self, reactor: Any, path: str) -> None:
        self.answered: Deferred[None] = Deferred()
        self._reactor = reactor
        self._endpoint = UNIXClientEndpoint(reactor, path, timeout=PATIENCE)
        self._connecting: Deferred[IProtocol] | None = None
        self._question: Question | None = None
        self._timer: IDelayedCall | None = None
        self._over = False

    def start(self) -> None:
        """Ask for the first time."""
        self._question = question = Question(self)
        self._timer = self._reactor.callLater(PATIENCE, question.give_up)
        self._connecting = self._endpoint.connect(Asking(question))
        self._connecting.addErrback(lambda _: self.no_answer())

    def cancel(self) -> None:
        """Stop asking. Harmless when there was an answer."""
        self._over = True
        self._stop_timer()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._question is not None:
            self._question.give_up()

    def answer(self) -> None:
        """`Question` calls this when it was answered."""
        if not self._over:
            self._over = True
            self._stop_timer()
            self.answered.callback(None)

    def no_answer(self) -> None:
        """`Question` calls this when it ended without an answer."""
        if not self._over:
            self._stop_timer()
            self._timer = self._reactor.callLater(EVERY, self.start)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


class Asking(Factory):
    """Twisted: gives an endpoint its one protocol."""

    # Fifty lines a second about factories would bury the log of a slow start.
    noisy = False

    def __init__(self, question: Question) -> None:
        self._question = question

    def buildProtocol(self, addr: object) -> Question:  # IProtocolFactory's signature
        """Twisted: the connection is there."""
        return self._question


class Question(Protocol):
    """One connection with one question."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def connectionMade(self) -> None:
        """Twisted: ask."""
        if self.transport is not None:
            self.transport.write(QUESTION)

    def dataReceived(self, data: bytes) -> None:  # IProtocol's signature
        """Twisted: any bytes at all come from a worker that is there."""
        self.give_up()
        self._probe.answer()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # likewise
        """Twisted: the worker went without an answer, or we have it."""
        self._probe.no_answer()

    def give_up(self) -> None:
        """End the connection."""
        if self.transport is not None:
            self.transport.loseConnection()
