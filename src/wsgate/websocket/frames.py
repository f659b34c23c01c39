"""Messages as frames on the wire, RFC 6455 §5.2 and §5.4. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from wsgate.compiled import compiled

_FIN = 0x80
_RSV1 = 0x40
_CONTINUATION = 0x0


def encode_message(
    opcode: int, payload: bytes | memoryview, fragment_size: int, *, rsv1: bool = False
) -> bytes:
    """A message as a server sends it: unmasked frames of at most `fragment_size` payload bytes.

    Args:
        opcode: 1 for text, 2 for binary.
        payload: the whole message; empty gives one empty frame.
        fragment_size: at least 1. A payload of exactly this size is one frame.
        rsv1: marks the first frame as compressed (RFC 7692 §6.1).
    """
    size = len(payload)
    if size <= fragment_size:
        return encode_frame(opcode | (_RSV1 if rsv1 else 0) | _FIN, payload)
    return b"".join(encode_fragments(opcode, payload, fragment_size, size, rsv1=rsv1))


@compiled
def encode_frame(first: int, payload: bytes | memoryview, /) -> bytes:
    """One unmasked frame with this first byte."""
    return _header(first, len(payload)) + payload


def encode_fragments(
    opcode: int,
    payload: bytes | memoryview,
    fragment_size: int,
    chunk_size: int,
    *,
    rsv1: bool = False,
) -> Iterator[bytes]:
    """As `encode_message`, in chunks of whole frames, each made when it is asked for.

    A chunk holds as many frames as carry `chunk_size` bytes of payload, but at least one.
    """
    size = len(payload)
    view = memoryview(payload)
    first = opcode | (_RSV1 if rsv1 else 0)
    step = max(1, chunk_size // fragment_size) * fragment_size
    for chunk in range(0, size, step):
        pieces: list[bytes | memoryview] = []
        for start in range(chunk, min(chunk + step, size), fragment_size):
            piece = view[start : start + fragment_size]
            byte = first if start == 0 else _CONTINUATION
            if start + fragment_size >= size:
                byte |= _FIN
            pieces += (_header(byte, len(piece)), piece)
        yield b"".join(pieces)


def _header(first: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, size))
    if size < 0x10000:
        return bytes((first, 126)) + size.to_bytes(2, "big")
    return bytes((first, 127)) + size.to_bytes(8, "big")
