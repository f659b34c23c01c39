"""The control interface over HTTP/1.1: twisted.web's parser, our limits.

A flood here must not disturb the clients' messages. So requests get a share of the reactor's time,
and connections, and the size and time of each request, have an end.
"""

from __future__ import annotations

from collections.abc import Awaitable
from io import BytesIO
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, TimeoutError, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from wsgate.channels import BusError, BusUnanswered
from wsgate.control.answers import Answer, Asked, Refusal, answer, refused
from wsgate.floods import CalmLogger
from wsgate.http1 import response

if TYPE_CHECKING:
    from wsgate.control.factory import ControlFactory

MAX_HEADER = 8 * 1024
REQUEST_TIMEOUT = 10.0
"""Seconds from the first byte of a request to its last, and for the answer to be taken."""
ANSWER_TIMEOUT = 8.0
"""Seconds for an answer that others have to be asked for: more than the bus has for all of them, so
that what some have answered is told."""
MAX_DISCARDED = 8 * 1024 * 1024
"""Bytes of a refused body that are read and forgotten, so that its sender sees the answer."""

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
        self.path, _, self._query = path.partition(b"?")
        self.channel.request_complete()
        self.channel.factory.turns.do(self._answer)

    def _answer(self) -> None:
        # It has waited for its turn, and perhaps its sender has not.
        if self._disconnected:
            return
        try:
            given = self.refusal or answer(self.channel.factory.endpoints, self._asked())
        except Exception:
            given = self._broken(Failure())
        if isinstance(given, Answer):
            self._send(given)
        else:
            self._wait_for(given)

    def _wait_for(self, promised: Awaitable[Answer]) -> None:
        later = promised if isinstance(promised, Deferred) else _started(promised)
        if not later.called:
            later.addTimeout(ANSWER_TIMEOUT, self.channel.factory.reactor)
        later.addErrback(self._failed)
        later.addCallback(self._send)
        later.addErrback(lambda failure: self._broken(failure) and None)

    def _failed(self, failure: Failure) -> Answer:
        if isinstance(failure.value, Refusal):
            return failure.value.answer
        if isinstance(failure.value, TimeoutError):
            return refused(504, "those who were asked did not answer in time")
        if isinstance(failure.value, BusUnanswered):
            return refused(504, str(failure.value))
        if isinstance(failure.value, BusError):
            return refused(503, str(failure.value), ("Retry-After", "1"))
        return self._broken(failure)

    def _broken(self, failure: Failure) -> Answer:
        path = "(gone)" if self._disconnected else self.channel.factory.path_for_log(self.path)
        _log.failure("control interface: {path}", failure, path=path)
        return refused(500, "internal error")

    def _asked(self) -> Asked:
        return Asked(
            self.method.decode("latin-1"),
            self.path.decode("latin-1"),
            self._header("Accept"),
            self._body.getvalue(),
            query=self._query.decode("latin-1"),
            content_type=self._header("Content-Type"),
            authorization=self._header("Authorization"),
            may_all=self.channel.factory.may_all(self),
        )

    def _header(self, name: str) -> str:
        """A field's values, as one (RFC 9110 §5.3)."""
        return ", ".join(self.requestHeaders.getRawHeaders(name) or ())

    def _send(self, given: Answer) -> None:
        if self._disconnected:
            return
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
        if not self.channel.persistent:
            self.setHeader("Connection", "close")
        # Of an answer to HEAD, Twisted writes the header alone.
        self.write(given.body)
        self.finish()


def _started(promised: Awaitable[Answer]) -> Deferred[Answer]:
    async def wait() -> Answer:
        return await promised

    return ensureDeferred(wait())


class ControlChannel(HTTPChannel):
    """One connection."""

    factory: ControlFactory
    transport: Any  # connected; whatever the endpoint makes
    requestFactory = ControlRequest
    totalHeadersSize = MAX_HEADER
    maxHeaders = 64
    _deadline: IDelayedCall | None = None
    _is_refused = False
    _discarded = 0

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
        request.refusal = self.factory.refusal(request, self._path, self.length)
        if request.refusal is not None:
            request.requestHeaders.removeHeader(b"Expect")
            self._is_refused = self.length != 0
            self.length = 0
        super().allHeadersReceived()
        if request.refusal is not None:
            self.persistent = False

    def request_complete(self) -> None:
        """A request has come in whole; nothing is asked of its sender until it is answered."""
        self._stop_deadline()
        self.factory.is_busy(self)

    def rawDataReceived(self, data: bytes) -> None:
        """Twisted: a piece of a body, or what comes before the answer to what came is sent."""
        if not self._is_refused:
            super().rawDataReceived(data)
            return
        self._discarded += len(data)
        if self._discarded > MAX_DISCARDED:
            self.transport.abortConnection()

    def requestDone(self, request: ControlRequest) -> None:
        """Twisted: the answer is written."""
        self._stop_deadline()
        self.factory.is_idle(self)
        if not self.persistent:
            # It may still not be read.
            self._set_deadline()
        super().requestDone(request)

    def loseConnection(self) -> None:
        """Twisted: the answer was the last one.

        Closed with bytes unread, the kernel would take back what is on its way (RFC 9112 §9.6).
        TLS waits for its peer's end by itself, and has yet to encrypt what was written.
        """
        half_close = getattr(self.transport, "loseWriteConnection", None)
        if half_close is None or not self._is_refused or ISSLTransport.providedBy(self.transport):
            super().loseConnection()
        else:
            half_close()

    def timeoutConnection(self) -> None:
        """Twisted: no request came for a while, or its answer is not taken."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the connection is gone."""
        self._stop_deadline()
        self.factory.is_gone(self)
        super().connectionLost(reason)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Twisted: this is no HTTP. Its own answer would be the only one without a body."""
        self.factory.statuses[400] += 1
        given = refused(400, "this is no request of HTTP/1.1, or its header is too long")
        self.transport.write(response(400, [("Content-Type", given.content_type)], given.body))
        self.loseConnection()

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
