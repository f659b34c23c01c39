"""The control interface over HTTP/1.1: twisted.web's parser, our limits.

A flood here must not disturb the clients' messages. So connections, new ones per second, requests
per second, and the size and time of each request have an end; what is over it waits in the kernel
or is closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, HTTPFactory, Request

from wsgate.control.answers import Answer, Asked, Endpoint, answer, refused
from wsgate.control.token import is_allowed
from wsgate.floods import CalmLogger

MAX_CONNECTIONS = 64
PER_SECOND = 100
"""New connections, and requests on kept ones."""
MAX_BODY = 64 * 1024
MAX_HEADER = 8 * 1024
IDLE_TIMEOUT = 60.0
"""Seconds between two requests: longer than most scrape intervals."""
REQUEST_TIMEOUT = 10.0
"""Seconds from the first byte of a request to its last, and for the answer to be taken."""

_log = CalmLogger(namespace="wsgate")


class ControlRequest(Request):
    """One request, judged when its header is complete, answered when its body is."""

    channel: ControlChannel
    refusal: Answer | None = None

    def gotLength(self, length: int | None) -> None:
        """Twisted: a body of this length follows. It is bounded, so it stays in memory."""
        self.content = self._body = BytesIO()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Twisted: the request is complete. Nothing of it is parsed that nobody needs."""
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        try:
            given = self.refusal or answer(self.channel.factory.endpoints, self._asked())
        except Exception:
            _log.failure("control interface: {path}", path=self.channel.path_for_log(self.path))
            given = refused(500, "internal error")
        self._send(given)

    def _asked(self) -> Asked:
        accept = self.requestHeaders.getRawHeaders(b"Accept") or []
        return Asked(
            self.method.decode("latin-1"),
            self.path.decode("latin-1"),
            b",".join(accept).decode("latin-1"),
            self._body.getvalue(),
        )

    def _send(self, given: Answer) -> None:
        self.channel.factory.statuses[given.status] += 1
        self.setResponseCode(given.status)
        for name, value in (
            ("Server", "wsgate"),
            ("Content-Type", given.content_type),
            ("Content-Length", str(len(given.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *given.headers,
        ):
            self.setHeader(name, value)
        if not self.channel.may_go_on():
            self.setHeader("Connection", "close")
        # Of an answer to HEAD, Twisted writes the header alone.
        self.write(given.body)
        self.finish()


class ControlChannel(HTTPChannel):
    """One connection."""

    factory: ControlFactory
    transport: Any  # connected; whatever the endpoint makes
    requestFactory = ControlRequest
    totalHeadersSize = MAX_HEADER
    maxHeaders = 64
    _deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Twisted: somebody connected."""
        super().connectionMade()
        self._set_deadline()

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes came."""
        if self._deadline is None:
            self._set_deadline()
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        """Twisted: the header is complete. Who may not go on is answered without the body."""
        request = self.requests[-1]
        request.refusal = self.factory.refusal(request, self.length)
        if request.refusal is not None:
            request.requestHeaders.removeHeader(b"Expect")
            self.length = 0
        super().allHeadersReceived()
        if request.refusal is not None:
            self.persistent = False

    def may_go_on(self) -> bool:
        """Whether another request may follow on this connection."""
        if not self.factory.has_budget():
            self.persistent = False
        return bool(self.persistent)

    def requestDone(self, request: ControlRequest) -> None:
        """Twisted: the answer is written."""
        self._stop_deadline()
        if not self.persistent:
            # It may still not be read.
            self._set_deadline()
        super().requestDone(request)

    def timeoutConnection(self) -> None:
        """Twisted: no request came for a while, or its answer is not taken."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the connection is gone."""
        self._stop_deadline()
        self.factory.connections.discard(self)
        super().connectionLost(reason)

    def path_for_log(self, path: bytes) -> str:
        """The path, if it is one of ours: nothing of a stranger's goes to the log."""
        known = [b"/" + "/".join(filter(None, e.path)).encode() for e in self.factory.endpoints]
        return path.decode() if path in known else "(another path)"

    def _set_deadline(self) -> None:
        self._stop_deadline()
        self._deadline = self.factory.reactor.callLater(REQUEST_TIMEOUT, self._too_slow)

    def _stop_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        self.transport.abortConnection()


class ControlFactory(HTTPFactory):
    """All connections of the control interface.

    `token` is what every request must prove; None: whoever reaches the socket may ask. `pause` is
    called with True when no connections should be accepted for a moment, and with False after it.
    """

    # Twisted's own tells HTTP/1.1 from HTTP/2 first.
    protocol: Any = ControlChannel
    noisy = False

    def __init__(
        self,
        reactor: Any,
        endpoints: Sequence[Endpoint],
        token: bytes | None,
        pause: Callable[[bool], object] = lambda paused: None,
    ) -> None:
        super().__init__(timeout=IDLE_TIMEOUT, reactor=reactor)
        self.endpoints = endpoints
        self.connections: set[ControlChannel] = set()
        self.statuses: Counter[int] = Counter()
        self._token = token
        self._pause = pause
        self._second: IDelayedCall | None = None
        self._arrived = 0
        self._asked = 0
        self._paused = False

    def startFactory(self) -> None:
        """Twisted: it is listened. There is no access log, so no clock for its lines either."""

    def stopFactory(self) -> None:
        """Twisted: no more."""
        if self._second is not None:
            self._second.cancel()
            self._second = None

    def log(self, request: Request) -> None:
        """Twisted: a request was answered. Nobody wants a line for every look at the health."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel; None, so that the connection is closed at once, when there are too many."""
        self._begin_second()
        self._arrived += 1
        if self._arrived >= PER_SECOND and not self._paused:
            self._paused = True
            self._pause(True)
        if len(self.connections) >= MAX_CONNECTIONS:
            return None
        channel: Any = super().buildProtocol(addr)
        self.connections.add(channel)
        return channel

    def refusal(self, request: Request, length: int | None) -> Answer | None:
        """Why a request is not even read to its end; None if it is."""
        given = request.requestHeaders.getRawHeaders(b"Authorization") or []
        if not is_allowed(self._token, given):
            challenge = ("WWW-Authenticate", 'Bearer realm="wsgate"')
            return refused(401, "the token of --control-token-file is needed", challenge)
        if length is None:
            return refused(411, "a body needs a Content-Length")
        if length > MAX_BODY:
            return refused(413, f"a body may have {MAX_BODY} bytes")
        return None

    def has_budget(self) -> bool:
        """Count one request; whether there were few enough in this second."""
        self._begin_second()
        self._asked += 1
        return self._asked < PER_SECOND

    def close(self) -> None:
        """End all connections."""
        for connection in tuple(self.connections):
            connection.transport.abortConnection()

    def _begin_second(self) -> None:
        if self._second is None:
            self._second = self.reactor.callLater(1.0, self._second_over)

    def _second_over(self) -> None:
        self._second = None
        self._arrived = self._asked = 0
        if self._paused:
            self._paused = False
            self._pause(False)
