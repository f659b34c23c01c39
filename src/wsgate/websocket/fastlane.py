"""Whole unfragmented messages, read in one step. Pure.

Nearly every message of a browser is one frame, and nearly every short one arrives in one piece.
Autobahn reads frames with a state machine made for everything else. Here such a frame is taken in
one step, and a long one is collected and unmasked once; for anything else, the least doubt
included, the answer is None and Autobahn reads it instead. It stays the only judge of the protocol.
"""

from __future__ import annotations

from autobahn.websocket.protocol import create_xor_masker

from wsgate.compiled import compiled
from wsgate.utf8 import TextCheck

_TEXT_FRAME = 0x81
_BINARY_FRAME = 0x82
_LARGE = 1024
"""Bytes from which on Autobahn's masker is faster than Python's integers."""

LONG_HEADER = 14
"""Bytes before the payload of a frame with a length of eight bytes: 2, the length, the mask."""


@compiled
def take_message(data: bytes, start: int, limit: int, /) -> tuple[bytes, bool, int] | None:
    """The message at `start`, if it is one whole, final, masked frame of at most 65535 bytes.

    Args:
        data: what arrived.
        start: where a frame begins, 0 to `len(data)`.
        limit: the longest message accepted, in bytes.

    Returns:
        The payload, whether it is binary, and where the next frame begins; or None: not whole, not
        final, not masked, longer than `limit`, a control frame, a reserved bit or opcode, a length
        that is not in its shortest form (RFC 6455 §5.2), or text that is not UTF-8 (§8.1).
    """
    available = len(data) - start
    # A frame of no payload has 6 bytes: two of header, four of mask.
    if available < 6:
        return None
    first = data[start]
    if first != _TEXT_FRAME and first != _BINARY_FRAME:
        return None
    size = data[start + 1] - 0x80
    mask = start + 2
    if size == 126:
        size = (data[start + 2] << 8) | data[start + 3]
        mask = start + 4
        if size < 126:
            return None
    elif size < 0 or size == 127:
        return None
    body = mask + 4
    end = body + size
    if end > len(data) or size > limit:
        return None
    payload = unmasked(data[mask:body], data[body:end])
    if first == _TEXT_FRAME and not is_utf8(payload):
        return None
    return payload, first == _BINARY_FRAME, end


class LongMessage:
    """Collects one final, masked frame of more than 65535 bytes.

    Each part is unmasked and checked as it arrives, so that no single one is much work. It is kept
    in one piece: a list of its parts would cost 50 bytes for each byte that a client sends singly.
    """

    __slots__ = (
        "_header",
        "_masker",
        "_missing",
        "_text",
        "is_binary",
        "is_valid",
        "payload",
    )

    def __init__(self, header: bytes, size: int) -> None:
        self.is_binary = header[0] == _BINARY_FRAME
        self.is_valid = True
        """False once text turned out not to be UTF-8; the message is then Autobahn's."""
        self.payload = bytearray()
        self._header = header
        self._missing = size
        self._masker = create_xor_masker(header[10:], size)
        self._text = None if self.is_binary else TextCheck()

    @classmethod
    def begin(cls, data: bytes, start: int, limit: int) -> LongMessage | None:
        """Begin with the header at `start`; None if it is none of this kind, or above `limit`.

        What follows these `LONG_HEADER` bytes is for `receive_data`.
        """
        if len(data) - start < LONG_HEADER or data[start + 1] != 0xFF:
            return None
        if data[start] != _TEXT_FRAME and data[start] != _BINARY_FRAME:
            return None
        size = int.from_bytes(data[start + 2 : start + 10], "big")
        if not 0xFFFF < size <= limit:
            return None
        return cls(data[start : start + LONG_HEADER], size)

    @property
    def is_whole(self) -> bool:
        """Whether `payload` is the whole message."""
        return not self._missing

    def receive_data(self, data: bytes) -> bytes:
        """Take what belongs to the frame; the result is what follows it."""
        part = data[: self._missing]
        if part:
            piece = self._masker.process(part)
            self.payload += piece
            self._missing -= len(part)
            text = self._text
            if text is not None:
                text.feed(piece)
                self.is_valid = text.is_valid if self._missing else text.is_whole
        return data[len(part) :]

    def received(self) -> bytes:
        """All that was taken, as it came, for Autobahn to judge."""
        size = len(self.payload)
        return self._header + unmasked(self._header[10:], bytes(self.payload)) if size else b""


def unmasked(mask: bytes, masked: bytes) -> bytes:
    """`masked` with the four bytes of `mask` taken off, RFC 6455 §5.3."""
    size = len(masked)
    if size > _LARGE:
        payload: bytes = create_xor_masker(mask, size).process(masked)
        return payload
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(masked, "little") ^ key).to_bytes(size, "little")


def is_utf8(payload: bytes) -> bool:
    """Whether `payload` is whole, valid UTF-8, RFC 6455 §8.1."""
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
