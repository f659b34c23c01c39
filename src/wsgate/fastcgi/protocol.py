"""A transport and a `ResponderConnection`, joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from wsgate.fastcgi.backend import Backend
from wsgate.fastcgi.connection import Request, ResponderConnection, Response
from wsgate.fastcgi.errors import FastCGIError
from wsgate.fastcgi.records import MAX_CONTENT
from wsgate.timeouts import Timeout, Timeouts


class Owner(Protocol):
    """Who makes connections and lends them: the pool. Told of all that happens to them."""

    timeouts: Timeouts
    keep_connections: bool
    response_timeout: float
    max_answer_size: int
    stopped: bool

    def connected(self, protocol: FastCGIProtocol) -> None:
        """The connection is open."""

    def answered(self, protocol: FastCGIProtocol, reusable: bool) -> None:
        """The answer is complete; the request's Deferred fires right after this."""

    def failed(self, protocol: FastCGIProtocol, error: FastCGIError) -> None:
        """The request has no answer and the connection is closed; the Deferred fires after this."""

    def idle_lost(self, protocol: FastCGIProtocol) -> None:
        """The connection ended, or had to be closed, while no request was under way."""

    def finish_stop(self) -> None:
        """Called when `stopped`, after the Deferred of a request has fired."""


@implementer(IProtocol, IProtocolFactory)
class FastCGIProtocol:
    """One connection to the application.

    It is its own factory, since an endpoint wants one and no connection needs a second protocol.
    After `close`, and once it has told its owner that it is lost, it tells nobody anything.
    """

    __slots__ = (
        "_closed",
        "_connection",
        "_deferred",
        "_owner",
        "_receive",
        "_timeout",
        "_write_parts",
        "backend",
        "transport",
    )

    def __init__(self, owner: Owner, backend: Backend) -> None:
        self.backend = backend
        # Any: what Twisted gives has more than ITransport promises.
        self.transport: Any = None
        self._write_parts: Callable[[Iterable[bytes | memoryview]], None] | None = None
        self._owner = owner
        self._connection = ResponderConnection(owner.max_answer_size)
        self._receive = self._connection.receive_data
        self._deferred: Deferred[Response] | None = None
        self._timeout: Timeout | None = None
        self._closed = False

    def send(self, request: Request, deferred: Deferred[Response]) -> None:
        """Send `request`; `deferred` fires with its Response or a FastCGIError.

        Only for a connection that is open and has no request under way.
        """
        owner = self._owner
        self._deferred = deferred
        self._timeout = owner.timeouts.call_later(owner.response_timeout, self._timed_out)
        connection = self._connection
        if self._write_parts is not None and len(request.stdin) > MAX_CONTENT:
            self._write_parts(connection.request_parts(request, owner.keep_connections))
        else:
            self.transport.write(connection.send_request(request, owner.keep_connections))

    def close(self) -> None:
        """Close at once, without a word to the owner. Harmless when closed, or not yet open."""
        if not self._closed:
            self._closed = True
            if self.transport is not None:
                # Everything of ours was read or is worthless now; abort spares a turn of the
                # reactor, during which the application's worker would wait for us.
                self.transport.abortConnection()

    def discard(self) -> None:
        """Close at once, and count one connection less to the backend. To be called once."""
        self.backend.connections -= 1
        self.close()

    @property
    def surplus(self) -> bool:
        """Whether bytes followed the last answer."""
        return self._connection.surplus

    def _timed_out(self) -> None:
        self._fail(self._connection.time_out())

    def _fail(self, error: FastCGIError) -> None:
        deferred = self._deferred
        self.close()
        if deferred is None:
            self._owner.idle_lost(self)
            return
        self._deferred = None
        self._timeout.cancel()  # type: ignore[union-attr]  # set whenever _deferred is
        error.backend = self.backend.name
        owner = self._owner
        owner.failed(self, error)
        # It was fired already if the caller has cancelled it.
        if not deferred.called:
            deferred.errback(error)
        if owner.stopped:
            owner.finish_stop()

    # Called by Twisted

    def makeConnection(self, transport: ITransport) -> None:
        """The connection is open."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """Tell the owner, or close if it has given this connection up."""
        transport = self.transport
        if self._closed:
            transport.abortConnection()
            return
        set_no_delay = getattr(transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
        # Only our own transport takes views; Twisted's want bytes.
        self._write_parts = getattr(transport, "write_parts", None)
        self._owner.connected(self)

    def dataReceived(self, data: bytes) -> None:
        """Take a piece of the answer; when it completes it, give back the connection, then tell."""
        if self._closed:
            return
        try:
            response = self._receive(data)
        except FastCGIError as error:
            self._fail(error)
            return
        if response is not None:
            deferred = self._deferred
            self._deferred = None
            self._timeout.cancel()  # type: ignore[union-attr]  # set since send()
            owner = self._owner
            owner.answered(self, self._connection.reusable)
            if not deferred.called:  # type: ignore[union-attr]  # set since send()
                deferred.callback(response)  # type: ignore[union-attr]  # set since send()
            if owner.stopped:
                owner.finish_stop()

    def connectionLost(self, reason: Failure) -> None:
        """The connection ended; if a request is under way it has failed."""
        if self._closed:
            return
        self._closed = True
        try:
            self._connection.receive_eof()
        except FastCGIError as error:
            self._fail(error)
        else:
            self._owner.idle_lost(self)

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """This very object, unless it was given up or has a connection already."""
        return None if self._closed or self.transport is not None else self

    def doStart(self) -> None:
        """Nothing to prepare."""

    def doStop(self) -> None:
        """Nothing to clean up."""
