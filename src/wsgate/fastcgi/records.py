"""Records, the unit of everything on a FastCGI connection (FastCGI 1.0 §3.3). Sans-IO."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct
from typing import NamedTuple

from wsgate.compiled import compiled
from wsgate.fastcgi.errors import ProtocolError

VERSION = 1
HEADER_SIZE = 8
REQUEST_ID = 1
"""The only request id we use: one request at a time on each connection."""

MAX_CONTENT = 65528
"""Bytes of content in the longest record we send.

A record may carry 65535, but PHP closes the connection when content and padding together exceed
65535; 65528 is the longest that stays legal for whoever aligns records to 8 bytes, and what PHP
itself sends.
"""

_HEADER = Struct("!BBHHBx")
_pack_header = _HEADER.pack
_unpack_header = _HEADER.unpack_from


class RecordType(IntEnum):
    """FastCGI 1.0 §8."""

    BEGIN_REQUEST = 1
    ABORT_REQUEST = 2
    END_REQUEST = 3
    PARAMS = 4
    STDIN = 5
    STDOUT = 6
    STDERR = 7
    DATA = 8
    GET_VALUES = 9
    GET_VALUES_RESULT = 10
    UNKNOWN_TYPE = 11


class Role(IntEnum):
    """What an application is asked to do, FastCGI 1.0 §6. We only ask for RESPONDER."""

    RESPONDER = 1
    AUTHORIZER = 2
    FILTER = 3


class Flag(IntFlag):
    """Flags of BEGIN_REQUEST, FastCGI 1.0 §5.1."""

    KEEP_CONN = 1


class ProtocolStatus(IntEnum):
    """How the application dealt with a request, in END_REQUEST, FastCGI 1.0 §5.5."""

    REQUEST_COMPLETE = 0
    CANT_MPX_CONN = 1
    OVERLOADED = 2
    UNKNOWN_ROLE = 3


class Record(NamedTuple):
    """One record as received, without its padding.

    `type` is a plain number from 0 to 255: which types are good is for the reader to judge.
    """

    type: int
    request_id: int
    content: bytes

    def __str__(self) -> str:
        name = RecordType(self.type).name if self.type in _TYPES else f"type {self.type}"
        return f"{name} (id {self.request_id}, {len(self.content)} bytes)"


_TYPES = frozenset(RecordType)
_END: dict[int, bytes] = {
    type: _pack_header(VERSION, type, REQUEST_ID, 0, 0) for type in RecordType
}


_STDIN = RecordType.STDIN.value
_STDOUT_START = _END[RecordType.STDOUT][:4]
# FastCGI 1.0 §5.5: application status, protocol status, three reserved bytes.
_COMPLETE = _pack_header(VERSION, RecordType.END_REQUEST, REQUEST_ID, 8, 0) + bytes(8)


def encode_record(type: int, content: bytes = b"", request_id: int = REQUEST_ID) -> bytes:
    """One record of at most 65528 bytes of content, without padding. ValueError beyond.

    Padding is never sent: PHP takes an empty record that ends a stream but has padding for no end,
    runs the script, and gives it an empty body.
    """
    if len(content) > MAX_CONTENT:
        raise ValueError(f"a record holds at most {MAX_CONTENT} bytes, not {len(content)}")
    return _pack_header(VERSION, type, request_id, len(content), 0) + content


def stream_parts(type: int, content: bytes | bytearray) -> list[bytes | memoryview]:
    """A whole stream, to be joined: `content` in as few records as can be, and the empty record.

    The parts are views of `content`, so that a long message is copied once, by the join.
    """
    size = len(content)
    if 0 < size <= MAX_CONTENT:
        return [_pack_header(VERSION, type, REQUEST_ID, size, 0), bytes(content), _END[type]]
    parts: list[bytes | memoryview] = []
    view = memoryview(content)
    for start in range(0, size, MAX_CONTENT):
        part = view[start : start + MAX_CONTENT]
        parts += (_pack_header(VERSION, type, REQUEST_ID, len(part), 0), part)
    parts.append(_END[type])
    return parts


@compiled
def encode_request(begin: bytes, params: bytes, stdin: bytes | bytearray, /) -> bytes:
    """A whole request: BEGIN_REQUEST, PARAMS without their end, and the body of any size."""
    return b"".join((begin, params, _END[RecordType.PARAMS], *stream_parts(_STDIN, stdin)))


@compiled
def whole_answer(data: bytes, max_size: int, /) -> bytes | None:
    """STDOUT, if `data` is one STDOUT record and the END_REQUEST of a good end with status 0.

    None for anything else, and if STDOUT is longer than `max_size` bytes.
    """
    if not (data.startswith(_STDOUT_START) and data.endswith(_COMPLETE)):
        return None
    ends = len(data) - len(_COMPLETE)
    if ends < HEADER_SIZE:
        return None
    size = (data[4] << 8) | data[5]
    if HEADER_SIZE + size + data[6] != ends or size > max_size:
        return None
    return data[HEADER_SIZE : HEADER_SIZE + size]


class RecordDecoder:
    """Cuts what arrives into records, whatever pieces it arrives in.

    Takes any content of 0 to 65535 and any padding of 0 to 255 bytes. The only violation it can see
    is a wrong version; after one it stays useless. Each byte is copied a fixed number of times, and
    never more is kept than one incomplete record.
    """

    __slots__ = ("_buffer", "_needed", "violation")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = HEADER_SIZE
        self.violation: ProtocolError | None = None
        """Set as soon as the wrong version was seen, even if records before it were returned."""

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete record are kept."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Record]:
        """The records that `data` completes, in order.

        Records before a wrong version are still returned, with `violation` set; the next call, or
        this one if there are none, raises it.
        """
        if self.violation is not None:
            raise self.violation
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._needed:
                return []
            data = bytes(buffer)
            buffer.clear()
        records: list[Record] = []
        used = self._decode(data, records)
        if self.violation is not None:
            if not records:
                raise self.violation
        elif used < len(data):
            buffer += memoryview(data)[used:]
        return records

    def _decode(self, data: bytes, records: list[Record]) -> int:
        """Add the whole records of `data` to `records`; the offset of what follows them."""
        offset = 0
        last_header = len(data) - HEADER_SIZE
        while offset <= last_header:
            version, type, request_id, length, padding = _unpack_header(data, offset)
            if version != VERSION:
                self._wrong_version(version)
                return offset
            content = offset + HEADER_SIZE
            end = content + length + padding
            if end > len(data):
                self._needed = end - offset
                return offset
            records.append(Record(type, request_id, data[content : content + length]))
            offset = end
        self._needed = HEADER_SIZE
        # The first byte is enough to know: garbage shorter than a header must not wait for more.
        if offset < len(data) and data[offset] != VERSION:
            self._wrong_version(data[offset])
        return offset

    def _wrong_version(self, version: int) -> None:
        self.violation = ProtocolError(
            f"a record of FastCGI version {version} where only version {VERSION} is known"
        )
