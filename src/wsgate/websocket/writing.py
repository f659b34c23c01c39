"""The open part of a connection's life, outwards: from whole answers to bytes a client takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.error import ConnectionClosed, ConnectionLost
from twisted.python.failure import Failure

from wsgate.channels import Message
from wsgate.floods import CalmLogger
from wsgate.oneline import one_line
from wsgate.timeouts import Timeout
from wsgate.websocket.frames import encode_fragments, encode_frame, encode_message
from wsgate.websocket.reading import _OPEN, ReadingProtocol

_TEXT, _BINARY = 1, 2
_TEXT_FRAME, _BINARY_FRAME = 0x81, 0x82

AT_ONCE = 256 * 1024
"""Bytes of a message sent in one turn of the reactor; the rest waits for others to be served."""

_log = CalmLogger(namespace="wsgate")


class WritingProtocol(ReadingProtocol):
    """Sends messages, a part per turn where they are long, as fast as the client takes them.

    It is the streaming producer of its transport.
    """

    one_frame_limit: int
    """The longest message that goes out as one frame and in one turn."""

    _send_timeout: Timeout | None = None
    _output_paused = False
    _sending: Iterator[bytes] | None = None
    """What is left of a long message that is going out, before what is waiting."""
    _waiting: deque[tuple[Message, int]] | None = None
    """Messages behind it, each with what it counts of `limits.push_buffer`."""
    _waiting_size = 0
    """What they count together."""
    _close_later: tuple[int, str] | None = None

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake, behind a message that is going out."""
        raise NotImplementedError

    def conversation_idle(self) -> None:
        """All answers are out."""
        raise NotImplementedError

    def send_message(self, payload: bytes | memoryview, is_binary: bool) -> None:
        """Send one whole message, in fragments where it is long."""
        if self.state != _OPEN:
            return
        deflate = self._perMessageCompress
        if deflate is None and len(payload) <= self.one_frame_limit and self._sending is None:
            self.transport.write(encode_frame(_BINARY_FRAME if is_binary else _TEXT_FRAME, payload))
            return
        if self._sending is not None:
            # Something that was pushed is on its way.
            self._wait(Message(bytes(payload), is_binary), 0)
            return
        if deflate is not None:
            payload = self._deflated(payload)
        opcode = _BINARY if is_binary else _TEXT
        rsv1 = deflate is not None
        fragment_size = self.options.fragment_size
        if len(payload) <= AT_ONCE:
            self.transport.write(encode_message(opcode, payload, fragment_size, rsv1=rsv1))
            return
        self._begin_sending(encode_fragments(opcode, payload, fragment_size, AT_ONCE, rsv1=rsv1))

    def _deflated(self, payload: bytes | memoryview) -> bytes:
        deflate = self._perMessageCompress
        deflate.start_compress_message()
        deflated: bytes = deflate.compress_message_data(payload) + deflate.end_compress_message()
        return deflated

    def _parts_of(self, message: Message) -> tuple[bytes, ...]:
        """A message as whole frames, in parts that may go out in a turn each."""
        if self._perMessageCompress is None:
            return encoded_once(message, self.options.fragment_size)
        payload = self._deflated(message.payload)
        return _encoded(payload, message.is_binary, self.options.fragment_size, rsv1=True)

    def _wait(self, message: Message, size: int) -> None:
        """Send `message` behind what is going out; it counts `size`."""
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((message, size))
        self._waiting_size += size

    def _begin_sending(self, parts: Iterator[bytes]) -> None:
        self._sending = parts
        self._conversation.output_paused()  # type: ignore[union-attr]  # it is the caller
        self._send_on()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call `function` in the next turn of the reactor."""
        self.factory.reactor.callLater(0, function)

    def _send_on(self) -> None:
        """Send the next part of what is going out, then let others have their turn."""
        if self._sending is None or self._output_paused:
            return
        part = next(self._sending, None) or self._next_waiting()
        if part is None:
            self._all_is_sent()
            return
        self.transport.write(part)
        if not self._output_paused:
            self.factory.reactor.callLater(0, self._send_on)

    def _next_waiting(self) -> bytes | None:
        """The next part of what waits: short messages together, of a long one the beginning."""
        pieces: list[bytes] = []
        size = 0
        while self._waiting and size < AT_ONCE:
            message, counted = self._waiting.popleft()
            self._waiting_size -= counted
            first, *others = self._parts_of(message)
            pieces.append(first)
            size += len(first)
            if others:
                self._sending = iter(others)
                break
        return b"".join(pieces) or None

    def _all_is_sent(self) -> None:
        self._sending = self._waiting = None
        if self._close_later is not None:
            self.close(*self._close_later)
        self._conversation.output_resumed()  # type: ignore[union-attr]  # it gave the message
        self.conversation_idle()

    # -- the transport's producer

    def pauseProducing(self) -> None:
        """The client takes no data: `send_high_water` bytes wait."""
        self._output_paused = True
        self.factory.counts.limits["send_high_water"] += 1
        if self._conversation is not None:
            self._conversation.output_paused()
        self._send_timeout = self.factory.timeouts.call_later(
            self.options.send_timeout, self._check_progress, self._unsent()
        )

    def resumeProducing(self) -> None:
        """Everything written has reached the kernel."""
        self._output_paused = False
        if self._send_timeout is not None:
            self._send_timeout.cancel()
            self._send_timeout = None
        if self._sending is not None:
            self._send_on()
        elif self._conversation is not None:
            self._conversation.output_resumed()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""

    def _unsent(self) -> tuple[int, int]:
        socket = socket_of(self.transport)
        return len(socket.dataBuffer), socket.offset

    def _check_progress(self, before: tuple[int, int]) -> None:
        self._send_timeout = None
        now = self._unsent()
        if now == before:
            self._dropped("takes no data", "send_timeout")
            self._log_end(
                "dropped: it took no data for {seconds} s",
                seconds=self.options.send_timeout,
            )
            self.transport.abortConnection()
        else:
            self._send_timeout = self.factory.timeouts.call_later(
                self.options.send_timeout, self._check_progress, now
            )

    def _dropped(self, cause: str, limit: str) -> None:
        self.factory.counts.drops[cause] += 1
        self.factory.counts.limits[limit] += 1

    def _log_fault(self, reason: Failure) -> None:
        """An error of wsgate's own ended the connection; Twisted has written its traceback."""
        conversation = self._conversation
        _log.error(
            "connection {id} from {host} ended by a fault of wsgate: {fault}",
            id=conversation.connection_id if conversation is not None else "-",
            host=self._host,
            fault=one_line(f"{type(reason.value).__name__}: {reason.value}"),
        )

    def _log_end(self, text: str, **values: object) -> None:
        conversation = self._conversation
        _log.info(
            "connection {id} from {host} " + text,
            id=conversation.connection_id if conversation is not None else "-",
            host=self._host,
            **values,
        )


def encoded_once(message: Message, fragment_size: int) -> tuple[bytes, ...]:
    """`message` as frames, made for its first receiver and kept for the others."""
    encoded = message.encoded
    if encoded is None or encoded[0] != fragment_size:
        parts = _encoded(message.payload, message.is_binary, fragment_size)
        message.encoded = encoded = (fragment_size, parts)
    return encoded[1]


def _encoded(
    payload: bytes, is_binary: bool, fragment_size: int, *, rsv1: bool = False
) -> tuple[bytes, ...]:
    opcode = _BINARY if is_binary else _TEXT
    if len(payload) <= AT_ONCE:
        return (encode_message(opcode, payload, fragment_size, rsv1=rsv1),)
    return tuple(encode_fragments(opcode, payload, fragment_size, AT_ONCE, rsv1=rsv1))


def socket_of(transport: Any) -> Any:
    """The transport that owns the socket, below TLS and other wrappers."""
    while getattr(transport, "transport", None) is not None:
        transport = transport.transport
    return transport


def is_ordinary_end(reason: Failure) -> bool:
    """Whether a connection ended by its peers or the network, not by an exception of ours."""
    # OSError is the socket's.
    return reason.check(ConnectionClosed, OSError) is not None or is_of_tls(reason)


def is_of_tls(reason: Failure) -> bool:
    """Whether OpenSSL ended the connection; Twisted hands its errors on as they are."""
    return type(reason.value).__module__.startswith("OpenSSL")


LOST = Failure(ConnectionLost("TLS"))
"""What Autobahn is told instead: it stumbles over those errors of OpenSSL that have no text."""
