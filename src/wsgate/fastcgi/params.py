"""Name-value pairs in PARAMS records (FastCGI 1.0 §3.4). Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from wsgate.fastcgi.records import HEADER_SIZE, MAX_CONTENT, RecordType, encode_record

_pack_long_length = Struct("!I").pack
_SHORT = [bytes((length,)) for length in range(128)]
# FastCGI 1.0 §3.4: the top bit of the first byte says that the length has four bytes.
_LONG_LENGTH = 0x80000000


def encode_params(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Complete PARAMS records of whole pairs, in order, without the empty record that ends them.

    Results may be concatenated, so that params which stay the same are encoded once. PHP decodes
    each record alone, so no pair crosses from one record to the next. A pair that does not fit one
    record (65528 bytes with its lengths) and an empty name are a ValueError.
    """
    records: list[bytes] = []
    content: list[bytes] = []
    size = 0
    for name, value in pairs:
        pair = encode_pair(name, value)
        size += len(pair)
        if size > MAX_CONTENT:
            records.append(encode_record(RecordType.PARAMS, b"".join(content)))
            content.clear()
            size = len(pair)
        content.append(pair)
    if content:
        records.append(encode_record(RecordType.PARAMS, b"".join(content)))
    return b"".join(records)


def encode_pairs_record(pairs: bytes) -> bytes:
    """One PARAMS record of pairs made by `encode_pair`; ValueError beyond 65528 bytes."""
    return encode_record(RecordType.PARAMS, pairs)


def encode_pair(name: bytes, value: bytes) -> bytes:
    """One name-value pair as it stands in a PARAMS record. ValueError as `encode_params`."""
    if not name:
        raise ValueError("a param needs a name")
    pair = b"".join((_encode_length(len(name)), _encode_length(len(value)), name, value))
    if len(pair) > MAX_CONTENT:
        raise ValueError(
            f"the param {name[:64]!r} takes {len(pair)} bytes; a PARAMS record holds {MAX_CONTENT}"
        )
    return pair


def decode_params(records: bytes) -> dict[bytes, bytes]:
    """The pairs of complete PARAMS records that `encode_params` made; of a name the last.

    For what is seldom asked: it looks at every byte of them.
    """
    pairs: dict[bytes, bytes] = {}
    start = 0
    while start < len(records):
        size = int.from_bytes(records[start + 4 : start + 6], "big")
        content = records[start + HEADER_SIZE : start + HEADER_SIZE + size]
        start += HEADER_SIZE + size + records[start + 6]
        place = 0
        while place < len(content):
            name_size, place = _decode_length(content, place)
            value_size, place = _decode_length(content, place)
            value = place + name_size
            pairs[content[place:value]] = content[value : value + value_size]
            place = value + value_size
    return pairs


def _decode_length(content: bytes, place: int) -> tuple[int, int]:
    """A length and where it ends."""
    if content[place] < 128:
        return content[place], place + 1
    return int.from_bytes(content[place : place + 4], "big") & ~_LONG_LENGTH, place + 4


def _encode_length(length: int) -> bytes:
    return _SHORT[length] if length < 128 else _pack_long_length(length | _LONG_LENGTH)
