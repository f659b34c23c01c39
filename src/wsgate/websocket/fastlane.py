"""Whole small frames, read in one step. Pure.

Nearly every message of a browser is one short frame that arrives in one piece. Autobahn reads it
with a state machine made for everything else. Here such a frame is taken in one step; for anything
else, the least doubt included, the answer is None and Autobahn reads it instead. It stays the only
judge of the protocol.
"""

from __future__ import annotations

from autobahn.websocket.protocol import create_xor_masker

_TEXT_FRAME = 0x81
_BINARY_FRAME = 0x82
_LARGE = 1024
"""Bytes from which on Autobahn's masker is faster than Python's integers."""


def take_message(data: bytes, start: int, limit: int) -> tuple[bytes, bool, int] | None:
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
    if first == _BINARY_FRAME:
        return payload, True, end
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            return None
    return payload, False, end


def unmasked(mask: bytes, masked: bytes) -> bytes:
    """`masked` with the four bytes of `mask` taken off, RFC 6455 §5.3."""
    size = len(masked)
    if size > _LARGE:
        payload: bytes = create_xor_masker(mask, size).process(masked)
        return payload
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(masked, "little") ^ key).to_bytes(size, "little")
