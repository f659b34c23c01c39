"""One socket's messages: in order, one request at a time, nothing lost without being counted."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from wsgate.channels import OF_DIALECT, Message
from wsgate.fastcgi import (
    ConnectionPool,
    Request,
    Response,
    ResponseTimeout,
    StreamsFull,
    Unsent,
    decode_params,
)
from wsgate.floods import CalmLogger
from wsgate.gateway.actions import Actions
from wsgate.gateway.answer import (
    KNOWN_HEADS,
    Reply,
    known_answer,
    reply_to_failure,
    reply_to_response,
)
from wsgate.gateway.arrival import Arrival
from wsgate.gateway.failing import log_failure
from wsgate.gateway.lastwords import message_of, publish_late
from wsgate.gateway.outlet import StreamOutlet
from wsgate.gateway.params import request_params
from wsgate.gateway.waiting import NOTHING_WAITS, Waiting
from wsgate.oneline import one_line

if TYPE_CHECKING:
    from wsgate.gateway.admission import Accepted
    from wsgate.gateway.route import Route

# The class itself would build the tuple in Python.
_new_request = tuple.__new__


class Conversation(StreamOutlet):
    """The order and the limits of one connection's messages.

    At most one request is in flight. Further messages wait in a queue; when it holds
    `QueueLimits`, the peer stops reading. While the client does not take its answers
    (`output_paused`) no further request starts, so at most one answer is ever buffered. An answer
    that is a stream is in flight until its end is out.

    Every message counted in `route.tally.received` ends as answered, refused or gone.
    """

    __slots__ = (
        "_asking",
        "_closed",
        "_limits",
        "_number",
        "_queue",
        "_reading_paused",
        "_unsent",
    )

    log = CalmLogger(namespace="wsgate")

    called = False
    """Pools ask this of a turn: whether it is to be told nothing any more."""

    def __init__(self, route: Route, arrival: Arrival) -> None:
        super().__init__(route, arrival)
        self._limits = arrival.limits
        self._queue = NOTHING_WAITS
        self._number = 0
        self._asking = False
        # With its pool: a reload may have given the route another since.
        self._unsent: tuple[ConnectionPool, Unsent] | None = None
        self._reading_paused = False
        self._closed = False

    @property
    def route(self) -> Route:
        """Whose messages these are."""
        return self._route

    @property
    def is_idle(self) -> bool:
        """Whether no message is in flight or waiting."""
        return not self._in_flight and not self._queue

    @property
    def asked(self) -> int:
        """How many messages were asked of PHP so far."""
        return self._number

    @property
    def queue_length(self) -> int:
        """How many messages wait for their turn."""
        return len(self._queue)

    def open(self) -> Deferred[Accepted] | None:
        """Whether the client is let in: None if so, at once; this is asked before the 101.

        The result fails with RefusedByBackend, or with what `failure_of` has a row for. It may
        still be pending when `connection_lost` says that nobody waits for it any more.
        """
        return None

    def opened(self) -> None:
        """The 101 was written."""

    # -- a member of channels

    def push(self, message: Message) -> bool:
        """Send a message that no request asked for; False if it is not taken."""
        return not self._closed and self._peer.push(message)

    def close(self, code: int, reason: str) -> None:
        """Close: what waits in the queue never starts, and the answer in flight is dropped."""
        if not self._closed:
            self._stop()
            self._drop_stream()
            self._peer.close(code, reason)
            self._peer.conversation_idle()

    def info(self) -> dict[str, object]:
        """What an operator may know: no header, no query string, no variable."""
        path = decode_params(self._params).get(b"REQUEST_URI", b"").partition(b"?")[0]
        return {
            "id": self.connection_id,
            **self._peer.info(),
            "path": path.decode("latin-1"),
            "user": self.user and self.user.removeprefix(OF_DIALECT),
            "channels": sorted(self.channels),
            "queue": len(self._queue) + self._in_flight,
        }

    # -- messages

    def message_received(self, payload: bytes | bytearray, is_binary: bool) -> None:
        """Take one whole message; it is asked of PHP when its turn comes."""
        self._route.tally.received += 1
        if self._closed:
            self._route.tally.gone += 1
        elif self._in_flight or self._output_paused:
            self._enqueue(payload, is_binary)
        else:
            self._ask(payload, is_binary)

    def output_paused(self) -> None:
        """The client does not take what was sent: start nothing new."""
        self._output_paused = True
        if self._stream is not None:
            self._stream.block()

    def output_resumed(self) -> None:
        """The client takes data again."""
        self._output_paused = False
        if self._stream is not None:
            self._stream.unblock()
        else:
            self._next()

    def give_up(self) -> None:
        """Wait no longer for PHP: refuse the message in flight. PHP may still be running it.

        Only once the pool is stopped: it then refuses those behind it.
        """
        if self._in_flight:
            error = ResponseTimeout("no answer by the time wsgate had to stop")
            if self._stream is not None:
                self._log_failure(error, b"")
                self._stream.drop(error)
                self.stream_over()
            else:
                self._withdraw()
                self._refuse(error, b"")

    def abandon(self) -> None:
        """Nobody waits for answers any more.

        A request in flight runs to its end, the waiting ones never start.
        """
        self._stop()
        self._drop_stream()
        if self._in_flight:
            self._withdraw()
            self._over()
            self._route.tally.gone += 1

    def connection_lost(self, code: int = 1006, reason: str = "") -> None:
        """The client is gone: the last call. Code and reason are those of RFC 6455 §7.1.5.

        1005 is a close without a code, 1006 no close at all.
        """
        self.abandon()

    def _withdraw(self) -> bool:
        """Take the request in flight back if it still waits for a worker; whether it did."""
        if self._unsent is None:
            return False
        pool, unsent = self._unsent
        return pool.withdraw(unsent)

    def _enqueue(self, payload: bytes | bytearray, is_binary: bool) -> None:
        if self._queue is NOTHING_WAITS:
            self._queue = Waiting()
        self._queue.add(payload, is_binary)
        if not self._reading_paused and self._queue.is_full(self._limits):
            self._reading_paused = True
            self._peer.pause_reading()

    def _take(self) -> tuple[bytes | bytearray, bool]:
        message = self._queue.take()
        if not self._queue:
            self._queue = NOTHING_WAITS
        return message

    def _forget_waiting(self) -> None:
        self._route.tally.gone += len(self._queue)
        self._queue = NOTHING_WAITS

    def _ask(self, payload: bytes | bytearray, is_binary: bool) -> None:
        self._number = number = self._number + 1
        route = self._route
        params = request_params(
            route.params,
            self._params,
            route.kind_of_message(payload, is_binary),
            self.connection_id,
            number,
            len(payload),
        )
        self._in_flight = True
        pool = route.pool
        unsent = pool.ask(_new_request(Request, (params, payload)), self)
        # It may have failed by now, and the next one may have been asked.
        if unsent is not None and self._in_flight and number == self._number:
            self._unsent = (pool, unsent)

    @property
    def _message_id(self) -> str:
        return f"{self.connection_id}:{self._number}"

    # -- the turn of its requests, in a Deferred's words, and who takes a stream

    def callback(self, response: Response, /) -> None:
        """The message in flight is answered."""
        if self._in_flight:
            try:
                stdout, stderr, _, _ = response
                message = None if stderr else known_answer(stdout, KNOWN_HEADS)
                if message is None:
                    self._answered(response)
                else:
                    payload, is_binary = message
                    self._deliver(payload, is_binary)
            except Exception:
                self._broken()
        else:
            self._answered_late(response)

    def errback(self, error: Exception, /) -> None:
        """The message in flight gets no answer."""
        if self._in_flight:
            try:
                self._refuse(error, getattr(error, "stderr", b""))
            except Exception:
                self._broken()

    def _answered_late(self, response: Response) -> None:
        """The client has left. What its script says to others holds all the same."""
        try:
            publish_late(self._peer.channels, response, self._warn)
        except Exception as error:
            self._log_failure(error, response.stderr)

    def _answered(self, response: Response) -> None:
        try:
            if self._stream is None:
                self.streaming(response.stdout)
            if self._stream is not None:
                self._stream.finish(response.stderr)
        except Exception as error:
            self._refuse(error, response.stderr)
            return
        if self._stream is not None:
            self._heed(response.stderr)
            self._stream.end(None)
        else:
            self._answered_whole(response)

    def _answered_whole(self, response: Response) -> None:
        try:
            reply, warnings = reply_to_response(
                response.stdout, response.stderr, is_utf8=response.is_utf8
            )
        except Exception as error:
            self._refuse(error, response.stderr)
            return
        self._heed(response.stderr)
        for warning in warnings:
            self._warn(warning)
        self._finish(reply, answered=True)

    def _heed(self, stderr: bytes) -> None:
        if stderr:
            said = "PHP says: " + one_line(stderr)
            self._log(said, kind=said)

    def _deliver(self, payload: bytes, is_binary: bool) -> None:
        """As `_finish`, for an answer that is one message and nothing else."""
        self._in_flight = False
        self._unsent = None
        if self._closed:
            self._route.tally.gone += 1
            return
        self._route.tally.answered += 1
        self._peer.send_message(payload, is_binary)
        if self._queue or self._reading_paused or self._in_flight or self._closed or self._asking:
            self._next()
        else:
            self._peer.conversation_idle()

    def _refuse(self, error: BaseException, stderr: bytes) -> None:
        stream = self._stream
        if stream is not None and stream.has_ended:
            return
        if not self._closed:
            self._log_failure(error, stderr)
        if stream is not None and not isinstance(error, StreamsFull):
            stream.end(error)
            return
        reply = reply_to_failure(error, self._message_id, self._route.on_error)
        self._finish(reply, answered=False)

    def _log_failure(self, error: BaseException, stderr: bytes, message_id: str = "") -> None:
        message_id = message_id or self._message_id
        kind = (self._route.path, type(error))
        log_failure(self.log, "message {id}", error, stderr, kind, id=message_id)

    def _broken(self) -> None:
        self.log.failure("connection {connection_id}", connection_id=self.connection_id)
        self._stop()
        self._peer.close(1011, "internal error")

    def _log(self, text: str, kind: Hashable) -> None:
        self.log.warn("message {id}: {text}", id=self._message_id, text=text, kind=kind)

    def _finish(self, reply: Reply, *, answered: bool) -> None:
        """The message in flight is over: send what it came to, and take the next."""
        self._over()
        if self._closed:
            self._route.tally.gone += 1
            if reply.actions is not None:
                self._act(Actions(publish=reply.actions.publish), message_of(reply), self._warn)
            return
        if answered:
            self._route.tally.answered += 1
        else:
            self._route.tally.refused += 1
        self._follow(reply)

    def _follow(self, reply: Reply) -> None:
        """Do what an answer says, and take the next message."""
        payload, is_binary, _, actions = reply
        if actions is not None:
            self._act(actions, message_of(reply), self._warn)
            if actions.publish or self._closed:
                payload = None
        if payload is not None:
            self._peer.send_message(payload, is_binary)
        if reply.close is not None:
            self._stop()
            self._peer.close(reply.close.code, reply.close.reason)
            self._peer.conversation_idle()
        else:
            self._next()

    def _warn(self, text: str) -> None:
        self._log(one_line(text), kind=text)

    def _over(self) -> None:
        self._in_flight = False
        self._unsent = None
        self._stream = None

    def _next(self) -> None:
        # A request may fail before it was even sent; then `_finish` comes back here from within.
        if self._asking:
            return
        if self._queue:
            self._ask_next()
        if self._closed:
            return
        if self._reading_paused and not self._queue.is_full(self._limits):
            self._reading_paused = False
            self._peer.resume_reading()
        if not (self._in_flight or self._queue):
            self._peer.conversation_idle()

    def _ask_next(self) -> None:
        self._asking = True
        while self._queue and not (self._closed or self._in_flight or self._output_paused):
            self._ask(*self._take())
        self._asking = False

    def _stop(self) -> None:
        self._closed = True
        self._forget_waiting()
