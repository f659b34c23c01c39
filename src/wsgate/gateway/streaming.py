"""A streamed answer on its way to its client."""

from __future__ import annotations

import json
from collections import deque
from typing import Protocol

from wsgate.cgi import ResponseHead
from wsgate.fastcgi import FastCGIError, Flow, StreamStopped
from wsgate.gateway.actions import Close
from wsgate.gateway.answer import OnError, Reply, ScriptFailed, failure_of, has_died
from wsgate.gateway.answer import reply_to_failure as _reply_to_failure
from wsgate.gateway.peer import Peer
from wsgate.gateway.streams import CUTTERS, Cutter, StreamHead, StreamLimits

AT_ONCE = 64
"""Messages sent in one turn of the reactor; the rest waits for others to be served."""


class Outlet(Protocol):
    """What a stream asks of its conversation."""

    @property
    def is_parting(self) -> bool:
        """Whether the client wants to go."""

    def stream_begun(self, head: ResponseHead) -> None:
        """The first messages are about to be sent."""

    def stream_over(self) -> None:
        """Everything was sent, and the stream has ended."""

    def abandon_stream(self) -> None:
        """The stream is not wanted any more."""


class Count(Protocol):
    """Counts the messages of streams."""

    streamed: int


class Stream:
    """Takes a stream from its request, and gives its messages to its conversation.

    It holds the request up while the client does not take them, and never has more of them waiting
    than came in one read. The end that it is told of waits behind them.
    """

    __slots__ = (
        "_cutter",
        "_flow",
        "_has_turn",
        "_head",
        "_is_begun",
        "_is_blocked",
        "_is_dropped",
        "_is_held",
        "_outlet",
        "_peer",
        "_ready",
        "_tally",
        "close",
        "error",
        "has_ended",
        "sent",
        "timeout",
    )

    def __init__(
        self,
        begun: StreamHead,
        limits: StreamLimits,
        outlet: Outlet,
        peer: Peer,
        tally: Count,
    ) -> None:
        self.timeout = limits.timeout
        self.sent = 0
        """Messages that were sent."""
        self.has_ended = False
        """Whether nothing more is to come."""
        self.error: BaseException | None = None
        """Why it was no good end."""
        self.close: Close | None = None
        """What follows the end."""
        self._cutter: Cutter = CUTTERS[begun.kind](begun.head, limits)
        self._head = begun.head
        self._is_begun = False
        self._is_dropped = False
        self._outlet = outlet
        self._peer = peer
        self._tally = tally
        self._ready: deque[bytes] = deque()
        self._flow: Flow | None = None
        self._is_held = False
        self._is_blocked = False
        self._has_turn = False

    # -- the sink of its request

    def feed(self, content: bytes | bytearray, /) -> None:
        """Take the content of one record."""
        self._cutter.feed(content, self._ready)

    def deliver(self, flow: Flow, /) -> None:
        """Send what was fed, if it is still wanted."""
        self._flow = flow
        if self._is_blocked:
            self._hold()
        if self._outlet.is_parting:
            self._outlet.abandon_stream()
        else:
            self.send_on()

    # -- what its conversation calls

    def finish(self, stderr: bytes) -> None:
        """The body is complete; `end` is to follow, with what this raises.

        Raises:
            ScriptFailed, StreamTooLarge, StreamNotText, cgi.MalformedResponse: it is no good.
        """
        if has_died(stderr):
            raise ScriptFailed(500)
        self._cutter.finish(self._ready)

    def end(self, error: BaseException | None) -> None:
        """Nothing more comes, because of `error` where it is no good end."""
        self.has_ended = True
        self.error = error
        self._flow = None
        self.send_on()

    def block(self) -> None:
        """The client takes nothing for now."""
        self._is_blocked = True
        self._hold()

    def unblock(self) -> None:
        """The client takes messages again."""
        self._is_blocked = False
        self.send_on()

    def send_on(self) -> None:
        """Send what is ready, as far as the client takes it, and see to what is to come."""
        ready = self._ready
        is_binary = self._head.is_binary
        left = AT_ONCE
        if not self._is_begun:
            self._is_begun = True
            self._outlet.stream_begun(self._head)
            if self._is_dropped:
                return
        while ready and left and not self._is_blocked:
            left -= 1
            self.sent += 1
            self._tally.streamed += 1
            self._peer.send_message(ready.popleft(), is_binary)
        if self._is_blocked:
            return
        if ready:
            self._hold()
            self._take_turn_soon()
        elif self.has_ended:
            self._outlet.stream_over()
        elif self._is_held and self._flow is not None:
            self._is_held = False
            self._flow.resume()

    def _take_turn_soon(self) -> None:
        if not self._has_turn:
            self._has_turn = True
            self._peer.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._has_turn = False
        if self._ready:
            self.send_on()

    def _hold(self) -> None:
        """Hold the request up: what came of it cannot be sent yet."""
        if self._flow is not None and not self._is_held:
            self._is_held = True
            self._flow.pause()

    def drop(self, error: FastCGIError | None = None) -> None:
        """Send nothing more, and end the request if it goes on."""
        if self._ready or not self.has_ended:
            self.error = error
        self._is_dropped = self.has_ended = True
        self._ready.clear()
        flow, self._flow = self._flow, None
        if flow is not None:
            flow.stop(error or gone())

    def farewell(self, message_id: str, on_error: OnError) -> Reply:
        """What tells the client that the stream is over, and whether it is whole.

        A text of JSON, `{"stream":"end","message_id":"…","messages":3}`, with `error` as in an
        error message where it is not. A close that the script asked for comes after it.
        """
        if self.error is not None and on_error == "close":
            reply = _reply_to_failure(self.error, message_id, on_error)
            return reply._replace(close=self.close or reply.close)
        marker: dict[str, object] = {
            "stream": "end",
            "message_id": message_id,
            "messages": self.sent,
        }
        if self.error is not None:
            row = failure_of(self.error)
            marker["error"] = {
                "status": row.status,
                "reason": row.reason,
                "message_id": message_id,
            }
        payload = json.dumps(marker, separators=(",", ":")).encode()
        return Reply(payload, close=self.close)


class Unwanted:
    """The sink of a stream whose client has gone before it began."""

    timeout = 0.1

    def feed(self, content: bytes, /) -> None:
        """Nobody wants it."""

    def deliver(self, flow: Flow, /) -> None:
        """End the request."""
        flow.stop(gone())


def gone() -> StreamStopped:
    """Why a stream ends whose client does not take it any more."""
    return StreamStopped("the client of a stream has gone")
