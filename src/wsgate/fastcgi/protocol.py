"""A transport and a `ResponderConnection`, joined."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from wsgate.fastcgi.backend import Backend
from wsgate.fastcgi.connection import ConnectionState, Request, ResponderConnection, Response
from wsgate.fastcgi.errors import FastCGIError, RequestTimeout, StreamsFull, StreamTimeout
from wsgate.fastcgi.limits import PoolLimits
from wsgate.fastcgi.places import StreamPlaces
from wsgate.fastcgi.records import MAX_CONTENT
from wsgate.fastcgi.sending import Sending
from wsgate.fastcgi.unsent import Turn
from wsgate.timeouts import Timeout, Timeouts

_IDLE = ConnectionState.IDLE


class Owner(Protocol):
    """Who makes connections and lends them: the pool. Told of all that happens to them."""

    timeouts: Timeouts
    limits: PoolLimits
    streams: StreamPlaces
    stopped: bool

    def connected(self, protocol: FastCGIProtocol) -> None:
        """The connection is open."""

    def answered(self, protocol: FastCGIProtocol, reusable: bool) -> None:
        """The answer is complete; the request's turn is told right after this."""

    def failed(self, protocol: FastCGIProtocol, error: FastCGIError) -> None:
        """The request has no answer and the connection is closed; the turn is told after this."""

    def idle_lost(self, protocol: FastCGIProtocol) -> None:
        """The connection ended, or had to be closed, while no request was under way."""

    def finish_stop(self) -> None:
        """Called when `stopped`, after the turn of a request was told."""


@implementer(IProtocol, IProtocolFactory)
class FastCGIProtocol:
    """One connection to the application.

    It is its own factory, since an endpoint wants one and no connection needs a second protocol.
    After `close`, and once it has told its owner that it is lost, it tells nobody anything.
    """

    __slots__ = (
        "_closed",
        "_connection",
        "_deadline",
        "_owner",
        "_receive",
        "_sending",
        "_stream_ends",
        "_timer",
        "_timer_due",
        "_turn",
        "backend",
        "transport",
    )

    def __init__(self, owner: Owner, backend: Backend) -> None:
        self.backend = backend
        # Any: what Twisted gives has more than ITransport promises.
        self.transport: Any = None
        self._sending: Sending | None = None
        self._owner = owner
        self._connection = ResponderConnection(owner.limits.max_answer_size)
        self._receive = self._connection.receive_data
        self._turn: Turn | None = None
        self._deadline = 0.0
        self._stream_ends = 0.0
        self._timer: Timeout | None = None
        self._timer_due = 0.0
        self._closed = False

    def send(self, request: Request, turn: Turn) -> None:
        """Send `request`; `turn` is told its Response or a FastCGIError.

        Only for a connection that is open and has no request under way.
        """
        owner = self._owner
        self._turn = turn
        limits = owner.limits
        self._deadline = deadline = owner.timeouts.seconds() + limits.response_timeout
        if self._timer is None or deadline < self._timer_due:
            self._start_timer(limits.response_timeout)
        if len(request.stdin) > MAX_CONTENT:
            self._send_long(request)
        else:
            self.transport.write(self._connection.send_request(request, limits.keep_connections))

    def _send_long(self, request: Request) -> None:
        owner = self._owner
        sending = Sending(owner.timeouts, owner.limits.write_timeout, self.transport, self._stalled)
        self._sending = sending
        self._receive = self._receive_unusual
        sending.start(self._connection.request_parts(request, owner.limits.keep_connections))

    def _receive_unusual(self, data: bytes, turn: object = None) -> Response | None:
        """As the connection does, while a long request goes out or a stream comes in."""
        response = self._connection.receive_data(data, turn)
        if response is not None:
            if self._sending is not None and self._sending.left:
                # Answered before it was asked all; the rest must not precede another request.
                self._connection.state = ConnectionState.CLOSED
            self._usual(is_whole=True)
        return response

    def _usual(self, *, is_whole: bool) -> None:
        """The request is over: nothing goes out any more, and no stream comes in."""
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        if self._stream_ends:
            self._stream_ends = 0.0
            self._owner.streams.over(is_whole=is_whole)
            if is_whole:
                # Over TLS the end may come while reading is paused.
                self.transport.resumeProducing()
        self._receive = self._connection.receive_data

    def _stalled(self) -> None:
        stderr = self._connection.time_out().stderr
        seconds = self._owner.limits.write_timeout
        self._fail(RequestTimeout(f"nothing was taken for {seconds:g} s", stderr=stderr))

    def close(self) -> None:
        """Close at once, without a word to the owner. Harmless when closed, or not yet open."""
        self._stop_timer()
        if self._sending is not None or self._stream_ends:
            self._usual(is_whole=False)
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

    # The timer outlives the answers that come in time: setting and stopping one for each request
    # would cost more than reading the answer. It looks at the deadline of now when it runs.

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self._owner.timeouts.call_later(seconds, self._check_deadline)
        self._timer_due = self._deadline

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_deadline(self) -> None:
        self._timer = None
        if self._turn is None:
            return
        now = self._owner.timeouts.seconds()
        if now < self._deadline:
            self._start_timer(self._deadline - now)
        elif self._stream_ends and now >= self._stream_ends:
            self.stop(StreamTimeout("the stream lasted longer than it may"))
        else:
            self._fail(self._connection.time_out())

    # A stream. Its parts come in time if each does, and the last one is not too late.

    def _stream_on(self) -> None:
        """Part of an answer came, and somebody takes it as it comes."""
        sink = self._connection.sink
        assert sink is not None
        if not self._stream_ends:
            if not self._owner.streams.begin():
                self.stop(StreamsFull("as many streams as may be are open"))
                return
            self._stream_ends = self._owner.timeouts.seconds() + sink.timeout
            self._receive = self._receive_unusual
        self._wait_until(self._owner.timeouts.seconds() + self._owner.limits.response_timeout)
        sink.deliver(self)

    def _wait_until(self, deadline: float) -> None:
        self._deadline = min(deadline, self._stream_ends)
        if self._timer is None or self._deadline < self._timer_due:
            self._start_timer(self._deadline - self._owner.timeouts.seconds())

    def pause(self) -> None:
        """Read no more of the stream for now. Meanwhile nobody waits for the application."""
        self.transport.pauseProducing()
        self._wait_until(self._stream_ends)

    def resume(self) -> None:
        """Read on."""
        self._wait_until(self._owner.timeouts.seconds() + self._owner.limits.response_timeout)
        self.transport.resumeProducing()

    def stop(self, error: FastCGIError) -> None:
        """End the request, whose turn is told `error`, and close the connection."""
        error.stderr = self._connection.stderr
        self._fail(error)

    def _fail(self, error: FastCGIError) -> None:
        turn = self._turn
        self.close()
        if turn is None:
            self._owner.idle_lost(self)
            return
        self._turn = None
        error.backend = self.backend.name
        owner = self._owner
        owner.failed(self, error)
        if not turn.called:
            turn.errback(error)
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
        self._owner.connected(self)

    def dataReceived(self, data: bytes) -> None:
        """Take a piece of the answer; when it completes it, give back the connection, then tell."""
        if self._closed:
            return
        turn = self._turn
        try:
            response = self._receive(data, turn)
        except FastCGIError as error:
            self._fail(error)
            return
        if response is not None:
            assert turn is not None
            self._turn = None
            owner = self._owner
            owner.answered(self, self._connection.state is _IDLE)
            if not turn.called:
                turn.callback(response)
            if owner.stopped:
                owner.finish_stop()
        elif self._connection.sink is not None:
            self._stream_on()

    def connectionLost(self, reason: Failure) -> None:
        """The connection ended; if a request is under way it has failed."""
        if self._closed:
            return
        self._closed = True
        self._stop_timer()
        if self._sending is not None or self._stream_ends:
            self._usual(is_whole=False)
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
