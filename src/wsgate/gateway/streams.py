"""A streamed answer, from bytes to messages. Pure.

`Wsgate-Stream: lines` makes each line of the body a message, `parts` each part that PHP flushed.
The same bytes give the same messages however they were cut on their way; with `parts`, however the
reads cut the records that the backend made.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections import deque
from typing import Literal, NamedTuple, NoReturn, Protocol

from wsgate import cgi
from wsgate.fastcgi import StreamStopped

Kind = Literal["lines", "parts"]


class StreamLimits(NamedTuple):
    """What one stream may come to.

    Seconds from its beginning, messages, bytes of the body, and bytes of one message.
    """

    timeout: float = 300.0
    messages: int = 10_000
    size: int = 64 * 2**20
    message_size: int = 16 * 2**20


class StreamTooLarge(StreamStopped):
    """A stream has more messages or bytes than it may, or a message is too long.

    `limit` is the name of the setting, empty where its hits are not counted.
    """

    def __init__(self, bound: str, limit: str = "") -> None:
        super().__init__(f"a stream of more than {bound}")
        self.limit = limit


class StreamNotText(StreamStopped):
    """A message is text by the Content-Type but not UTF-8."""


class StreamHead(NamedTuple):
    """The header of an answer that is a stream, and where its body starts."""

    kind: Kind
    head: cgi.ResponseHead
    start: int


_MENTIONED = re.compile(rb"^wsgate-stream[ \t]*:", re.IGNORECASE | re.MULTILINE)


def stream_head(stdout: bytes | bytearray) -> StreamHead | Literal[False] | None:
    """Whether PHP's output is that of a stream; None as long as its header is not all there.

    Only a good 2xx answer is one that is neither 204 nor compressed. Of all others, malformed ones
    too, `reply_to_response` says what they are when they are whole.
    """
    found = cgi.find_head(stdout)
    if found is None:
        return False if len(stdout) > cgi.MAX_HEADER_BYTES else None
    end, start = found
    if _MENTIONED.search(stdout, 0, end) is None:
        return False
    try:
        head = cgi.parse_response_head(bytes(stdout[:end]))
    except cgi.MalformedResponse:
        return False
    kind = stream_kind(head.headers)
    if kind is None or head.status >= 300 or head.status == 204 or head.is_encoded:
        return False
    return StreamHead(kind, head, start)


def stream_kind(headers: tuple[tuple[str, str], ...]) -> Kind | None:
    """What `Wsgate-Stream` asks for; None without it, or if it is given twice or unknown."""
    values = [value.lower() for name, value in headers if name == "wsgate-stream"]
    if values == ["lines"]:
        return "lines"
    return "parts" if values == ["parts"] else None


class Cutter(Protocol):
    """Makes messages of the body of a stream.

    Both methods add to `ready` the messages that are whole, and raise StreamTooLarge or
    StreamNotText behind the last good one.
    """

    def feed(self, content: bytes | bytearray, ready: deque[bytes]) -> None:
        """Take the content of one record."""

    def finish(self, ready: deque[bytes]) -> None:
        """The body is complete; also raises MalformedResponse."""


class _Counted:
    """What both kinds have in common: the limits, and the check of text."""

    __slots__ = ("_head", "_left", "_limits", "_size")

    def __init__(self, head: cgi.ResponseHead, limits: StreamLimits) -> None:
        self._head = head
        self._limits = limits
        self._left = limits.messages
        self._size = 0

    def _add(self, message: bytes, ready: deque[bytes]) -> None:
        if not self._left:
            raise StreamTooLarge(f"{self._limits.messages} messages", "stream_messages")
        if not (self._head.is_binary or message.isascii()):
            try:
                message.decode()
            except UnicodeDecodeError:
                self._not_text()
        self._left -= 1
        ready.append(message)

    def _check_length(self) -> None:
        length = self._head.content_length
        if length is not None and length != self._size:
            raise cgi.MalformedResponse(
                f"Content-Length is {length}, the body has {self._size} bytes"
            )

    def _not_text(self) -> NoReturn:
        number = self._limits.messages - self._left + 1
        raise StreamNotText(
            f"message {number} of a stream is text by its Content-Type but not UTF-8; "
            "send Content-Type: application/octet-stream for binary"
        )


class Lines(_Counted):
    """Each line is a message, without its LF or CR LF; an empty line is an empty message.

    What follows the last LF is a line too, once the body is complete.
    """

    __slots__ = ("_begun",)

    def __init__(self, head: cgi.ResponseHead, limits: StreamLimits) -> None:
        super().__init__(head, limits)
        self._begun = bytearray()

    def feed(self, content: bytes | bytearray, ready: deque[bytes]) -> None:
        """Take the next piece, cut anywhere."""
        room = self._limits.size - self._size
        self._size += len(content)
        first, *others = content[:room].split(b"\n")
        self._begun += first
        for piece in others:
            self._end_line(ready)
            self._begun += piece
        self._check_line()
        if len(content) > room:
            raise StreamTooLarge(f"{self._limits.size} bytes", "stream_bytes")

    def finish(self, ready: deque[bytes]) -> None:
        """The body is complete."""
        self._check_length()
        if self._begun:
            self._end_line(ready)

    def _end_line(self, ready: deque[bytes]) -> None:
        self._check_line()
        line = bytes(self._begun)
        self._begun.clear()
        self._add(line.removesuffix(b"\r"), ready)

    def _check_line(self) -> None:
        if len(self._begun) > self._limits.message_size:
            size = self._limits.message_size
            raise StreamTooLarge(f"{size} bytes in one line")


class Parts(_Counted):
    """Each piece is a message.

    A text is never cut within a character: its first bytes begin the next message.
    """

    __slots__ = ("_kept",)

    def __init__(self, head: cgi.ResponseHead, limits: StreamLimits) -> None:
        super().__init__(head, limits)
        self._kept = b""

    def feed(self, content: bytes | bytearray, ready: deque[bytes]) -> None:
        """Take one part."""
        self._size += len(content)
        if self._size > self._limits.size:
            raise StreamTooLarge(f"{self._limits.size} bytes", "stream_bytes")
        part = self._kept + content
        if len(part) > self._limits.message_size:
            size = self._limits.message_size
            raise StreamTooLarge(f"{size} bytes in one part")
        if not (self._head.is_binary or part.isascii()):
            self._kept = self._begun_character(part)
            part = part[: len(part) - len(self._kept)]
        else:
            self._kept = b""
        if part:
            self._add(part, ready)

    def _begun_character(self, part: bytes) -> bytes:
        decoder = getincrementaldecoder("utf-8")()
        try:
            decoder.decode(part)
        except UnicodeDecodeError:
            self._not_text()
        kept: bytes = decoder.getstate()[0]
        return kept

    def finish(self, ready: deque[bytes]) -> None:
        """The body is complete."""
        self._check_length()
        if self._kept:
            self._not_text()


CUTTERS: dict[Kind, type[Lines] | type[Parts]] = {"lines": Lines, "parts": Parts}
