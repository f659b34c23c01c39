"""Messages as frames on the wire, RFC 6455 §5.2 and §5.4. Pure."""

from __future__ import annotations

_FIN = 0x80
_RSV1 = 0x40
_CONTINUATION = 0x0


def encode_message(opcode: int, payload: bytes, fragment_size: int, *, rsv1: bool = False) -> bytes:
    """A message as a server sends it: unmasked frames of at most `fragment_size` payload bytes.

    Args:
        opcode: 1 for text, 2 for binary.
        payload: the whole message; empty gives one empty frame.
        fragment_size: at least 1. A payload of exactly this size is one frame.
        rsv1: marks the first frame as compressed (RFC 7692 §6.1).
    """
    first = opcode | (_RSV1 if rsv1 else 0)
    size = len(payload)
    if size <= fragment_size:
        return _header(first | _FIN, size) + payload
    pieces: list[bytes | memoryview] = []
    # Views, so that a long message is copied once, by the join.
    view = memoryview(payload)
    for start in range(0, size, fragment_size):
        piece = view[start : start + fragment_size]
        byte = first if start == 0 else _CONTINUATION
        if start + fragment_size >= size:
            byte |= _FIN
        pieces += (_header(byte, len(piece)), piece)
    return b"".join(pieces)


def _header(first: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, size))
    if size < 0x10000:
        return bytes((first, 126)) + size.to_bytes(2, "big")
    return bytes((first, 127)) + size.to_bytes(8, "big")
