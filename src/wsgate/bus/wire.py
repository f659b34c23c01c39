"""What a worker and its parent say to each other over the bus between them, as bytes. Pure.

length     4 bytes: of all that follows
what       1 byte
number     4 bytes: of a question, for its answer
length of name   2 bytes, and then the name in UTF-8: of a topic, a channel or a node
payload    the rest
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple

from wsgate.bus.interface import Change, Entry, Position, Presence, Stretch

LONGEST = 2**30 + 2**20
"""Bytes of one saying: a message may have a gigabyte."""

_LENGTH = Struct(">I")
_HEAD = Struct(">IBIH")


class What(IntEnum):
    """What is said: down to `PRESENCE` by a worker, then by its parent."""

    HELLO = 1
    LISTEN = 2
    UNLISTEN = 3
    SEND = 4
    FOLLOW = 5
    UNFOLLOW = 6
    PUBLISH = 7
    READ = 8
    ATTEND = 9
    PRESENCE = 10
    ANSWER = 11
    PUBLISHED = 12
    SENT = 13
    SWEPT = 14
    TAKE = 15
    """By a worker: tokens of the bucket of that name."""


_WHATS = {int(what): what for what in What}


class Saying(NamedTuple):
    """One of them."""

    what: What
    name: str = ""
    payload: bytes = b""
    number: int = 0


def encode(saying: Saying) -> bytes:
    """As bytes."""
    what, name, payload, number = saying
    raw = name.encode()
    length = _HEAD.size - _LENGTH.size + len(raw) + len(payload)
    return b"".join((_HEAD.pack(length, what, number, len(raw)), raw, payload))


class Splitter:
    """Makes sayings of bytes, however they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Saying]:
        """The sayings that are complete now. Raises ValueError for what is none."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            length, number_of_what, number, size = _HEAD.unpack_from(self._buffer)
            end = _LENGTH.size + length
            start = _HEAD.size + size
            what = _WHATS.get(number_of_what)
            if what is None or length > LONGEST or start > end:
                raise ValueError("not what a worker and its parent say to each other")
            if len(self._buffer) < end:
                return
            name = self._buffer[_HEAD.size : start].decode()
            saying = Saying(what, name, bytes(self._buffer[start:end]), number)
            del self._buffer[:end]
            yield saying


def stretch_to_json(stretch: Stretch) -> object:
    """As JSON holds it."""
    entries = [[entry.offset, b64encode(entry.data).decode()] for entry in stretch.entries]
    return [list(stretch.position), entries]


def stretch_from_json(told: Any) -> Stretch:
    """What `stretch_to_json` gave."""
    position, entries = told
    return Stretch(
        Position(*position), tuple(Entry(offset, b64decode(data)) for offset, data in entries)
    )


def change_from_json(told: Any) -> Change:
    """Of what JSON made of a `Change`."""
    occupied, vacated, joined, left = told
    return Change(occupied, vacated, tuple(joined), tuple(left))


def presence_from_json(told: Any) -> Presence:
    """Of what JSON made of a `Presence`."""
    subscribers, users = told
    return Presence(subscribers, tuple(users))


def pack(value: object) -> bytes:
    """Anything that JSON holds, as a payload."""
    return json.dumps(value, separators=(",", ":")).encode()


def at_of(position: Position) -> bytes:
    """A position before a message, as a payload begins."""
    return f"{position} ".encode()


def split_at(payload: bytes) -> tuple[Position, bytes]:
    """The position that a payload begins with, and the rest."""
    at, _, data = payload.partition(b" ")
    return Position.parse(at.decode()), data
