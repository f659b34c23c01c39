"""`application/websocket-events`: what a WebSocket does, as the body of a request or answer. Pure.

An event is `NAME CR LF`, or `NAME SP HEXLEN CR LF CONTENT CR LF` with the length of the content in
hexadecimal digits (WebSocket-over-HTTP, the protocol of Pushpin and Fanout). Events follow each
other without anything between them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import NamedTuple

CONTENT_TYPE = "application/websocket-events"

MAX_EVENTS = 10_000
"""How many events an answer may have: many small ones would take many times its size in memory."""

# A name is taken up to this length, also one that nobody knows; a length has up to 16 digits.
_HEADER = re.compile(rb"([A-Z][A-Z-]{0,31})(?: ([0-9A-Fa-f]{1,16}))?\r\n")
_LONGEST_HEADER = 32 + 1 + 16 + 2


class Event(NamedTuple):
    """One event. `content` is None where it had none, which for a message means an empty one."""

    name: str
    content: bytes | None = None


class MalformedEvents(ValueError):
    """A body is not a sequence of events; `str()` says where and what stands there, for the log."""


OPEN = Event("OPEN")
DISCONNECT = Event("DISCONNECT")


def close_event(code: int, reason: str) -> Event:
    """The CLOSE of a client: two bytes of code and the reason; without a code, no content.

    Args:
        code: as RFC 6455 §7.1.5 has it; 1005 is "none was sent".
        reason: UTF-8 of it follows the code.
    """
    if code == 1005:
        return Event("CLOSE")
    return Event("CLOSE", struct.pack("!H", code) + reason.encode("utf-8", "replace"))


def read_close(content: bytes | None) -> tuple[int | None, str]:
    """The code and reason of a CLOSE; None without a code.

    A reason that is not UTF-8 is read with replacement characters.
    """
    if content is None or len(content) < 2:
        return None, ""
    return struct.unpack_from("!H", content)[0], content[2:].decode("utf-8", "replace")


def encode_events(events: Iterable[Event]) -> bytes:
    """Events as a body, in their order."""
    parts: list[bytes] = []
    for name, content in events:
        if content is None:
            parts.append(b"%b\r\n" % name.encode())
        else:
            parts += (b"%b %x\r\n" % (name.encode(), len(content)), content, b"\r\n")
    return b"".join(parts)


def decode_events(body: bytes | memoryview) -> list[Event]:
    """The events of a body. Names that nobody knows are among them.

    Raises:
        MalformedEvents: anything stands between events, behind the last one or in place of one; a
            content is shorter than its length, or not followed by CR LF; or there are more than
            `MAX_EVENTS`.
    """
    body = bytes(body)
    events: list[Event] = []
    position = 0
    while position < len(body):
        if len(events) == MAX_EVENTS:
            raise MalformedEvents(f"more than {MAX_EVENTS} events")
        event, position = _decode_one(body, position)
        events.append(event)
    return events


def _decode_one(body: bytes, position: int) -> tuple[Event, int]:
    match = _HEADER.match(body, position, position + _LONGEST_HEADER)
    if match is None:
        raise MalformedEvents(
            f"no event at byte {position}: {body[position : position + 40]!r}; "
            "the script must print nothing but events"
        )
    name, length = match.groups()
    start = match.end()
    if length is None:
        return Event(name.decode()), start
    end = start + int(length, 16)
    if body[end : end + 2] != b"\r\n":
        raise MalformedEvents(
            f"the content of {name.decode()} at byte {position} has not the length it says, "
            f"{end - start} bytes followed by CR LF"
        )
    return Event(name.decode(), body[start:end]), end + 2
