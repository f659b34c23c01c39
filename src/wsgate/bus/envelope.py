"""What nodes send each other, as bytes. Pure.

    version, kind, flags   1 byte each
    node                   4 bytes: who sent it
    number                 4 bytes: of a request, for its reply; 0: no reply is wanted
    left out               16 bytes: the connection that does not get it; all zero: everybody does
    length of name         2 bytes, and then the name in UTF-8: of a user, channel or connection
    payload                the rest

Numbers are unsigned, and big-endian.
"""

from __future__ import annotations

import json
import re
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

VERSION = 1
LONGEST_NAME = 1024
"""Bytes. A user of 128 characters has 512 at most."""
LONGEST_NUMBER = 0xFFFFFFFF

_HEAD = Struct(">BBB4sI16sH")
_NOBODY = bytes(16)
_BINARY = 1
_NODE = re.compile(r"[0-9a-f]{8}")
_CONNECTION = re.compile(r"[0-9a-f]{32}")


class EnvelopeError(ValueError):
    """Bytes that are no envelope of ours, or values that do not fit one."""


class Kind(IntEnum):
    """What is asked for, or what came of it."""

    MESSAGE = 1
    """To the subscribers of a channel: to nobody by name."""
    REPLY = 2
    """The payload is what came of a request, in JSON."""
    SEND_TO_CONNECTION = 3
    CLOSE_CONNECTION = 4
    """The payload is `[code, reason]` in JSON, as in CLOSE_USER."""
    SUBSCRIBE = 5
    """The name is a connection's, the payload a channel; as in UNSUBSCRIBE."""
    UNSUBSCRIBE = 6
    CONNECTION_INFO = 7
    SEND_TO_USER = 8
    CLOSE_USER = 9
    CLOSE_SUBSCRIBERS = 10
    """Of a channel, among its messages; the payload as in CLOSE_CONNECTION."""
    NOTICE = 11
    """To whoever listens to the topic that it is sent to; no client hears of it."""


_KINDS = {int(kind): kind for kind in Kind}


class Envelope(NamedTuple):
    """One message between nodes; `node` is the sender, 8 hex digits."""

    kind: Kind
    node: str
    number: int = 0
    name: str = ""
    payload: bytes = b""
    is_binary: bool = False
    except_id: str | None = None

    def reply(self, node: str, value: object) -> Envelope:
        """What `node` answers: `value` as JSON holds it."""
        payload = json.dumps(value, separators=(",", ":")).encode()
        return Envelope(Kind.REPLY, node, self.number, payload=payload)


def encode(envelope: Envelope) -> bytes:
    """As bytes.

    Raises:
        EnvelopeError: a value does not fit, a name of more than `LONGEST_NAME` bytes for example.
    """
    kind, node, number, name, payload, is_binary, except_id = envelope
    try:
        # A name may have come from elsewhere: half of a pair of surrogates cannot be sent.
        raw = name.encode()
    except UnicodeEncodeError:
        raise EnvelopeError("a name is no Unicode") from None
    if not (_NODE.fullmatch(node) and 0 <= number <= LONGEST_NUMBER and len(raw) <= LONGEST_NAME):
        raise EnvelopeError("a node, number or name does not fit an envelope")
    left_out = _NOBODY
    # What no connection is called leaves nobody out.
    if except_id is not None and _CONNECTION.fullmatch(except_id):
        left_out = bytes.fromhex(except_id)
    head = _HEAD.pack(
        VERSION, kind, _BINARY * is_binary, bytes.fromhex(node), number, left_out, len(raw)
    )
    return b"".join((head, raw, payload))


def decode(data: bytes) -> Envelope:
    """What `encode` made.

    Raises:
        EnvelopeError: they are other bytes, or of another version of wsgate.
    """
    if len(data) < _HEAD.size:
        raise EnvelopeError("too short for an envelope")
    version, number_of_kind, flags, node, number, left_out, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise EnvelopeError(f"an envelope of version {version}; this wsgate knows {VERSION}")
    kind = _KINDS.get(number_of_kind)
    start = _HEAD.size + length
    if kind is None or flags & ~_BINARY or length > LONGEST_NAME or len(data) < start:
        raise EnvelopeError("not an envelope")
    try:
        name = data[_HEAD.size : start].decode()
    except UnicodeDecodeError:
        raise EnvelopeError("a name is not UTF-8") from None
    except_id = None if left_out == _NOBODY else left_out.hex()
    return Envelope(kind, node.hex(), number, name, data[start:], bool(flags), except_id)


def is_connection_id(text: str) -> bool:
    """Whether a connection may be called so: 32 hex digits, the first 8 those of its node."""
    return _CONNECTION.fullmatch(text) is not None
