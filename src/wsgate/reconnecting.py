"""A connection to a server that is made again when it ends, as long as it takes."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from wsgate.backoff import Backoff


class Told(Protocol):
    """Who wants to know of a server's coming and going."""

    def up(self) -> None:
        """It takes commands; nothing of what it knew of this connection is left."""

    def down(self, why: str) -> None:
        """It takes none any more. Only after `up`."""

    def failed(self, why: str) -> None:
        """An attempt to connect failed; there will be another."""


class Greeting(Protocol):
    """A connection, as a protocol of Twisted's, that is of use once it has greeted."""

    transport: Any
    greeted: Deferred[None]
    """Fires when the server takes commands. Where it fails, the connection ends too."""

    def end(self, why: str) -> None:
        """End it at once; `why` is for the log."""


C = TypeVar("C", bound=Greeting)


class Reconnecting(Generic[C]):
    """Connects, and connects again with a growing pause, until `stop`.

    `make` gives a connection that calls what it is given once, with why it has ended.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        make: Callable[[Callable[[str], None]], C],
        told: Told,
        *,
        longest: float = 2.0,
    ) -> None:
        self.connects = 0
        """How often the server was reached."""
        self._reactor = reactor
        self._endpoint = endpoint
        self._make = make
        self._told = told
        self._backoff = Backoff(first=0.05, longest=longest)
        self._connection: C | None = None
        self._connecting: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self._since = 0.0
        self._is_up = False
        self._stopped: Deferred[None] | None = None
        self._wait_for_first: list[Deferred[None]] | None = []

    def first_attempt(self) -> Deferred[None] | None:
        """Fires when the first attempt to connect is over, well or not; None: it is.

        Who does not want to wait any more cancels it.
        """
        if self._wait_for_first is None:
            return None
        over: Deferred[None] = Deferred(self._forget)
        self._wait_for_first.append(over)
        return over

    def _forget(self, over: Deferred[None]) -> None:
        if self._wait_for_first is not None:
            self._wait_for_first.remove(over)

    def _first_is_over(self) -> None:
        waiting, self._wait_for_first = self._wait_for_first, None
        for over in waiting or ():
            over.callback(None)

    @property
    def is_up(self) -> bool:
        """Whether the server takes commands now."""
        return self._is_up

    @property
    def connection(self) -> C | None:
        """The connection that takes commands now, if there is one."""
        return self._connection if self._is_up else None

    def start(self) -> None:
        """Connect."""
        self._timer = None
        make: Any = partial(self._make, self._ended)
        factory = Factory.forProtocol(make)
        factory.noisy = False
        self._connecting = self._endpoint.connect(factory)
        self._connecting.addCallbacks(self._connected, self._not_connected)

    def stop(self) -> Deferred[None]:
        """End the connection at once; fires when it has ended. What is owed fails."""
        stopped: Deferred[None] = Deferred()
        self._stopped = stopped
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._connection is not None:
            # A server that is stuck would not take a farewell.
            self._connection.end("wsgate stops")
        elif self._connecting is not None:
            self._connecting.cancel()
        else:
            self._first_is_over()
            stopped.callback(None)
        return stopped

    def end(self, why: str) -> None:
        """End this connection and make another; `why` is for the log."""
        if self._connection is not None:
            self._connection.end(why)

    def _connected(self, connection: C) -> None:
        self._connecting = None
        self._connection = connection
        if self._stopped is not None:
            connection.transport.loseConnection()
            return
        # Why a greeting failed is told when the connection has ended.
        connection.greeted.addCallbacks(self._greeted, lambda _: None)

    def _greeted(self, _: None) -> None:
        self._is_up = True
        self._since = self._reactor.seconds()
        self.connects += 1
        self._told.up()
        self._first_is_over()

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        self._over(f"cannot connect: {failure.getErrorMessage()}")

    def _ended(self, why: str) -> None:
        self._connection = None
        self._over(why)

    def _over(self, why: str) -> None:
        was_up, self._is_up = self._is_up, False
        if self._stopped is not None:
            if was_up:
                self._told.down("wsgate stops")
            self._first_is_over()
            self._stopped.callback(None)
            return
        served = self._reactor.seconds() - self._since if was_up else 0.0
        # Not all nodes at the same moment.
        pause = self._backoff.after(served) * random.uniform(0.75, 1.25)
        self._timer = self._reactor.callLater(pause, self.start)
        tell: Callable[[str], None] = self._told.down if was_up else self._told.failed
        tell(why)
        self._first_is_over()
