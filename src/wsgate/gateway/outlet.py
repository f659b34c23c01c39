"""A conversation as a streamed answer knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from wsgate.cgi import ResponseHead
from wsgate.fastcgi import Sink, StreamTimeout
from wsgate.gateway.actions import read_actions
from wsgate.gateway.answer import Reply
from wsgate.gateway.arrival import Arrival
from wsgate.gateway.membership import Membership
from wsgate.gateway.streaming import Stream, Unwanted
from wsgate.gateway.streams import StreamTooLarge, stream_head

if TYPE_CHECKING:
    from wsgate.gateway.route import Route


class StreamOutlet(Membership):
    """The part of a conversation that takes an answer as it comes.

    A stream is the message in flight until its end is out. It counts once.
    """

    __slots__ = ("_in_flight", "_is_parting", "_output_paused", "_route", "_stream")

    def __init__(self, route: Route, arrival: Arrival) -> None:
        super().__init__(arrival)
        self._route = route
        self._in_flight = False
        self._output_paused = False
        self._stream: Stream | None = None
        self._is_parting = False

    @property
    def is_parting(self) -> bool:
        """Whether the client wants to go."""
        return self._is_parting

    def leave(self) -> None:
        """The client wants to go: it gets the answers that are due, but no more of a stream."""
        self._is_parting = True
        if self._stream is not None:
            self.abandon_stream()

    def streaming(self, stdout: bytes | bytearray) -> Sink | Literal[False] | None:
        """Who takes the answer of which this came so far as a stream; see `wsgate.fastcgi.sink`."""
        begun = stream_head(stdout)
        if not begun:
            return begun
        if not self._in_flight:
            return Unwanted()
        route = self._route
        self._stream = stream = Stream(begun, route.streams, self, self._peer, route.tally)
        if self._output_paused:
            stream.block()
        stream.feed(stdout[begun.start :])
        return stream

    # -- what its stream calls

    def stream_begun(self, head: ResponseHead) -> None:
        """Do what its header asks for, before the first message."""
        stream = self._stream
        assert stream is not None
        stream.close, actions, warnings = read_actions(head.headers)
        for warning in warnings:
            self._warn(warning)
        if actions is not None:
            if actions.publish:
                self._warn("Wsgate-Publish: a stream is for its sender alone; publish from PHP")
            self._act(actions._replace(publish=()), None, self._warn)

    def stream_over(self) -> None:
        """The stream has ended, and all of it was sent: say so."""
        stream = self._stream
        assert stream is not None
        if isinstance(stream.error, StreamTimeout):
            self._peer.channels.hit("stream_timeout")
        elif isinstance(stream.error, StreamTooLarge) and stream.error.limit:
            self._peer.channels.hit(stream.error.limit)
        reply = stream.farewell(self._message_id, self._route.on_error)
        self._finish(reply, answered=stream.error is None)

    def abandon_stream(self) -> None:
        """The stream is not wanted any more: go on with what is asked behind it."""
        self._drop_stream()
        self._next()

    def _drop_stream(self) -> None:
        stream = self._stream
        if stream is not None:
            stream.drop()
            self._over()
            self._route.tally.gone += 1

    # -- what a conversation has

    @property
    def _message_id(self) -> str:
        raise NotImplementedError

    def _warn(self, text: str) -> None:
        raise NotImplementedError

    def _finish(self, reply: Reply, *, answered: bool) -> None:
        """The message in flight is over: send what it came to, and take the next."""
        raise NotImplementedError

    def _over(self) -> None:
        """Nothing is in flight."""
        raise NotImplementedError

    def _next(self) -> None:
        """Take the next message."""
        raise NotImplementedError
